//! Who has the bytes of data: the worker that stored them, and those that have recorded a copy.
//!
//! ```text
//! holders(blob) = { worker of each datum that points at it } ∪ copies(blob)
//! ```
//!
//! Only the copies are recorded for themselves; the rest follows from the data. A holder may be away, or lost: whoever asks looks at the worker.

use std::sync::Arc;

use contract::ledger as pb;
use imbl::{OrdMap, OrdSet};
use prost::bytes::Bytes;

use crate::ledger::Ledger;
use crate::records::{Worker, digest, share};
use crate::snapshot::RestoreError;

/// BLAKE3 digest of a blob.
pub type Digest = [u8; 32];

/// The bytes that one or more data point at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Names of those that have it, in order, each once.
    holders: Arc<[Arc<str>]>,
}

impl Blob {
    /// Names of the workers that have it, in order, each once.
    pub fn holders(&self) -> &[Arc<str>] {
        &self.holders
    }
}

/// Every blob, and what each worker has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    blobs: OrdMap<Digest, Blob>,
    by_worker: OrdMap<Arc<str>, OrdSet<Digest>>,
    /// Recorded: workers that keep a copy, in order, each once.
    copies: OrdMap<Digest, Arc<[Arc<str>]>>,
}

impl Stored {
    /// A worker has a blob.
    pub(crate) fn insert(&mut self, digest: Digest, size_bytes: u64, worker: &Arc<str>) {
        let blob = self.blobs.entry(digest).or_insert_with(|| Blob {
            size_bytes,
            holders: Arc::default(),
        });
        blob.holders = with(&blob.holders, worker);
        let all = self.by_worker.entry(worker.clone()).or_default();
        all.insert(digest);
    }

    /// A worker keeps a copy of a blob; whether that is new. Nothing happens when there is no such blob.
    pub(crate) fn insert_copy(&mut self, digest: Digest, worker: &Arc<str>) -> bool {
        let Some(blob) = self.blobs.get(&digest) else {
            return false;
        };
        if blob.holders.contains(worker) {
            return false;
        }
        let size_bytes = blob.size_bytes;
        self.insert(digest, size_bytes, worker);
        let copies = self.copies.entry(digest).or_default();
        *copies = with(copies, worker);
        true
    }

    /// Takes in what a snapshot says of a copy, once the data are there.
    pub(crate) fn restore_copy(
        &mut self,
        record: &pb::CopyRecord,
        name: impl Fn(&str) -> Arc<str>,
    ) -> Result<(), RestoreError> {
        let digest = digest(&record.digest).ok_or(RestoreError::Malformed("copy.digest"))?;
        let Some(size_bytes) = self.blobs.get(&digest).map(|blob| blob.size_bytes) else {
            let what = "a copy of a blob that no datum points at";
            return Err(RestoreError::Contradiction(what.to_owned()));
        };
        for worker in &record.workers {
            let worker = name(worker);
            self.insert(digest, size_bytes, &worker);
            let copies = self.copies.entry(digest).or_default();
            *copies = with(copies, &worker);
        }
        Ok(())
    }

    /// The copies, by digest.
    pub(crate) fn copies(&self) -> impl Iterator<Item = (&Digest, &[Arc<str>])> {
        let copies = self.copies.iter();
        copies.map(|(digest, workers)| (digest, &**workers))
    }

    pub(crate) fn copy_records(&self) -> Vec<pb::CopyRecord> {
        let record = |(digest, workers): (&Digest, &[Arc<str>])| pb::CopyRecord {
            digest: Bytes::copy_from_slice(digest),
            workers: workers.iter().map(|worker| worker.to_string()).collect(),
        };
        self.copies().map(record).collect()
    }

    /// What follows from these data and these copies; for comparison.
    pub(crate) fn follows(ledger: &Ledger) -> Self {
        let mut stored = Self::default();
        for datum in ledger.data.values() {
            stored.insert(datum.digest, datum.size_bytes, &datum.worker);
        }
        for (digest, workers) in ledger.stored.copies() {
            for worker in workers {
                let size_bytes = stored.blobs.get(digest).map(|blob| blob.size_bytes);
                stored.insert(*digest, size_bytes.unwrap_or_default(), worker);
            }
        }
        stored.copies = ledger.stored.copies.clone();
        stored
    }

    /// Whether it says the same of who has what.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        self.blobs == other.blobs && self.by_worker == other.by_worker
    }
}

/// The names with one more among them.
fn with(names: &Arc<[Arc<str>]>, name: &Arc<str>) -> Arc<[Arc<str>]> {
    match names.binary_search(name) {
        Ok(_) => names.clone(),
        Err(at) => {
            let (before, after) = names.split_at(at);
            let all = before.iter().chain([name]).chain(after);
            all.cloned().collect()
        }
    }
}

// Getters.
impl Ledger {
    /// The bytes that data of this digest have; none when there is no such datum.
    pub fn blob(&self, digest: &Digest) -> Option<&Blob> {
        self.stored.blobs.get(digest)
    }

    /// The workers that have the bytes of this digest, by name; none when there is no such datum. Each may be away, leaving or lost.
    pub fn holders(&self, digest: &Digest) -> impl Iterator<Item = &Worker> {
        let blob = self.blob(digest);
        let names = blob.into_iter().flat_map(Blob::holders);
        names.filter_map(|name| self.worker(name))
    }

    /// The copies that were recorded, by digest: names of the workers that keep one.
    pub fn copies(&self) -> impl Iterator<Item = (&Digest, &[Arc<str>])> {
        self.stored.copies()
    }

    /// How many blobs of data a worker has.
    pub fn stored_count(&self, worker: &str) -> usize {
        self.stored.by_worker.get(worker).map_or(0, OrdSet::len)
    }

    /// The blobs of data that a worker has, by digest, from `from` on.
    pub fn stored_from(
        &self,
        worker: &str,
        from: Digest,
    ) -> impl Iterator<Item = (&Digest, &Blob)> {
        let all = self.stored.by_worker.get(worker);
        all.into_iter()
            .flat_map(move |all| all.range(from..))
            .filter_map(|digest| Some((digest, self.stored.blobs.get(digest)?)))
    }

    /// Whether no other worker that stays has a blob: it goes with this one.
    pub fn is_only_at(&self, blob: &Blob, worker: &str) -> bool {
        let others = blob.holders.iter().filter(|holder| ***holder != *worker);
        let mut others = others.filter_map(|holder| self.worker(holder));
        !others.any(|holder| holder.stays())
    }

    /// How many blobs of data are on no other worker that stays, counted up to `most`. Takes time that grows with what the worker has.
    pub fn sole_count(&self, worker: &str, most: usize) -> usize {
        let all = self.stored_from(worker, Digest::default());
        let sole = all.filter(|(_, blob)| self.is_only_at(blob, worker));
        sole.take(most).count()
    }

    /// The name of a worker as it is shared.
    pub(crate) fn worker_name(&self, name: &str) -> Arc<str> {
        let known = self.worker(name);
        known.map_or_else(|| share(name), |worker| worker.name.clone())
    }
}
