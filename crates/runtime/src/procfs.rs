//! What `/proc` says about processes: who descends from whom, when they started, which signals they listen to.

use rustix::process::Pid;
use std::fs;
use std::io::{self, Read};

/// One process, from `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// Clock ticks after boot; with the pid, it names a process for as long as the machine is up.
    pub(crate) start_ticks: u64,
    /// It has ended and waits for its parent to ask.
    pub(crate) zombie: bool,
    /// Processor time in clock ticks, with that of all children that it has asked about.
    pub(crate) cpu_ticks: u64,
    /// Pages of it that are in memory.
    pub(crate) resident_pages: u64,
    /// The first 15 bytes of the name of its program.
    pub(crate) name: String,
}

/// Looks at one process; `None` if there is none.
pub(crate) fn process(pid: Pid) -> Option<Process> {
    let stat = read(&format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    parse_stat(pid, &String::from_utf8_lossy(&stat))
}

/// The name stands in parentheses and may hold any byte, so the fields are counted from the last one.
fn parse_stat(pid: Pid, stat: &str) -> Option<Process> {
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let times = (11..15).map(|at| number(at).unwrap_or(0));
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        cpu_ticks: times.sum(),
        resident_pages: number(21).unwrap_or(0),
        name: name.to_owned(),
    })
}

/// All processes that can be seen.
pub(crate) fn processes() -> io::Result<Vec<Process>> {
    let pids = fs::read_dir("/proc")?.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        Pid::from_raw(name.to_str()?.parse().ok()?)
    });
    Ok(pids.filter_map(process).collect())
}

/// The processes that descend from `ancestor`, itself not among them, parents first; zombies are left out.
pub(crate) fn descendants(ancestor: Pid) -> io::Result<Vec<Process>> {
    let mut found = below(ancestor)?;
    found.retain(|p| !p.zombie);
    Ok(found)
}

/// The processes that descend from `ancestor`, itself not among them, parents first.
pub(crate) fn below(ancestor: Pid) -> io::Result<Vec<Process>> {
    let mut rest = processes()?;
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![ancestor.as_raw_nonzero().get()];
    while !parents.is_empty() {
        let (children, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|p| parents.contains(&p.parent));
        parents = children
            .iter()
            .map(|p| p.pid.as_raw_nonzero().get())
            .collect();
        found.extend(children);
        rest = others;
    }
    Ok(found)
}

/// Whether the process has a handler for `signal`.
pub(crate) fn catches(pid: Pid, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let mask = status.ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// The value of a variable in the environment that the process was started with.
pub(crate) fn variable(pid: Pid, name: &str) -> Option<Vec<u8>> {
    let environ = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    let mut variables = environ.split(|byte| *byte == 0);
    variables.find_map(|one| {
        let value = one.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.to_vec())
    })
}

/// How many processes the kernel has killed for want of memory since boot, if it tells.
pub(crate) fn oom_kills() -> Option<u64> {
    let text = String::from_utf8(read("/proc/vmstat")?).ok()?;
    let count = text.lines().find_map(|l| l.strip_prefix("oom_kill "))?;
    count.parse().ok()
}

/// What a container can read of the limits of its own control group, in either version.
#[derive(Clone, Copy)]
pub(crate) enum Counter {
    /// Processes that were killed for want of memory.
    OomKills,
    /// Forks that the limit of processes refused.
    RefusedForks,
}

impl Counter {
    /// Files, and the word before the number.
    const fn places(self) -> ([&'static str; 2], &'static str) {
        match self {
            Counter::OomKills => (
                [
                    "/sys/fs/cgroup/memory.events",
                    "/sys/fs/cgroup/memory/memory.oom_control",
                ],
                "oom_kill ",
            ),
            Counter::RefusedForks => (
                [
                    "/sys/fs/cgroup/pids.events",
                    "/sys/fs/cgroup/pids/pids.events",
                ],
                "max ",
            ),
        }
    }

    /// How often it happened; `None` where that is not told.
    pub(crate) fn read(self) -> Option<u64> {
        let (files, word) = self.places();
        let text = files.iter().find_map(|file| read(file))?;
        let text = String::from_utf8(text).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(word))?
            .trim()
            .parse()
            .ok()
    }
}

/// Reads a file whose size the kernel does not tell, in as few calls as can be: each attempt does this.
fn read(path: &str) -> Option<Vec<u8>> {
    let mut file = fs::File::open(path).ok()?;
    let mut bytes = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(_) => return None,
        }
        if filled == bytes.len() {
            bytes.resize(2 * filled, 0);
        }
    }
    bytes.truncate(filled);
    Some(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let pid = Pid::from_raw(7).unwrap();
        let stat = "7 (a) Z (b) S 3 5 6 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 998877 10 20";
        let process = parse_stat(pid, stat).unwrap();
        assert_eq!((process.parent, process.group), (3, 5));
        assert_eq!((process.start_ticks, process.zombie), (998_877, false));
        assert_eq!(
            (process.cpu_ticks, process.resident_pages),
            (5 + 6 + 7 + 8, 20)
        );
        assert_eq!(process.name, "a) Z (b");
        assert_eq!(parse_stat(pid, "7 (cut"), None);
    }

    #[test]
    fn this_process_is_found_beneath_its_parent() {
        let own = rustix::process::getpid();
        let parent = rustix::process::getppid().unwrap();
        assert!(descendants(parent).unwrap().iter().any(|p| p.pid == own));
    }
}
