//! The keeper itself.
//!
//! For each feed `stored ≤ accepted`: what is accepted is on its way to the disk, and nothing is cut or closed before it is there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use feed::{Accept, Batch, Fence, Holder, Seal};
use ledger::{Ledger, Subject};

use super::expiry::Expiry;
use super::judge::{May, attempt, ended_at, may};
use super::kept::{Goal, Kept, retry_us};
use super::{Copies, FeedInput, FeedKey, FeedOutput, PushAnswer, Shelf};
use crate::io::Token;

/// How long what is on its way from the worker may take before another coordinator is asked for it.
const GRACE_US: u64 = 250_000;
/// How long a feed that somebody reads may be silent before another coordinator is asked whether it has more.
const SILENT_US: u64 = 2_000_000;
/// How long a push may wait for the ledger; then its worker is to ask again.
const HOLD_US: u64 = 2_000_000;
/// Bytes of pushes that wait for the ledger.
const HOLD_BYTES: usize = 64 << 20;
/// Feeds that are fetched at once.
const FETCHES: usize = 4;

/// A push that waits for the ledger.
struct Held {
    push: Token,
    key: FeedKey,
    fence: Fence,
    batch: Batch,
    until_us: u64,
}

/// A push, or a copy, that waits for the disk.
struct Waiting {
    key: FeedKey,
    next_record: u64,
    push: Option<Token>,
}

/// Keeps the feeds of one coordinator. See the [module](super)'s words.
///
/// Call [`Keeper::handle`] for everything that happened, in order, then [`Keeper::poll`] and do what it says, until it says nothing more. Handling
/// several inputs before one poll is what makes batches. [`Keeper::poll_wakeup`] says when a [`FeedInput::Tick`] is due at the latest.
#[derive(Default)]
pub struct Keeper {
    feeds: BTreeMap<FeedKey, Kept>,
    /// Feeds that ended without a seal and are as long as they will ever be.
    settled: BTreeSet<FeedKey>,
    peers: Vec<u64>,
    /// It was told who the others are. A member that joins has a ledger before it knows that.
    is_introduced: bool,
    held: VecDeque<Held>,
    held_bytes: usize,
    fetches: usize,
    batches: Vec<(FeedKey, Batch)>,
    waiting: Vec<Waiting>,
    /// Of the store that was asked for and not answered. What comes meanwhile gathers for the next one.
    storing: Option<Vec<Waiting>>,
    /// Feeds to look at in the next poll.
    touched: BTreeSet<FeedKey>,
    /// Feeds of which something is to be fetched, now or later.
    pending: BTreeSet<FeedKey>,
    /// The ledger was looked through up to here.
    surveyed: u64,
    /// When a coordinator was admitted or removed last, by the ledger's time.
    changed_ms: i64,
    pub(super) expiry: Expiry,
    outputs: Vec<FeedOutput>,
}

impl Keeper {
    /// Keeps nothing yet. Say [`FeedInput::Members`] and [`FeedInput::Tick`] first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether pushes wait for the ledger to move: then say [`FeedInput::Tick`] when it does.
    pub fn waits_for_ledger(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether a feed that ended without a seal is as long as it will ever be.
    pub fn is_settled(&self, key: FeedKey) -> bool {
        self.settled.contains(&key)
    }

    /// Feeds that have ended, as far as this coordinator knows, and of which records may be missing here. While there are any, another coordinator's
    /// disk may be the only one that has them.
    pub fn lacking(&self) -> usize {
        let pending = self.pending.iter().filter_map(|key| self.feeds.get(key));
        pending.filter(|kept| kept.goal != Goal::Open).count()
    }

    /// Whether it has looked through all of a ledger; until then feeds that it does not know of may be lacking as well.
    pub fn has_surveyed(&self, ledger: &Ledger) -> bool {
        self.surveyed == ledger.revision()
    }

    /// When to say [`FeedInput::Tick`] if nothing else happens before; none while nothing waits for time to pass.
    pub fn poll_wakeup(&self) -> Option<u64> {
        let held = self.held.front().map(|held| held.until_us);
        let can_fetch = self.fetches < FETCHES && !self.peers.is_empty();
        let pending = self.pending.iter().filter(|_| can_fetch);
        let due = pending
            .filter_map(|key| self.feeds.get(key))
            .filter(|kept| !kept.is_fetched && !kept.is_checked && !kept.is_in_flight())
            .filter_map(|kept| kept.due_us);
        held.into_iter().chain(due).min()
    }

    /// Takes in what happened at `now_us`, on a clock that never jumps.
    pub fn handle(&mut self, now_us: u64, ledger: &Ledger, shelf: &impl Shelf, input: FeedInput) {
        if !self.held.is_empty() {
            self.release(now_us, ledger, shelf);
        }
        match input {
            FeedInput::Pushed {
                push,
                key,
                fence,
                batch,
            } => self.pushed(now_us, ledger, shelf, (push, key, fence, batch)),
            FeedInput::Stored { fits } => self.stored(fits),
            FeedInput::Sealed { key, seal } => self.sealed(now_us, shelf, key, seal),
            FeedInput::Checked { key, is_whole } => self.checked(now_us, key, is_whole),
            FeedInput::Fetched {
                key,
                member,
                copies,
            } => self.fetched(now_us, key, member, copies),
            FeedInput::Damaged { key, record } => self.damaged(now_us, shelf, key, record),
            FeedInput::Expired { until_ms } => {
                self.expiry.expire(until_ms);
                self.remove_expired(ledger, shelf);
            }
            FeedInput::Members(peers) => {
                self.expiry.set_peers(&peers);
                self.peers = peers;
                self.is_introduced = true;
                self.follow_members(ledger);
                self.touched.extend(&self.pending);
            }
            FeedInput::Tick => {
                self.remove_expired(ledger, shelf);
                self.survey(now_us, ledger, shelf);
                self.follow_readers(now_us, ledger, shelf);
            }
        }
    }

    /// What is to be done now.
    pub fn poll(&mut self, now_us: u64) -> Vec<FeedOutput> {
        for key in std::mem::take(&mut self.touched) {
            self.look(now_us, key);
        }
        self.fetch(now_us);
        if self.storing.is_none() && !self.batches.is_empty() {
            self.storing = Some(std::mem::take(&mut self.waiting));
            let batches = std::mem::take(&mut self.batches);
            self.outputs.push(FeedOutput::Store(batches));
        }
        std::mem::take(&mut self.outputs)
    }

    fn answer(&mut self, push: Token, answer: PushAnswer) {
        self.outputs.push(FeedOutput::Answer { push, answer });
    }

    /// The feed as it is kept; taken up from the disk if it was not.
    fn kept(&mut self, shelf: &impl Shelf, key: FeedKey) -> &mut Kept {
        self.feeds.entry(key).or_insert_with(|| Kept {
            holder: Holder::new(Fence(0), shelf.length(key), None),
            goal: Goal::Open,
            due_us: None,
            turn: usize::from(key.execution[15]),
            failures: 0,
            is_fetched: false,
            is_checked: false,
            doubt: None,
            last_push_us: 0,
        })
    }

    /// Pushes that waited for the ledger, and can be judged now or have waited for too long.
    fn release(&mut self, now: u64, ledger: &Ledger, shelf: &impl Shelf) {
        for held in std::mem::take(&mut self.held) {
            if may(ledger, held.key, held.fence.0) == May::Later && now < held.until_us {
                self.held.push_back(held);
                continue;
            }
            self.held_bytes -= held.batch.frames.len();
            match may(ledger, held.key, held.fence.0) {
                May::Later | May::Never => self.answer(held.push, PushAnswer::Refused),
                May::Write => {
                    self.accept(now, shelf, (held.push, held.key, held.fence, held.batch))
                }
            }
        }
    }

    fn pushed(
        &mut self,
        now: u64,
        ledger: &Ledger,
        shelf: &impl Shelf,
        (push, key, fence, batch): (Token, FeedKey, Fence, Batch),
    ) {
        if ended_at(ledger, key).is_some_and(|end_time_ms| shelf.is_purged(key, end_time_ms)) {
            return self.answer(push, PushAnswer::Refused);
        }
        if let Some(seal) = shelf.sealed(key) {
            // It is whole: the worker has not heard of it yet.
            let answer = match batch.end_record() <= seal.record_count {
                true => PushAnswer::Stored(seal.record_count),
                false => PushAnswer::Refused,
            };
            return self.answer(push, answer);
        }
        match may(ledger, key, fence.0) {
            May::Never => self.answer(push, PushAnswer::Refused),
            May::Write => self.accept(now, shelf, (push, key, fence, batch)),
            May::Later if self.held_bytes + batch.frames.len() > HOLD_BYTES => {
                self.answer(push, PushAnswer::Refused);
            }
            May::Later => {
                self.held_bytes += batch.frames.len();
                self.held.push_back(Held {
                    push,
                    key,
                    fence,
                    batch,
                    until_us: now + HOLD_US,
                });
            }
        }
    }

    /// Takes what is new of a push. Answers at once when nothing is.
    fn accept(
        &mut self,
        now: u64,
        shelf: &impl Shelf,
        (push, key, fence, batch): (Token, FeedKey, Fence, Batch),
    ) {
        let kept = self.kept(shelf, key);
        kept.last_push_us = now;
        let answer = match kept.holder.accept(fence, &batch) {
            Ok(Accept::Store(new)) => {
                self.waiting.push(Waiting {
                    key,
                    next_record: new.end_record(),
                    push: Some(push),
                });
                self.batches.push((key, new));
                return;
            }
            // The same is on its way to the disk already. Said now, that it is not there yet would be the last that the worker hears of it.
            Ok(Accept::Duplicate { stored }) if stored < batch.end_record() => {
                return self.wait_with(key, batch.end_record(), push);
            }
            Ok(Accept::Duplicate { stored } | Accept::Gap { stored, .. }) => {
                PushAnswer::Stored(stored)
            }
            Ok(Accept::Sealed { .. } | Accept::StaleFence { .. }) => PushAnswer::Refused,
            Err(error) => PushAnswer::Corrupt(error.to_string()),
        };
        self.answer(push, answer);
    }

    /// Lets a push wait for what brings the records before `next_record` to the disk.
    fn wait_with(&mut self, key: FeedKey, next_record: u64, push: Token) {
        let waiting = Waiting {
            key,
            next_record,
            push: Some(push),
        };
        let brings = |one: &Waiting| one.key == key && one.next_record >= next_record;
        match &mut self.storing {
            Some(store) if store.iter().any(brings) => store.push(waiting),
            _ => self.waiting.push(waiting),
        }
    }

    fn stored(&mut self, fits: bool) {
        let mut done = self.storing.take().unwrap_or_default();
        if !fits {
            // What gathered meanwhile may follow what is not there.
            self.batches.clear();
            done.append(&mut self.waiting);
        }
        for Waiting {
            key,
            next_record,
            push,
        } in done
        {
            let answer = match self.feeds.get_mut(&key) {
                Some(kept) if fits => {
                    kept.holder
                        .mark_stored(next_record.min(kept.holder.accepted()));
                    if kept.goal != Goal::Open {
                        self.touched.insert(key);
                    }
                    self.outputs.push(FeedOutput::Show(key));
                    PushAnswer::Stored(next_record)
                }
                Some(kept) => {
                    kept.holder.forget_unstored();
                    if let Goal::Lost { heard, .. } = &mut kept.goal {
                        heard.clear();
                    }
                    PushAnswer::Full
                }
                None => PushAnswer::Refused,
            };
            if let Some(push) = push {
                self.answer(push, answer);
            }
        }
    }

    fn sealed(&mut self, now: u64, shelf: &impl Shelf, key: FeedKey, seal: Seal) {
        if shelf.sealed(key).is_some() {
            return;
        }
        let kept = self.kept(shelf, key);
        if kept.goal == Goal::Open {
            kept.goal = Goal::Sealed(seal);
            kept.due_us = Some(now + GRACE_US);
            kept.failures = 0;
        }
        self.pending.insert(key);
        self.touched.insert(key);
    }

    fn checked(&mut self, now: u64, key: FeedKey, is_whole: bool) {
        let Some(kept) = self.feeds.get_mut(&key) else {
            return;
        };
        if is_whole {
            self.forget(key);
            self.outputs.push(FeedOutput::Show(key));
            return;
        }
        kept.is_checked = false;
        kept.doubt = Some(0);
        kept.due_us = Some(now + retry_us(kept.failures));
        kept.failures += 1;
    }

    fn damaged(&mut self, now: u64, shelf: &impl Shelf, key: FeedKey, record: u64) {
        let seal = shelf.sealed(key);
        let kept = self.kept(shelf, key);
        if let Some(seal) = seal {
            kept.goal = Goal::Sealed(seal);
        }
        kept.doubt = Some(kept.doubt.map_or(record, |before| before.min(record)));
        kept.due_us.get_or_insert(now);
        self.pending.insert(key);
    }

    /// Nothing is to be done for a feed any more.
    fn forget(&mut self, key: FeedKey) {
        self.feeds.remove(&key);
        self.pending.remove(&key);
    }

    fn fetched(&mut self, now: u64, key: FeedKey, member: u64, copies: Option<Copies>) {
        self.fetches = self.fetches.saturating_sub(1);
        let Some(kept) = self.feeds.get_mut(&key) else {
            return;
        };
        kept.is_fetched = false;
        self.touched.insert(key);
        let copies = copies.unwrap_or_default();
        if let Some(until_ms) = self.expiry.hear(member, copies.absent_until_ms) {
            self.outputs.push(FeedOutput::GiveUp { until_ms });
        }
        let mut has_grown = false;
        for batch in &copies.batches {
            // What was accepted meanwhile is on its way to the disk: it is doubted when it is there.
            if let Some(from) = kept.doubt.filter(|_| !kept.is_in_flight()) {
                if batch.first_record > from || batch.end_record() <= from {
                    break;
                }
                kept.doubt = None;
                kept.holder = Holder::new(kept.holder.fence(), from, None);
                self.outputs.push(FeedOutput::Cut { key, from });
                self.outputs.push(FeedOutput::Show(key));
            }
            let wanted = match &kept.goal {
                Goal::Sealed(seal) => batch.before_record(seal.record_count),
                Goal::Open | Goal::Lost { .. } => Ok(batch.clone()),
            };
            let Ok(Ok(Accept::Store(new))) = wanted.map(|batch| kept.holder.accept_copy(&batch))
            else {
                continue;
            };
            has_grown = true;
            self.waiting.push(Waiting {
                key,
                next_record: new.end_record(),
                push: None,
            });
            self.batches.push((key, new));
        }
        if let Goal::Lost { heard, .. } = &mut kept.goal
            && copies.is_end
            && copies.is_closed
        {
            heard.insert(member);
        }
        let has_more = has_grown && !copies.is_end;
        if has_grown {
            kept.failures = 0;
        }
        if !has_more {
            kept.turn += 1;
        }
        let is_heard = matches!(&kept.goal, Goal::Lost { heard, .. } if heard.contains(&member));
        kept.due_us = match has_more || is_heard {
            true => Some(now),
            // A live feed is asked for again only while somebody reads it and it is silent.
            false if kept.goal == Goal::Open && kept.doubt.is_none() => None,
            false => Some(now + retry_us(kept.failures)),
        };
        if !has_grown {
            kept.failures += 1;
        }
    }

    /// What is next for a feed: it is closed when it is whole, forgotten when it was only being written.
    fn look(&mut self, now: u64, key: FeedKey) {
        let (peers, changed_ms) = (&self.peers, self.changed_ms);
        let Some(kept) = self.feeds.get_mut(&key) else {
            return;
        };
        if kept.is_in_flight() || kept.is_checked {
            return;
        }
        match &kept.goal {
            Goal::Open => {}
            Goal::Sealed(seal) => {
                let count = seal.record_count;
                if kept.holder.stored() > count {
                    // The worker's disk had lost the end of what it had pushed; the seal decides.
                    kept.holder = Holder::new(kept.holder.fence(), count, None);
                    self.outputs.push(FeedOutput::Cut { key, from: count });
                }
                if kept.holder.seal().is_none() && kept.holder.close(*seal).is_err() {
                    return;
                }
                if kept.holder.is_complete() && kept.doubt.is_none() {
                    kept.is_checked = true;
                    self.outputs.push(FeedOutput::Seal { key, seal: *seal });
                } else {
                    kept.due_us.get_or_insert(now);
                }
            }
            Goal::Lost {
                assign_time_ms,
                heard,
            } => {
                // What a majority stored is known by one of any other majority, as long as both are of the same members. Whoever came later may stand
                // for one that had it.
                let needed = match changed_ms < *assign_time_ms {
                    true => peers.len().div_ceil(2),
                    false => peers.len(),
                };
                let heard = peers.iter().filter(|id| heard.contains(id)).count();
                if self.is_introduced && heard >= needed {
                    self.forget(key);
                    self.settled.insert(key);
                    self.outputs.push(FeedOutput::Show(key));
                } else {
                    kept.due_us.get_or_insert(now);
                }
            }
        }
    }

    /// Lets go of feeds whose time is over, as soon as nothing of them is on its way to the disk.
    fn remove_expired(&mut self, ledger: &Ledger, shelf: &impl Shelf) {
        if !self.expiry.is_due() {
            return;
        }
        let expired = self.expiry.expired_ms();
        let kept = self.feeds.iter().filter_map(|(key, kept)| {
            let end_time_ms = ended_at(ledger, *key)?;
            let is_over = self.expiry.is_over(end_time_ms);
            (is_over || shelf.is_purged(*key, end_time_ms)).then_some((*key, kept.is_in_flight()))
        });
        let kept: Vec<(FeedKey, bool)> = kept.collect();
        for (key, _) in kept.iter().filter(|(_, is_in_flight)| !is_in_flight) {
            self.forget(*key);
            self.outputs.push(FeedOutput::Show(*key));
        }
        if kept.iter().all(|(_, is_in_flight)| !is_in_flight) {
            self.expiry.done();
            let purge = expired.map(|until_ms| FeedOutput::Purge { until_ms });
            self.outputs.extend(purge);
        }
    }

    /// Asks other coordinators for what is due.
    fn fetch(&mut self, now: u64) {
        if self.peers.is_empty() {
            return;
        }
        for key in &self.pending {
            if self.fetches >= FETCHES {
                return;
            }
            let Some(kept) = self.feeds.get_mut(key) else {
                continue;
            };
            let is_due = kept.due_us.is_some_and(|due| due <= now);
            if !is_due || kept.is_fetched || kept.is_checked || kept.is_in_flight() {
                continue;
            }
            let heard = match &kept.goal {
                Goal::Lost { heard, .. } => Some(heard),
                Goal::Open | Goal::Sealed(_) => None,
            };
            let turns =
                (kept.turn..kept.turn + self.peers.len()).map(|turn| turn % self.peers.len());
            let asked = turns
                .filter_map(|turn| Some((turn, *self.peers.get(turn)?)))
                .find(|(_, member)| heard.is_none_or(|heard| !heard.contains(member)));
            let Some((turn, member)) = asked else {
                kept.due_us = None;
                continue;
            };
            kept.turn = turn;
            kept.due_us = None;
            kept.is_fetched = true;
            self.fetches += 1;
            let from = kept.doubt.unwrap_or(kept.holder.stored());
            self.outputs.push(FeedOutput::Fetch {
                key: *key,
                from,
                member,
            });
        }
    }

    /// Looks through what has changed in the ledger: feeds that ended and are not whole here, after a start, after a snapshot that came from
    /// the leader, or because nobody said so.
    fn survey(&mut self, now: u64, ledger: &Ledger, shelf: &impl Shelf) {
        if ledger.revision() == self.surveyed {
            return;
        }
        self.follow_members(ledger);
        let mut sealed = Vec::new();
        let mut lost = Vec::new();
        for (_, subject) in ledger.changed_since(self.surveyed) {
            let Subject::Execution { project, number } = subject else {
                continue;
            };
            let Some(execution) = ledger.execution(project, *number) else {
                continue;
            };
            for attempt in execution
                .attempts
                .iter()
                .filter(|attempt| !attempt.is_live())
            {
                let key = FeedKey {
                    execution: *execution.execution_id.as_bytes(),
                    attempt: attempt.number,
                };
                let end = attempt.end_time_ms;
                if self.expiry.is_over(end) || shelf.is_purged(key, end) {
                    continue;
                }
                match attempt.feed_digest {
                    Some(digest) => sealed.push((
                        key,
                        Seal {
                            record_count: attempt.record_count,
                            digest,
                        },
                    )),
                    None => lost.push((key, attempt.assign_time_ms)),
                }
            }
        }
        self.surveyed = ledger.revision();
        for (key, seal) in sealed {
            self.sealed(now, shelf, key, seal);
        }
        for (key, assign_time_ms) in lost {
            self.lost(now, shelf, key, assign_time_ms);
        }
    }

    /// Notes when the coordinators became those of now.
    fn follow_members(&mut self, ledger: &Ledger) {
        let times = ledger
            .members()
            .map(|member| member.admit_time_ms.max(member.remove_time_ms));
        self.changed_ms = times.max().unwrap_or_default();
    }

    fn lost(&mut self, now: u64, shelf: &impl Shelf, key: FeedKey, assign_time_ms: i64) {
        if self.settled.contains(&key) {
            return;
        }
        let kept = self.kept(shelf, key);
        if kept.goal == Goal::Open {
            kept.goal = Goal::Lost {
                assign_time_ms,
                heard: BTreeSet::new(),
            };
            kept.due_us = Some(now);
            kept.failures = 0;
        }
        self.pending.insert(key);
        self.touched.insert(key);
    }

    /// Feeds that somebody reads and that no worker brings: another coordinator may have more of them.
    fn follow_readers(&mut self, now: u64, ledger: &Ledger, shelf: &impl Shelf) {
        if self.peers.is_empty() {
            return;
        }
        for key in shelf.watched() {
            let is_live = attempt(ledger, key).is_some_and(|(_, attempt)| attempt.is_live());
            if !is_live {
                continue;
            }
            let kept = self.kept(shelf, key);
            let is_silent = now >= kept.last_push_us + SILENT_US;
            if kept.goal == Goal::Open && is_silent && kept.due_us.is_none() && !kept.is_fetched {
                kept.due_us = Some(now + retry_us(kept.failures));
                self.pending.insert(key);
            }
        }
    }

    /// Checks what must always hold between two inputs; in words what does not.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check_invariants(&self) -> Result<(), String> {
        let fetched = self.feeds.values().filter(|kept| kept.is_fetched).count();
        if fetched > self.fetches || self.fetches > FETCHES {
            return Err(format!(
                "{fetched} feeds are fetched by {} fetches",
                self.fetches
            ));
        }
        let held: usize = self.held.iter().map(|held| held.batch.frames.len()).sum();
        if held != self.held_bytes || held > HOLD_BYTES {
            return Err(format!(
                "{held} bytes wait for the ledger, not {}",
                self.held_bytes
            ));
        }
        for (key, kept) in &self.feeds {
            if kept.is_checked && kept.is_in_flight() {
                return Err(format!(
                    "I-21: {key} is closed while records are on their way"
                ));
            }
        }
        Ok(())
    }
}
