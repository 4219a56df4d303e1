//! A writer and three holders over a network that loses, repeats and reorders.

use super::*;
use crate::frame::encode_parts;
use crate::holder::{Accept, Holder};
use crate::record::{Fence, Stream};
use crate::seal::SealHasher;
use proptest::prelude::*;

const A: HolderId = HolderId(1);
const B: HolderId = HolderId(2);
const C: HolderId = HolderId(3);

fn lines(first: u64, count: u64) -> Batch {
    let mut out = Vec::new();
    for n in first..first + count {
        encode_parts(
            Stream::Stdout,
            false,
            n,
            format!("line {n}\n").as_bytes(),
            &mut out,
        );
    }
    Batch::of_frames(first, out.into()).unwrap()
}

fn ready(writer: &mut Writer, holder: HolderId) -> Batch {
    match writer.next_push(holder) {
        Some(Push::Ready(batch)) => batch,
        other => panic!("not ready: {other:?}"),
    }
}

#[test]
fn a_majority_acks() {
    let mut writer = Writer::new([A, B, C], WriterLimits::default());
    writer.produce(lines(0, 4));
    assert_eq!(writer.acked(), 0);
    writer.acknowledge(A, 4).unwrap();
    assert_eq!(writer.acked(), 0);
    writer.acknowledge(C, 3).unwrap();
    assert_eq!(writer.acked(), 3);
    writer.acknowledge(B, 4).unwrap();
    assert_eq!(writer.acked(), 4);
    // What was once acked stays so, even if a disk is lost.
    writer.rewind(A, 0, 0).unwrap();
    writer.rewind(B, 0, 0).unwrap();
    assert_eq!(writer.acked(), 4);
    assert_eq!(
        writer.acknowledge(HolderId(9), 1),
        Err(UnknownHolder(HolderId(9)))
    );
}

#[test]
fn one_two_and_four_holders_need_one_two_and_three() {
    for (count, needed) in [(1u64, 1u64), (2, 2), (3, 2), (4, 3), (5, 3)] {
        let mut writer = Writer::new((1..=count).map(HolderId), WriterLimits::default());
        writer.produce(lines(0, 1));
        for id in 1..=count {
            writer.acknowledge(HolderId(id), 1).unwrap();
            assert_eq!(writer.acked(), u64::from(id >= needed), "{id} of {count}");
        }
    }
}

#[test]
fn small_batches_are_joined_and_the_window_is_kept() {
    let limits = WriterLimits {
        window_bytes: 100,
        batch_bytes: 0,
        recent_bytes: 1 << 20,
    };
    let mut writer = Writer::new([A], limits);
    (0..50).for_each(|n| writer.produce(lines(n, 1)));
    assert_eq!(ready(&mut writer, A), lines(0, 50));
    writer.produce(lines(50, 1));
    assert_eq!(writer.next_push(A), None, "the window is full");
    writer.acknowledge(A, 49).unwrap();
    assert_eq!(writer.next_push(A), None, "not answered whole");
    writer.acknowledge(A, 50).unwrap();
    assert_eq!(ready(&mut writer, A), lines(50, 1));
    assert_eq!(writer.next_push(A), None);
    assert_eq!(writer.next_push(B), None);
}

#[test]
fn a_broken_connection_sends_again_what_was_not_stored() {
    let mut writer = Writer::new([A], WriterLimits::default());
    writer.produce(lines(0, 3));
    writer.produce(lines(3, 3));
    assert_eq!(ready(&mut writer, A), lines(0, 6));
    writer.acknowledge(A, 3).unwrap();
    writer.disconnected(A).unwrap();
    assert_eq!(ready(&mut writer, A), lines(3, 3));
}

#[test]
fn a_holder_far_behind_is_served_from_the_file() {
    let limits = WriterLimits {
        recent_bytes: 1,
        ..WriterLimits::default()
    };
    let mut writer = Writer::new([A], limits);
    let (old, new) = (lines(0, 3), lines(3, 1));
    writer.produce(old.clone());
    writer.produce(new.clone());
    let read = Push::Read {
        first_record: 0,
        offset: 0,
        max_bytes: 512 << 10,
    };
    assert_eq!(writer.next_push(A), Some(read.clone()));
    assert_eq!(
        writer.next_push(A),
        Some(read),
        "asked again until it is sent"
    );
    writer.sent(A, &old).unwrap();
    assert_eq!(writer.next_push(A), Some(Push::Ready(new)));
}

#[test]
fn a_restarted_worker_does_not_push_what_is_stored() {
    let mut writer = Writer::new([A], WriterLimits::default());
    writer.produce(lines(0, 2));
    assert_eq!(ready(&mut writer, A), lines(0, 2));
    writer.acknowledge(A, 5).unwrap();
    assert_eq!(writer.acked(), 2, "no more is acked than there is");
    writer.produce(lines(2, 3));
    assert_eq!(writer.next_push(A), None);
    writer.produce(lines(5, 1));
    assert_eq!(ready(&mut writer, A), lines(5, 1));
    assert_eq!(writer.acked(), 5);
}

#[test]
fn marks_are_bounded() {
    let mut writer = Writer::new(
        [A],
        WriterLimits {
            recent_bytes: 1,
            ..WriterLimits::default()
        },
    );
    writer.mark_spacing = 64;
    for n in 0..5 * MAX_MARKS as u64 {
        writer.produce(lines(n, 1));
        assert!(writer.marks.len() <= MAX_MARKS);
    }
    assert_eq!(writer.place_at_or_before(0), Position::default());
    for record in [1, 77, 5000, 9000] {
        let place = writer.place_at_or_before(record);
        assert!(
            place.record <= record && place.record + 16 > record,
            "{place:?} for {record}"
        );
    }
}

/// One step of the adversary.
#[derive(Clone, Debug)]
enum Step {
    /// The program prints so many lines.
    Print(u64),
    /// The worker pushes to this holder.
    Push(usize),
    /// Of the messages on their way, this one arrives; `keep` leaves a copy to arrive again.
    Arrive {
        which: prop::sample::Index,
        keep: bool,
    },
    /// This one is lost.
    Lose(prop::sample::Index),
    /// The connection to this holder breaks.
    Disconnect(usize),
    /// This holder's disk syncs.
    Sync(usize),
    /// This holder restarts without what it had not synced.
    Crash(usize),
    /// The worker restarts and reads its file again.
    RestartWorker,
}

fn any_step() -> impl Strategy<Value = Step> {
    let holder = || 0..3usize;
    prop_oneof![
        3 => (1..6u64).prop_map(Step::Print),
        6 => holder().prop_map(Step::Push),
        8 => (any::<prop::sample::Index>(), prop::bool::weighted(0.2)).prop_map(|(which, keep)| Step::Arrive { which, keep }),
        1 => any::<prop::sample::Index>().prop_map(Step::Lose),
        1 => holder().prop_map(Step::Disconnect),
        4 => holder().prop_map(Step::Sync),
        1 => holder().prop_map(Step::Crash),
        1 => Just(Step::RestartWorker),
    ]
}

#[derive(Clone, Debug)]
enum Message {
    Push(usize, Batch),
    Stored(usize, u64),
    Rewind(usize, u64, u64),
}

/// The worker's file, the worker, and three coordinators with what is on their disks and what is not yet.
struct World {
    file: Vec<Batch>,
    printed: u64,
    writer: Writer,
    holders: [Holder; 3],
    disks: [Vec<Batch>; 3],
    network: Vec<Message>,
    acked: u64,
}

const FENCE: Fence = Fence(7);
const IDS: [HolderId; 3] = [A, B, C];

fn limits() -> WriterLimits {
    WriterLimits {
        window_bytes: 400,
        batch_bytes: 0,
        recent_bytes: 150,
    }
}

impl World {
    fn new() -> World {
        World {
            file: Vec::new(),
            printed: 0,
            writer: Writer::new(IDS, limits()),
            holders: [0; 3].map(|_| Holder::new(FENCE, 0, None)),
            disks: [const { Vec::new() }; 3],
            network: Vec::new(),
            acked: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Print(count) => {
                let batch = lines(self.printed, count);
                self.printed += count;
                self.file.push(batch.clone());
                self.writer.produce(batch);
            }
            Step::Push(h) => self.push(h),
            Step::Arrive { which, keep } if !self.network.is_empty() => {
                let at = which.index(self.network.len());
                let message = if keep {
                    self.network[at].clone()
                } else {
                    self.network.swap_remove(at)
                };
                self.arrive(message);
            }
            Step::Lose(which) if !self.network.is_empty() => {
                self.network.swap_remove(which.index(self.network.len()));
            }
            Step::Disconnect(h) => self.writer.disconnected(IDS[h]).unwrap(),
            Step::Sync(h) => self.sync(h),
            Step::Crash(h) => {
                let stored = self.holders[h].stored();
                self.disks[h].retain(|batch| batch.end_record() <= stored);
                self.holders[h] = Holder::new(FENCE, stored, None);
            }
            Step::RestartWorker => {
                self.acked = self.acked.max(self.writer.acked());
                self.writer = Writer::new(IDS, limits());
                self.file
                    .iter()
                    .for_each(|batch| self.writer.produce(batch.clone()));
            }
            Step::Arrive { .. } | Step::Lose(_) => {}
        }
    }

    fn push(&mut self, h: usize) {
        let batch = match self.writer.next_push(IDS[h]) {
            None => return,
            Some(Push::Ready(batch)) => batch,
            Some(Push::Read {
                first_record,
                offset,
                ..
            }) => {
                let bytes: Vec<u8> = self.file.iter().flat_map(|b| b.frames.to_vec()).collect();
                let rest = bytes[offset as usize..].to_vec();
                let batch = Batch::of_frames(first_record, rest.into())
                    .unwrap()
                    .within(200)
                    .unwrap();
                self.writer.sent(IDS[h], &batch).unwrap();
                batch
            }
        };
        self.network.push(Message::Push(h, batch));
    }

    fn arrive(&mut self, message: Message) {
        match message {
            Message::Push(h, batch) => match self.holders[h].accept(FENCE, &batch).unwrap() {
                Accept::Store(batch) => self.disks[h].push(batch),
                Accept::Duplicate { stored } => self.network.push(Message::Stored(h, stored)),
                Accept::Gap { expected, stored } => {
                    self.network.push(Message::Rewind(h, expected, stored));
                }
                Accept::Sealed { .. } | Accept::StaleFence { .. } => panic!("neither happened"),
            },
            Message::Stored(h, next) => self.writer.acknowledge(IDS[h], next).unwrap(),
            Message::Rewind(h, expected, stored) => {
                self.writer.rewind(IDS[h], expected, stored).unwrap();
            }
        }
    }

    fn sync(&mut self, h: usize) {
        let next = self.holders[h].accepted();
        self.holders[h].mark_stored(next);
        self.network.push(Message::Stored(h, next));
    }

    fn check(&self) {
        for (h, disk) in self.disks.iter().enumerate() {
            let mut next = 0;
            for batch in disk {
                assert_eq!(
                    batch.first_record, next,
                    "I-21: no gap, no repeat on disk {h}"
                );
                assert_eq!(
                    *batch,
                    lines(next, batch.count.into()),
                    "I-21: bytes as printed"
                );
                next = batch.end_record();
            }
        }
        let acked = self.acked.max(self.writer.acked());
        let safe = self
            .holders
            .iter()
            .filter(|holder| holder.stored() >= acked)
            .count();
        assert!(safe >= 2, "I-21: an acked record is on a majority of disks");
    }

    /// Nothing is lost any more: everything comes to rest.
    fn settle(&mut self) {
        self.network.clear();
        IDS.iter()
            .for_each(|id| self.writer.disconnected(*id).unwrap());
        let mut rounds = 0;
        while self.writer.acked() < self.printed
            || self.holders.iter().any(|h| h.stored() < self.printed)
        {
            rounds += 1;
            assert!(rounds < 10_000, "it does not come to rest");
            for h in 0..3 {
                self.push(h);
                while let Some(message) = (!self.network.is_empty()).then(|| self.network.remove(0))
                {
                    self.arrive(message);
                }
                self.sync(h);
            }
            while let Some(message) = self.network.pop() {
                self.arrive(message);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_disk_ends_with_every_record_once(steps in proptest::collection::vec(any_step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
        world.settle();
        world.check();
        let mut whole = SealHasher::new();
        world.file.iter().for_each(|batch| whole.update_batch(batch));
        for (h, disk) in world.disks.iter().enumerate() {
            let mut stored = SealHasher::new();
            disk.iter().for_each(|batch| stored.update_batch(batch));
            prop_assert_eq!(stored.seal(), whole.seal());
            world.holders[h].close(whole.seal()).unwrap();
            prop_assert!(world.holders[h].is_complete());
        }
    }
}
