//! How many blobs a worker holds, and how large they are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use disk::blobs::Blobs;

/// How old what is known of the store may be: to look takes time when it holds many.
const AGE: Duration = Duration::from_secs(30);

/// See the module's words.
#[derive(Debug)]
pub(crate) struct Stock {
    blobs: Arc<Blobs>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    looked: Option<Instant>,
    counted: Option<Counted>,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
}

impl Stock {
    /// What is known is this one's own: whoever asks another one for the first time hears what there is at that moment.
    pub(crate) fn of(blobs: Arc<Blobs>) -> Self {
        let known = Mutex::default();
        Self { blobs, known }
    }

    /// What there is, as of the last half minute; none while it cannot be counted. May block for as long as a look takes.
    pub(crate) fn count(&self) -> Option<Counted> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.looked.is_some_and(|at| at.elapsed() < AGE) {
            return known.counted;
        }
        known.looked = Some(Instant::now());
        known.counted = match self.blobs.list() {
            Ok(blobs) => Some(Counted {
                blobs: blobs.len() as u64,
                bytes: blobs.iter().map(|(_, size)| *size).sum(),
            }),
            Err(error) => {
                tracing::warn!("the blobs cannot be counted: {error}");
                None
            }
        };
        known.counted
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_first_look_is_new_and_a_second_may_be_old() {
        let temp = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(temp.path()).unwrap());
        let counted = |blobs, bytes| Some(Counted { blobs, bytes });
        let early = Stock::of(blobs.clone());
        assert_eq!(early.count(), counted(0, 0));
        blobs.ingest_copy(&b"twelve bytes"[..]).unwrap();
        assert_eq!(Stock::of(blobs).count(), counted(1, 12));
        assert_eq!(early.count(), counted(0, 0), "half a minute has not passed");
    }
}
