//! Measures the program while it runs: a sample at the end of each span, the first after one whole span, so that short programs cost nothing.
//!
//! In a container everything is its own: the control group, the network. A plain process shares those with the machine, so what it uses is
//! summed over the processes below the shim. Where the programs are many, that takes a while, and is done the more seldom.

use crate::clock::micros;
use crate::measure::{self, Used, readings};
use crate::program::Metrics;
use crate::sys;
use feed::Sample;
use rustix::process::Pid;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// A plain program that has run for this long is worth finding out what its shim had read and written before: the shim served others.
const BASE_AFTER: Duration = Duration::from_millis(50);
/// Measuring takes at most one part in so many of one processor's time.
const PART: u32 = 100;
/// Where a container sees its own control group.
const CONTROL_GROUP: &str = "/sys/fs/cgroup";

/// Amounts up to now.
#[derive(Clone, Copy, Debug, Default)]
struct Amounts {
    cpu_us: Option<u64>,
    disk_read: Option<u64>,
    disk_written: Option<u64>,
    received: Option<u64>,
    sent: Option<u64>,
}

/// See the module's words.
pub(super) struct Meter<'a> {
    asked: &'a Metrics,
    /// This is the first process of a container.
    is_confined: bool,
    own: Pid,
    began: Instant,
    /// When something is to be done next.
    due: Instant,
    /// Until when was measured.
    until: Instant,
    before: Amounts,
    /// What this process had used before the program was there, for itself and others.
    base_cpu_us: u64,
    base_io: Option<(u64, u64)>,
    has_base: bool,
    board: Option<File>,
}

impl<'a> Meter<'a> {
    /// Measures a program that was started just now. `board` is where readings of its devices are seen, if it cannot be opened from here.
    pub(super) fn new(
        asked: &'a Metrics,
        is_confined: bool,
        own: Pid,
        began: Instant,
        board: Option<File>,
    ) -> Meter<'a> {
        let first = match is_confined {
            true => Duration::from_millis(asked.span_ms),
            false => BASE_AFTER.min(Duration::from_millis(asked.span_ms)),
        };
        Meter {
            asked,
            is_confined,
            own,
            began,
            due: began + first,
            until: began,
            before: Amounts::default(),
            base_cpu_us: sys::children_cpu_us(),
            base_io: None,
            has_base: is_confined,
            board,
        }
    }

    /// When to come again.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Measures, if it is time.
    pub(super) fn sample(&mut self, now: Instant) -> Option<Sample> {
        if now < self.due {
            return None;
        }
        if !self.has_base {
            self.has_base = true;
            self.base_io = measure::self_io();
            let first = self.began + Duration::from_millis(self.asked.span_ms);
            self.due = first.max(now);
            if now < first {
                return None;
            }
        }
        let (used, amounts) = self.look();
        let sample = self.since(now, used, amounts);
        self.before = amounts;
        self.until = now;
        let took = now.elapsed();
        let asked_us = self.asked.span_ms.saturating_mul(1_000);
        let age = now.saturating_duration_since(self.began);
        let span = Duration::from_micros(feed::span_us(asked_us, age.as_micros() as u64));
        self.due = now + span.max(took * PART);
        Some(sample)
    }

    /// How things are, and all amounts up to now.
    fn look(&self) -> (Used, Amounts) {
        let group = self
            .is_confined
            .then(|| measure::used(Path::new(CONTROL_GROUP)))
            .flatten();
        let used = group.unwrap_or_else(|| self.tree());
        let traffic = self.asked.own_network.then(measure::traffic).flatten();
        let amounts = Amounts {
            cpu_us: used.cpu_us,
            disk_read: used.disk_read,
            disk_written: used.disk_written,
            received: traffic.map(|(received, _)| received),
            sent: traffic.map(|(_, sent)| sent),
        };
        (used, amounts)
    }

    /// Those that live, and those that this process has asked about. What it writes itself is the program's log, and counts.
    fn tree(&self) -> Used {
        let mut used = measure::tree(self.own).unwrap_or_default();
        let ended_us = sys::children_cpu_us().saturating_sub(self.base_cpu_us);
        used.cpu_us = used.cpu_us.map(|us| us + ended_us);
        if let (Some(now), Some(base)) = (measure::self_io(), self.base_io) {
            let add = |living: Option<u64>, now: u64, base: u64| {
                Some(living.unwrap_or(0) + now.saturating_sub(base))
            };
            used.disk_read = add(used.disk_read, now.0, base.0);
            used.disk_written = add(used.disk_written, now.1, base.1);
        }
        used
    }

    fn since(&self, now: Instant, used: Used, amounts: Amounts) -> Sample {
        let since =
            |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before.unwrap_or(0)));
        let before = self.before;
        Sample {
            span_us: now.saturating_duration_since(self.until).as_micros() as u64,
            cpu_us: since(amounts.cpu_us, before.cpu_us),
            memory_bytes: used.memory,
            memory_limit_bytes: used.memory_limit,
            process_count: used.processes,
            disk_read_bytes: since(amounts.disk_read, before.disk_read),
            disk_written_bytes: since(amounts.disk_written, before.disk_written),
            network_received_bytes: since(amounts.received, before.received),
            network_sent_bytes: since(amounts.sent, before.sent),
            devices: self.devices(),
        }
    }

    fn devices(&self) -> Vec<feed::Reading> {
        if self.asked.devices.is_empty() {
            return Vec::new();
        }
        let span = Duration::from_millis(self.asked.span_ms);
        let now_us = micros(SystemTime::now());
        let look = |board: &File| readings::look(board, span, now_us, &self.asked.devices);
        match &self.board {
            Some(board) => look(board),
            // A daemon that starts anew may have made it anew.
            None => File::open(&self.asked.board).map_or_else(|_| Vec::new(), |board| look(&board)),
        }
    }
}
