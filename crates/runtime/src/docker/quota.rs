//! How much a step has written: in its own directories, and elsewhere in its container.
//!
//! Looked at now and then, the more seldom the longer a look takes. So what is granted can be exceeded by what a program writes in between;
//! a file system with quotas would be exact, and is not to be had everywhere.

use crate::attempt::AttemptDir;
use crate::docker::{Docker, container};
use crate::runtime::OverQuota;
use bollard::query_parameters::InspectContainerOptions;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// And so many times as long as the last look took.
const REST: u32 = 20;
/// What every file and directory counts at least, in bytes: a thousand million empty files are as much of a burden.
const ENTRY: u64 = 4096;
/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

/// What is known of attempts whose writing is watched.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<HashMap<OsString, Look>>);

#[derive(Clone, Debug)]
struct Look {
    /// Where the engine keeps what the container writes, if that can be seen.
    layer: Option<PathBuf>,
    next: Instant,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, HashMap<OsString, Look>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget(&self, dir: &AttemptDir) {
        self.lock().remove(dir.name());
    }
}

impl Docker {
    /// Whether the attempt has written more than is granted. Blocks while it looks.
    pub(super) fn look_at_disk(&self, dir: &AttemptDir) -> Option<OverQuota> {
        let limit = self.config.policy.disk?;
        let began = Instant::now();
        let known = self.watched.lock().get(dir.name()).cloned();
        let layer = match known {
            Some(look) if began < look.next => return None,
            Some(look) => look.layer,
            None => self.handle.block_on(self.layer(dir)),
        };
        let mut used = 0;
        for part in [dir.outputs(), dir.repository(), dir.inputs()] {
            used += size(&part);
        }
        used += layer.as_deref().map_or(0, size);
        let next = Instant::now() + PAUSE.max(began.elapsed() * REST);
        let look = Look { layer, next };
        self.watched.lock().insert(dir.name().to_os_string(), look);
        (used > limit).then_some(OverQuota { used, limit })
    }

    async fn layer(&self, dir: &AttemptDir) -> Option<PathBuf> {
        let name = container::name(&dir.name().to_string_lossy());
        let options = None::<InspectContainerOptions>;
        let found = self.engine.inspect_container(&name, options).await.ok()?;
        let data = found.graph_driver?.data;
        data.get("UpperDir").map(PathBuf::from)
    }
}

/// Bytes below a directory; what vanishes meanwhile does not count.
fn size(path: &Path) -> u64 {
    let mut total = 0;
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    for entry in entries.flatten() {
        let Ok(found) = entry.metadata() else {
            continue;
        };
        total += ENTRY.max(found.blocks() * BLOCK);
        if found.is_dir() {
            total += size(&entry.path());
        }
    }
    total
}
