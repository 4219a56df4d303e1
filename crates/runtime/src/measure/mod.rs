//! What programs use of the machine: of a control group, of a tree of processes, of a network, and of the devices that the daemon tells of.
//!
//! Everything is read from files of the kernel, whose absence only means that the number is not known.

mod cgroup;

mod tree;

mod network;

mod machine;

pub(crate) mod readings;

pub(crate) use cgroup::used;
pub(crate) use network::traffic;
pub(crate) use tree::{self_io, tree};

pub use machine::{Machine, MachineUse};
pub use readings::{Board, ReadingSource, Readings};

use std::path::Path;

/// Amounts since a beginning, and how things are now; what is not known is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Processor time in microseconds.
    pub(crate) cpu_us: Option<u64>,
    /// Bytes of memory now.
    pub(crate) memory: Option<u64>,
    /// Most bytes of memory that may be had.
    pub(crate) memory_limit: Option<u64>,
    /// Processes now.
    pub(crate) processes: Option<u64>,
    /// Bytes read from disks.
    pub(crate) disk_read: Option<u64>,
    /// Bytes written to disks.
    pub(crate) disk_written: Option<u64>,
}

/// A small file of the kernel; none where it is not, or cannot be read.
fn text(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The number after `word` at the beginning of a line.
fn field(text: &str, word: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_whitespace().next()?.parse().ok()
}
