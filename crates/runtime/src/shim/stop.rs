//! Asking processes to stop, each by the signal that it listens to, and killing them.

use crate::procfs::{self, Process};
use rustix::process::{Pid, Signal};
use std::io;

/// Shells wait for what they run and then go on with the next line: only SIGTERM ends them.
const SHELLS: [&str; 7] = ["bash", "sh", "dash", "ash", "busybox", "zsh", "ksh"];

/// Asks every process below `ancestor` to stop; shells first, so that they do not start another.
pub(super) fn ask(ancestor: Pid) -> io::Result<()> {
    let (shells, others): (Vec<Process>, Vec<Process>) = procfs::descendants(ancestor)?
        .into_iter()
        .partition(|p| SHELLS.contains(&p.name.as_str()));
    for shell in shells {
        send(shell.pid, Signal::TERM);
    }
    for process in others {
        let catches = |signal: Signal| procfs::catches(process.pid, signal.as_raw());
        let by_int = !catches(Signal::TERM) && catches(Signal::INT);
        send(process.pid, if by_int { Signal::INT } else { Signal::TERM });
    }
    Ok(())
}

/// Kills every process below `ancestor` that is there now; gives how many. A fork in that moment may escape: call again.
pub(super) fn kill(ancestor: Pid) -> io::Result<usize> {
    let all = procfs::descendants(ancestor)?;
    all.iter()
        .for_each(|process| send(process.pid, Signal::KILL));
    Ok(all.len())
}

/// That it has ended meanwhile is no error. Its number cannot have been given to another: as subreaper we are the one
/// who would have to ask for its end first, or a parent that is itself below us and about to get a signal.
fn send(pid: Pid, signal: Signal) {
    let _ = rustix::process::kill_process(pid, signal);
}
