//! The work that takes long: fetching and unpacking, hashing outputs, deleting. Each piece runs on a thread of the pool and
//! comes back to the loop as an input.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blob::Digest;
use contract::link::OutputFile;
use disk::blobs::{Blobs, Ingested};
use runtime::outputs::{self, Limits, LiveScan};
use runtime::{AttemptDir, Attempts as Directories, Runtime};
use tokio::runtime::Handle;
use worker::{CollectError, Fence, Input};

use super::attempts::Attempt;
use super::engine::Engine;
use super::prepare::{Kitchen, prepare};

/// Works for the loop.
#[derive(Clone)]
pub(super) struct Hands {
    engine: Engine,
    kitchen: Arc<Kitchen>,
    directories: Arc<Directories>,
    runtime: Arc<dyn Runtime>,
    removals: Arc<Mutex<Removals>>,
    pool: Handle,
}

/// Directories that are to be removed, by one thread one after the other: what comes meanwhile costs no thread of its own.
#[derive(Default)]
struct Removals {
    waiting: Vec<AttemptDir>,
    running: bool,
}

impl Hands {
    pub(super) fn new(
        engine: Engine,
        kitchen: Kitchen,
        directories: Arc<Directories>,
        runtime: Arc<dyn Runtime>,
        pool: Handle,
    ) -> Self {
        Self {
            engine,
            kitchen: Arc::new(kitchen),
            directories,
            runtime,
            removals: Arc::default(),
            pool,
        }
    }

    /// The loop that they work for.
    pub(super) fn engine(&self) -> Engine {
        self.engine.clone()
    }

    /// Takes in which cluster the worker is of.
    pub(super) fn belong_to(&self, cluster_id: &str) {
        if let Some(containers) = &self.kitchen.containers {
            containers.belong_to(cluster_id);
        }
    }

    /// Prepares an attempt. What takes no time is done at once and answered; else the answer comes to the loop.
    pub(super) fn prepare(&self, fence: Fence, attempt: Arc<Attempt>) -> Option<Input> {
        let assignment = &attempt.assignment;
        let is_quick = self.kitchen.containers.is_none();
        if is_quick && assignment.inputs.is_empty() && assignment.source.is_none() {
            return Some(self.prepared(fence, &attempt));
        }
        let hands = self.clone();
        self.pool.spawn_blocking(move || {
            let prepared = hands.prepared(fence, &attempt);
            hands.engine.input(prepared);
            // The program need not wait for that.
            hands.kitchen.cache.trim();
        });
        None
    }

    fn prepared(&self, fence: Fence, attempt: &Attempt) -> Input {
        let outcome = prepare(&self.kitchen, attempt).map(|ready| {
            let prepared = ready.prepared.clone();
            attempt.set_ready(ready);
            prepared
        });
        Input::Prepared { fence, outcome }
    }

    /// Stores what a program left behind. Where that is nothing it is answered at once; else the answer comes to the loop.
    pub(super) fn collect(&self, fence: Fence, attempt: Arc<Attempt>) -> Option<Input> {
        if matches!(outputs::is_empty(&attempt.dir.outputs()), Ok(true)) {
            let outcome = Ok(Vec::new());
            return Some(Input::Collected { fence, outcome });
        }
        let hands = self.clone();
        self.pool.spawn_blocking(move || {
            let outcome = collect(&hands.kitchen, &attempt);
            hands.engine.input(Input::Collected { fence, outcome });
        });
        None
    }

    /// Fetches a blob that another worker is about to take away, and keeps it. What became of it comes to the loop.
    pub(super) fn keep_copy(&self, digest: Digest, size: u64, locations: Vec<String>) {
        let hands = self.clone();
        self.pool.spawn_blocking(move || {
            let outcome = hands.kitchen.keep(&digest, size, &locations);
            match &outcome {
                Ok(()) => tracing::info!(blob = %digest, "kept for a worker that leaves"),
                Err(problem) => tracing::warn!(blob = %digest, "cannot be kept: {problem}"),
            }
            hands.engine.input(Input::CopyKept { digest, outcome });
        });
    }

    /// Looks for outputs that a running program has finished with, and stores them.
    pub(super) fn look_for_live_outputs(&self, fence: Fence, attempt: Option<Arc<Attempt>>) {
        let Some(attempt) = attempt.filter(|attempt| attempt.begin_look()) else {
            return;
        };
        let hands = self.clone();
        self.pool.spawn_blocking(move || {
            if let Some(over) = hands.runtime.over_quota(&attempt.dir) {
                let (used, limit) = (over.used, over.limit);
                hands.engine.input(Input::OverQuota { fence, used, limit });
            }
            match live(&hands.kitchen.blobs, &attempt) {
                Ok(outputs) if outputs.is_empty() => {}
                Ok(outputs) => hands.engine.input(Input::LiveOutputs { fence, outputs }),
                // What could not be stored now is found again by the next look, and at the latest by the collection.
                Err(error) => tracing::warn!(%fence, "live outputs: {error}"),
            }
            attempt.end_look();
        });
    }

    /// Removes the directory of an attempt that is forgotten.
    pub(super) fn remove(&self, directory: AttemptDir) {
        let mut removals = lock(&self.removals);
        removals.waiting.push(directory);
        if std::mem::replace(&mut removals.running, true) {
            return;
        }
        let hands = self.clone();
        self.pool.spawn_blocking(move || {
            while let Some(directory) = hands.next_removal() {
                let forgotten = hands.runtime.forget(&directory);
                let removed = forgotten.and_then(|()| hands.directories.retire(&directory));
                if let Err(error) = removed {
                    // The next start of the daemon tries again.
                    tracing::warn!(directory = %directory.path().display(), "cannot be removed: {error}");
                }
            }
        });
    }

    fn next_removal(&self) -> Option<AttemptDir> {
        let mut removals = lock(&self.removals);
        let next = removals.waiting.pop();
        removals.running = next.is_some();
        next
    }
}

/// Nobody leaves the list half changed, so a panic elsewhere does not matter here.
fn lock(removals: &Mutex<Removals>) -> MutexGuard<'_, Removals> {
    removals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn collect(kitchen: &Kitchen, attempt: &Attempt) -> Result<Vec<OutputFile>, CollectError> {
    let found = outputs::collect(
        &attempt.dir.outputs(),
        Limits::default(),
        &attempt.live_names(),
    )
    .map_err(refused)?;
    for warning in &found.warnings {
        tracing::warn!(fence = %attempt.fence, "{warning}");
    }
    let mut stored = Vec::new();
    for file in &found.files {
        let is_full = |error: &CollectError| matches!(error, CollectError::DiskFull(_));
        let ingested = kitchen.cache.making_room(file.size, is_full, || {
            let reader = found.open(file).map_err(refused)?;
            let ingested = kitchen.blobs.ingest_copy(reader);
            ingested.map_err(|error| full_or_failed(&error))
        })?;
        let properties = found.properties.get(&file.name).map(serde_json::to_string);
        stored.push(output(&file.name, &ingested, properties));
    }
    Ok(stored)
}

fn live(blobs: &Blobs, attempt: &Attempt) -> Result<Vec<OutputFile>, String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    // Kept from look to look: a file is finished when two looks find it so.
    let mut scan = attempt.scan();
    let scan = match scan.as_mut() {
        Some(scan) => scan,
        None => scan.insert(
            LiveScan::new(&attempt.dir.outputs(), Limits::default())
                .map_err(|error| say(&error))?,
        ),
    };
    let mut stored = Vec::new();
    for (file, properties) in scan.look().map_err(|error| say(&error))? {
        let reader = scan.open(&file).map_err(|error| say(&error))?;
        let ingested = blobs.ingest_copy(reader).map_err(|error| say(&error))?;
        let properties = (!properties.is_empty()).then(|| serde_json::to_string(&properties));
        let output = output(&file.name, &ingested, properties);
        // Noted before it is taken away, so that it is never in neither place.
        attempt
            .add_live_outputs(std::slice::from_ref(&output))
            .map_err(|error| say(&error))?;
        scan.remove(&file).map_err(|error| say(&error))?;
        stored.push(output);
    }
    Ok(stored)
}

fn output(
    name: &str,
    ingested: &Ingested,
    properties: Option<serde_json::Result<String>>,
) -> OutputFile {
    OutputFile {
        file_name: name.to_owned(),
        digest: ingested.digest.as_bytes().to_vec().into(),
        size_bytes: ingested.manifest.size(),
        properties_json: properties.and_then(Result::ok).unwrap_or_default(),
    }
}

fn refused(error: outputs::CollectError) -> CollectError {
    match error {
        outputs::CollectError::Io(error) => CollectError::Failed(error.to_string()),
        other => CollectError::Invalid(other.to_string()),
    }
}

fn full_or_failed(error: &disk::DiskError) -> CollectError {
    match error.is_full() {
        true => CollectError::DiskFull(error.to_string()),
        false => CollectError::Failed(error.to_string()),
    }
}
