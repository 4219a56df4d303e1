//! Coordinators that are replaced.

use rand_chacha::ChaCha8Rng;

use super::pause;
use crate::faults::Fleet;

/// A coordinator is gone for good, with its disk; another one takes its place.
pub(super) async fn replace(fleet: &mut Fleet, chance: &mut ChaCha8Rng) -> anyhow::Result<()> {
    let one = super::leader(fleet, chance).await;
    fleet.replace_coordinator(one).await?;
    pause(chance, 500, 2_000).await;
    Ok(())
}
