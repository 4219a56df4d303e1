//! The blobs that this worker has only fetched: which of them go when they take too much, or when the disk is full.
//!
//! What was made here, or is kept for others, never goes: the store marks what was only fetched (`disk::blobs`). Of that, the
//! longest unused goes first, and never what an attempt needs that is being prepared: it has a [`Lease`]. Once an attempt has its
//! private copies it needs none of them any more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blob::Digest;
use disk::blobs::{Blobs, Cached};

/// The least that is given up at once where a disk is found full, in bytes: it is full for others, too.
const LEAST: u64 = 64 << 20;
/// Why blobs go that are within their bound.
const FULL: &str = "the disk is full";

/// See the module's words.
#[derive(Debug)]
pub(super) struct BlobCache {
    blobs: Arc<Blobs>,
    /// Most bytes that they may take; none means no bound.
    bound: Option<u64>,
    /// Whether more may be taken than that: something was fetched since it was seen to, or could not go.
    due: AtomicBool,
    /// By how many attempts a blob is needed.
    needed: Mutex<BTreeMap<Digest, usize>>,
    /// One at a time gives up, so that no two do for the same bytes.
    turn: Mutex<()>,
    /// How many were given up so far.
    gone: AtomicU64,
}

/// Keeps blobs from being given up.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    cache: &'a BlobCache,
    digests: Vec<Digest>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut needed = lock(&self.cache.needed);
        for digest in &self.digests {
            if let Some(count) = needed.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    needed.remove(digest);
                }
            }
        }
    }
}

impl BlobCache {
    /// The fetched blobs of a store, which may take `bound` bytes.
    pub(super) fn new(blobs: Arc<Blobs>, bound: Option<u64>) -> Self {
        Self {
            blobs,
            bound,
            // They may have had another bound before.
            due: AtomicBool::new(true),
            needed: Mutex::default(),
            turn: Mutex::default(),
            gone: AtomicU64::new(0),
        }
    }

    /// Keeps these from being given up for as long as the lease lives, whether or not they are here. May wait for one that is going.
    pub(super) fn lease(&self, digests: Vec<Digest>) -> Lease<'_> {
        let mut needed = lock(&self.needed);
        for digest in &digests {
            *needed.entry(*digest).or_default() += 1;
        }
        drop(needed);
        Lease {
            cache: self,
            digests,
        }
    }

    /// Takes in that a blob was fetched.
    pub(super) fn fetched(&self) {
        self.due.store(true, Ordering::Release);
    }

    /// Gives up what is more than the bound, as far as nobody needs it. Blocks for as long as a look at all blobs and the removals take.
    pub(super) fn trim(&self) {
        let Some(bound) = self.bound else {
            return;
        };
        let _turn = lock(&self.turn);
        if !self.due.swap(false, Ordering::AcqRel) {
            return;
        }
        let excess = |all: u64| all.saturating_sub(bound);
        let went = self.shrink(excess, "more than their bound is taken");
        if went.is_none_or(|went| went.left > 0) {
            // Once the attempts that need them have what they need.
            self.due.store(true, Ordering::Release);
        }
    }

    /// Gives up at least so many bytes, as far as there is something that nobody needs; whether anything went. Blocks as [`Self::trim`].
    pub(super) fn give_up(&self, bytes: u64) -> bool {
        let _turn = lock(&self.turn);
        let went = self.shrink(|_| bytes, FULL);
        went.is_some_and(|went| went.blobs > 0)
    }

    /// As [`Self::give_up`], unless somebody has done so since so many were gone.
    fn give_up_since(&self, gone: u64, bytes: u64) -> bool {
        let _turn = lock(&self.turn);
        let went = || self.shrink(|_| bytes, FULL);
        self.gone.load(Ordering::Acquire) != gone || went().is_some_and(|went| went.blobs > 0)
    }

    /// Does something that may find the disk full, and does it again as long as something can be given up. `bytes` is about what
    /// it needs.
    ///
    /// # Errors
    /// Its own.
    pub(super) fn making_room<T, E>(
        &self,
        bytes: u64,
        is_full: impl Fn(&E) -> bool,
        mut work: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let bytes = bytes.max(LEAST);
        loop {
            let gone = self.gone.load(Ordering::Acquire);
            match work() {
                Err(error) if is_full(&error) && self.give_up_since(gone, bytes) => {}
                other => return other,
            }
        }
    }

    /// Gives up the longest unused until as much has gone as `excess` says of all that they take. None if that is not known.
    /// The caller has the turn.
    fn shrink(&self, excess: impl FnOnce(u64) -> u64, why: &str) -> Option<Went> {
        let cached = match self.blobs.cached() {
            Ok(cached) => cached,
            Err(error) => {
                tracing::warn!("the fetched blobs cannot be listed: {error}");
                return None;
            }
        };
        let all = cached.iter().map(|blob| blob.size).sum();
        let mut went = Went {
            left: excess(all),
            blobs: 0,
            bytes: 0,
        };
        for blob in cached {
            if went.left == 0 {
                break;
            }
            if self.is_given_up(&blob) {
                went.left = went.left.saturating_sub(blob.size);
                went.blobs += 1;
                went.bytes += blob.size;
            }
        }
        if went.blobs > 0 {
            self.gone.fetch_add(went.blobs as u64, Ordering::AcqRel);
            let (blobs, kib) = (went.blobs, went.bytes >> 10);
            tracing::info!("gave up {blobs} fetched blobs ({kib} KiB): {why}");
        }
        Some(went)
    }

    fn is_given_up(&self, blob: &Cached) -> bool {
        // Whoever wants a lease waits: then it is here, or gone and known to be.
        let needed = lock(&self.needed);
        if needed.contains_key(&blob.digest) {
            return false;
        }
        match self.blobs.give_up(&blob.digest) {
            Ok(gone) => gone,
            Err(error) => {
                tracing::warn!("blob {} cannot be given up: {error}", blob.digest);
                false
            }
        }
    }
}

/// What a round of giving up came to.
struct Went {
    /// Bytes that were to go and did not.
    left: u64,
    blobs: usize,
    bytes: u64,
}

/// Every change is whole, so a panic elsewhere does not matter here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use blob::ManifestBuilder;
    use std::cell::Cell;

    /// A store, and blobs of ten bytes that were fetched into it one after the other.
    fn store(names: &str) -> (tempfile::TempDir, Arc<Blobs>) {
        let temp = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(temp.path()).unwrap());
        for name in names.chars() {
            fetch(&blobs, name);
        }
        (temp, blobs)
    }

    fn bytes(name: char) -> String {
        name.to_string().repeat(10)
    }

    fn digest(name: char) -> Digest {
        Digest::of(bytes(name).as_bytes())
    }

    fn fetch(blobs: &Blobs, name: char) {
        let data = bytes(name);
        let mut builder = ManifestBuilder::new();
        builder.update(data.as_bytes());
        let (_, manifest) = builder.finish();
        let mut partial = blobs.receive(manifest.clone()).unwrap();
        let chunk = manifest.verify_chunk(0, data.as_bytes()).unwrap();
        partial.write(&chunk).unwrap();
        blobs.seal_cached(partial).unwrap();
    }

    /// Those of these that are here.
    fn here(blobs: &Blobs, names: &str) -> String {
        let here = names.chars().filter(|name| blobs.has(&digest(*name)));
        here.collect()
    }

    #[test]
    fn the_longest_unused_go_until_the_rest_is_within_the_bound() {
        // The bound, what was fetched, what of it was used again, kept, and is needed just now; what stays.
        let table = [
            (None, "abcd", "", "", "", "abcd"),
            (Some(40), "abcd", "", "", "", "abcd"),
            (Some(39), "abcd", "", "", "", "bcd"),
            (Some(20), "abcd", "", "", "", "cd"),
            (Some(20), "abcd", "a", "", "", "ad"),
            (Some(20), "abcd", "ba", "", "", "ab"),
            // What is kept counts no more.
            (Some(20), "abcd", "", "a", "", "acd"),
            (Some(20), "abcd", "", "", "a", "ad"),
            (Some(20), "abcd", "", "", "abc", "abc"),
            (Some(0), "abcd", "", "b", "c", "bc"),
            (Some(0), "abcd", "", "", "", ""),
        ];
        for (bound, fetched, used, kept, needed, stays) in table {
            let (_temp, blobs) = store(fetched);
            used.chars().for_each(|name| blobs.used(&digest(name)));
            for name in kept.chars() {
                assert!(blobs.keep(&digest(name)).unwrap());
            }
            let cache = BlobCache::new(blobs.clone(), bound);
            let lease = cache.lease(needed.chars().map(digest).collect());
            cache.trim();
            let case = (bound, used, kept, needed);
            assert_eq!(here(&blobs, fetched), stays, "{case:?}");
            drop(lease);
            // A second time, without anything new: what was only needed may go now.
            cache.trim();
            let cached: u64 = blobs.cached().unwrap().iter().map(|one| one.size).sum();
            assert!(bound.is_none_or(|bound| cached <= bound), "{case:?}");
        }
    }

    #[test]
    fn a_blob_that_two_attempts_need_is_needed_until_both_have_it() {
        let (_temp, blobs) = store("a");
        let cache = BlobCache::new(blobs.clone(), None);
        let first = cache.lease(vec![digest('a'), digest('a')]);
        let second = cache.lease(vec![digest('a'), digest('z')]);
        drop(first);
        assert!(!cache.give_up(1) && blobs.has(&digest('a')));
        drop(second);
        assert!(cache.give_up(1) && !blobs.has(&digest('a')));
        assert!(lock(&cache.needed).is_empty());
        assert!(!cache.give_up(1), "there is nothing any more");
    }

    #[test]
    fn what_is_not_over_its_bound_is_looked_at_again_once_something_was_fetched() {
        let (_temp, blobs) = store("ab");
        let cache = BlobCache::new(blobs.clone(), Some(20));
        cache.trim();
        fetch(&blobs, 'c');
        cache.trim();
        assert_eq!(here(&blobs, "abc"), "abc", "nobody said so");
        cache.fetched();
        cache.trim();
        assert_eq!(here(&blobs, "abc"), "bc");
    }

    #[test]
    fn what_finds_the_disk_full_is_done_again_while_something_can_go() {
        // How often it finds the disk full, with how much in the store; whether it is done, and what is left.
        let large = 2 * LEAST;
        for (full, done, left) in [(0, true, "ab"), (1, true, ""), (2, false, "")] {
            let (_temp, blobs) = store("ab");
            let cache = BlobCache::new(blobs.clone(), None);
            let times = Cell::new(0);
            let work = || {
                times.set(times.get() + 1);
                match times.get() > full {
                    true => Ok(()),
                    false => Err("full"),
                }
            };
            let came = cache.making_room(large, |error| *error == "full", work);
            assert_eq!((came.is_ok(), &*here(&blobs, "ab")), (done, left), "{full}");
        }
        // It finds the disk full, and meanwhile somebody else gives up all there is.
        let (_temp, blobs) = store("a");
        let cache = BlobCache::new(blobs.clone(), None);
        let came = cache.making_room(
            1,
            |_| true,
            || match cache.give_up(1) {
                true => Err("full"),
                false => Ok(()),
            },
        );
        assert_eq!(came, Ok(()));
        // What fails otherwise is not done again.
        let (_temp, blobs) = store("ab");
        let cache = BlobCache::new(blobs.clone(), None);
        let failed = cache.making_room(1, |error| *error == "full", || Err::<(), _>("broken"));
        assert_eq!((failed, &*here(&blobs, "ab")), (Err("broken"), "ab"));
    }
}
