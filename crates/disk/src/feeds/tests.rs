//! Feeds that are written, read, torn, damaged, sealed and dropped.

use super::*;
use feed::{Stream, encode_parts};
use proptest::prelude::*;
use std::fs;

pub(super) fn key(n: u8) -> FeedKey {
    FeedKey {
        execution: [n; 16],
        attempt: 1,
    }
}

/// Records `first .. first + count` of feed `n`, each of about `len` bytes.
pub(super) fn lines(n: u8, first: u64, count: u64, len: usize) -> Batch {
    let mut out = Vec::new();
    for number in first..first + count {
        let line = format!("{n}:{number}:{}\n", "x".repeat(len));
        encode_parts(Stream::Stdout, false, number, line.as_bytes(), &mut out);
    }
    Batch::of_frames(first, out.into()).unwrap()
}

/// Everything of a feed, read in small steps.
pub(super) fn all_of(feeds: &Feeds, n: u8, step: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut next = 0;
    loop {
        let batches = feeds.read(key(n), next, step).unwrap();
        if batches.is_empty() {
            assert_eq!(next, feeds.length(key(n)), "I-21: reading gets to the end");
            assert_eq!(bytes.len() as u64, feeds.bytes(key(n)));
            return bytes;
        }
        for batch in batches {
            assert_eq!(batch.first_record, next, "I-21: no gap, no repeat");
            batch.check().unwrap();
            next = batch.end_record();
            bytes.extend_from_slice(&batch.frames);
        }
    }
}

fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.seg"))
}

#[test]
fn many_feeds_in_one_append() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    let batches: Vec<_> = (0..200).map(|n| (key(n), lines(n, 0, 3, 9))).collect();
    feeds.append(&batches).unwrap();
    feeds
        .append(&[(key(7), lines(7, 3, 1, 5)), (key(7), lines(7, 4, 2, 5))])
        .unwrap();
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no file of its own for any feed"
    );
    for feeds in [feeds.clone(), Feeds::open(dir.path()).unwrap()] {
        assert_eq!(feeds.damage(), []);
        assert_eq!(feeds.keys().len(), 200);
        assert_eq!(feeds.length(key(7)), 6);
        assert_eq!(all_of(&feeds, 8, 1), lines(8, 0, 3, 9).frames);
        assert_eq!(
            feeds.read(key(7), 3, 1 << 20).unwrap(),
            [lines(7, 3, 1, 5), lines(7, 4, 2, 5)]
        );
        assert_eq!(feeds.read(key(7), 5, 1).unwrap(), [lines(7, 5, 1, 5)]);
        assert_eq!(feeds.read(key(7), 6, 100).unwrap(), []);
        assert_eq!(feeds.read(key(250), 0, 100).unwrap(), []);
    }
}

#[test]
fn out_of_order_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    feeds.append(&[(key(1), lines(1, 0, 2, 1))]).unwrap();
    for first in [0, 1, 3] {
        let error = feeds
            .append(&[(key(2), lines(2, 0, 1, 1)), (key(1), lines(1, first, 1, 1))])
            .unwrap_err();
        assert!(matches!(error, DiskError::Misuse(_)), "{error}");
    }
    assert_eq!((feeds.length(key(1)), feeds.length(key(2))), (2, 0));
}

#[test]
fn a_seal_is_compared_with_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    feeds
        .append(&[(key(1), lines(1, 0, 2, 1)), (key(2), lines(2, 0, 5, 9))])
        .unwrap();
    let mut hasher = SealHasher::new();
    hasher.update_batch(&lines(1, 0, 2, 1));
    let good = hasher.seal();
    let bad = Seal {
        digest: [0; 32],
        ..good
    };
    assert!(matches!(
        feeds.seal(key(1), bad),
        Err(DiskError::Corrupt { .. })
    ));
    assert!(
        feeds
            .seal(
                key(1),
                Seal {
                    record_count: 3,
                    ..good
                }
            )
            .is_err()
    );
    assert_eq!(feeds.sealed(key(1)), None);
    feeds.seal(key(1), good).unwrap();
    feeds.seal(key(1), good).unwrap();
    assert!(
        feeds.append(&[(key(1), lines(1, 2, 1, 1))]).is_err(),
        "sealed"
    );
    let empty = SealHasher::new().seal();
    feeds.seal(key(3), empty).unwrap();
    feeds.flush().unwrap();
    feeds.flush().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!(
        (
            feeds.sealed(key(1)),
            feeds.sealed(key(2)),
            feeds.sealed(key(3))
        ),
        (Some(good), None, Some(empty))
    );
    assert_eq!(all_of(&feeds, 2, 40), lines(2, 0, 5, 9).frames);
}

#[test]
fn a_seal_goes_with_the_next_append() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    let empty = SealHasher::new().seal();
    feeds.seal(key(1), empty).unwrap();
    assert_eq!(Feeds::open(dir.path()).unwrap().sealed(key(1)), None);
    let feeds = Feeds::open(dir.path()).unwrap();
    feeds.seal(key(1), empty).unwrap();
    feeds.append(&[(key(2), lines(2, 0, 1, 1))]).unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!(
        (feeds.sealed(key(1)), feeds.length(key(2))),
        (Some(empty), 1)
    );
}

#[test]
fn segments_roll_and_go_when_all_their_feeds_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    let big = |n: u8, first: u64| lines(n, first, 1, 60 << 10);
    // Feed 1 is in the first segment, feed 2 in the first and the second, feed 3 in the second.
    let many = |n: u8, from: u64, count: u64| {
        for at in (from..from + count).step_by(100) {
            let batch: Vec<_> = (at..at + 100).map(|i| (key(n), big(n, i))).collect();
            feeds.append(&batch).unwrap();
        }
    };
    feeds.append(&[(key(1), lines(1, 0, 5, 100))]).unwrap();
    many(2, 0, 1000);
    assert!(!segment(dir.path(), 2).exists());
    many(2, 1000, 200);
    feeds.append(&[(key(3), lines(3, 0, 5, 100))]).unwrap();
    assert!(segment(dir.path(), 2).exists());
    let len = fs::metadata(segment(dir.path(), 1)).unwrap().len();
    assert!(len <= 64 << 20, "no longer than a segment: {len}");
    feeds.drop_feeds(&[key(2)]).unwrap();
    assert!(segment(dir.path(), 1).exists(), "feed 1 is in it");
    assert_eq!(feeds.length(key(2)), 0);
    assert!(
        feeds.append(&[(key(2), lines(2, 0, 1, 1))]).is_err(),
        "dropped"
    );
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!(
        (feeds.keys(), feeds.damage()),
        (vec![key(1), key(3)], &[][..])
    );
    feeds.drop_feeds(&[key(1)]).unwrap();
    assert!(!segment(dir.path(), 1).exists());
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!((feeds.keys(), feeds.damage()), (vec![key(3)], &[][..]));
    assert_eq!(all_of(&feeds, 3, 150), lines(3, 0, 5, 100).frames);
}

#[test]
fn damage_in_the_middle_is_told_and_can_be_repaired_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    for first in 0..6 {
        feeds
            .append(&[
                (key(1), lines(1, first, 1, 10)),
                (key(2), lines(2, first, 1, 10)),
            ])
            .unwrap();
    }
    drop(feeds);
    let path = segment(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let text = b"1:3:xxxxxxxxxx";
    let at = bytes.windows(text.len()).position(|w| w == text).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!(
        (feeds.length(key(1)), feeds.length(key(2))),
        (3, 3),
        "what was synced with it is not sure"
    );
    let told: Vec<String> = feeds.damage().iter().map(|d| d.why.clone()).collect();
    assert!(
        told[0].ends_with("bytes are damaged, up to group 5"),
        "{told:?}"
    );
    assert!(
        told[1].ends_with(".1: records 3 to 3 are missing before it"),
        "{told:?}"
    );
    assert_eq!(all_of(&feeds, 1, 1), lines(1, 0, 3, 10).frames);
    feeds
        .append(&[(key(1), lines(1, 3, 3, 10)), (key(2), lines(2, 3, 4, 10))])
        .unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!(all_of(&feeds, 1, 70), lines(1, 0, 6, 10).frames);
    assert_eq!(all_of(&feeds, 2, 70), lines(2, 0, 7, 10).frames);
}

#[test]
fn a_cut_feed_goes_on_with_other_records() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    feeds
        .append(&[(key(1), lines(1, 0, 4, 9)), (key(2), lines(2, 0, 3, 9))])
        .unwrap();
    feeds.append(&[(key(1), lines(1, 4, 4, 9))]).unwrap();
    let seal = feeds.compute_seal(key(1)).unwrap();
    feeds.seal(key(1), seal).unwrap();
    feeds.cut(key(1), 6).unwrap();
    assert_eq!((feeds.length(key(1)), feeds.sealed(key(1))), (6, None));
    feeds.cut(key(1), 7).unwrap();
    feeds.cut(key(1), 2).unwrap();
    // What follows differs from what was there.
    let other = lines(9, 2, 3, 20);
    feeds.append(&[(key(1), other.clone())]).unwrap();
    for feeds in [feeds.clone(), Feeds::open(dir.path()).unwrap()] {
        assert_eq!(feeds.damage(), []);
        assert_eq!(feeds.length(key(1)), 5);
        assert_eq!(feeds.sound_until(key(1)), 5);
        let batches = feeds.read(key(1), 0, 1 << 20).unwrap();
        assert_eq!(batches, [lines(1, 0, 2, 9), other.clone()]);
        assert_eq!(feeds.read(key(1), 1, 1).unwrap(), [lines(1, 1, 1, 9)]);
        assert_eq!(all_of(&feeds, 2, 40), lines(2, 0, 3, 9).frames);
    }
    feeds.cut(key(1), 0).unwrap();
    feeds.append(&[(key(1), lines(1, 0, 8, 9))]).unwrap();
    feeds
        .seal(key(1), feeds.compute_seal(key(1)).unwrap())
        .unwrap();
    assert_eq!(all_of(&feeds, 1, 40), lines(1, 0, 8, 9).frames);
}

#[test]
fn damage_after_the_start_is_an_error_and_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    feeds.append(&[(key(1), lines(1, 0, 9, 10))]).unwrap();
    let path = segment(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[150] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(
        feeds.read(key(1), 0, 1),
        Err(DiskError::Corrupt { .. })
    ));
    assert!(matches!(
        feeds.compute_seal(key(1)),
        Err(DiskError::Corrupt { .. })
    ));
}

#[test]
fn a_segment_that_was_only_begun_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    feeds.append(&[(key(1), lines(1, 0, 2, 1))]).unwrap();
    drop(feeds);
    fs::write(segment(dir.path(), 2), [0; 20]).unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!((feeds.damage(), feeds.length(key(1))), (&[][..], 2));
    feeds.append(&[(key(1), lines(1, 2, 2, 1))]).unwrap();
    assert_eq!(
        all_of(&Feeds::open(dir.path()).unwrap(), 1, 1),
        lines(1, 0, 4, 1).frames
    );
}

#[test]
fn a_lost_end_of_an_older_segment_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    feeds.append(&[(key(1), lines(1, 0, 2, 1))]).unwrap();
    feeds.append(&[(key(1), lines(1, 2, 2, 1))]).unwrap();
    drop(feeds);
    let path = segment(dir.path(), 1);
    let kept = fs::read(&path).unwrap();
    let second = format::find_group(&kept, 100, 2).unwrap();
    fs::write(&path, &kept[..second]).unwrap();
    let mut next = format::encode_header(2, 3).to_vec();
    let mut body = Vec::new();
    format::encode_unit(
        &mut body,
        key(2),
        Content::Records { first: 0, count: 1 },
        &lines(2, 0, 1, 1).frames,
    );
    next.extend(format::encode_group(3, 1, body.len()));
    next.extend(body);
    fs::write(segment(dir.path(), 2), next).unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!(feeds.damage()[0].why, "groups 2 to 2 are missing");
    assert_eq!((feeds.length(key(1)), feeds.length(key(2))), (2, 1));
}

#[test]
fn readers_see_only_whole_appends_while_one_writes() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    const TOTAL: u64 = 300;
    std::thread::scope(|scope| {
        for step in [1, 700, 1 << 20] {
            let feeds = feeds.clone();
            scope.spawn(move || {
                let mut next = 0;
                while next < TOTAL {
                    for batch in feeds.read(key(1), next, step).unwrap() {
                        assert_eq!(batch.first_record, next, "I-21");
                        batch.check().unwrap();
                        next = batch.end_record();
                    }
                    std::thread::yield_now();
                }
            });
        }
        for first in (0..TOTAL).step_by(3) {
            feeds
                .append(&[
                    (key(2), lines(2, first, 3, 50)),
                    (key(1), lines(1, first, 3, 50)),
                ])
                .unwrap();
        }
    });
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u8, u64, usize)>),
    Reopen,
    Drop(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec((0..5u8, 0..4u64, prop_oneof![9 => 0..80usize, 1 => 9000..30_000usize]), 0..5).prop_map(Step::Append),
        1 => Just(Step::Reopen),
        1 => (0..5u8).prop_map(Step::Drop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_appended_is_read(steps in proptest::collection::vec(any_step(), 0..25), step_len in 1..40_000usize) {
        let dir = tempfile::tempdir().unwrap();
        let mut feeds = Feeds::open(dir.path()).unwrap();
        let mut model: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        let mut dropped = Vec::new();
        for step in steps {
            match step {
                Step::Append(parts) => {
                    let mut batches: Vec<(FeedKey, Batch)> = Vec::new();
                    for (n, count, len) in parts.into_iter().filter(|(n, ..)| !dropped.contains(n)) {
                        let after = batches.iter().rev().find(|(k, _)| *k == key(n)).map(|(_, b)| b.end_record());
                        let batch = lines(n, after.unwrap_or(feeds.length(key(n))), count, len);
                        model.entry(n).or_default().extend_from_slice(&batch.frames);
                        batches.push((key(n), batch));
                    }
                    feeds.append(&batches).unwrap();
                }
                Step::Reopen => {
                    drop(feeds);
                    feeds = Feeds::open(dir.path()).unwrap();
                    prop_assert_eq!(feeds.damage(), &[]);
                }
                Step::Drop(n) => {
                    feeds.drop_feeds(&[key(n)]).unwrap();
                    dropped.push(n);
                    model.remove(&n);
                }
            }
            for n in 0..5 {
                prop_assert_eq!(all_of(&feeds, n, step_len), model.get(&n).cloned().unwrap_or_default());
            }
        }
    }

    /// Whatever is left of the last append after a power cut, the ones before it are whole and nothing is taken for damage.
    #[test]
    fn a_torn_tail_is_cut_off(appends in proptest::collection::vec((1..4u64, 0..900usize), 1..8), torn in any::<prop::sample::Index>(), garbage: bool) {
        let dir = tempfile::tempdir().unwrap();
        let feeds = Feeds::open(dir.path()).unwrap();
        let mut synced_len = 0;
        let path = segment(dir.path(), 1);
        let (last, before) = appends.split_last().unwrap();
        for (count, len) in before {
            let first = feeds.length(key(1));
            feeds.append(&[(key(1), lines(1, first, *count, *len))]).unwrap();
        }
        let first = feeds.length(key(1));
        let expected = all_of(&feeds, 1, 1000);
        synced_len += feeds.shared.appender().writer.end();
        feeds.append(&[(key(1), lines(1, first, last.0, last.1)), (key(2), lines(2, 0, 1, 3))]).unwrap();
        let end = feeds.shared.appender().writer.end();
        drop(feeds);
        // The disk has some bytes of the last append, and others of it not.
        let mut bytes = fs::read(&path).unwrap();
        let cut = synced_len as usize + torn.index((end - synced_len) as usize);
        if garbage {
            bytes[cut] ^= 0x55;
        } else {
            bytes[cut..].fill(0);
            bytes[cut] = 1;
        }
        fs::write(&path, &bytes).unwrap();
        let feeds = Feeds::open(dir.path()).unwrap();
        prop_assert_eq!(feeds.damage(), &[]);
        prop_assert_eq!(all_of(&feeds, 1, 1000), expected);
        prop_assert_eq!(feeds.length(key(2)), 0);
        // And it goes on.
        feeds.append(&[(key(1), lines(1, first, 2, 3)), (key(2), lines(2, 0, 1, 3))]).unwrap();
        let feeds = Feeds::open(dir.path()).unwrap();
        prop_assert_eq!((feeds.length(key(1)), feeds.length(key(2)), feeds.damage()), (first + 2, 1, &[][..]));
    }
}
