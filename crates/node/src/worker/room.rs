//! Whether the worker's disk has room: a worker without takes no new attempts, so that a full machine does not fail one step
//! after the other that would run elsewhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use disk::{DiskError, Space, space_of};
use runtime::docker::Docker;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use worker::Input;

use super::cache::BlobCache;
use super::engine::Engine;

/// How often the disk is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// For so many looks nothing of a kind is given up after what brought no room: for a minute.
const REST: u32 = 30;
/// The most that is kept in reserve unless told otherwise, in bytes.
const MOST: u64 = 1 << 30;
/// The part of a disk that is kept in reserve unless told otherwise.
const PART: u64 = 20;

/// Tells the loop when the disk has too little room, and when it has enough again. Blobs, and then images, that were fetched and that
/// no step needs go before it comes to that.
pub(super) async fn watch(
    data_dir: PathBuf,
    reserve: Option<u64>,
    (cache, docker): (Arc<BlobCache>, Option<Arc<Docker>>),
    engine: Engine,
    stopping: CancellationToken,
) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut full = false;
    let (mut blobs, mut images) = (Way::default(), Way::default());
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = looks.tick() => {}
        }
        let look = || space_of(&data_dir);
        // As many as it takes at once: one alone may be too small to be seen.
        let give_blobs_up = |lacking| {
            let cache = cache.clone();
            let work = tokio::task::spawn_blocking(move || cache.give_up(lacking));
            async { work.await.unwrap_or(false) }
        };
        let give_image_up = |_| {
            let docker = docker.clone();
            async move {
                match docker {
                    Some(docker) => docker.give_an_image_up().await,
                    None => false,
                }
            }
        };
        let made = match blobs.make_room(reserve, look, give_blobs_up).await {
            Ok(_) => images.make_room(reserve, look, give_image_up).await,
            failed => failed,
        };
        let space = match made {
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

/// Something that can go as a way to room on the disk. Images may lie on another one, and the copies that steps have may share the
/// bytes of blobs: what brings nothing is not done on and on.
#[derive(Debug, Default)]
struct Way {
    /// So many looks are let pass before it is tried again.
    resting: u32,
}

impl Way {
    /// Gives up while the disk lacks room and that helps; `give_up` is told how many bytes lack, and answers whether anything went. What
    /// room there is then.
    async fn make_room<GaveUp: Future<Output = bool>>(
        &mut self,
        reserve: Option<u64>,
        look: impl Fn() -> Result<Space, DiskError>,
        give_up: impl Fn(u64) -> GaveUp,
    ) -> Result<Space, DiskError> {
        let mut space = look()?;
        self.resting = self.resting.saturating_sub(1);
        loop {
            let lacking = lacking(space, reserve);
            if lacking == 0 || self.resting > 0 || !give_up(lacking).await {
                return Ok(space);
            }
            let before = space.available_bytes;
            space = look()?;
            if space.available_bytes <= before {
                self.resting = REST;
            }
        }
    }
}

/// Whether less is free than is to be kept.
fn lacks_room(space: Space, reserve: Option<u64>) -> bool {
    lacking(space, reserve) > 0
}

/// How many bytes less are free than are to be kept.
fn lacking(space: Space, reserve: Option<u64>) -> u64 {
    let reserve = reserve.unwrap_or((space.total_bytes / PART).min(MOST));
    reserve.saturating_sub(space.available_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
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
        assert_eq!(lacking(space(100, 20), Some(50)), 30);
    }

    #[tokio::test]
    async fn what_can_go_does_for_as_long_as_that_brings_room() {
        use std::cell::Cell;
        // What is free, what each image brings, and with how many left it ends: the disk has 100, and 50 are kept.
        let table = [
            (60, [9, 9, 9], 3),
            (35, [9, 9, 9], 1),
            (10, [9, 9, 9], 0),
            // The second lies elsewhere.
            (10, [9, 0, 9], 1),
        ];
        for (free, brings, left) in table {
            let (free, images) = (Cell::new(free), Cell::new(brings.len()));
            let mut state = Way::default();
            let look = || {
                Ok(Space {
                    total_bytes: 100,
                    available_bytes: free.get(),
                })
            };
            let give_up = |lacking| {
                assert_eq!(lacking, 50 - free.get());
                async {
                    let Some(rest) = images.get().checked_sub(1) else {
                        return false;
                    };
                    free.set(free.get() + brings[brings.len() - images.get()]);
                    images.set(rest);
                    true
                }
            };
            let mut space = state.make_room(Some(50), look, give_up).await.unwrap();
            assert_eq!(images.get(), left, "{brings:?}");
            assert_eq!(space.available_bytes, free.get());
            // What brought nothing is tried again after a while, not at once.
            for _ in 1..REST {
                space = state.make_room(Some(50), look, give_up).await.unwrap();
                assert_eq!(images.get(), left, "{brings:?}");
            }
            state.make_room(Some(50), look, give_up).await.unwrap();
            let is_enough = !lacks_room(space, Some(50));
            assert_eq!(images.get(), if is_enough { left } else { 0 }, "{brings:?}");
        }
    }
}
