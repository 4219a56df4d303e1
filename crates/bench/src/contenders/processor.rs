//! Processor time as `/proc` tells it, in ticks of a hundredth of a second: enough for the sum of many steps.

use std::path::Path;

use anyhow::Context as _;

/// Ticks a second; the kernel shows every user this number, whatever its own is.
const TICKS: f64 = 100.0;

/// Processor seconds of a process and of those of its children that have ended and were asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// Its own.
    pub(crate) own: f64,
    /// Its ended children's, and theirs.
    pub(crate) children: f64,
}

/// Of a process.
pub(crate) fn of(pid: u32) -> anyhow::Result<Used> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Of the fields after the name, which may hold anything, the 12th to the 15th; the 2nd is the parent.
    let fields: Vec<f64> = after_name(&stat)?
        .skip(11)
        .take(4)
        .map_while(|field| field.parse().ok())
        .collect();
    match fields[..] {
        [user, system, of_children_user, of_children_system] => Ok(Used {
            own: (user + system) / TICKS,
            children: (of_children_user + of_children_system) / TICKS,
        }),
        _ => anyhow::bail!("/proc/{pid}/stat is too short"),
    }
}

/// Of our own ended children.
pub(crate) fn of_ended_children() -> anyhow::Result<f64> {
    Ok(of(std::process::id())?.children)
}

/// The children of a process that have not ended.
pub(crate) fn children(parent: u32) -> anyhow::Result<Vec<u32>> {
    let pids = std::fs::read_dir("/proc")?.filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(Path::new("/proc").join(format!("{pid}/stat"))).ok()?;
        let found: u32 = after_name(&stat).ok()?.nth(1)?.parse().ok()?;
        (found == parent).then_some(pid)
    });
    Ok(pids.collect())
}

fn after_name(stat: &str) -> anyhow::Result<impl Iterator<Item = &str>> {
    let (_, rest) = stat.rsplit_once(')').context("no name in stat")?;
    Ok(rest.split_ascii_whitespace())
}
