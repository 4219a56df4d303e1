//! Snapshots: when this member makes one, how far the log goes with it, and taking up a leader's.

use contract::ledger::{Snapshot, VerifyState, command::Kind};
use ledger::Ledger;
use prost::Message as _;

use crate::coordinator::Coordinator;
use crate::group::Base;
use crate::io::Output;
use crate::proposals::Queued;

/// Bytes of entries after which a snapshot is due, however few they are.
const SNAPSHOT_BYTES: u64 = 64 << 20;
/// Most bytes of entries before a snapshot that are kept for members that were away for a moment.
const TAIL_BYTES: u64 = 16 << 20;
/// Entries between two comparisons of the members' ledgers (I-04).
const VERIFY_ENTRIES: u64 = 1_000;

impl Coordinator {
    /// Makes a snapshot when one is due, or when a member needs a newer one than there is.
    pub(crate) fn snapshot(&mut self) {
        self.snapshot_wanted = self.snapshot_wanted.max(self.group.take_wanted_snapshot());
        if self.snapshot_pending {
            return;
        }
        let applied = self.applied - self.snapshot.index;
        let due = applied >= self.config.snapshot_entries || self.snapshot_bytes >= SNAPSHOT_BYTES;
        let wanted = self
            .snapshot_wanted
            .is_some_and(|wanted| self.applied >= wanted);
        if applied == 0 || !(due || wanted) {
            return;
        }
        self.snapshot_pending = true;
        self.snapshot_wanted = None;
        self.snapshot_bytes = 0;
        self.snapshot = Base {
            index: self.applied,
            term: self.applied_term,
            members: self.members.clone(),
        };
        self.outputs.push(Output::StoreSnapshot {
            index: self.applied,
            term: self.applied_term,
            members: self.members.clone(),
            ledger: self.ledger.clone(),
        });
    }

    /// A snapshot of this member's own is on the disk: the log before it can go, but for a tail that others may lack.
    pub(crate) fn snapshot_stored(&mut self, index: u64) {
        self.snapshot_pending = false;
        if index != self.snapshot.index {
            // A leader's came in between and took the log with it.
            return;
        }
        self.group.snapshot_stored(self.snapshot.clone());
        let index = match self.group.is_alone() && self.members.learners.is_empty() {
            true => index,
            false => {
                let entries = self.config.snapshot_entries / 2;
                self.group.tail(index, entries, TAIL_BYTES)
            }
        };
        self.group.compact(index);
        self.outputs.push(Output::CompactLog { index });
    }

    /// raft took up a leader's snapshot: everything before it is settled, and nobody can say any more how.
    pub(crate) fn install(&mut self, base: Base) {
        let Some((_, ledger)) = self
            .incoming
            .take()
            .filter(|(index, _)| *index == base.index)
        else {
            return self.halt(format!(
                "a snapshot at index {} was taken up and never read",
                base.index
            ));
        };
        self.drop_ahead();
        self.ledger = ledger;
        self.applied = base.index;
        self.applied_term = base.term;
        self.members = base.members.clone();
        self.verified = base.index;
        self.snapshot = base;
        self.snapshot_bytes = 0;
        self.check_feature_level();
    }

    /// Reads a leader's snapshot, before raft may take it up.
    ///
    /// # Errors
    /// When it is no ledger of this cluster, or an older one than this member has.
    pub(crate) fn read_snapshot(
        &mut self,
        index: u64,
        data: &[u8],
    ) -> Result<Ledger, &'static str> {
        let snapshot = Snapshot::decode(data).map_err(|_| "the snapshot cannot be read")?;
        // What this program does not know it must not even read: some of it would be left out.
        let (level, raised_by) = (snapshot.feature_level, &snapshot.feature_version);
        if let Err(too_old) = self.config.knows.check(level, raised_by)
            && snapshot.cluster_id == self.config.cluster_id
        {
            self.halt(too_old.to_string());
            return Err("the snapshot is of a higher feature level");
        }
        let ledger = Ledger::restore(snapshot).map_err(|_| "the snapshot is no ledger")?;
        let ours = match self.ledger.cluster_id() {
            "" => self.config.cluster_id.as_str(),
            known => known,
        };
        if !ours.is_empty() && ledger.cluster_id() != ours {
            return Err("the snapshot is of another cluster");
        }
        if ledger.revision() > index || ledger.revision() < self.ledger.revision() {
            return Err("the snapshot goes back, or further than its index");
        }
        Ok(ledger)
    }

    /// Has the members compare their ledgers from time to time. It travels with what is decided anyway.
    pub(crate) fn verify(&mut self) {
        let last = self.group.last_index();
        if self.inbox.is_empty() || last.saturating_sub(self.verified) < VERIFY_ENTRIES {
            return;
        }
        self.verified = last;
        let tip = self.tip();
        let verify = VerifyState {
            index: tip.revision(),
            digest: bytes::Bytes::copy_from_slice(&tip.digest()),
        };
        self.inbox.insert(0, Queued::own(Kind::VerifyState(verify)));
    }
}
