//! Three keepers with disks of their own, a worker that pushes, and a network that loses.

use std::collections::{BTreeMap, VecDeque};

use contract::api::State;
use contract::ledger::{self as pb, Command, Entry, command::Kind};
use contract::link;
use feed::{SealHasher, Stream};
use ledger::Ledger;
use proptest::prelude::*;

use super::*;

mod expiry;
mod lost;

const WORKER: &str = "w1";
/// Raft index of the entry that assigns the attempt.
const FENCE: u64 = 4;

fn apply(ledger: &mut Ledger, kind: Kind) {
    let index = ledger.revision() + 1;
    let entry = Entry {
        version: ledger::ENTRY_VERSION,
        leader_time_ms: 1_000 * index as i64,
        commands: vec![Command { kind: Some(kind) }],
    };
    let applied = ledger.apply(index, &entry);
    assert!(applied.outcomes.iter().all(Result::is_ok), "{applied:?}");
}

/// The ledger before an attempt is assigned, and after it was.
fn ledgers() -> (Ledger, Ledger, FeedKey) {
    let mut ledger = Ledger::new();
    apply(
        &mut ledger,
        Kind::FoundCluster(pb::FoundCluster {
            cluster_id: "c".into(),
        }),
    );
    apply(
        &mut ledger,
        Kind::RegisterWorker(pb::RegisterWorker {
            name: WORKER.into(),
            incarnation: 1,
            offer: Some(link::Offer {
                slot_count: 1,
                ..link::Offer::default()
            }),
            instance_id: Default::default(),
        }),
    );
    apply(
        &mut ledger,
        Kind::CreateExecution(pb::CreateExecution {
            request: Some(pb::RequestKey {
                request_id: vec![1; 16].into(),
                digest: vec![2; 32].into(),
            }),
            project: "p".into(),
            template: Some(pb::StepTemplate {
                step: "s".into(),
                image: "busybox".into(),
                commands: vec!["true".into()],
                ..pb::StepTemplate::default()
            }),
            ..pb::CreateExecution::default()
        }),
    );
    let before = ledger.clone();
    apply(
        &mut ledger,
        Kind::AssignAttempt(pb::AssignAttempt {
            project: "p".into(),
            execution: 1,
            worker: WORKER.into(),
            device_ids: Vec::new(),
        }),
    );
    assert_eq!(ledger.revision(), FENCE);
    let execution = *ledger.execution("p", 1).unwrap().execution_id.as_bytes();
    let key = FeedKey {
        execution,
        attempt: 1,
    };
    (before, ledger, key)
}

fn wire(key: FeedKey) -> Option<link::Fence> {
    Some(link::Fence {
        execution_id: key.execution.to_vec().into(),
        attempt: key.attempt,
        index: FENCE,
    })
}

fn finished(ledger: &Ledger, key: FeedKey, seal: Seal) -> Ledger {
    let mut ledger = ledger.clone();
    apply(
        &mut ledger,
        Kind::FinishAttempt(pb::FinishAttempt {
            worker: WORKER.into(),
            fence: wire(key),
            start_time_us: 1,
            result: Some(link::AttemptResult {
                state: State::Complete.into(),
                exit_code: Some(0),
                exit_time_us: 2,
                record_count: seal.record_count,
                feed_digest: seal.digest.to_vec().into(),
                ..link::AttemptResult::default()
            }),
            ..pb::FinishAttempt::default()
        }),
    );
    ledger
}

fn lost(ledger: &Ledger, key: FeedKey) -> Ledger {
    let mut ledger = ledger.clone();
    apply(
        &mut ledger,
        Kind::LoseAttempt(pb::LoseAttempt {
            fence: wire(key),
            message: "gone".into(),
            ..pb::LoseAttempt::default()
        }),
    );
    ledger
}

fn lines(first: u64, count: u64) -> Batch {
    let mut out = Vec::new();
    for number in first..first + count {
        let line = format!("line {number}\n");
        feed::encode_parts(Stream::Stdout, false, number, line.as_bytes(), &mut out);
    }
    Batch::of_frames(first, out.into()).unwrap()
}

fn seal_of(count: u64) -> Seal {
    let mut hasher = SealHasher::new();
    hasher.update_batch(&lines(0, count));
    hasher.seal()
}

/// A disk.
#[derive(Default)]
struct Disk {
    frames: Vec<u8>,
    count: u64,
    seal: Option<Seal>,
    watched: Vec<FeedKey>,
    /// Up to when feeds that are not whole here are given up.
    absent_until_ms: i64,
}

impl Disk {
    fn batch(&self, from: u64) -> Batch {
        let all = Batch::of_frames(0, self.frames.clone().into()).unwrap();
        all.from_record(from).unwrap()
    }
}

impl Shelf for Disk {
    fn length(&self, _: FeedKey) -> u64 {
        self.count
    }
    fn sealed(&self, _: FeedKey) -> Option<Seal> {
        self.seal
    }
    fn is_purged(&self, key: FeedKey, end_time_ms: i64) -> bool {
        end_time_ms <= self.absent_until_ms && self.sealed(key).is_none()
    }
    fn watched(&self) -> Vec<FeedKey> {
        self.watched.clone()
    }
}

/// A coordinator: its keeper, its disk, its ledger, and what it was asked to do and has not done yet.
struct Member {
    id: u64,
    keeper: Keeper,
    disk: Disk,
    ledger: Ledger,
    stores: VecDeque<Vec<(FeedKey, Batch)>>,
    fetches: VecDeque<(FeedKey, u64, u64)>,
    answers: BTreeMap<u64, PushAnswer>,
    said: Vec<String>,
}

impl Member {
    fn new(id: u64, others: &[u64], ledger: &Ledger) -> Self {
        let mut member = Self {
            id,
            keeper: Keeper::new(),
            disk: Disk::default(),
            ledger: ledger.clone(),
            stores: VecDeque::new(),
            fetches: VecDeque::new(),
            answers: BTreeMap::new(),
            said: Vec::new(),
        };
        member.handle(0, FeedInput::Members(others.to_vec()));
        member.handle(0, FeedInput::Tick);
        member
    }

    fn handle(&mut self, now: u64, input: FeedInput) {
        self.keeper.handle(now, &self.ledger, &self.disk, input);
        loop {
            let outputs = self.keeper.poll(now);
            if outputs.is_empty() {
                break;
            }
            for output in outputs {
                self.perform(now, output);
            }
        }
        self.keeper.check_invariants().unwrap();
    }

    fn perform(&mut self, now: u64, output: FeedOutput) {
        self.said.push(output.to_string());
        match output {
            FeedOutput::Store(batches) => self.stores.push_back(batches),
            FeedOutput::Answer { push, answer } => {
                let before = self.answers.insert(push.0, answer);
                assert_eq!(before, None, "answered once");
            }
            FeedOutput::Show(_) => {}
            FeedOutput::Seal { key, seal } => {
                let mut hasher = SealHasher::new();
                hasher.update(&self.disk.frames, self.disk.count);
                let is_whole = hasher.seal() == seal;
                if is_whole {
                    self.disk.seal = Some(seal);
                }
                self.keeper.handle(
                    now,
                    &self.ledger,
                    &self.disk,
                    FeedInput::Checked { key, is_whole },
                );
            }
            FeedOutput::Cut { from, .. } => {
                self.disk.frames = match from {
                    0 => Vec::new(),
                    from => self
                        .disk
                        .batch(0)
                        .before_record(from)
                        .unwrap()
                        .frames
                        .to_vec(),
                };
                self.disk.count = self.disk.count.min(from);
                self.disk.seal = None;
            }
            FeedOutput::Fetch { key, from, member } => self.fetches.push_back((key, from, member)),
            FeedOutput::GiveUp { until_ms } => {
                self.disk.absent_until_ms = self.disk.absent_until_ms.max(until_ms);
            }
            FeedOutput::Purge { until_ms } => {
                assert!(self.stores.is_empty(), "nothing is on its way to the disk");
                self.disk = Disk {
                    absent_until_ms: self.disk.absent_until_ms.max(until_ms),
                    ..Disk::default()
                };
            }
        }
    }

    /// The oldest store reaches the disk.
    fn store(&mut self, now: u64, fits: bool) {
        let Some(batches) = self.stores.pop_front() else {
            return;
        };
        for (_, batch) in batches.iter().filter(|_| fits) {
            assert_eq!(batch.first_record, self.disk.count, "I-21: dense");
            self.disk.frames.extend_from_slice(&batch.frames);
            self.disk.count = batch.end_record();
        }
        self.handle(now, FeedInput::Stored { fits });
    }

    fn settle(&mut self, now: u64) {
        while !self.stores.is_empty() {
            self.store(now, true);
        }
    }

    fn push(&mut self, now: u64, token: u64, key: FeedKey, batch: Batch) {
        let input = FeedInput::Pushed {
            push: Token(token),
            key,
            fence: Fence(FENCE),
            batch,
        };
        self.handle(now, input);
    }

    fn copies(&self, key: FeedKey, from: u64) -> Copies {
        let batch = self.disk.batch(from.min(self.disk.count));
        Copies {
            batches: (!batch.is_empty()).then_some(batch).into_iter().collect(),
            is_end: true,
            is_closed: has_ended(&self.ledger, key),
            ..Copies::default()
        }
    }
}

#[test]
fn a_push_is_answered_when_it_is_on_the_disk_and_a_stale_one_never() {
    let (_, ledger, key) = ledgers();
    let mut one = Member::new(1, &[], &ledger);
    one.push(1, 1, key, lines(0, 2));
    one.push(1, 2, key, lines(0, 1));
    one.push(1, 3, key, lines(5, 1));
    assert_eq!(one.answers, BTreeMap::from([(3, PushAnswer::Stored(0))]));
    one.settle(2);
    assert_eq!(one.answers[&1], PushAnswer::Stored(2));
    assert_eq!(one.answers[&2], PushAnswer::Stored(1));
    one.handle(
        3,
        FeedInput::Pushed {
            push: Token(4),
            key,
            fence: Fence(FENCE - 1),
            batch: lines(2, 1),
        },
    );
    assert_eq!(one.answers[&4], PushAnswer::Refused);
    one.push(4, 5, key, lines(2, 1));
    one.store(5, false);
    assert_eq!(one.answers[&5], PushAnswer::Full);
    one.push(6, 6, key, lines(2, 1));
    one.settle(7);
    assert_eq!(one.answers[&6], PushAnswer::Stored(3));
    one.ledger = finished(&ledger, key, seal_of(3));
    one.handle(8, FeedInput::Tick);
    assert_eq!(one.disk.seal, Some(seal_of(3)));
    one.push(9, 7, key, lines(2, 1));
    one.push(9, 8, key, lines(3, 1));
    assert_eq!(one.answers[&7], PushAnswer::Stored(3));
    assert_eq!(one.answers[&8], PushAnswer::Refused);
}

#[test]
fn a_follower_that_lags_holds_what_it_cannot_judge_yet() {
    let (before, ledger, key) = ledgers();
    let mut one = Member::new(1, &[2, 3], &before);
    one.push(1, 1, key, lines(0, 2));
    one.push(2, 2, key, lines(2, 2));
    assert!(one.keeper.waits_for_ledger());
    assert_eq!(one.answers, BTreeMap::new());
    one.ledger = ledger;
    one.handle(3, FeedInput::Tick);
    one.settle(4);
    assert_eq!(one.answers[&1], PushAnswer::Stored(2));
    assert_eq!(one.answers[&2], PushAnswer::Stored(4));
    // Not for ever.
    let mut other = Member::new(1, &[2, 3], &before);
    other.push(1, 1, key, lines(0, 2));
    let due = other.keeper.poll_wakeup().unwrap();
    other.handle(due, FeedInput::Tick);
    assert_eq!(other.answers[&1], PushAnswer::Refused);
}

#[test]
fn what_lacks_of_a_sealed_feed_is_fetched_from_one_after_the_other() {
    let (_, ledger, key) = ledgers();
    let mut one = Member::new(1, &[2, 3], &ledger);
    one.push(1, 1, key, lines(0, 2));
    one.settle(1);
    one.ledger = finished(&ledger, key, seal_of(6));
    let seal = seal_of(6);
    one.handle(10, FeedInput::Sealed { key, seal });
    assert!(one.fetches.is_empty(), "it may be on its way");
    one.handle(1_000_000, FeedInput::Tick);
    let (_, from, first) = one.fetches.pop_front().unwrap();
    assert_eq!(from, 2);
    let nothing = FeedInput::Fetched {
        key,
        member: first,
        copies: None,
    };
    one.handle(1_000_000, nothing);
    one.handle(2_000_000, FeedInput::Tick);
    let (_, _, second) = one.fetches.pop_front().unwrap();
    assert_ne!(first, second);
    let copies = Copies {
        batches: vec![lines(1, 3)],
        is_end: false,
        is_closed: false,
        ..Copies::default()
    };
    one.handle(
        2_000_000,
        FeedInput::Fetched {
            key,
            member: second,
            copies: Some(copies),
        },
    );
    one.settle(2_000_000);
    let (_, from, again) = one.fetches.pop_front().unwrap();
    assert_eq!((from, again), (4, second), "it has more");
    // More than the seal counts is not taken.
    let copies = Copies {
        batches: vec![lines(4, 4)],
        is_end: true,
        is_closed: true,
        ..Copies::default()
    };
    one.handle(
        2_000_000,
        FeedInput::Fetched {
            key,
            member: second,
            copies: Some(copies),
        },
    );
    one.settle(2_000_000);
    assert_eq!((one.disk.count, one.disk.seal), (6, Some(seal)));
    assert_eq!(one.keeper.poll_wakeup(), None);
}

#[test]
fn damage_and_what_is_no_part_of_the_seal_are_replaced_when_somebody_has_better() {
    let (_, ledger, key) = ledgers();
    let (whole, seal) = (finished(&ledger, key, seal_of(4)), seal_of(4));
    for (there, damage, cut) in [(4, Some(2), 2), (6, None, 0)] {
        let mut one = Member::new(1, &[2], &ledger);
        // The second differs from the first record on: only the digest tells.
        let batch = match damage {
            Some(_) => lines(0, there),
            None => lines(10, there),
        };
        let batch = Batch {
            first_record: 0,
            ..batch
        };
        one.push(1, 1, key, batch);
        one.settle(1);
        one.ledger = whole.clone();
        one.handle(2, FeedInput::Tick);
        if let Some(record) = damage {
            assert_eq!(one.disk.seal, Some(seal));
            one.handle(3, FeedInput::Damaged { key, record });
        }
        one.handle(1_000_000, FeedInput::Tick);
        let (_, from, member) = one.fetches.pop_front().unwrap();
        assert_eq!(from, cut);
        let before = one.disk.count;
        let none = FeedInput::Fetched {
            key,
            member,
            copies: Some(Copies::default()),
        };
        one.handle(1_000_000, none);
        assert_eq!(one.disk.count, before, "nothing is given up for nothing");
        one.handle(9_000_000, FeedInput::Tick);
        let (_, from, member) = one.fetches.pop_front().unwrap();
        let copies = Copies {
            batches: vec![lines(0, 4).from_record(from).unwrap()],
            is_end: true,
            is_closed: true,
            ..Copies::default()
        };
        one.handle(
            9_000_000,
            FeedInput::Fetched {
                key,
                member,
                copies: Some(copies),
            },
        );
        one.settle(9_000_000);
        assert_eq!(one.disk.frames, lines(0, 4).frames);
        assert_eq!(one.disk.seal, Some(seal));
    }
}

#[test]
fn a_lost_feed_is_settled_when_a_majority_that_knows_has_no_more() {
    let (_, ledger, key) = ledgers();
    let mut alone = Member::new(1, &[], &lost(&ledger, key));
    assert!(alone.keeper.is_settled(key));
    alone.push(1, 1, key, lines(0, 1));
    assert_eq!(alone.answers[&1], PushAnswer::Refused);

    let mut one = Member::new(1, &[2, 3], &ledger);
    one.push(1, 1, key, lines(0, 2));
    one.settle(1);
    one.ledger = lost(&ledger, key);
    one.handle(2, FeedInput::Tick);
    let answer = |one: &mut Member, now: u64, batches: Vec<Batch>, is_closed: bool| {
        let (_, from, member) = one.fetches.pop_front().unwrap();
        let copies = Some(Copies {
            batches,
            is_end: true,
            is_closed,
            ..Copies::default()
        });
        one.handle(
            now,
            FeedInput::Fetched {
                key,
                member,
                copies,
            },
        );
        one.settle(now);
        (from, member)
    };
    let (_, first) = answer(&mut one, 2, vec![lines(2, 1)], false);
    assert!(!one.keeper.is_settled(key), "it does not know yet");
    one.handle(9_000_000, FeedInput::Tick);
    let (from, second) = answer(&mut one, 9_000_000, vec![lines(3, 2)], true);
    assert_eq!(from, 3);
    assert_ne!(first, second);
    assert!(one.keeper.is_settled(key));
    assert_eq!(one.disk.count, 5);
    assert!(one.fetches.is_empty());
}

#[test]
fn a_live_feed_that_is_read_and_silent_is_looked_for_elsewhere() {
    let (_, ledger, key) = ledgers();
    let mut one = Member::new(1, &[2], &ledger);
    one.handle(9_000_000, FeedInput::Tick);
    one.handle(10_000_000, FeedInput::Tick);
    assert!(one.fetches.is_empty(), "nobody reads it");
    one.disk.watched = vec![key];
    one.handle(11_000_000, FeedInput::Tick);
    one.handle(12_000_000, FeedInput::Tick);
    let (_, from, member) = one.fetches.pop_front().unwrap();
    let copies = Some(Copies {
        batches: vec![lines(from, 3)],
        is_end: true,
        is_closed: false,
        ..Copies::default()
    });
    one.handle(
        12_000_000,
        FeedInput::Fetched {
            key,
            member,
            copies,
        },
    );
    one.settle(12_000_000);
    assert_eq!(one.disk.count, 3);
    // The worker comes: nothing is stored twice.
    one.push(12_000_001, 1, key, lines(0, 5));
    one.settle(12_000_001);
    assert_eq!(one.answers[&1], PushAnswer::Stored(5));
    one.handle(13_000_000, FeedInput::Tick);
    one.handle(13_500_000, FeedInput::Tick);
    assert!(one.fetches.is_empty(), "it is not silent");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Pushes that are lost and repeated, ledgers that lag, disks that are full or slow, fetches that fail: what is answered as stored is on
    /// the disk, and in the end all three have the whole feed under its seal.
    #[test]
    fn in_the_end_every_coordinator_has_the_whole_feed(
        total in 1..40u64,
        events in proptest::collection::vec((0..10u8, 0..64usize), 0..120),
    ) {
        let (before, ledger, key) = ledgers();
        let end = finished(&ledger, key, seal_of(total));
        let stages = [before.clone(), ledger, end];
        let mut members: Vec<Member> = [[1, 2, 3], [2, 1, 3], [3, 1, 2]]
            .into_iter()
            .map(|[id, a, b]| Member::new(id, &[a, b], &before))
            .collect();
        let mut reached = [0; 3];
        let (mut now, mut token) = (0, 0);
        let is_majority = |members: &[Member]| {
            members.iter().filter(|member| member.disk.count >= total).count() >= 2
        };
        for (kind, pick) in events {
            let at = pick % 3;
            match kind {
                0..4 => {
                    token += 1;
                    let from = pick as u64 % (members[at].disk.count + 2);
                    let batch = lines(from.min(total), (pick as u64 / 3 % 7).min(total - from.min(total)));
                    if !batch.is_empty() {
                        members[at].push(now, token, key, batch);
                    }
                }
                4 | 5 => members[at].store(now, pick % 16 != 0),
                6 => {
                    // The attempt ends only when a majority has all of it.
                    let next = reached[at] + 1;
                    if next < stages.len() && (next < 2 || is_majority(&members)) {
                        reached[at] = next;
                        members[at].ledger = stages[next].clone();
                    }
                    members[at].handle(now, FeedInput::Tick);
                }
                7 => answer_fetch(&mut members, at, now, pick % 5 != 0),
                _ => {
                    now += pick as u64 * 40_000;
                    members[at].handle(now, FeedInput::Tick);
                }
            }
        }
        for member in &mut members[..2] {
            member.ledger = stages[1].clone();
            member.handle(now, FeedInput::Tick);
            member.settle(now);
            if member.disk.seal.is_none() && member.disk.count < total {
                token += 1;
                let from = member.disk.count;
                member.push(now, token, key, lines(from, total - from));
                member.settle(now);
            }
        }
        for member in &mut members {
            member.ledger = stages[2].clone();
        }
        for _ in 0..400 {
            now += 250_000;
            for at in 0..3 {
                members[at].handle(now, FeedInput::Tick);
                members[at].settle(now);
                answer_fetch(&mut members, at, now, true);
                members[at].settle(now);
            }
        }
        for member in &members {
            prop_assert_eq!(member.disk.seal, Some(seal_of(total)), "I-21: member {}: {:?}", member.id, member.said);
            let whole = lines(0, total);
            prop_assert_eq!(&member.disk.frames[..], &whole.frames[..]);
        }
    }
}

/// The oldest fetch of a member is answered.
fn answer_fetch(members: &mut [Member], at: usize, now: u64, comes: bool) {
    let Some((key, from, member)) = members[at].fetches.pop_front() else {
        return;
    };
    let copies = comes.then(|| members[member as usize - 1].copies(key, from));
    let input = FeedInput::Fetched {
        key,
        member,
        copies,
    };
    members[at].handle(now, input);
}
