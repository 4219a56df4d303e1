//! Processes that are killed, stopped and asked to end.

use std::time::Duration;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::{leader, pause};
use crate::faults::Fleet;

/// How long a coordinator may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(30);

pub(super) async fn kill_leader(fleet: &mut Fleet, chance: &mut ChaCha8Rng) -> anyhow::Result<()> {
    let leader = leader(fleet, chance).await;
    fleet.coordinator(leader).kill();
    pause(chance, 500, 4_000).await;
    Ok(())
}

pub(super) async fn kill_random(fleet: &mut Fleet, chance: &mut ChaCha8Rng) {
    let one = chance.random_range(0..fleet.size());
    fleet.coordinator(one).kill();
    pause(chance, 100, 3_000).await;
}

pub(super) async fn kill_all(fleet: &mut Fleet, chance: &mut ChaCha8Rng) {
    for at in 0..fleet.size() {
        fleet.coordinator(at).kill();
    }
    pause(chance, 100, 1_500).await;
}

pub(super) async fn pause_leader(
    fleet: &mut Fleet,
    chance: &mut ChaCha8Rng,
    until: Instant,
) -> anyhow::Result<()> {
    let leader = leader(fleet, chance).await;
    fleet.coordinator(leader).signal(Signal::STOP)?;
    let rest = until.saturating_duration_since(Instant::now());
    let most = rest.clamp(Duration::from_secs(2), Duration::from_secs(30));
    pause(chance, 1_000, most.as_millis() as u64).await;
    fleet.coordinator(leader).signal(Signal::CONT)?;
    Ok(())
}

pub(super) async fn kill_worker(fleet: &mut Fleet, chance: &mut ChaCha8Rng) {
    let one = chance.random_range(0..fleet.workers());
    fleet.worker(one).kill();
    pause(chance, 100, 2_000).await;
}

/// A worker that is connected may not have anything to say for so long.
const REGULAR: Duration = Duration::from_secs(5);

/// Stopped for longer than `lost_after`: what it has is given to others, and it knows nothing of that when it wakes.
pub(super) async fn pause_worker(fleet: &mut Fleet, chance: &mut ChaCha8Rng) -> anyhow::Result<()> {
    let one = chance.random_range(0..fleet.workers());
    fleet.worker(one).signal(Signal::STOP)?;
    sleep(REGULAR + Duration::from_secs_f64(fleet.settings.lost_after)).await;
    pause(chance, 500, 3_000).await;
    fleet.worker(one).signal(Signal::CONT)?;
    Ok(())
}

pub(super) async fn rolling_restart(fleet: &mut Fleet) -> anyhow::Result<()> {
    for at in 0..fleet.size() {
        fleet.coordinator(at).terminate(GRACE).await?;
        fleet.start_coordinator(at)?;
        fleet.coordinator_serves(at).await?;
    }
    Ok(())
}

/// One clock or all of them jump, by seconds or by years, forwards or back.
pub(super) async fn clock_jump(fleet: &mut Fleet, chance: &mut ChaCha8Rng) -> anyhow::Result<()> {
    const JUMPS: [&str; 8] = ["+10y", "-10y", "+1d", "-1d", "+90s", "-90s", "+2s", "-2s"];
    let jump = JUMPS.choose(chance).copied().unwrap_or("+1d");
    if chance.random() {
        for at in 0..fleet.size() {
            fleet.set_clock(at, jump)?;
        }
    } else {
        fleet.set_clock(chance.random_range(0..fleet.size()), jump)?;
    }
    pause(chance, 500, 3_000).await;
    Ok(())
}
