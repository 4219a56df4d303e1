//! The images that this worker has fetched: how much they take, and which of them go when that is too much.
//!
//! Only what the worker fetched itself is ever removed. An image that was there before, or that somebody has since given another name, is
//! somebody else's. One that a step is about to use is held by [`Hold`]; one that a container is made of is held by the engine,
//! which refuses to remove it.
//!
//! Sizes are the engine's, so layers that two images share count twice: less is kept than could be, never more.

use bollard::models::ImageInspect;
use bollard::query_parameters::RemoveImageOptionsBuilder;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

use crate::docker::words;

/// The list's name in the data directory.
const FILE: &str = "images.json";
/// How exactly it is written down when an image was last used: which of two goes first does not hang on less.
const GRAIN: Duration = Duration::from_secs(60);

/// The fetched images of a worker.
pub(super) struct Cache {
    path: PathBuf,
    /// Most bytes that they may take; none means no bound.
    bound: Option<u64>,
    shelf: Arc<Mutex<Shelf>>,
    /// Wakes who waits for a removal to come to its end; how many have, the shelf knows.
    removals: watch::Sender<()>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Shelf {
    /// By what the engine calls them.
    images: BTreeMap<String, Kept>,
    /// How many steps are about to use one.
    #[serde(skip)]
    held: BTreeMap<String, usize>,
    /// Those that the engine is removing.
    #[serde(skip)]
    going: BTreeSet<String>,
    /// How many of them are gone, or were left.
    #[serde(skip)]
    removals: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// As they were fetched by.
    names: BTreeSet<String>,
    size_bytes: u64,
    /// When it was last wanted, in microseconds since the Unix epoch.
    used_us: u64,
    /// The same, as it is written down.
    #[serde(skip)]
    noted_us: u64,
}

/// Keeps an image from being removed.
#[derive(Clone)]
pub(crate) struct Hold(Arc<Held>);

struct Held {
    shelf: Arc<Mutex<Shelf>>,
    id: String,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hold").field(&self.0.id).finish()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.shelf).release(&self.id);
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    // Nothing is left half done in there by a panic.
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cache {
    /// Reads the list in `data_dir`. One that cannot be read is begun anew: its images stay where they are, as anybody's.
    pub(super) fn open(data_dir: &Path, bound: Option<u64>) -> Cache {
        let path = data_dir.join(FILE);
        let read = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Shelf::default()),
            Err(error) => Err(error),
        };
        let shelf = read.unwrap_or_else(|error| {
            let path = path.display();
            tracing::warn!("{path}: {error}; images fetched so far are not removed by this worker");
            Shelf::default()
        });
        Cache {
            path,
            bound,
            shelf: Arc::new(Mutex::new(shelf)),
            removals: watch::Sender::default(),
        }
    }

    /// What they take, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        lock(&self.shelf).size_bytes()
    }

    /// Whether they take more than they may.
    pub(super) fn is_over(&self) -> bool {
        self.bound.is_some_and(|bound| self.size_bytes() > bound)
    }

    /// Asks the engine for an image, and holds it. Waits while that very image is being removed.
    pub(super) async fn find(
        &self,
        engine: &bollard::Docker,
        name: &str,
    ) -> Result<(ImageInspect, Hold), bollard::errors::Error> {
        loop {
            let mut removals = self.removals.subscribe();
            let before = lock(&self.shelf).removals;
            let found = engine.inspect_image(name).await?;
            let id = found.id.clone().unwrap_or_default();
            let taken = lock(&self.shelf).take(&id, before, now_us());
            match taken {
                Some(is_news) => {
                    let shelf = self.shelf.clone();
                    let hold = Hold(Arc::new(Held { shelf, id }));
                    if is_news {
                        self.write();
                    }
                    return Ok((found, hold));
                }
                // What was found may be gone by now. The sender is this cache's own.
                None => drop(removals.changed().await),
            }
        }
    }

    /// Takes in that an image was fetched. `before` is what the engine had under that name.
    pub(super) fn fetched(&self, name: &str, before: Option<&str>, found: &ImageInspect) {
        if lock(&self.shelf).add(name, before, found, now_us()) {
            self.write();
        }
    }

    /// Removes what is too much, longest unused first.
    pub(super) async fn trim(&self, engine: &bollard::Docker) {
        let mut passed = BTreeSet::new();
        while self.is_over() {
            let Some(id) = lock(&self.shelf).longest_unused(&passed) else {
                return;
            };
            self.remove(engine, &id, "more than their bound is taken")
                .await;
            passed.insert(id);
        }
    }

    /// Removes the longest unused image that can be; false if there is none.
    pub(super) async fn give_one_up(&self, engine: &bollard::Docker) -> bool {
        let mut passed = BTreeSet::new();
        loop {
            let Some(id) = lock(&self.shelf).longest_unused(&passed) else {
                return false;
            };
            if self.remove(engine, &id, "the disk is full").await {
                return true;
            }
            passed.insert(id);
        }
    }

    /// Removes one, unless it is held, or not the worker's any more. Whether it did.
    async fn remove(&self, engine: &bollard::Docker, id: &str, why: &str) -> bool {
        if !lock(&self.shelf).begin_removal(id) {
            return false;
        }
        let is_gone = self.is_removed(engine, id).await;
        let gone = lock(&self.shelf).end_removal(id, is_gone);
        self.removals.send_replace(());
        if let Some(gone) = gone {
            self.write();
            let names: Vec<&str> = gone.names.iter().map(String::as_str).collect();
            let (names, mb) = (names.join(", "), gone.size_bytes / 1_000_000);
            tracing::info!("removed the image {names} ({mb} MB): {why}");
        }
        is_gone
    }

    async fn is_removed(&self, engine: &bollard::Docker, id: &str) -> bool {
        let removed = match engine.inspect_image(id).await {
            Ok(found) if !lock(&self.shelf).is_ours(id, &found) => {
                // Somebody named it, so it is theirs to remove.
                lock(&self.shelf).images.remove(id);
                self.write();
                return false;
            }
            Ok(_) => {
                let options = RemoveImageOptionsBuilder::default().build();
                let removed = engine.remove_image(id, Some(options), None).await;
                removed.map(drop)
            }
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => true,
            Err(error) if words::is_missing(&error) => true,
            // A container is made of it.
            Err(error) if words::is_conflict(&error) => false,
            Err(error) => {
                tracing::warn!("image {id} cannot be removed: {}", words::of(&error));
                false
            }
        }
    }

    /// Writes the list. Whoever loses it loses only which images may be removed, so it is not synced.
    fn write(&self) {
        let shelf = lock(&self.shelf);
        let partial = self.path.with_extension("partial");
        let written = serde_json::to_vec(&*shelf)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&partial, bytes))
            .and_then(|()| fs::rename(&partial, &self.path));
        if let Err(error) = written {
            tracing::warn!("{}: {error}", self.path.display());
        }
    }
}

impl Shelf {
    fn size_bytes(&self) -> u64 {
        let staying = self
            .images
            .iter()
            .filter(|(id, _)| !self.going.contains(*id));
        staying.map(|(_, kept)| kept.size_bytes).sum()
    }

    /// Holds an image that was found when so many removals had ended, and notes that it is used. Whether that is to be written down; none
    /// if it may be gone by now.
    fn take(&mut self, id: &str, removals: u64, now_us: u64) -> Option<bool> {
        if self.going.contains(id) || self.removals != removals {
            return None;
        }
        *self.held.entry(id.to_owned()).or_default() += 1;
        let Some(kept) = self.images.get_mut(id) else {
            return Some(false);
        };
        kept.used_us = now_us;
        let is_news = now_us.abs_diff(kept.noted_us) >= GRAIN.as_micros() as u64;
        if is_news {
            kept.noted_us = now_us;
        }
        Some(is_news)
    }

    /// Whether it may be removed: until that has ended nobody gets it.
    fn begin_removal(&mut self, id: &str) -> bool {
        !self.held.contains_key(id)
            && self.images.contains_key(id)
            && self.going.insert(id.to_owned())
    }

    /// What was removed, if it was.
    fn end_removal(&mut self, id: &str, is_gone: bool) -> Option<Kept> {
        self.going.remove(id);
        self.removals += 1;
        match is_gone {
            true => self.images.remove(id),
            false => None,
        }
    }

    fn release(&mut self, id: &str) {
        if let Some(count) = self.held.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(id);
            }
        }
    }

    /// Whether an image that was fetched came by that, and is the worker's own from now on.
    fn add(&mut self, name: &str, before: Option<&str>, found: &ImageInspect, now_us: u64) -> bool {
        let Some(id) = found.id.as_deref() else {
            return false;
        };
        let is_known = self.images.contains_key(id);
        if !is_known && before == Some(id) {
            return false;
        }
        let kept = self.images.entry(id.to_owned()).or_insert_with(|| Kept {
            names: BTreeSet::new(),
            size_bytes: 0,
            used_us: now_us,
            noted_us: now_us,
        });
        kept.names.insert(plain(name));
        kept.size_bytes = found.size.unwrap_or_default().max(0) as u64;
        (kept.used_us, kept.noted_us) = (now_us, now_us);
        // Under another name it was there before.
        if !is_known && !self.is_ours(id, found) {
            self.images.remove(id);
            return false;
        }
        true
    }

    /// Whether nobody has given it a name but the worker.
    fn is_ours(&self, id: &str, found: &ImageInspect) -> bool {
        let Some(kept) = self.images.get(id) else {
            return false;
        };
        let mut tags = found.repo_tags.iter().flatten();
        tags.all(|tag| kept.names.contains(&plain(tag)))
    }

    fn longest_unused(&self, passed: &BTreeSet<String>) -> Option<String> {
        let free = self.images.iter().filter(|(id, _)| {
            !self.held.contains_key(*id) && !self.going.contains(*id) && !passed.contains(*id)
        });
        free.min_by_key(|(_, kept)| kept.used_us)
            .map(|(id, _)| id.clone())
    }
}

/// A name of an image as all ways to write it are: `docker.io/library/python` and `python` are `python:latest`.
fn plain(name: &str) -> String {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    match super::image::has_tag_or_digest(name) {
        true => name.to_owned(),
        false => format!("{name}:latest"),
    }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn image(id: &str, size: i64, tags: &[&str]) -> ImageInspect {
        ImageInspect {
            id: Some(id.to_owned()),
            size: Some(size),
            repo_tags: Some(tags.iter().map(|&tag| tag.to_owned()).collect()),
            ..ImageInspect::default()
        }
    }

    #[test]
    fn one_image_has_many_names() {
        let table = [
            ("python", "python:latest"),
            ("docker.io/library/python:3.12", "python:3.12"),
            ("docker.io/valohai/x:1", "valohai/x:1"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("ghcr.io/a/b@sha256:00", "ghcr.io/a/b@sha256:00"),
        ];
        for (name, expected) in table {
            assert_eq!(plain(name), expected, "{name}");
        }
    }

    #[test]
    fn only_what_the_worker_fetched_is_its_own() {
        // Name, what was there under it, the tags that were found: whether it counts.
        let table: [(&str, Option<&str>, &[&str], bool); 6] = [
            ("a:1", None, &["a:1"], true),
            ("a", Some("older"), &["docker.io/library/a:latest"], true),
            ("a@sha256:00", None, &[], true),
            ("a:1", Some("id"), &["a:1"], false),
            ("a:1", None, &["a:1", "mine:1"], false),
            ("a@sha256:00", None, &["mine:1"], false),
        ];
        for (name, before, tags, expected) in table {
            let mut shelf = Shelf::default();
            let added = shelf.add(name, before, &image("id", 7, tags), 1);
            assert_eq!(added, expected, "{name} {tags:?}");
            assert_eq!(shelf.size_bytes(), if expected { 7 } else { 0 });
        }
        // Fetched a second time, or by another name, it stays so; named by somebody, it does not.
        let mut shelf = Shelf::default();
        assert!(shelf.add("a:1", None, &image("id", 7, &["a:1"]), 1));
        assert!(shelf.add("a:1", Some("id"), &image("id", 7, &["a:1"]), 2));
        assert!(shelf.add("b:1", None, &image("id", 7, &["a:1", "b:1"]), 3));
        assert!(shelf.is_ours("id", &image("id", 7, &["b:1"])));
        assert!(!shelf.is_ours("id", &image("id", 7, &["b:1", "mine:1"])));
    }

    #[test]
    fn the_longest_unused_that_nobody_holds_goes_first() {
        let mut shelf = Shelf::default();
        let second = 1_000_000;
        for (id, used) in [("a", 1000), ("b", 1010), ("c", 1020)] {
            let tag = format!("{id}:latest");
            assert!(shelf.add(id, None, &image(id, 10, &[&tag]), used * second));
        }
        let none = BTreeSet::new();
        assert_eq!(shelf.longest_unused(&none).as_deref(), Some("a"));
        assert_eq!(
            shelf.take("a", 0, 1030 * second),
            Some(false),
            "not worth a note"
        );
        assert_eq!(shelf.longest_unused(&none).as_deref(), Some("b"));
        assert_eq!(shelf.take("a", 0, 1060 * second), Some(true), "worth one");
        shelf.release("a");
        assert!(!shelf.begin_removal("a"), "the other holds it");
        shelf.release("a");
        assert_eq!(shelf.longest_unused(&none).as_deref(), Some("b"));
        let passed = BTreeSet::from(["b".to_owned()]);
        assert_eq!(shelf.longest_unused(&passed).as_deref(), Some("c"));
    }

    #[test]
    fn nobody_gets_an_image_that_is_being_removed_or_was_found_before_another_was() {
        let mut shelf = Shelf::default();
        for id in ["a", "b"] {
            let tag = format!("{id}:latest");
            assert!(shelf.add(id, None, &image(id, 10, &[&tag]), 0));
        }
        assert!(shelf.begin_removal("a") && !shelf.begin_removal("a"));
        assert_eq!(shelf.size_bytes(), 10, "nothing else goes for its sake");
        assert_eq!(shelf.longest_unused(&BTreeSet::new()).as_deref(), Some("b"));
        assert_eq!(shelf.take("a", 0, 1), None);
        assert_eq!(shelf.take("b", 0, 1), Some(false));
        // A container is made of it, it turns out.
        assert_eq!(shelf.end_removal("a", false), None);
        assert_eq!(shelf.size_bytes(), 20);
        assert_eq!(shelf.take("a", 0, 1), None, "found before the end");
        assert_eq!(shelf.take("a", 1, 1), Some(false));
        shelf.release("a");
        assert!(shelf.begin_removal("a"));
        assert!(shelf.end_removal("a", true).is_some());
        assert_eq!(shelf.size_bytes(), 10);
        assert!(!shelf.begin_removal("a"), "it is gone");
    }

    #[test]
    fn the_list_outlives_the_worker_and_a_torn_one_is_begun_anew() {
        let temp = tempfile::tempdir().unwrap();
        let cache = Cache::open(temp.path(), None);
        cache.fetched("a:1", None, &image("id", 7, &["a:1"]));
        assert_eq!(Cache::open(temp.path(), None).size_bytes(), 7);
        fs::write(temp.path().join(FILE), b"{\"images\":").unwrap();
        assert_eq!(Cache::open(temp.path(), None).size_bytes(), 0);
    }
}
