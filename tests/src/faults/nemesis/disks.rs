//! Disks that are full, lose their power, and are damaged.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

use super::pause;
use crate::faults::damage::copy;
use crate::faults::{Damage, Fleet};

/// Bytes that a full disk still takes: the end comes in the middle of something.
const ROOM: u64 = 100_000;

pub(super) async fn fill(fleet: &mut Fleet, chance: &mut ChaCha8Rng) -> anyhow::Result<()> {
    let one = chance.random_range(0..fleet.size());
    {
        let mut disk = fleet.disk(one)?.disk();
        let (used, _) = disk.usage();
        disk.set_capacity(Some(used + chance.random_range(0..ROOM)));
    }
    pause(chance, 1_000, 4_000).await;
    Ok(())
}

pub(super) async fn cut_power(fleet: &mut Fleet, chance: &mut ChaCha8Rng) -> anyhow::Result<()> {
    let all: Vec<usize> = (0..fleet.size()).collect();
    fleet.cut_power(&all)?;
    pause(chance, 0, 500).await;
    Ok(())
}

/// A coordinator goes down, one of its files is damaged, and it is started. If it notices, it does not serve; then its disk is put
/// back as it was when it went down.
pub(super) async fn damage(fleet: &mut Fleet, chance: &mut ChaCha8Rng) -> anyhow::Result<()> {
    let one = chance.random_range(0..fleet.size());
    let data = fleet.data(one);
    let (earlier, whole) = (data.with_file_name("earlier"), data.with_file_name("whole"));
    fleet.coordinator(one).kill();
    if !earlier.exists() {
        copy(&data, &earlier)?;
        fleet.start_coordinator(one)?;
        fleet.coordinator_serves(one).await?;
        pause(chance, 500, 2_000).await;
        fleet.coordinator(one).kill();
    }
    copy(&data, &whole)?;
    let damage = Damage::ALL
        .choose(chance)
        .copied()
        .unwrap_or(Damage::BitFlip);
    damage.inflict(&data, &earlier, chance)?;
    fleet.start_coordinator(one)?;
    if fleet.coordinator_serves(one).await.is_err() {
        fleet.coordinator(one).kill();
        copy(&whole, &data)?;
        return Ok(());
    }
    pause(chance, 500, 2_000).await;
    Ok(())
}
