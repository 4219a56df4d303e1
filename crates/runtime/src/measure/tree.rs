//! What the processes below this one have used: those that live, and those that have ended and were asked about.

use super::{Used, field, text};
use crate::procfs;
use rustix::process::Pid;
use std::io;

const SECOND_US: u64 = 1_000_000;

/// What the processes below `ancestor` use, itself not among them. Of those that have ended only what other processes than it asked about
/// counts: what it asked about itself is known to it.
///
/// A page that several processes share counts for each of them.
pub(crate) fn tree(ancestor: Pid) -> io::Result<Used> {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let page = rustix::param::page_size() as u64;
    let mut all = Used {
        cpu_us: Some(0),
        memory: Some(0),
        processes: Some(0),
        ..Used::default()
    };
    let add = |sum: &mut Option<u64>, value: u64| *sum = Some(sum.unwrap_or(0) + value);
    for process in procfs::below(ancestor)? {
        add(&mut all.cpu_us, process.cpu_ticks * SECOND_US / ticks);
        if process.zombie {
            continue;
        }
        add(&mut all.memory, process.resident_pages * page);
        add(&mut all.processes, 1);
        // Those of other users do not let themselves be looked into.
        if let Some((read, written)) = io_of(&process.pid.as_raw_nonzero().to_string()) {
            add(&mut all.disk_read, read);
            add(&mut all.disk_written, written);
        }
    }
    Ok(all)
}

/// Bytes that this process and all that it asked about have read and written.
pub(crate) fn self_io() -> Option<(u64, u64)> {
    io_of("self")
}

fn io_of(process: &str) -> Option<(u64, u64)> {
    let text = text(format!("/proc/{process}/io"))?;
    Some((
        field(&text, "read_bytes: ")?,
        field(&text, "write_bytes: ")?,
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_that_computes_is_seen_to() {
        let mut child = Command::new("sh")
            .args(["-c", "echo; while :; do :; done"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let own = rustix::process::getpid();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let mut seen = Used::default();
        while seen.cpu_us.unwrap_or(0) < 20_000 && std::time::Instant::now() < until {
            seen = tree(own).unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen.cpu_us.unwrap() >= 20_000, "{seen:?}");
        assert!(
            seen.memory.unwrap() > 0 && seen.processes.unwrap() >= 1,
            "{seen:?}"
        );
    }
}
