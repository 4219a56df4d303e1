//! The feeds a coordinator holds: one thread that stores what workers push, many batches with one sync, and readers that
//! read the files beside it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use contract::api::ErrorReason;
use contract::link;
use coordinator::Refusal;
use disk::feeds::Feeds;
use feed::{Accept, Batch, Fence, Holder, Seal};
use ledger::Ledger;
use net::ports::{FeedEnd, FeedKey, Stored};
use tokio::sync::{oneshot, watch};

use crate::Fault;

/// How many pushes are stored with one sync at most.
const BATCH: usize = 1_024;

/// What comes to the thread.
enum Event {
    Store {
        key: FeedKey,
        fence: Fence,
        batch: Batch,
        reply: oneshot::Sender<Result<Stored, Refusal>>,
    },
    Seal {
        key: FeedKey,
        seal: Seal,
    },
    Stop,
}

/// The feeds of a coordinator; clones are cheap.
#[derive(Clone)]
pub struct FeedHost {
    events: mpsc::Sender<Event>,
    log: Feeds,
    ends: Arc<Mutex<HashMap<FeedKey, watch::Sender<FeedEnd>>>>,
}

impl FeedHost {
    /// Starts the thread over a log. `on_fault` is told what ended it, if something did.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        log: Feeds,
        ledger: watch::Receiver<Ledger>,
        on_fault: impl FnOnce(Fault) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (events, inbox) = mpsc::channel();
        let ends = Arc::new(Mutex::new(HashMap::new()));
        let host = Self {
            events,
            log: log.clone(),
            ends: ends.clone(),
        };
        let mut running = Running {
            log,
            ledger,
            ends,
            holders: BTreeMap::new(),
        };
        std::thread::Builder::new()
            .name("feeds".into())
            .spawn(move || {
                if let Err(fault) = running.run(&inbox) {
                    on_fault(fault);
                }
            })?;
        Ok(host)
    }

    /// Seals a feed whose records are all stored.
    pub fn seal(&self, fence: &link::Fence, seal: Seal) {
        if let Some(key) = key(fence) {
            drop(self.events.send(Event::Seal { key, seal }));
        }
    }

    /// Ends the thread after what it has before it.
    pub fn stop(&self) {
        drop(self.events.send(Event::Stop));
    }
}

/// The feed that a fence may write.
fn key(fence: &link::Fence) -> Option<FeedKey> {
    let execution = <[u8; 16]>::try_from(fence.execution_id.as_ref()).ok()?;
    Some(FeedKey {
        execution,
        attempt: fence.attempt,
    })
}

/// The key as the disk names it.
fn on_disk(key: FeedKey) -> disk::feeds::FeedKey {
    disk::feeds::FeedKey {
        execution: key.execution,
        attempt: key.attempt,
    }
}

impl net::ports::FeedStore for FeedHost {
    fn store(
        &self,
        key: FeedKey,
        fence: Fence,
        batch: Batch,
    ) -> oneshot::Receiver<Result<Stored, Refusal>> {
        let (reply, stored) = oneshot::channel();
        // When the thread is gone the receiver sees its sender dropped, and the worker pushes again elsewhere.
        drop(self.events.send(Event::Store {
            key,
            fence,
            batch,
            reply,
        }));
        stored
    }
}

#[net::async_trait]
impl net::ports::FeedReader for FeedHost {
    async fn read(
        &self,
        key: FeedKey,
        from_record: u64,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, Refusal> {
        let log = self.log.clone();
        let read =
            tokio::task::spawn_blocking(move || log.read(on_disk(key), from_record, max_bytes))
                .await;
        match read {
            Ok(Ok(batches)) => Ok(batches),
            Ok(Err(error)) => Err(Refusal::new(
                ErrorReason::InternalFault,
                format!("a log cannot be read: {error}"),
            )),
            Err(error) => Err(Refusal::new(
                ErrorReason::InternalFault,
                format!("reading a log failed: {error}"),
            )),
        }
    }

    fn end(&self, key: FeedKey) -> watch::Receiver<FeedEnd> {
        let mut ends = lock(&self.ends);
        // Senders that nobody listens to are dropped; the log itself says how far a feed is.
        ends.retain(|_, sender| sender.receiver_count() > 0);
        ends.entry(key)
            .or_insert_with(|| watch::Sender::new(end_of(&self.log, key)))
            .subscribe()
    }
}

fn end_of(log: &Feeds, key: FeedKey) -> FeedEnd {
    FeedEnd {
        next_record: log.length(on_disk(key)),
        seal: log.sealed(on_disk(key)),
    }
}

struct Running {
    log: Feeds,
    ledger: watch::Receiver<Ledger>,
    ends: Arc<Mutex<HashMap<FeedKey, watch::Sender<FeedEnd>>>>,
    /// Feeds that are being written.
    holders: BTreeMap<FeedKey, Holder>,
}

/// A push that waits for the sync.
struct Waiting {
    key: FeedKey,
    next_record: u64,
    reply: oneshot::Sender<Result<Stored, Refusal>>,
}

impl Running {
    fn run(&mut self, inbox: &mpsc::Receiver<Event>) -> Result<(), Fault> {
        while let Ok(first) = inbox.recv() {
            let mut batches = Vec::new();
            let mut waiting = Vec::new();
            let mut seals = Vec::new();
            for event in std::iter::once(first).chain(inbox.try_iter().take(BATCH)) {
                match event {
                    Event::Store {
                        key,
                        fence,
                        batch,
                        reply,
                    } => {
                        self.accept(key, fence, &batch, reply, &mut batches, &mut waiting);
                    }
                    Event::Seal { key, seal } => seals.push((key, seal)),
                    Event::Stop => return Ok(()),
                }
            }
            self.store(&batches, waiting)?;
            for (key, seal) in seals {
                self.seal(key, seal)?;
            }
        }
        Ok(())
    }

    /// Decides what of a push is new. Answers at once when nothing is.
    fn accept(
        &mut self,
        key: FeedKey,
        fence: Fence,
        batch: &Batch,
        reply: oneshot::Sender<Result<Stored, Refusal>>,
        batches: &mut Vec<(disk::feeds::FeedKey, Batch)>,
        waiting: &mut Vec<Waiting>,
    ) {
        let named = link::Fence {
            execution_id: key.execution.to_vec().into(),
            attempt: key.attempt,
            index: fence.0,
        };
        let sealed = self.log.sealed(on_disk(key));
        if sealed.is_none() && !coordinator::may_write(&self.ledger.borrow(), &named) {
            drop(reply.send(Ok(Stored {
                next_record: 0,
                refused: true,
            })));
            return;
        }
        let log = &self.log;
        let holder = self
            .holders
            .entry(key)
            .or_insert_with(|| Holder::new(fence, log.length(on_disk(key)), sealed));
        let answer = match holder.accept(fence, batch) {
            Ok(Accept::Store(new)) => {
                waiting.push(Waiting {
                    key,
                    next_record: new.end_record(),
                    reply,
                });
                batches.push((on_disk(key), new));
                return;
            }
            // The same came by a connection that is gone and is stored with this very batch of pushes. Said now, that it is not on
            // the disk yet would be the last that the worker hears of it.
            Ok(Accept::Duplicate { stored }) if stored < batch.end_record() => {
                waiting.push(Waiting {
                    key,
                    next_record: batch.end_record(),
                    reply,
                });
                return;
            }
            Ok(Accept::Duplicate { stored } | Accept::Gap { stored, .. }) => Ok(Stored {
                next_record: stored,
                refused: false,
            }),
            Ok(Accept::Sealed { record_count }) => Ok(Stored {
                next_record: record_count,
                refused: true,
            }),
            Ok(Accept::StaleFence { .. }) => Ok(Stored {
                next_record: 0,
                refused: true,
            }),
            Err(error) => Err(Refusal::invalid_field("frames", error.to_string())),
        };
        drop(reply.send(answer));
    }

    /// Stores everything that was accepted with one sync, then answers.
    fn store(
        &mut self,
        batches: &[(disk::feeds::FeedKey, Batch)],
        waiting: Vec<Waiting>,
    ) -> Result<(), Fault> {
        if batches.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.log.append(batches) {
            if !error.is_full() {
                return Err(error.into());
            }
            for Waiting { key, reply, .. } in waiting {
                if let Some(holder) = self.holders.get_mut(&key) {
                    holder.forget_unstored();
                }
                let refusal = Refusal::new(
                    ErrorReason::DiskFull,
                    "the coordinator's disk is full; logs wait at their workers",
                );
                drop(reply.send(Err(refusal)));
            }
            return Ok(());
        }
        for Waiting {
            key,
            next_record,
            reply,
        } in waiting
        {
            if let Some(holder) = self.holders.get_mut(&key) {
                holder.mark_stored(next_record);
            }
            self.show(key);
            drop(reply.send(Ok(Stored {
                next_record,
                refused: false,
            })));
        }
        Ok(())
    }

    fn seal(&mut self, key: FeedKey, seal: Seal) -> Result<(), Fault> {
        self.holders.remove(&key);
        match self.log.seal(on_disk(key), seal) {
            // A damaged log is no reason to stop serving the others; what is left of it can be read.
            Err(error @ disk::DiskError::Corrupt { .. }) => {
                tracing::error!("a log is not what it was sealed as: {error}")
            }
            result => result?,
        }
        self.show(key);
        Ok(())
    }

    /// Lets readers see how far a feed is.
    fn show(&self, key: FeedKey) {
        if let Some(sender) = lock(&self.ends).get(&key) {
            sender.send_replace(end_of(&self.log, key));
        }
    }
}

/// Nobody leaves the map half changed, so a panic elsewhere does not matter here.
fn lock(
    ends: &Mutex<HashMap<FeedKey, watch::Sender<FeedEnd>>>,
) -> std::sync::MutexGuard<'_, HashMap<FeedKey, watch::Sender<FeedEnd>>> {
    ends.lock().unwrap_or_else(PoisonError::into_inner)
}
