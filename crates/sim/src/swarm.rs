//! What a seed's run is like. Each kind of fault is on or off per seed and has a strength of its own: runs in which a few kinds
//! of faults are strong find more than runs in which all are weak.

use std::collections::BTreeMap;

use crate::chance::Chance;

/// Microseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000;

/// A fault that happens again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A coordinator's process ends; what its disk had not stored is lost.
    CrashCoordinator,
    /// All coordinators lose their power at once.
    PowerCut,
    /// A coordinator's process stands still for a while.
    PauseCoordinator,
    /// A coordinator is cut off from the others, in one direction or both.
    Isolate,
    /// The coordinators fall into two parts.
    Split,
    /// A coordinator is cut off again and again.
    Flap,
    /// A worker's daemon ends; its programs go on.
    CrashDaemon,
    /// A worker's machine goes down with everything that runs on it.
    Reboot,
    /// A worker's daemon stands still for a while.
    PauseMachine,
    /// A worker's connection breaks; it may dial again at once.
    Cut,
    /// A worker cannot reach coordinators for a while.
    Partition,
    /// A coordinator's disk is slow for a while.
    SlowDisk,
    /// A coordinator's disk is full for a while.
    FullDisk,
    /// A coordinator's disk is lost, or put back to an old copy; the coordinator is replaced.
    LoseDisk,
    /// A coordinator is added or removed, or leadership is handed over.
    ChangeMembers,
    /// Somebody sets a clock.
    ClockJump,
    /// A worker is told to take no more work, for a while.
    Drain,
    /// A coordinator's program is replaced by a newer one, or by an older one.
    Upgrade,
    /// A bit on a coordinator's disk is not what was written.
    FlipBit,
    /// A worker's machine leaves for good.
    Leave,
}

impl Fault {
    pub(crate) const ALL: [Self; 17] = [
        Self::CrashCoordinator,
        Self::PowerCut,
        Self::PauseCoordinator,
        Self::Isolate,
        Self::Split,
        Self::Flap,
        Self::CrashDaemon,
        Self::Reboot,
        Self::PauseMachine,
        Self::Cut,
        Self::Partition,
        Self::SlowDisk,
        Self::FullDisk,
        Self::LoseDisk,
        Self::ChangeMembers,
        Self::ClockJump,
        Self::Drain,
    ];

    /// What it is called in counts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CrashCoordinator => "coordinator crash",
            Self::PowerCut => "power cut",
            Self::PauseCoordinator => "coordinator pause",
            Self::Isolate => "coordinator cut off",
            Self::Split => "split",
            Self::Flap => "flapping",
            Self::CrashDaemon => "daemon crash",
            Self::Reboot => "reboot",
            Self::PauseMachine => "daemon pause",
            Self::Cut => "cut",
            Self::Partition => "partition",
            Self::SlowDisk => "slow disk",
            Self::FullDisk => "full disk",
            Self::LoseDisk => "lost disk",
            Self::ChangeMembers => "change of members",
            Self::ClockJump => "clock jump",
            Self::Drain => "drain",
            Self::Upgrade => "upgrade",
            Self::FlipBit => "bit flip",
            Self::Leave => "worker that leaves",
        }
    }
}

/// The highest feature level of the newest of the simulated versions; the oldest knows 1.
pub(crate) const NEWEST_LEVEL: u32 = 3;

/// How messages travel between coordinators.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerNetwork {
    /// Longest way, in microseconds.
    pub(crate) delay_us: u64,
    /// How many in a thousand are lost.
    pub(crate) loss: u64,
    /// How many in a thousand arrive twice.
    pub(crate) duplicates: u64,
    /// How many in a thousand are seconds late.
    pub(crate) late: u64,
    /// They may overtake each other.
    pub(crate) overtakes: bool,
}

/// What a run is like.
#[derive(Debug, Clone)]
pub(crate) struct Swarm {
    /// Mean time between two faults of a kind; kinds that are off are not there.
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// For how long there are faults and new requests.
    pub(crate) chaos_us: u64,
    pub(crate) coordinators: usize,
    pub(crate) peers: PeerNetwork,
    /// Clocks of coordinators go at different rates.
    pub(crate) rates: bool,
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
    /// How many in a thousand answers about a blob are not what the source has.
    pub(crate) wrong_bytes: u64,
    /// Outputs are of more than one chunk.
    pub(crate) large_outputs: bool,
    pub(crate) snapshot_entries: u64,
    pub(crate) lost_after_us: u64,
    /// Bytes of each feed that workers keep in memory, and that may be on their way.
    pub(crate) feed_bytes: usize,
    /// Coordinators begin with an old version and are upgraded on the way.
    pub(crate) upgrades: bool,
    /// Machines of workers leave for good. Without that and without upgrades there are no feature levels.
    pub(crate) leaves: bool,
}

impl Swarm {
    /// A world in which nothing goes wrong: what scripts start from.
    pub(crate) fn quiet(coordinators: usize, machines: usize, slots: u32) -> Self {
        Self {
            faults: BTreeMap::new(),
            chaos_us: 0,
            coordinators,
            peers: PeerNetwork {
                delay_us: 1_000,
                loss: 0,
                duplicates: 0,
                late: 0,
                overtakes: false,
            },
            rates: false,
            machines,
            slots,
            clients: 0,
            think_us: SECOND,
            network_us: 1_000,
            disk_us: 1_000,
            loss: 0,
            duplicates: 0,
            trouble: 0,
            wrong_bytes: 0,
            large_outputs: false,
            snapshot_entries: 10_000,
            lost_after_us: 3 * SECOND,
            feed_bytes: 1 << 20,
            upgrades: false,
            leaves: false,
        }
    }

    /// The run of a seed.
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let mut faults = BTreeMap::new();
        // Some runs are nearly quiet, some have nearly everything.
        let share = *chance.pick(&[100, 250, 250, 450]).unwrap_or(&250);
        for fault in Fault::ALL {
            if chance.permille(share) {
                faults.insert(fault, chance.between(2 * SECOND..30 * SECOND));
            }
        }
        let rate = |chance: &mut Chance, most: u64| {
            if chance.permille(500) {
                chance.between(10..most)
            } else {
                0
            }
        };
        let peers = PeerNetwork {
            delay_us: *chance.pick(&[300, 2_000, 20_000, 200_000]).unwrap_or(&300),
            loss: rate(chance, 200),
            duplicates: rate(chance, 200),
            late: rate(chance, 30),
            overtakes: chance.permille(400),
        };
        let mut swarm = Self {
            faults,
            chaos_us: chance.between(20 * SECOND..60 * SECOND),
            coordinators: *chance.pick(&[1, 3, 3, 3, 3, 5]).unwrap_or(&3),
            peers,
            rates: chance.permille(250),
            machines: chance.between(1..5) as usize,
            slots: chance.between(1..4) as u32,
            clients: chance.between(1..4) as usize,
            think_us: chance.between(SECOND..8 * SECOND),
            network_us: *chance.pick(&[500, 5_000, 50_000, SECOND]).unwrap_or(&500),
            disk_us: *chance.pick(&[500, 5_000, 50_000]).unwrap_or(&500),
            loss: rate(chance, 300),
            duplicates: rate(chance, 300),
            trouble: if chance.permille(300) {
                chance.between(5..100)
            } else {
                0
            },
            wrong_bytes: 0,
            large_outputs: false,
            snapshot_entries: *chance.pick(&[5, 20, 100, 10_000]).unwrap_or(&5),
            lost_after_us: *chance
                .pick(&[3 * SECOND, 10 * SECOND, 30 * SECOND])
                .unwrap_or(&SECOND),
            feed_bytes: *chance.pick(&[64, 512, 1 << 20]).unwrap_or(&512),
            upgrades: false,
            leaves: false,
        };
        // Drawn apart, so that all other seeds stay what they were.
        let mut apart = Chance::new(chance.state());
        swarm.upgrades = apart.permille(250);
        if swarm.upgrades {
            let mean_us = apart.between(2 * SECOND..20 * SECOND);
            swarm.faults.insert(Fault::Upgrade, mean_us);
        }
        if apart.permille(250) {
            let mean_us = apart.between(2 * SECOND..15 * SECOND);
            swarm.faults.insert(Fault::FlipBit, mean_us);
        }
        if apart.permille(300) {
            swarm.wrong_bytes = apart.between(10..700);
        }
        swarm.large_outputs = apart.permille(50);
        swarm.leaves = apart.permille(250);
        if swarm.leaves {
            let mean_us = apart.between(3 * SECOND..20 * SECOND);
            swarm.faults.insert(Fault::Leave, mean_us);
        }
        swarm
    }

    /// Whether coordinators say what they know.
    pub(crate) fn has_levels(&self) -> bool {
        self.upgrades || self.leaves
    }

    /// How fast a coordinator's clocks go, in thousandths.
    pub(crate) fn rate(&self, chance: &mut Chance) -> u64 {
        match self.rates {
            true => chance.between(500..2_000),
            false => 1_000,
        }
    }

    /// Everything works again: no fault, nothing lost, nothing slow.
    pub(crate) fn heal(&mut self) {
        self.faults.clear();
        self.loss = 0;
        self.duplicates = 0;
        self.trouble = 0;
        self.wrong_bytes = 0;
        self.peers = PeerNetwork {
            delay_us: self.peers.delay_us.min(5_000),
            loss: 0,
            duplicates: 0,
            late: 0,
            overtakes: self.peers.overtakes,
        };
        self.network_us = self.network_us.min(5_000);
        self.disk_us = self.disk_us.min(5_000);
    }
}
