//! The other members of the group: where they are, what they have promised, and whether they may speak to this one.
//!
//! A member acknowledges entries and votes; whoever counts on that must find it on its disk for ever (I-13). So every member
//! remembers what each other one has promised to it. One that starts asks the others; one that connects is looked at; and if its
//! disk holds less than it promised, it was lost or put back, and must not go on under its number.
//!
//! ```text
//! promised <= held      compared as (term, index): within a term, what was acknowledged is never taken back
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use contract::api::ErrorReason;
use contract::peer::{self, Envelope, HelloResponse, Promise};
use coordinator::Refusal;
use disk::member::Peer;
use ledger::Knows;
use net::Sender;
use protobuf::Message as _;
use raft::eraftpb::Message;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::engine::Engine;
use crate::Fault;

/// Most bytes of messages of one member that wait for the loop.
const WAITING: usize = 64 << 20;

/// For how long a member that starts waits for the answers of the others: they may be starting too.
const GREETING: Duration = Duration::from_secs(2);

/// How often another one is asked until then, and how many times one that refuses connections is.
const AGAIN: (Duration, u32) = (Duration::from_millis(60), 12);

/// The key in a refusal's metadata that says why a member is not heard.
const WHY: &str = "why";

/// What this member knows of the others.
pub(super) struct Peers {
    dir: PathBuf,
    cluster_id: String,
    member_id: u64,
    knows: Knows,
    known: Mutex<Known>,
    engine: Engine,
}

#[derive(Default)]
struct Known {
    peers: BTreeMap<u64, Peer>,
    removed: BTreeSet<u64>,
    /// Room for messages of each.
    room: BTreeMap<u64, Arc<Semaphore>>,
    /// Whether there is news for the disk.
    news: bool,
}

impl Peers {
    /// What was remembered in a data directory.
    ///
    /// # Errors
    /// When that cannot be read.
    pub(super) fn open(
        dir: &Path,
        cluster_id: &str,
        member_id: u64,
        knows: Knows,
        engine: Engine,
    ) -> Result<Self, Fault> {
        let known = Known {
            peers: disk::member::peers(dir, cluster_id)?,
            ..Known::default()
        };
        Ok(Self {
            dir: dir.to_owned(),
            cluster_id: cluster_id.to_owned(),
            member_id,
            knows,
            known: Mutex::new(known),
            engine,
        })
    }

    /// Nobody leaves it half changed, so a panic elsewhere does not matter here.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who belongs to the group and where they are, and who does no more.
    pub(super) fn set_members(
        &self,
        members: &BTreeMap<u64, String>,
        removed: impl IntoIterator<Item = u64>,
    ) {
        let mut known = self.known();
        for (&member, address) in members {
            if member != self.member_id && !address.is_empty() {
                known.meet(member, address);
            }
        }
        known.removed.extend(removed);
        let removed = known.removed.clone();
        known.peers.retain(|member, _| !removed.contains(member));
    }

    /// Writes what is remembered to the disk, if there is news.
    pub(super) fn save(&self) {
        let peers = {
            let mut known = self.known();
            if !std::mem::take(&mut known.news) {
                return;
            }
            known.peers.clone()
        };
        if let Err(error) = disk::member::set_peers(&self.dir, &self.cluster_id, &peers) {
            // It is remembered by the others too, and written again with the next news.
            tracing::warn!(%error, "what other members promised could not be noted");
        }
    }

    /// Asks the others, before this member says anything to them, what it has promised.
    ///
    /// # Errors
    /// When one remembers more than the disk holds, or that this member was removed.
    pub(super) async fn greet(&self, sender: &Sender) -> Result<(), Fault> {
        let deadline = Instant::now() + GREETING;
        let known = self.known().peers.clone();
        let mut asked = tokio::task::JoinSet::new();
        for (member, peer) in known {
            if peer.address.is_empty() || member == self.member_id {
                continue;
            }
            let sender = sender.clone();
            asked.spawn(async move {
                let greeted = timeout_at(deadline, greet_one(&sender, member, &peer.address)).await;
                (member, greeted.ok().flatten())
            });
        }
        while let Some(answer) = asked.join_next().await {
            let Ok((member, Some(answer))) = answer else {
                continue;
            };
            self.check(member, &answer, sender.holds.get())?;
            let mut known = self.known();
            for peer::Peer { member_id, address } in answer.peers {
                if member_id != self.member_id && !address.is_empty() {
                    known.meet(member_id, &address);
                }
            }
        }
        Ok(())
    }

    fn check(&self, member: u64, answer: &HelloResponse, holds: Promise) -> Result<(), Fault> {
        if answer.removed {
            return Err(self.removed());
        }
        let checked = self
            .knows
            .check(answer.feature_level, &answer.feature_version);
        checked.map_err(|too_old| Fault::new(too_old.to_string()))?;
        let promise = answer.promise.unwrap_or_default();
        if is_behind(holds, promise) {
            let place = format!(
                "it promised member {member} term {} and entry {}, but holds term {} and entry {}",
                promise.term, promise.index, holds.term, holds.index
            );
            return Err(self.behind(&place));
        }
        Ok(())
    }

    /// What a refusal of another member means for this one, if it ends it.
    pub(super) fn fault(&self, refusal: &Refusal) -> Option<Fault> {
        match refusal.metadata.get(WHY).map(String::as_str) {
            Some("behind") => Some(self.behind(&refusal.message)),
            Some("removed") => Some(self.removed()),
            Some("features") => Some(Fault::new(refusal.message.clone())),
            _ => None,
        }
    }

    /// The cluster's feature level, and who raised it.
    fn feature_level(&self) -> (u32, String) {
        let ledger = self.engine.ledger();
        let ledger = ledger.borrow();
        (ledger.feature_level(), ledger.feature_version().to_owned())
    }

    fn behind(&self, place: &str) -> Fault {
        lost_state(&self.dir, self.member_id, place)
    }

    fn removed(&self) -> Fault {
        let (member, dir) = (self.member_id, self.dir.display());
        Fault::new(format!(
            "member {member} was removed from the cluster and does not come back under this number. To add this coordinator again, \
             empty {dir} and start it with --join ADDRESS"
        ))
    }

    /// Where every other member is, as far as it is known.
    pub(super) fn addresses(&self) -> BTreeMap<u64, String> {
        self.known()
            .peers
            .iter()
            .filter(|(_, peer)| !peer.address.is_empty())
            .map(|(member, peer)| (*member, peer.address.clone()))
            .collect()
    }

    /// Checks who speaks to whom.
    fn is_for_us(&self, envelope: &Envelope) -> Result<(), Refusal> {
        let forbid = |why: &str, message: String| {
            Err(Refusal::new(ErrorReason::StateForbids, message).with(WHY, why))
        };
        if envelope.cluster_id != self.cluster_id {
            return forbid(
                "cluster",
                format!(
                    "this is a member of cluster {}, not of {}",
                    self.cluster_id, envelope.cluster_id
                ),
            );
        }
        if envelope.to != self.member_id || envelope.from == self.member_id || envelope.from == 0 {
            return forbid(
                "member",
                format!(
                    "this is member {}; the message is from {} for {}",
                    self.member_id, envelope.from, envelope.to
                ),
            );
        }
        Ok(())
    }
}

/// Why a member whose disk lost or forgot something does not start, and what to do.
pub(super) fn lost_state(dir: &Path, member: u64, place: &str) -> Fault {
    let dir = dir.display();
    Fault::new(format!(
        "state lost or corrupt at {dir}: {place}. Its disk was lost or put back to an older copy, so it must not vote under its \
         number again. Run `shoal cluster remove {member}` against the others, empty {dir}, and start it with --join ADDRESS"
    ))
}

/// Whether a disk holds less than was promised.
fn is_behind(holds: Promise, promise: Promise) -> bool {
    (holds.term, holds.index) < (promise.term, promise.index)
}

/// Asks one member until it answers, or has refused connections for so long that it does not run.
async fn greet_one(sender: &Sender, member: u64, address: &str) -> Option<HelloResponse> {
    for _ in 0..AGAIN.1 {
        match net::hello(sender, member, address).await {
            Ok(answer) => return Some(answer),
            Err(refusal) if refusal.reason == ErrorReason::StateForbids => {
                tracing::warn!(member, address, %refusal, "another coordinator is not what it was");
                return None;
            }
            Err(_) => sleep(AGAIN.0).await,
        }
    }
    None
}

impl Known {
    fn meet(&mut self, member: u64, address: &str) {
        let peer = self.peers.entry(member).or_default();
        if peer.address != address {
            address.clone_into(&mut peer.address);
            self.news = true;
        }
    }

    /// Refuses one that was removed, also when it was connected before.
    fn is_member(&self, member: u64) -> Result<(), Refusal> {
        if !self.removed.contains(&member) {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorReason::StateForbids,
            format!("member {member} was removed"),
        )
        .with(WHY, "removed"))
    }

    fn promised(&self, member: u64) -> Promise {
        self.peers
            .get(&member)
            .map_or_else(Promise::default, |peer| Promise {
                term: peer.term,
                index: peer.index,
            })
    }

    fn note(&mut self, member: u64, promise: Promise) {
        if is_behind(self.promised(member), promise) {
            let peer = self.peers.entry(member).or_default();
            (peer.term, peer.index) = (promise.term, promise.index);
            self.news = true;
        }
    }
}

#[net::async_trait]
impl net::ports::Members for Peers {
    fn admit(&self, envelope: &Envelope) -> Result<(), Refusal> {
        self.is_for_us(envelope)?;
        let mut known = self.known();
        let from = envelope.from;
        known.is_member(from)?;
        let (holds, promise) = (envelope.holds.unwrap_or_default(), known.promised(from));
        if is_behind(holds, promise) {
            return Err(Refusal::new(
                ErrorReason::StateForbids,
                format!(
                    "it promised member {} term {} and entry {}, but holds term {} and entry {}",
                    self.member_id, promise.term, promise.index, holds.term, holds.index
                ),
            )
            .with(WHY, "behind"));
        }
        let (level, raised_by) = self.feature_level();
        if envelope.feature_level < level {
            let knows = Knows {
                level: envelope.feature_level,
                version: "of this member".into(),
            };
            let refused = knows.check(level, &raised_by).err();
            let words = refused.map_or_else(String::new, |too_old| too_old.to_string());
            return Err(Refusal::new(ErrorReason::StateForbids, words).with(WHY, "features"));
        }
        if !envelope.address.is_empty() {
            known.meet(from, &envelope.address);
            drop(known);
            let (address, level) = (envelope.address.clone(), envelope.feature_level);
            self.engine.met(from, address, level);
        }
        Ok(())
    }

    fn hello(&self, envelope: &Envelope) -> Result<HelloResponse, Refusal> {
        self.is_for_us(envelope)?;
        let known = self.known();
        let (feature_level, feature_version) = self.feature_level();
        let peers = known.peers.iter().map(|(member, peer)| peer::Peer {
            member_id: *member,
            address: peer.address.clone(),
        });
        Ok(HelloResponse {
            promise: Some(known.promised(envelope.from)),
            removed: known.removed.contains(&envelope.from),
            peers: peers.collect(),
            feature_level,
            feature_version,
        })
    }

    async fn messages(
        &self,
        from: u64,
        promise: Promise,
        messages: Vec<Bytes>,
    ) -> Result<(), Refusal> {
        let room = {
            let mut known = self.known();
            known.is_member(from)?;
            known.note(from, promise);
            let room = known.room.entry(from);
            room.or_insert_with(|| Arc::new(Semaphore::new(WAITING)))
                .clone()
        };
        for bytes in messages {
            let message = parse(from, self.member_id, &bytes)?;
            let size = bytes.len().clamp(1, WAITING) as u32;
            let stopping = |_| Refusal::new(ErrorReason::NotReady, "this node is stopping");
            let permit = room
                .clone()
                .acquire_many_owned(size)
                .await
                .map_err(stopping)?;
            self.engine.peer(message, Some(permit));
        }
        Ok(())
    }

    async fn snapshot(&self, from: u64, message: Bytes, data: Bytes) -> Result<(), Refusal> {
        let mut message = parse(from, self.member_id, &message)?;
        message.mut_snapshot().set_data(data);
        self.engine.peer(message, None);
        Ok(())
    }
}

/// Reads a Raft message and checks that its sender and receiver are those of the stream.
fn parse(from: u64, to: u64, bytes: &[u8]) -> Result<Message, Refusal> {
    let malformed = |why: String| Refusal::invalid_field("messages", why);
    let message = Message::parse_from_bytes(bytes).map_err(|error| malformed(error.to_string()))?;
    if message.from != from || message.to != to {
        return Err(malformed(format!(
            "a message from {} to {} came from {from}",
            message.from, message.to
        )));
    }
    Ok(message)
}
