//! Whether the worker's disk has room: a worker without takes no new attempts, so that a full machine does not fail one step
//! after the other that would run elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use disk::{Space, space_of};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use worker::Input;

use super::engine::Engine;

/// How often the disk is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The most that is kept in reserve unless told otherwise, in bytes.
const MOST: u64 = 1 << 30;
/// The part of a disk that is kept in reserve unless told otherwise.
const PART: u64 = 20;

/// Tells the loop when the disk has too little room, and when it has enough again.
pub(super) async fn watch(
    data_dir: PathBuf,
    reserve: Option<u64>,
    engine: Engine,
    stopping: CancellationToken,
) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut full = false;
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = looks.tick() => {}
        }
        let space = match space_of(&data_dir) {
            Ok(space) => space,
            Err(error) => {
                tracing::warn!("room on the disk is not known: {error}");
                continue;
            }
        };
        if lacks_room(space, reserve) == full {
            continue;
        }
        full = !full;
        let free_mib = space.available_bytes >> 20;
        if full {
            tracing::warn!(
                "the disk of {} has {free_mib} MiB left: no new steps until there is more",
                data_dir.display()
            );
        } else {
            tracing::info!("the disk of {} has room again", data_dir.display());
        }
        engine.input(Input::DiskFull(full));
    }
}

/// Whether less is free than is to be kept.
fn lacks_room(space: Space, reserve: Option<u64>) -> bool {
    let reserve = reserve.unwrap_or((space.total_bytes / PART).min(MOST));
    space.available_bytes < reserve
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_of_the_disk_but_at_most_a_gibibyte_is_kept() {
        let space = |total_bytes, available_bytes| Space {
            total_bytes,
            available_bytes,
        };
        assert!(lacks_room(space(100, 4), None));
        assert!(!lacks_room(space(100, 5), None));
        assert!(lacks_room(space(1 << 40, MOST - 1), None));
        assert!(!lacks_room(space(1 << 40, MOST), None));
        assert!(lacks_room(space(100, 49), Some(50)));
        assert!(!lacks_room(space(100, 0), Some(0)));
    }
}
