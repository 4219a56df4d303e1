//! What the loop does with its disk: storing batches, snapshots, forgetting old entries, and knowing what was promised.
//!
//! ```text
//! promised <= held <= proposed      as (term, index); what is sent carries what was promised, what connects what is held
//! ```
//!
//! Snapshots are encoded and written on a thread of their own, from a ledger whose clone took no time; entries that one of them
//! covers are forgotten some at a time, because the disk takes its time over that. In a group of several the log too is written by a
//! thread of its own: a slow disk must not look like a dead member.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use contract::peer::Promise;
use coordinator::{Batch, Coordinator, Input};
use disk::member::Identity;
use disk::raft_log::{LogStore, SnapshotMeta, SnapshotStore};
use ledger::Ledger;
use net::{Holds, Sender};
use prometheus::Histogram;
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use super::engine::Found;
use crate::Fault;

/// How many entries are forgotten at once.
const FORGET: u64 = 500;

/// How many batches are stored with one sync at most, beside the first.
const GATHERED: usize = 64;

/// How many entries before the newest snapshot may not have been forgotten when the process ended.
const UNKNOWN: u64 = 50_000;

/// How long to wait for room for a snapshot before looking again.
const ROOM: Duration = Duration::from_secs(5);

/// Where what was done beside the loop is told.
pub(super) type Reporter = Arc<dyn Fn(Result<Input, Fault>) + Send + Sync>;

/// The loop's disk.
pub(super) struct Hands {
    log: Log,
    snapshots: Arc<dyn SnapshotStore>,
    snapshot: Arc<AtomicU64>,
    holds: Holds,
    report: Reporter,
    promised: Promise,
}

/// Where the log is. Alone, a member has nothing to do until its own disk is done. One of several has: it hears others, is heard
/// by them, and takes for committed what a majority has stored, also while its own disk is slow.
enum Log {
    Here(Shelf),
    Beside(Beside),
    /// It could not be moved: the loop ends.
    Nowhere,
}

/// The log, and what is said of it.
struct Shelf {
    store: Box<dyn LogStore>,
    snapshot: Arc<AtomicU64>,
    sender: Sender,
    established: bool,
    data_dir: PathBuf,
    /// How long batches take.
    fsync: Histogram,
    /// How far entries are forgotten, and how far they may be.
    forgotten: (u64, u64),
}

impl Hands {
    pub(super) fn new(
        store: Box<dyn LogStore>,
        found: Found,
        sender: Sender,
        established: bool,
        data_dir: PathBuf,
        fsync: Histogram,
        report: Reporter,
    ) -> Self {
        let holds = sender.holds.clone();
        holds.set(found.holds);
        let snapshot = Arc::new(AtomicU64::new(found.snapshot));
        Self {
            snapshots: store.snapshots(),
            snapshot: snapshot.clone(),
            holds,
            report,
            promised: Promise {
                term: found.holds.term,
                index: 0,
            },
            log: Log::Here(Shelf {
                store,
                snapshot,
                sender,
                established,
                data_dir,
                fsync,
                forgotten: (found.snapshot.saturating_sub(UNKNOWN), found.snapshot),
            }),
        }
    }

    /// Stores a batch. True when it is durable on return; else the loop is told when it is.
    pub(super) fn store(&mut self, batch: Batch) -> Result<bool, Fault> {
        match &mut self.log {
            Log::Here(shelf) => shelf.store(batch).map(|()| true),
            Log::Beside(beside) => beside.job(Job::Store(batch)).map(|()| false),
            Log::Nowhere => Err(gone()),
        }
    }

    /// From now on the log is written beside the loop.
    pub(super) fn write_beside(&mut self) -> Result<(), Fault> {
        self.log = match std::mem::replace(&mut self.log, Log::Nowhere) {
            Log::Here(shelf) => Log::Beside(Beside::start(shelf, self.report.clone())?),
            other => other,
        };
        Ok(())
    }

    /// Writes a snapshot beside the loop, which is told when it is stored.
    pub(super) fn store_snapshot(&self, meta: SnapshotMeta, ledger: Ledger) {
        let (snapshots, report) = (self.snapshots.clone(), self.report.clone());
        let newest = self.snapshot.clone();
        let index = meta.index;
        let write = move || {
            let data = ledger.snapshot().encode_to_vec();
            drop(ledger);
            loop {
                match snapshots.store(&meta, &data) {
                    Ok(()) => break,
                    Err(error) if error.is_full() => {
                        tracing::error!("{error}; the log cannot be shortened until there is room");
                        #[allow(
                            clippy::disallowed_methods,
                            reason = "a disk tells nobody when it has room again"
                        )]
                        std::thread::sleep(ROOM);
                    }
                    Err(error) => return report(Err(error.into())),
                }
            }
            newest.fetch_max(index, Ordering::Relaxed);
            report(Ok(Input::SnapshotStored { index }));
        };
        let started = std::thread::Builder::new()
            .name("snapshot".into())
            .spawn(write);
        if let Err(error) = started {
            (self.report)(Err(error.into()));
        }
    }

    /// Something that reads the data of a stored snapshot, for a thread where that may take its time.
    pub(super) fn load_snapshot(
        &self,
        index: u64,
    ) -> impl FnOnce() -> Result<Bytes, String> + Send + 'static {
        let snapshots = self.snapshots.clone();
        move || match snapshots.at(index) {
            Ok(Some((_, data))) => Ok(data.into()),
            Ok(None) => Err(format!("the snapshot at {index} is not there any more")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Index of the newest snapshot on the disk.
    pub(super) fn snapshot_index(&self) -> u64 {
        self.snapshot.load(Ordering::Relaxed)
    }

    /// Notes that entries up to `index` may be forgotten.
    pub(super) fn compact(&mut self, index: u64) -> Result<(), Fault> {
        match &mut self.log {
            Log::Here(shelf) => {
                shelf.may_forget(index);
                Ok(())
            }
            Log::Beside(beside) => beside.job(Job::Forget(index)),
            Log::Nowhere => Err(gone()),
        }
    }

    /// Whether [`Self::do_some_more`] has something to do.
    pub(super) fn has_more_to_do(&self) -> bool {
        matches!(&self.log, Log::Here(shelf) if shelf.has_more_to_forget())
    }

    /// Forgets some of the entries that may be.
    pub(super) fn do_some_more(&mut self) -> Result<(), Fault> {
        match &mut self.log {
            Log::Here(shelf) => shelf.forget_some(),
            Log::Beside(_) | Log::Nowhere => Ok(()),
        }
    }

    /// What this member has promised once the message is sent.
    pub(super) fn promise(&mut self, message: &Message, mind: &Coordinator) -> Promise {
        let holds = self.holds.get();
        let acknowledges =
            message.get_msg_type() == MessageType::MsgAppendResponse && !message.reject;
        let now = if mind.leads() && mind.group().term() == holds.term {
            holds
        } else if acknowledges && message.term == holds.term {
            Promise {
                term: holds.term,
                index: message.index,
            }
        } else {
            Promise {
                term: holds.term,
                index: 0,
            }
        };
        if (self.promised.term, self.promised.index) < (now.term, now.index) {
            self.promised = now;
        }
        self.promised
    }
}

impl Shelf {
    /// Stores a batch; durable on return.
    fn store(&mut self, batch: Batch) -> Result<(), Fault> {
        let mut holds = self.sender.holds.get();
        if let Some(snapshot) = &batch.snapshot {
            let metadata = snapshot.get_metadata();
            let meta = SnapshotMeta {
                index: metadata.index,
                term: metadata.term,
                members: metadata.get_conf_state().clone(),
            };
            self.store.store_snapshot(&meta, &snapshot.data)?;
            self.snapshot.store(meta.index, Ordering::Relaxed);
            holds.index = meta.index;
            self.forgotten = (meta.index, meta.index);
        }
        {
            let _timed = self.fsync.start_timer();
            self.store
                .append(&batch.entries, batch.hard_state.as_ref())?;
        }
        if let Some(last) = batch.entries.last() {
            holds.index = last.index;
        }
        if let Some(hard_state) = &batch.hard_state {
            holds.term = hard_state.term;
        }
        self.sender.holds.set(holds);
        if !self.established {
            // Before anything that promises this leaves: from now on an empty log is a lost one.
            let identity = Identity {
                cluster_id: self.sender.cluster_id.clone(),
                member_id: self.sender.member_id,
                established: true,
            };
            disk::member::set_identity(&self.data_dir, &identity)?;
            self.established = true;
        }
        Ok(())
    }

    fn may_forget(&mut self, index: u64) {
        self.forgotten.1 = self.forgotten.1.max(index);
    }

    fn has_more_to_forget(&self) -> bool {
        self.forgotten.0 < self.forgotten.1
    }

    fn forget_some(&mut self) -> Result<(), Fault> {
        let (done, all) = self.forgotten;
        if done < all {
            let next = all.min(done + FORGET);
            self.store.compact(next)?;
            self.forgotten.0 = next;
        }
        Ok(())
    }
}

/// A job for the thread that writes the log.
enum Job {
    Store(Batch),
    Forget(u64),
}

/// The thread that writes the log beside the loop. Ends, with what it was given done, when this is dropped.
struct Beside {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    fn start(mut shelf: Shelf, report: Reporter) -> Result<Self, Fault> {
        let (jobs, to_do) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("raft-log".into())
            .spawn(move || {
                if let Err(fault) = work(&mut shelf, &to_do, &report) {
                    report(Err(fault));
                }
            })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    fn job(&self, job: Job) -> Result<(), Fault> {
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).map_err(|_| gone())
    }
}

/// The thread that wrote the log has told its own fault before.
fn gone() -> Fault {
    Fault::new("the raft log is not written any more")
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was told by the panic hook; the process is ending.
            drop(thread.join());
        }
    }
}

/// Does jobs in their order. Batches that have gathered meanwhile are stored with one sync; entries are forgotten when there is
/// nothing else to do.
fn work(shelf: &mut Shelf, to_do: &mpsc::Receiver<Job>, report: &Reporter) -> Result<(), Fault> {
    loop {
        let first = if shelf.has_more_to_forget() {
            match to_do.try_recv() {
                Ok(job) => job,
                Err(mpsc::TryRecvError::Empty) => {
                    shelf.forget_some()?;
                    continue;
                }
                Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
            }
        } else {
            match to_do.recv() {
                Ok(job) => job,
                Err(mpsc::RecvError) => return Ok(()),
            }
        };
        let mut gathered: Option<Batch> = None;
        for job in std::iter::once(first).chain(to_do.try_iter().take(GATHERED)) {
            match job {
                Job::Forget(index) => shelf.may_forget(index),
                Job::Store(next) => {
                    gathered = match gathered.take() {
                        None => Some(next),
                        Some(earlier) if next.snapshot.is_none() => Some(together(earlier, next)),
                        Some(earlier) => {
                            stored(shelf, earlier, report)?;
                            Some(next)
                        }
                    }
                }
            }
        }
        if let Some(batch) = gathered {
            stored(shelf, batch, report)?;
        }
    }
}

fn stored(shelf: &mut Shelf, batch: Batch, report: &Reporter) -> Result<(), Fault> {
    let number = batch.number;
    shelf.store(batch)?;
    report(Ok(Input::Persisted { number }));
    Ok(())
}

/// Two batches as one: what the second replaces of the first need not be stored.
fn together(mut first: Batch, second: Batch) -> Batch {
    if let Some(replaced) = second.entries.first().map(|entry| entry.index) {
        first.entries.retain(|entry| entry.index < replaced);
    }
    first.entries.extend(second.entries);
    Batch {
        number: second.number,
        snapshot: first.snapshot,
        entries: first.entries,
        hard_state: second.hard_state.or(first.hard_state),
    }
}

/// The message as it travels. Nothing for one that cannot be encoded: there is none.
pub(super) fn encode(message: &Message) -> Option<Bytes> {
    message.write_to_bytes().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use disk::raft_log::MemoryLog;
    use raft::eraftpb::{Entry, HardState};

    use super::*;

    fn batch(number: u64, entries: &[(u64, u64)], term: u64) -> Batch {
        let entries = entries.iter().map(|&(index, term)| Entry {
            index,
            term,
            ..Entry::default()
        });
        Batch {
            number,
            snapshot: None,
            entries: entries.collect(),
            hard_state: Some(HardState {
                term,
                ..HardState::default()
            }),
        }
    }

    fn shelf(store: &MemoryLog, dir: &std::path::Path) -> Shelf {
        Shelf {
            store: Box::new(store.clone()),
            snapshot: Arc::default(),
            sender: Sender {
                cluster_id: "c".to_owned(),
                member_id: 2,
                address: String::new(),
                holds: Holds::default(),
                dialer: pki::Dialer::Plain,
                feature_level: 0,
            },
            established: false,
            data_dir: dir.to_owned(),
            fsync: crate::metrics::CoordinatorMetrics::new().unwrap().fsync,
            forgotten: (0, 0),
        }
    }

    #[test]
    fn batches_stored_together_are_what_they_are_one_by_one() {
        let batches = [
            batch(1, &[(1, 1), (2, 1), (3, 1)], 1),
            batch(2, &[(3, 2), (4, 2)], 2),
            batch(3, &[], 3),
            batch(4, &[(5, 3)], 3),
        ];
        let dir = tempfile::tempdir().unwrap();
        let (mut one_by_one, mut at_once) = (MemoryLog::new(), MemoryLog::new());
        for batch in batches.clone() {
            shelf(&one_by_one, dir.path()).store(batch).unwrap();
        }
        let all = batches.into_iter().reduce(together).unwrap();
        assert_eq!(all.number, 4);
        let mut shelf = shelf(&at_once, dir.path());
        shelf.store(all).unwrap();
        assert_eq!(one_by_one.load().unwrap(), at_once.load().unwrap());
        assert_eq!(shelf.sender.holds.get(), Promise { term: 3, index: 5 });
        let identity = disk::member::identity(dir.path()).unwrap().unwrap();
        assert!(identity.established, "it has stored what others count on");
    }

    #[test]
    fn the_thread_ends_with_everything_stored_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = MemoryLog::new();
        let (told, tell) = mpsc::channel();
        let report: Reporter = Arc::new(move |done| told.send(done).unwrap());
        let beside = Beside::start(shelf(&store, dir.path()), report).unwrap();
        for number in 1..=100 {
            let batch = batch(number, &[(number, 1)], 1);
            beside.job(Job::Store(batch)).unwrap();
        }
        drop(beside);
        let last = tell.iter().last().unwrap().unwrap();
        assert!(matches!(last, Input::Persisted { number: 100 }));
        assert_eq!(store.load().unwrap().entries.len(), 100);
    }
}
