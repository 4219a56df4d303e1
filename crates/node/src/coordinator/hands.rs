//! What the loop does with its disk: storing batches, snapshots, forgetting old entries, and knowing what was promised.
//!
//! ```text
//! promised <= held <= proposed      as (term, index); what is sent carries what was promised, what connects what is held
//! ```
//!
//! Snapshots are encoded and written on a thread of their own, from a ledger whose clone took no time; entries that one of them
//! covers are forgotten some at a time, because the disk takes its time over that.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use contract::peer::Promise;
use coordinator::{Batch, Coordinator, Input};
use disk::DiskError;
use disk::member::Identity;
use disk::raft_log::{LogStore, SnapshotMeta, SnapshotStore};
use ledger::Ledger;
use net::Sender;
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use super::engine::Found;
use crate::Fault;

/// How many entries are forgotten at once.
const FORGET: u64 = 500;

/// How many entries before the newest snapshot may not have been forgotten when the process ended.
const UNKNOWN: u64 = 50_000;

/// How long to wait for room for a snapshot before looking again.
const ROOM: Duration = Duration::from_secs(5);

/// Where what was done beside the loop is told.
pub(super) type Reporter = Arc<dyn Fn(Result<Input, Fault>) + Send + Sync>;

/// The loop's disk.
pub(super) struct Hands {
    store: Box<dyn LogStore>,
    snapshots: Arc<dyn SnapshotStore>,
    snapshot: Arc<AtomicU64>,
    sender: Sender,
    established: bool,
    data_dir: PathBuf,
    report: Reporter,
    promised: Promise,
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
        report: Reporter,
    ) -> Self {
        sender.holds.set(found.holds);
        Self {
            snapshots: store.snapshots(),
            store,
            snapshot: Arc::new(AtomicU64::new(found.snapshot)),
            sender,
            established,
            data_dir,
            report,
            promised: Promise {
                term: found.holds.term,
                index: 0,
            },
            forgotten: (found.snapshot.saturating_sub(UNKNOWN), found.snapshot),
        }
    }

    /// Stores a batch; durable on return.
    pub(super) fn store(&mut self, batch: Batch) -> Result<(), Fault> {
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
        self.store
            .append(&batch.entries, batch.hard_state.as_ref())?;
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
    pub(super) fn compact(&mut self, index: u64) {
        self.forgotten.1 = self.forgotten.1.max(index);
    }

    /// Whether [`Self::do_some_more`] has something to do.
    pub(super) fn has_more_to_do(&self) -> bool {
        self.forgotten.0 < self.forgotten.1
    }

    /// Forgets some of the entries that may be.
    pub(super) fn do_some_more(&mut self) -> Result<(), DiskError> {
        let (done, all) = self.forgotten;
        if done < all {
            let next = all.min(done + FORGET);
            self.store.compact(next)?;
            self.forgotten.0 = next;
        }
        Ok(())
    }

    /// What this member has promised once the message is sent.
    pub(super) fn promise(&mut self, message: &Message, mind: &Coordinator) -> Promise {
        let holds = self.sender.holds.get();
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

/// The message as it travels. Nothing for one that cannot be encoded: there is none.
pub(super) fn encode(message: &Message) -> Option<Bytes> {
    message.write_to_bytes().ok().map(Bytes::from)
}
