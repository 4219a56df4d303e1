//! Source trees, which must outlive any one coordinator.
//!
//! An execution is accepted only once a majority of the coordinators has its source tree on the disk. That is seen to when the execution is created, not
//! when the tree is sent: the promise is the execution's, whatever has happened since to the coordinator that took the tree. A coordinator that was not
//! among the majority, or joined later, fetches what it finds in the ledger and does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blob::Digest;
use contract::api::{ErrorReason, Source};
use coordinator::{MemberView, Refusal};
use disk::blobs::Blobs;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use ledger::{Ledger, Subject};
use net::PeerReads;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::Fault;
use crate::tls::Dialers;
use crate::worker::fetch::Fetcher;

/// For how long a majority is waited for.
const PATIENCE: Duration = Duration::from_secs(4);

/// How often the ledger is looked through for trees that lack here.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long to wait after a tree that could not be fetched.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Most trees of which is remembered that a majority has them.
const REMEMBERED: usize = 100_000;

/// The source trees of a coordinator; clones are cheap.
#[derive(Clone)]
pub(super) struct Sources {
    shared: Arc<Shared>,
}

struct Shared {
    member_id: u64,
    /// Where others find what is here.
    address: String,
    blobs: Arc<Blobs>,
    fetcher: Fetcher,
    reads: PeerReads,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The other coordinators that vote, and where they are.
    others: BTreeMap<u64, String>,
    /// Trees that a majority of them had on its disk.
    safe: BTreeSet<Digest>,
    /// Trees that the ledger names and that are not here.
    lacking: usize,
}

impl Sources {
    /// The trees of this member.
    ///
    /// # Errors
    /// When nothing could be fetched.
    pub(super) fn new(
        member_id: u64,
        address: &str,
        blobs: Arc<Blobs>,
        dialers: &Dialers,
    ) -> Result<Self, Fault> {
        let pool = tokio::runtime::Handle::current();
        Ok(Self {
            shared: Arc::new(Shared {
                member_id,
                address: address.to_owned(),
                fetcher: Fetcher::new(blobs.clone(), pool, member_id, dialers.nodes.clone(), None)?,
                blobs,
                reads: PeerReads::by(dialers.coordinators.clone()),
                state: Mutex::default(),
            }),
        })
    }

    /// The coordinators are these.
    pub(super) fn set_members(&self, members: &[MemberView]) {
        let others = members
            .iter()
            .filter(|member| member.member_id != self.shared.member_id && !member.learner);
        let others: BTreeMap<u64, String> = others
            .map(|member| (member.member_id, member.address.clone()))
            .collect();
        let mut state = self.state();
        if state.others != others {
            // Another majority counts from now on.
            state.safe.clear();
            state.others = others;
        }
    }

    /// Trees that the ledger names and that are not here.
    pub(super) fn lacking(&self) -> usize {
        self.state().lacking
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole, so a panic elsewhere does not matter here.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that a majority of the coordinators has a source tree on the disk.
    ///
    /// # Errors
    /// `BLOB_MISSING` when nobody has it, `NO_QUORUM` when no majority can be reached.
    pub(super) async fn require(&self, source: &Source) -> Result<(), Refusal> {
        if source.digest.is_empty() {
            return Ok(());
        }
        let digest = <[u8; 32]>::try_from(source.digest.as_ref())
            .map(Digest)
            .map_err(|_| {
                Refusal::invalid_field(
                    "source.digest",
                    format!("expected 32 bytes, got {}", source.digest.len()),
                )
            })?;
        let others: Vec<String> = {
            let state = self.state();
            if state.safe.contains(&digest) {
                return Ok(());
            }
            state.others.values().cloned().collect()
        };
        let size = u64::try_from(source.size_bytes).unwrap_or_default();
        self.fetch(digest, size, others.clone()).await?;
        let hand_on = self.hand_on(digest, size, &others);
        match timeout(PATIENCE, hand_on).await {
            Ok(true) => {}
            Ok(false) | Err(_) => {
                return Err(Refusal::new(
                    ErrorReason::NoQuorum,
                    "no majority of the coordinators could store the source tree; repeat the request",
                ));
            }
        }
        let mut state = self.state();
        if state.safe.len() >= REMEMBERED {
            state.safe.clear();
        }
        state.safe.insert(digest);
        Ok(())
    }

    /// Lets the others store a tree that is here. Whether a majority has it then.
    async fn hand_on(&self, digest: Digest, size: u64, others: &[String]) -> bool {
        // With this one a majority of all.
        let needed = others.len().div_ceil(2);
        let sources = vec![self.shared.address.clone()];
        let mut asked: FuturesUnordered<_> = others
            .iter()
            .map(|address| {
                let sources = sources.clone();
                self.shared.reads.store_blob(address, digest, size, sources)
            })
            .collect();
        let mut stored = 0;
        while stored < needed {
            match asked.next().await {
                Some(Ok(())) => stored += 1,
                Some(Err(refusal)) => {
                    tracing::debug!(%digest, %refusal, "another coordinator does not store a source tree")
                }
                None => return false,
            }
        }
        true
    }

    /// Sees to it that a tree is here.
    async fn fetch(&self, digest: Digest, size: u64, sources: Vec<String>) -> Result<(), Refusal> {
        if self.shared.blobs.has(&digest) {
            return Ok(());
        }
        let shared = self.shared.clone();
        let fetched =
            tokio::task::spawn_blocking(move || shared.fetcher.ensure(&digest, size, &sources));
        let missing = match fetched.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(missing)) => missing,
            Err(error) => {
                return Err(Refusal::new(ErrorReason::InternalFault, error.to_string()));
            }
        };
        if missing.disk_full {
            return Err(Refusal::new(ErrorReason::DiskFull, missing.message));
        }
        let words = format!(
            "the source tree {digest} is not stored here; send it with BlobService.WriteBlob first"
        );
        Err(Refusal::new(ErrorReason::BlobMissing, words)
            .with("subject", format!("blobs/blake3/{digest}")))
    }

    /// Fetches what the ledger names and what is not here, as long as the node lives.
    pub(super) async fn follow(self, mut ledgers: watch::Receiver<Ledger>) {
        let mut seen = 0;
        let mut wanted: BTreeMap<Digest, u64> = BTreeMap::new();
        loop {
            let ledger = ledgers.borrow_and_update().clone();
            wanted.extend(self.missing(&ledger, seen));
            seen = ledger.revision();
            self.state().lacking = wanted.len();
            let others: Vec<String> = self.state().others.values().cloned().collect();
            if !others.is_empty() {
                for (digest, size) in std::mem::take(&mut wanted) {
                    if self.fetch(digest, size, others.clone()).await.is_err() {
                        wanted.insert(digest, size);
                    }
                }
            }
            self.state().lacking = wanted.len();
            if wanted.is_empty() {
                if ledgers.changed().await.is_err() {
                    return;
                }
                sleep(LOOK_EVERY).await;
            } else {
                sleep(TRY_AGAIN).await;
            }
        }
    }

    /// Trees of executions that changed since a revision and that are not here, with their sizes.
    fn missing(&self, ledger: &Ledger, since: u64) -> BTreeMap<Digest, u64> {
        let changed = ledger.changed_since(since);
        let sources = changed.filter_map(|(_, subject)| match subject {
            Subject::Execution { project, number } => ledger.execution(project, *number)?.source(),
            Subject::Pipeline { .. } | Subject::Worker(_) => None,
        });
        let mut known = BTreeMap::new();
        for source in sources {
            if let Ok(digest) = <[u8; 32]>::try_from(source.digest.as_ref()) {
                known.insert(Digest(digest), source.size_bytes.max(0) as u64);
            }
        }
        known.retain(|digest, _| !self.shared.blobs.has(digest));
        known
    }
}

#[net::async_trait]
impl net::ports::Sources for Sources {
    async fn ensure(&self, digest: Digest, size: u64, sources: Vec<String>) -> Result<(), Refusal> {
        self.fetch(digest, size, sources).await
    }
}
