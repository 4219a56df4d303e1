//! What a seed's run is like. Each kind of fault is on or off per seed and has a strength of its own: runs in which a few kinds
//! of faults are strong find more than runs in which all are weak.

use std::collections::BTreeMap;

use crate::chance::Chance;

/// Microseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000;

/// A fault that happens again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The coordinator's process ends; what its disk had not stored is lost.
    CrashCoordinator,
    /// A worker's daemon ends; its programs go on.
    CrashDaemon,
    /// A worker's machine goes down with everything that runs on it.
    Reboot,
    /// A worker's connection breaks; it may dial again at once.
    Cut,
    /// A worker cannot reach the coordinator for a while.
    Partition,
    /// The coordinator's disk is slow for a while.
    SlowDisk,
    /// Somebody sets a clock.
    ClockJump,
    /// A worker is told to take no more work, for a while.
    Drain,
}

impl Fault {
    pub(crate) const ALL: [Self; 8] = [
        Self::CrashCoordinator,
        Self::CrashDaemon,
        Self::Reboot,
        Self::Cut,
        Self::Partition,
        Self::SlowDisk,
        Self::ClockJump,
        Self::Drain,
    ];

    /// What it is called in counts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CrashCoordinator => "coordinator crash",
            Self::CrashDaemon => "daemon crash",
            Self::Reboot => "reboot",
            Self::Cut => "cut",
            Self::Partition => "partition",
            Self::SlowDisk => "slow disk",
            Self::ClockJump => "clock jump",
            Self::Drain => "drain",
        }
    }
}

/// What a run is like.
#[derive(Debug, Clone)]
pub(crate) struct Swarm {
    /// Mean time between two faults of a kind; kinds that are off are not there.
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// For how long there are faults and new requests.
    pub(crate) chaos_us: u64,
    pub(crate) machines: usize,
    /// Slots of each machine.
    pub(crate) slots: u32,
    pub(crate) clients: usize,
    /// Mean time between two requests of a client.
    pub(crate) think_us: u64,
    /// Longest way of a message.
    pub(crate) network_us: u64,
    /// Longest write of the coordinator's disk.
    pub(crate) disk_us: u64,
    /// How many in a thousand requests and answers are lost.
    pub(crate) loss: u64,
    /// How many in a thousand requests arrive twice.
    pub(crate) duplicates: u64,
    /// How many in a thousand things that a worker does fail: a full disk, no process to be had.
    pub(crate) trouble: u64,
    pub(crate) snapshot_entries: u64,
    pub(crate) lost_after_us: u64,
    /// Bytes of each feed that workers keep in memory, and that may be on their way.
    pub(crate) feed_bytes: usize,
}

impl Swarm {
    /// A world in which nothing goes wrong: what scripts start from.
    pub(crate) fn quiet(machines: usize, slots: u32) -> Self {
        Self {
            faults: BTreeMap::new(),
            chaos_us: 0,
            machines,
            slots,
            clients: 0,
            think_us: SECOND,
            network_us: 1_000,
            disk_us: 1_000,
            loss: 0,
            duplicates: 0,
            trouble: 0,
            snapshot_entries: 10_000,
            lost_after_us: 3 * SECOND,
            feed_bytes: 1 << 20,
        }
    }

    /// The run of a seed.
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let mut faults = BTreeMap::new();
        for fault in Fault::ALL {
            if chance.permille(450) {
                faults.insert(fault, chance.between(2 * SECOND..30 * SECOND));
            }
        }
        let rate = |chance: &mut Chance| {
            if chance.permille(500) {
                chance.between(10..300)
            } else {
                0
            }
        };
        Self {
            faults,
            chaos_us: chance.between(20 * SECOND..60 * SECOND),
            machines: chance.between(1..5) as usize,
            slots: chance.between(1..4) as u32,
            clients: chance.between(1..4) as usize,
            think_us: chance.between(SECOND..8 * SECOND),
            network_us: *chance.pick(&[500, 5_000, 50_000, SECOND]).unwrap_or(&500),
            disk_us: *chance.pick(&[500, 5_000, 50_000]).unwrap_or(&500),
            loss: rate(chance),
            duplicates: rate(chance),
            trouble: if chance.permille(300) {
                chance.between(5..100)
            } else {
                0
            },
            snapshot_entries: *chance.pick(&[5, 20, 100, 10_000]).unwrap_or(&5),
            lost_after_us: *chance
                .pick(&[3 * SECOND, 10 * SECOND, 30 * SECOND])
                .unwrap_or(&SECOND),
            feed_bytes: *chance.pick(&[64, 512, 1 << 20]).unwrap_or(&512),
        }
    }

    /// Everything works again: no fault, nothing lost, nothing slow.
    pub(crate) fn heal(&mut self) {
        self.faults.clear();
        self.loss = 0;
        self.duplicates = 0;
        self.trouble = 0;
        self.network_us = self.network_us.min(5_000);
        self.disk_us = self.disk_us.min(5_000);
    }
}
