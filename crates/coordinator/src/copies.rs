//! A worker that leaves hands over what only it has: other workers are told to fetch those blobs and keep them, and what they keep goes on record.
//!
//! ```text
//! leaving         drained by an operator or by itself; not lost
//! handed over     a blob of a leaving worker  =>  on record at a worker that stays
//! asked(taker) <= AT_ONCE,   asked in all <= ALL_AT_ONCE
//! ```
//!
//! It is soft state and level-triggered: who leads next finds the same out by looking at the ledger. That is the committed one, for machines are taken
//! away on the strength of it. Nothing here makes a worker wait or go; whoever takes the machine away looks at how much is on no other worker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use contract::ledger::{RecordCopies, command::Kind};
use contract::link::{SynchronizeRequest, WantedCopy};
use ledger::{Blob, COPIES, Digest, Ledger, Worker};
use schedule::Facts;

use crate::coordinator::Coordinator;
use crate::desired;
use crate::io::Now;

/// How many copies one worker is asked for at a time: more would not come sooner, and each holds a place in what it is told.
const AT_ONCE: usize = 32;
/// How many all workers together are asked for at a time. It bounds what a look costs.
const ALL_AT_ONCE: usize = 1_024;
/// How many blobs are looked at in one go, of all workers that leave: one may have a million.
const LOOKS: usize = 5_000;
/// Ticks between two looks while nothing is heard of copies: a fifth of a second.
const LOOK_TICKS: u64 = 200 / crate::TICK_MS;
/// Time before a copy that failed is asked for again, in microseconds; doubled each time.
const RETRY_US: u64 = 2_000_000;
/// At most.
const MAX_RETRY_US: u64 = 60_000_000;

/// What is being handed over.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    asked: Asked,
    failed: BTreeMap<Digest, Failed>,
    scans: BTreeMap<Arc<str>, Scan>,
    /// The worker whose blobs are looked at first the next time, so that each has its turn.
    next_worker: Arc<str>,
    /// Those that stayed when it was looked last. What was safe with one that is not among them any more is looked at again.
    stayed: BTreeSet<Arc<str>>,
    /// Rises with every change of what is asked for.
    number: u64,
    /// Tick from which on it is looked again.
    next_tick: u64,
}

/// Copies that workers were asked for, by blob and by worker.
#[derive(Debug, Default)]
struct Asked {
    takers: BTreeMap<Digest, Arc<str>>,
    of: BTreeMap<Arc<str>, BTreeSet<Digest>>,
}

impl Asked {
    fn len(&self) -> usize {
        self.takers.len()
    }

    fn has(&self, digest: &Digest) -> bool {
        self.takers.contains_key(digest)
    }

    /// How many a worker is asked for.
    fn count_of(&self, worker: &str) -> usize {
        self.of.get(worker).map_or(0, BTreeSet::len)
    }

    fn insert(&mut self, digest: Digest, taker: &Arc<str>) {
        self.takers.insert(digest, taker.clone());
        self.of.entry(taker.clone()).or_default().insert(digest);
    }

    /// A worker is not asked for a blob any more; whether it was.
    fn remove(&mut self, digest: &Digest, taker: &str) -> bool {
        let is_asked = self.takers.get(digest).is_some_and(|one| **one == *taker);
        if is_asked {
            self.takers.remove(digest);
            let left = self.of.get_mut(taker).is_some_and(|of| {
                of.remove(digest);
                !of.is_empty()
            });
            if !left {
                self.of.remove(taker);
            }
        }
        is_asked
    }
}

/// A copy that did not come.
#[derive(Debug, Default)]
struct Failed {
    /// Who could not make one.
    takers: BTreeSet<Arc<str>>,
    times: u32,
    retry_us: u64,
}

/// How far the blobs of a worker were looked at, round after round.
#[derive(Debug, Default)]
struct Scan {
    /// The next to look at.
    from: Digest,
    /// Whether this round has found one that goes with the worker.
    found: bool,
    /// Whether a whole round found none: nothing is looked at until there is more, or somebody who stayed does not.
    is_over: bool,
    /// So many it had then.
    count: usize,
}

/// Whether a worker is in contact as the incarnation that the ledger knows.
fn is_heard(facts: &Facts, worker: &Worker) -> bool {
    let fact = facts.get(&*worker.name);
    !worker.lost && fact.is_some_and(|fact| fact.incarnation == Some(worker.incarnation))
}

/// Whether a worker can be asked for a copy.
fn can_take(facts: &Facts, worker: &Worker) -> bool {
    let offer = &worker.offer;
    worker.stays() && offer.keeps_copies && !offer.disk_full && is_heard(facts, worker)
}

impl Copies {
    /// Rises with every change of what is asked for.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Digests that a worker is asked for.
    pub(crate) fn asked_of(&self, worker: &str) -> BTreeSet<Digest> {
        self.asked.of.get(worker).cloned().unwrap_or_default()
    }

    /// The same in the words of the conversation.
    pub(crate) fn wanted(&self, ledger: &Ledger, worker: &str) -> Vec<WantedCopy> {
        let asked = self.asked_of(worker).into_iter();
        let wanted = asked.filter_map(|digest| {
            let blob = ledger.blob(&digest)?;
            Some(WantedCopy {
                digest: digest.to_vec().into(),
                size_bytes: blob.size_bytes,
                locations: desired::locations(ledger, &digest),
            })
        });
        wanted.collect()
    }

    /// Takes in what became of copies. What is kept and not on record yet is recorded, whoever asked for it.
    pub(crate) fn hear(
        &mut self,
        now: Now,
        tip: &Ledger,
        state: &SynchronizeRequest,
    ) -> Option<Kind> {
        let mut kept = Vec::new();
        if !state.copies.is_empty() {
            self.next_tick = 0;
        }
        for report in &state.copies {
            let Ok(digest) = Digest::try_from(&*report.digest) else {
                continue;
            };
            if report.kept {
                let blob = tip.blob(&digest);
                let is_new = |blob: &Blob| !blob.holders().iter().any(|one| **one == *state.worker);
                if blob.is_some_and(is_new) {
                    kept.push(report.digest.clone());
                }
            } else if !report.problem.is_empty() {
                self.fail(now, digest, &state.worker);
            }
        }
        let is_any = !kept.is_empty() && tip.feature_level() >= COPIES;
        is_any.then(|| {
            Kind::RecordCopies(RecordCopies {
                worker: state.worker.clone(),
                incarnation: state.incarnation,
                digests: kept,
            })
        })
    }

    /// A worker could not make a copy: another is asked, or the same later.
    fn fail(&mut self, now: Now, digest: Digest, worker: &str) {
        if !self.asked.remove(&digest, worker) {
            return;
        }
        self.number += 1;
        let failed = self.failed.entry(digest).or_default();
        let wait_us = RETRY_US << failed.times.min(20);
        failed.times += 1;
        failed.retry_us = now.monotonic_us + wait_us.min(MAX_RETRY_US);
        failed.takers.insert(Arc::from(worker));
    }

    /// Drops what needs no copy any more, or cannot come from or to where it should.
    fn tidy(&mut self, ledger: &Ledger, facts: &Facts) {
        let is_wanted = |digest: &Digest, taker: &str| {
            let taker = ledger.worker(taker);
            let can = taker.is_some_and(|taker| can_take(facts, taker));
            can && needs_copy(ledger, facts, digest)
        };
        let asked = self.asked.takers.iter();
        let over = asked.filter(|(digest, taker)| !is_wanted(digest, taker));
        let over: Vec<(Digest, Arc<str>)> = over
            .map(|(digest, taker)| (*digest, taker.clone()))
            .collect();
        for (digest, taker) in over {
            self.asked.remove(&digest, &taker);
            self.number += 1;
        }
        self.failed
            .retain(|digest, _| needs_copy(ledger, facts, digest));
        let stay: BTreeSet<Arc<str>> = ledger
            .workers()
            .filter(|worker| worker.stays())
            .map(|worker| worker.name.clone())
            .collect();
        if !self.stayed.is_subset(&stay) {
            self.scans.clear();
        }
        self.stayed = stay;
    }

    /// Asks for copies of what a worker that leaves has and no other, and takes what it looks at off the budget.
    fn hand_over(
        &mut self,
        now: Now,
        ledger: &Ledger,
        worker: &Worker,
        takers: &[&Worker],
        looks: &mut usize,
    ) {
        let count = ledger.stored_count(&worker.name);
        let scan = self.scans.remove(&worker.name);
        let mut scan = scan
            .filter(|scan| scan.count == count)
            .unwrap_or_else(|| Scan {
                count,
                ..Scan::default()
            });
        let mut stopped = None;
        let from = scan.from;
        let blobs = ledger.stored_from(&worker.name, from);
        for (digest, blob) in blobs.filter(|_| !scan.is_over) {
            if *looks == 0 {
                stopped = Some(*digest);
                break;
            }
            *looks -= 1;
            if !ledger.is_only_at(blob, &worker.name) {
                continue;
            }
            scan.found = true;
            if self.asked.has(digest) {
                continue;
            }
            let failed = self.failed.get(digest);
            if failed.is_some_and(|failed| now.monotonic_us < failed.retry_us) {
                continue;
            }
            match self.choose(digest, blob, takers) {
                Choice::Taker(taker) => {
                    self.asked.insert(*digest, &taker);
                    self.number += 1;
                }
                Choice::Nobody => {}
                Choice::AllBusy => {
                    stopped = Some(*digest);
                    break;
                }
            }
        }
        match stopped {
            Some(digest) => scan.from = digest,
            None => {
                scan.is_over = !scan.found;
                (scan.from, scan.found) = (Digest::default(), false);
            }
        }
        self.scans.insert(worker.name.clone(), scan);
    }

    /// Who is asked for a copy: rather one that has not failed, that was not made for a pool and may go as well, that has little to do.
    fn choose(&self, digest: &Digest, blob: &Blob, takers: &[&Worker]) -> Choice {
        if self.asked.len() >= ALL_AT_ONCE {
            return Choice::AllBusy;
        }
        let failed = self.failed.get(digest);
        let turn = digest.first().copied().unwrap_or_default();
        let mut best: Option<(Rank, &Worker)> = None;
        let mut is_any = false;
        for (at, taker) in takers.iter().enumerate() {
            if blob.holders().contains(&taker.name) {
                continue;
            }
            is_any = true;
            let busy = self.asked.count_of(&taker.name);
            if busy >= AT_ONCE {
                continue;
            }
            let rank = Rank {
                has_failed: failed.is_some_and(|failed| failed.takers.contains(&taker.name)),
                may_go: taker.offer.provisioned,
                busy,
                turn: (at as u8).wrapping_sub(turn),
            };
            if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                best = Some((rank, taker));
            }
        }
        match best {
            Some((_, taker)) => Choice::Taker(taker.name.clone()),
            None if is_any => Choice::AllBusy,
            None => Choice::Nobody,
        }
    }
}

/// Who is asked for a copy first: the least. The fields count in their order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    has_failed: bool,
    /// It was made for a pool, which gives it back some day.
    may_go: bool,
    /// Copies that it is asked for already.
    busy: usize,
    /// Among equals each blob begins with another one.
    turn: u8,
}

/// What became of the search for a taker.
enum Choice {
    Taker(Arc<str>),
    /// There is one, with enough to do for now.
    AllBusy,
    Nobody,
}

/// Whether a blob is on no worker that stays, and a leaving one that has it can be asked for it.
fn needs_copy(ledger: &Ledger, facts: &Facts, digest: &Digest) -> bool {
    let can_give = |worker: &Worker| worker.is_leaving() && is_heard(facts, worker);
    let holders = || ledger.holders(digest);
    !holders().any(Worker::stays) && holders().any(can_give)
}

impl Coordinator {
    /// Asks workers that stay for copies of what only workers that leave have.
    pub(crate) fn hand_over_copies(&mut self, now: Now) {
        let tick = self.group.ticks();
        if tick < self.copies.next_tick || self.ledger.feature_level() < COPIES {
            return;
        }
        self.copies.next_tick = tick + LOOK_TICKS;
        let mut copies = std::mem::take(&mut self.copies);
        let (ledger, facts) = (&self.ledger, self.scheduler.facts());
        let leaving = ledger
            .workers()
            .filter(|worker| worker.is_leaving() && is_heard(facts, worker))
            .filter(|worker| ledger.stored_count(&worker.name) > 0);
        let mut leaving: Vec<&Worker> = leaving.collect();
        if !(leaving.is_empty() && copies.asked.len() == 0) {
            copies.tidy(ledger, facts);
            let takers: Vec<&Worker> = ledger
                .workers()
                .filter(|worker| can_take(facts, worker))
                .collect();
            let first = leaving.partition_point(|worker| worker.name < copies.next_worker);
            leaving.rotate_left(first);
            let mut looks = LOOKS;
            for worker in leaving {
                copies.hand_over(now, ledger, worker, &takers, &mut looks);
                copies.next_worker = worker.name.clone();
                if looks == 0 {
                    break;
                }
            }
        }
        self.copies = copies;
    }

    /// Whether a worker that leaves has nothing that no worker has which stays.
    pub(crate) fn is_handed_over(&self, name: &str) -> bool {
        let (ledger, copies) = (&self.ledger, &self.copies);
        let count = ledger.stored_count(name);
        let mut stayed = copies.stayed.iter();
        let is_over = |scan: &Scan| scan.is_over && scan.count == count;
        count == 0
            || copies.scans.get(name).is_some_and(is_over)
                && stayed.all(|name| ledger.worker(name).is_some_and(Worker::stays))
    }

    /// Whether somebody could take what a worker alone has, when it leaves together with these.
    pub(crate) fn has_taker(&self, name: &str, leaving: &[String]) -> bool {
        let (ledger, facts) = (&self.ledger, self.scheduler.facts());
        let mut others = ledger.workers().filter(|worker| *worker.name != *name);
        ledger.feature_level() >= COPIES
            && others.any(|worker| {
                can_take(facts, worker) && !leaving.iter().any(|one| **one == *worker.name)
            })
    }
}
