//! What is being done for attempts whose program does not run yet, in words for people: the image that is pulled, the input that is fetched.
//! Coordinators are told with the rest of how busy the machine is; nothing is decided by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::link::AttemptActivity;
use worker::Fence;

/// Longer words are cut: names of images and inputs are whoever's who wrote the file.
const MAX_CHARS: usize = 200;

/// What is being done, of all attempts.
#[derive(Clone, Debug, Default)]
pub(super) struct Activities(Arc<Mutex<BTreeMap<(Fence, Part), String>>>);

/// Both go on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The image is pulled.
    Image,
    /// The source tree and the inputs are fetched.
    Files,
}

/// Says what is being done for one attempt, until it is dropped.
#[derive(Debug)]
pub(super) struct Activity {
    all: Activities,
    key: (Fence, Part),
}

impl Activities {
    /// Begins to say nothing.
    pub(super) fn of(&self, fence: Fence, part: Part) -> Activity {
        Activity {
            all: self.clone(),
            key: (fence, part),
        }
    }

    /// What is being done now.
    pub(super) fn now(&self) -> Vec<AttemptActivity> {
        let mut told: Vec<AttemptActivity> = Vec::new();
        let mut last = None;
        for ((fence, _), text) in &*self.lock() {
            match told.last_mut().filter(|_| last == Some(*fence)) {
                Some(same) => same.text += &format!("; {text}"),
                None => told.push(AttemptActivity {
                    fence: Some((*fence).into()),
                    text: text.clone(),
                }),
            }
            last = Some(*fence);
        }
        told
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Fence, Part), String>> {
        // Every change is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Activity {
    /// Says what is being done from now on.
    pub(super) fn says(&self, text: &str) {
        let text = text.chars().take(MAX_CHARS).collect();
        self.all.lock().insert(self.key, text);
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.all.lock().remove(&self.key);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_told_of_once_and_for_as_long_as_something_is_done() {
        let all = Activities::default();
        let fence = |attempt| Fence {
            execution_id: [7; 16],
            attempt,
            index: 9,
        };
        let told = || -> Vec<(u32, String)> {
            let now = all.now().into_iter();
            now.map(|one| (one.fence.unwrap().attempt, one.text))
                .collect()
        };
        let image = all.of(fence(1), Part::Image);
        assert!(told().is_empty());
        image.says("pulling a");
        let files = all.of(fence(1), Part::Files);
        files.says("fetching b");
        let other = all.of(fence(2), Part::Files);
        other.says(&"ü".repeat(300));
        let long = (2, "ü".repeat(200));
        let both = (1, "pulling a; fetching b".to_owned());
        assert_eq!(told(), [both, long.clone()]);
        drop(image);
        files.says("fetching c");
        assert_eq!(told(), [(1, "fetching c".to_owned()), long.clone()]);
        drop(files);
        assert_eq!(told(), [long]);
    }
}
