//! What breaks things, one after another, and mends them again.

mod network;

mod disks;

mod processes;

mod members;

use std::fmt;
use std::time::Duration;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep};

use super::Fleet;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nemesis {
    /// Nothing: what a run looks like when all is well.
    Calm,
    /// The leader is killed as by a crash.
    KillLeader,
    /// Any coordinator is.
    KillRandom,
    /// All are, at once.
    KillAll,
    /// The leader is stopped for some seconds and goes on as if nothing had been.
    PauseLeader,
    /// The leader is cut off from the other coordinators.
    PartitionLeader,
    /// What one coordinator sends to the others does not arrive, or what they send to it.
    OneWay,
    /// Two coordinators are cut off from each other; the third reaches both.
    Bridge,
    /// Everything comes late, and now and then nothing for a while.
    Delay,
    /// Coordinators have one megabit a second.
    Throttle,
    /// Connections are reset.
    Reset,
    /// The daemon of a worker is killed; its steps go on.
    KillWorker,
    /// A worker is stopped until it counts as lost, and wakes.
    PauseWorker,
    /// The disk of a coordinator is full for a while.
    DiskFull,
    /// The power of all coordinators fails at one moment.
    PowerCut,
    /// A file of one coordinator is damaged while it is down.
    Damage,
    /// Clocks jump.
    ClockJump,
    /// Coordinators are asked to end and started again, one after the other.
    RollingRestart,
    /// A coordinator is replaced by a new one with an empty disk.
    ReplaceMember,
}

impl Nemesis {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Calm,
        Self::KillLeader,
        Self::KillRandom,
        Self::KillAll,
        Self::PauseLeader,
        Self::PartitionLeader,
        Self::OneWay,
        Self::Bridge,
        Self::Delay,
        Self::Throttle,
        Self::Reset,
        Self::KillWorker,
        Self::PauseWorker,
        Self::DiskFull,
        Self::PowerCut,
        Self::Damage,
        Self::ClockJump,
        Self::RollingRestart,
        Self::ReplaceMember,
    ];

    /// The nemesis of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|nemesis| nemesis.to_string() == name)
    }

    /// Whether it needs disks that forget.
    pub fn needs_disks(self) -> bool {
        matches!(self, Self::DiskFull | Self::PowerCut)
    }

    /// Whether it needs clocks that can be set.
    pub fn needs_clocks(self) -> bool {
        self == Self::ClockJump
    }

    /// Whether attempts may be lost by it, and others made.
    pub fn may_cost_attempts(self) -> bool {
        self == Self::PauseWorker
    }

    /// Breaks things until `is_over`, which is about at `until`, and mends them. How many faults there were.
    ///
    /// # Errors
    /// When something does not come back after it was mended.
    pub async fn rage(
        self,
        fleet: &mut Fleet,
        chance: &mut ChaCha8Rng,
        until: Instant,
        is_over: impl Fn() -> bool,
    ) -> anyhow::Result<u64> {
        let mut faults = 0;
        while !is_over() {
            pause(chance, 500, 1_500).await;
            match self {
                Self::Calm => {}
                Self::KillLeader => processes::kill_leader(fleet, chance).await?,
                Self::KillRandom => processes::kill_random(fleet, chance).await,
                Self::KillAll => processes::kill_all(fleet, chance).await,
                Self::PauseLeader => processes::pause_leader(fleet, chance, until).await?,
                Self::KillWorker => processes::kill_worker(fleet, chance).await,
                Self::PauseWorker => processes::pause_worker(fleet, chance).await?,
                Self::RollingRestart => processes::rolling_restart(fleet).await?,
                Self::ClockJump => processes::clock_jump(fleet, chance).await?,
                Self::PartitionLeader => network::partition_leader(fleet, chance).await,
                Self::OneWay => network::one_way(fleet, chance).await,
                Self::Bridge => network::bridge(fleet, chance).await,
                Self::Delay => network::delay(fleet, chance).await,
                Self::Throttle => network::throttle(fleet, chance).await,
                Self::Reset => network::reset(fleet, chance).await,
                Self::DiskFull => disks::fill(fleet, chance).await?,
                Self::PowerCut => disks::cut_power(fleet, chance).await?,
                Self::Damage => disks::damage(fleet, chance).await?,
                Self::ReplaceMember => members::replace(fleet, chance).await?,
            }
            faults += u64::from(self != Self::Calm);
            fleet.heal().await?;
        }
        Ok(faults)
    }
}

impl fmt::Display for Nemesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Calm => "calm",
            Self::KillLeader => "kill-leader",
            Self::KillRandom => "kill-random",
            Self::KillAll => "kill-all",
            Self::PauseLeader => "pause-leader",
            Self::PartitionLeader => "partition-leader",
            Self::OneWay => "one-way",
            Self::Bridge => "bridge",
            Self::Delay => "delay",
            Self::Throttle => "throttle",
            Self::Reset => "reset",
            Self::KillWorker => "kill-worker",
            Self::PauseWorker => "pause-worker",
            Self::DiskFull => "disk-full",
            Self::PowerCut => "power-cut",
            Self::Damage => "damage",
            Self::ClockJump => "clock-jump",
            Self::RollingRestart => "rolling-restart",
            Self::ReplaceMember => "replace-member",
        })
    }
}

/// Lets some time pass, in milliseconds.
async fn pause(chance: &mut ChaCha8Rng, least: u64, most: u64) {
    sleep(Duration::from_millis(chance.random_range(least..=most))).await;
}

/// The leader; any coordinator while nobody knows of one.
async fn leader(fleet: &Fleet, chance: &mut ChaCha8Rng) -> usize {
    match fleet.leader().await {
        Some(leader) => leader,
        None => chance.random_range(0..fleet.size()),
    }
}
