//! The process itself, under the names that every program uses.

use prometheus::{Counter, IntGauge};

use super::{Book, as_gauge};
use crate::Fault;

/// Counts of the kernel.
#[derive(Clone)]
pub(super) struct Process {
    resident: IntGauge,
    files: IntGauge,
    cpu: Counter,
}

impl Process {
    pub(super) fn new(book: &Book) -> Result<Self, Fault> {
        Ok(Self {
            resident: book.gauge(
                "process_resident_memory_bytes",
                "Bytes of memory that the process has.",
            )?,
            files: book.gauge("process_open_fds", "Files that the process has open.")?,
            cpu: book.keep(Counter::new(
                "process_cpu_seconds_total",
                "Processor time that the process has used.",
            ))?,
        })
    }

    /// Asks the kernel; what it does not say stays as it was.
    pub(super) fn look(&self) {
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            // Looking takes one of them.
            self.files.set(as_gauge(open.count() as u64) - 1);
        }
        let pages = std::fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.as_deref().and_then(|text| text.split(' ').nth(1));
        if let Some(resident) = pages.and_then(|pages| pages.parse::<u64>().ok()) {
            self.resident.set(as_gauge(resident * page_size()));
        }
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let used = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
        self.cpu.inc_by((used - self.cpu.get()).max(0.0));
    }
}

fn page_size() -> u64 {
    rustix::param::page_size() as u64
}
