//! Feeds that are archived, moved, damaged and purged, and a process that ends at each move of it.

use super::tests::{all_of, key, lines};
use super::*;
use crate::files::crash;
use proptest::prelude::*;
use std::fs;

fn seal(feeds: &Feeds, n: u8) -> Seal {
    let seal = feeds.compute_seal(key(n)).unwrap();
    feeds.seal(key(n), seal).unwrap();
    seal
}

/// Writes `count` lines of `len` bytes of feed `n` and seals it; gives what it holds.
fn written(feeds: &Feeds, n: u8, count: u64, len: usize) -> Vec<u8> {
    let batch = lines(n, 0, count, len);
    feeds.append(&[(key(n), batch.clone())]).unwrap();
    seal(feeds, n);
    batch.frames.to_vec()
}

fn archive(feeds: &Feeds, ns: &[u8]) -> Archiving {
    let ended: Vec<_> = ns.iter().map(|n| (key(*n), i64::from(*n) * 1000)).collect();
    feeds.archive(&ended).unwrap()
}

fn files_of(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir)
        .unwrap()
        .map(|found| found.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|s| s == suffix))
        .collect();
    paths.sort();
    paths
}

#[test]
fn an_archived_feed_is_read_from_any_record_and_takes_less() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    let expected = written(&feeds, 1, 3000, 300);
    let small = written(&feeds, 2, 3, 5);
    feeds.append(&[(key(3), lines(3, 0, 7, 9))]).unwrap();
    let empty = seal(&feeds, 4);
    let seals = [1, 2, 4].map(|n| feeds.sealed(key(n)));
    assert_eq!(feeds.unarchived().len(), 3);
    let done = archive(&feeds, &[1, 2, 3, 4, 9]);
    assert_eq!(
        (done.feeds, done.damaged.len()),
        (3, 0),
        "3 is not sealed, 9 unknown"
    );
    assert!(done.packed_bytes * 3 < done.raw_bytes, "{done:?}");
    assert_eq!(feeds.unarchived(), []);
    for feeds in [feeds.clone(), Feeds::open(dir.path()).unwrap()] {
        assert_eq!(feeds.damage(), []);
        assert_eq!(
            [1, 2, 4].map(|n| feeds.sealed(key(n))),
            seals,
            "seals stay exact"
        );
        assert_eq!(feeds.keys(), [1, 2, 3, 4].map(key));
        for step in [1 << 10, 100_000, 1 << 20] {
            assert_eq!(all_of(&feeds, 1, step), expected);
        }
        assert_eq!(all_of(&feeds, 2, 1), small);
        assert_eq!(all_of(&feeds, 3, 1), lines(3, 0, 7, 9).frames);
        for from in [0, 1, 399, 400, 1500, 2999] {
            let read = feeds.read(key(1), from, 1).unwrap();
            assert_eq!(read, [lines(1, from, 1, 300)], "a reader begins anywhere");
        }
        assert_eq!(feeds.read(key(1), 3000, 100).unwrap(), []);
        assert_eq!(feeds.compute_seal(key(4)).unwrap(), empty);
        assert!(
            feeds.append(&[(key(1), lines(1, 3000, 1, 1))]).is_err(),
            "sealed"
        );
    }
}

#[test]
fn a_start_reads_what_is_not_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    // A long feed that goes on, and forty short ones that end beside it: more than a segment.
    let mut long = 0;
    for n in 10..50 {
        feeds.append(&[(key(1), lines(1, long, 3, 200))]).unwrap();
        long += 3;
        written(&feeds, n, 40, 50 << 10);
        if n % 10 == 9 {
            archive(&feeds, &(n - 9..=n).collect::<Vec<_>>());
            while feeds.compact().unwrap() {}
        }
    }
    let segments = files_of(dir.path(), "seg");
    let left: u64 = segments
        .iter()
        .map(|s| fs::metadata(s).unwrap().len())
        .sum();
    assert!(
        left < 40 << 20,
        "{left} bytes of segments for what is not sealed"
    );
    let expected = all_of(&feeds, 1, 1 << 16);
    drop(feeds);
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!((feeds.damage(), feeds.keys().len()), (&[][..], 41));
    let read = feeds.read_at_start();
    assert!(
        read < 20 << 20,
        "{read} bytes were read for {} bytes of a log",
        expected.len()
    );
    assert_eq!(all_of(&feeds, 1, 1 << 16), expected);
    assert_eq!(
        all_of(&feeds, 49, 1 << 16),
        lines(49, 0, 40, 50 << 10).frames
    );
    feeds.append(&[(key(1), lines(1, long, 1, 1))]).unwrap();
}

#[test]
fn a_damaged_index_is_made_anew_and_a_damaged_block_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    let one = written(&feeds, 1, 3000, 300);
    let two = written(&feeds, 2, 30, 30);
    archive(&feeds, &[1, 2]);
    drop(feeds);
    let path = files_of(dir.path(), "arc").remove(0);
    let sound = fs::read(&path).unwrap();
    for at in [sound.len() - 1, sound.len() - 40, sound.len() - 150] {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let feeds = Feeds::open(dir.path()).unwrap();
        assert_eq!(feeds.damage().len(), 1, "{:?}", feeds.damage());
        assert_eq!(
            (all_of(&feeds, 1, 1 << 16), all_of(&feeds, 2, 99)),
            (one.clone(), two.clone())
        );
        assert_eq!(fs::read(&path).unwrap(), sound, "the index is as it was");
        assert_eq!(Feeds::open(dir.path()).unwrap().damage(), []);
    }
    let mut bytes = sound.clone();
    bytes[5000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    assert!(matches!(
        feeds.read(key(1), 0, 1),
        Err(DiskError::Corrupt { .. })
    ));
    assert_eq!(
        feeds.read(key(1), 2999, 1).unwrap(),
        [lines(1, 2999, 1, 300)]
    );
    assert_eq!(all_of(&feeds, 2, 99), two);
    assert_eq!(feeds.sound_until(key(1)), 0, "it is replaced as a whole");
    assert!(feeds.cut(key(1), 5).is_err());
    feeds.cut(key(1), 0).unwrap();
    assert_eq!((feeds.length(key(1)), feeds.sealed(key(1))), (0, None));
    for feeds in [feeds.clone(), Feeds::open(dir.path()).unwrap()] {
        assert_eq!((feeds.damage(), feeds.length(key(1))), (&[][..], 0));
        assert_eq!(all_of(&feeds, 2, 99), two);
    }
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!(written(&feeds, 1, 3000, 300), one, "and comes again");
    archive(&feeds, &[1]);
    assert_eq!(all_of(&Feeds::open(dir.path()).unwrap(), 1, 1 << 16), one);
    for path in files_of(dir.path(), "arc") {
        fs::write(&path, [7; 200]).unwrap();
    }
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!(
        feeds.damage().len(),
        2,
        "told; what segments still have counts again"
    );
    assert_eq!(
        files_of(dir.path(), "damaged").len(),
        2,
        "kept for a person"
    );
}

#[test]
fn what_is_purged_is_gone_with_its_room_and_stays_gone() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    let kept: Vec<_> = (1..=6).map(|n| written(&feeds, n, 50, 200)).collect();
    archive(&feeds, &[1, 2, 3, 4]);
    let len = || fs::metadata(&files_of(dir.path(), "arc")[0]).unwrap().len();
    let before = len();
    assert!(feeds.purge(1000, &[]).unwrap());
    assert_eq!((feeds.length(key(1)), feeds.sealed(key(1))), (0, None));
    assert_eq!(feeds.read(key(1), 0, 100).unwrap(), []);
    assert_eq!(len(), before, "its room comes back with that of the others");
    assert!(feeds.purge(3000, &[key(5)]).unwrap());
    assert!(len() < before / 2, "written anew without them");
    feeds.set_absent(2500).unwrap();
    feeds.set_absent(3500).unwrap();
    let horizon = Horizon {
        purged_until_ms: 3000,
        absent_until_ms: 3500,
    };
    for feeds in [feeds.clone(), Feeds::open(dir.path()).unwrap()] {
        assert_eq!(
            (feeds.keys(), feeds.horizon()),
            (vec![key(4), key(6)], horizon)
        );
        assert_eq!(all_of(&feeds, 4, 300), kept[3]);
        assert_eq!(all_of(&feeds, 6, 300), kept[5]);
        let mut found: Vec<_> = feeds
            .kept()
            .iter()
            .map(|kept| (kept.key, kept.end_time_ms))
            .collect();
        found.sort();
        assert_eq!(found, [(key(4), Some(4000)), (key(6), None)]);
    }
    let feeds = Feeds::open(dir.path()).unwrap();
    assert!(feeds.purge(4000, &[]).unwrap());
    assert_eq!(files_of(dir.path(), "arc"), Vec::<PathBuf>::new());
    assert_eq!(Feeds::open(dir.path()).unwrap().keys(), [key(6)]);
}

#[test]
fn records_come_while_others_are_archived_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    let expected = written(&feeds, 1, 2000, 300);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..20).for_each(|_| assert_eq!(all_of(&feeds, 1, 1 << 16), expected)));
        scope.spawn(|| {
            for first in (0..200).step_by(2) {
                feeds.append(&[(key(2), lines(2, first, 2, 50))]).unwrap();
            }
        });
        assert_eq!(archive(&feeds, &[1]).feeds, 1);
    });
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!(
        (feeds.length(key(2)), feeds.is_archived(key(1))),
        (200, true)
    );
}

#[test]
fn an_empty_feed_that_was_purged_does_not_come_back_with_its_seal() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(dir.path()).unwrap();
    seal(&feeds, 1);
    feeds.flush().unwrap();
    archive(&feeds, &[1]);
    assert!(feeds.purge(1000, &[]).unwrap());
    let feeds = Feeds::open(dir.path()).unwrap();
    assert_eq!(feeds.sealed(key(1)), None);
}

/// What is done over and over, each time ended one move later.
fn life(feeds: &Feeds) -> Result<(), DiskError> {
    let ended = |n: u8| (key(n), i64::from(n) * 1000);
    feeds.archive(&[ended(1), ended(2)])?;
    feeds.archive(&[ended(3), ended(4)])?;
    // A feed that was damaged comes again, from elsewhere.
    if feeds.length(key(3)) == 40 && feeds.is_archived(key(3)) {
        feeds.cut(key(3), 0)?;
    }
    if feeds.length(key(3)) == 0 {
        feeds.append(&[(key(3), lines(3, 0, 40, 90))])?;
    }
    while feeds.compact()? {}
    feeds.purge(1000, &[])?;
    feeds.purge(2000, &[key(5)])?;
    feeds.purge(4000, &[])?;
    feeds.append(&[(key(6), lines(6, feeds.length(key(6)), 1, 1))])
}

/// I-21: wherever the process ends, a sealed feed is whole, or was removed on purpose and is gone.
#[test]
fn a_crash_between_any_two_moves_loses_nothing() {
    let mut moves = 0;
    loop {
        let dir = tempfile::tempdir().unwrap();
        let feeds = Feeds::open(dir.path()).unwrap();
        let wholes: Vec<_> = (1..=5).map(|n| written(&feeds, n, 40, 90)).collect();
        feeds.append(&[(key(6), lines(6, 0, 5, 90))]).unwrap();
        // So much that is not needed that what is gets moved.
        written(&feeds, 7, 20, 60 << 10);
        feeds.drop_feeds(&[key(7)]).unwrap();
        crash::after(moves);
        let lived = life(&feeds);
        assert_eq!(lived.is_err(), crash::never(), "{lived:?}");
        drop(feeds);
        let feeds = Feeds::open(dir.path()).unwrap();
        let until = feeds.horizon().purged_until_ms;
        assert_eq!(feeds.damage(), [], "after {moves} moves");
        for n in 1..=5u8 {
            let found = all_of(&feeds, n, 1000);
            let is_gone = found.is_empty() && feeds.sealed(key(n)).is_none();
            let may_be_gone = match n {
                // It was cut to be replaced.
                3 => true,
                5 => until >= 2000,
                n => until >= i64::from(n) * 1000,
            };
            let is_whole = found == wholes[usize::from(n) - 1];
            assert!(
                is_whole || (is_gone && may_be_gone),
                "feed {n} after {moves} moves, {until}"
            );
            let must_be_gone = until >= i64::from(n) * 1000 && ![3, 5].contains(&n);
            assert!(
                !must_be_gone || is_gone,
                "feed {n} came back after {moves} moves"
            );
        }
        assert_eq!(
            feeds.length(key(6)).max(5),
            feeds.length(key(6)),
            "after {moves} moves"
        );
        life(&feeds).unwrap();
        let expected = feeds.length(key(6));
        drop(feeds);
        let feeds = Feeds::open(dir.path()).unwrap();
        let keys = feeds.keys();
        assert!(
            keys.iter().all(|k| [key(3), key(5), key(6)].contains(k)),
            "{keys:?}"
        );
        assert_eq!((feeds.length(key(6)), feeds.damage()), (expected, &[][..]));
        if lived.is_ok() {
            break;
        }
        moves += 1;
    }
    assert!(moves > 30, "only {moves} moves");
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8, u64, usize),
    Seal(u8),
    Archive,
    Compact,
    Cut(u8),
    Purge(u8),
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    let n = || 1..6u8;
    prop_oneof![
        8 => (n(), 1..4u64, prop_oneof![8 => 0..80usize, 1 => 9000..60_000usize]).prop_map(|(n, count, len)| Step::Append(n, count, len)),
        2 => n().prop_map(Step::Seal),
        2 => Just(Step::Archive),
        1 => Just(Step::Compact),
        1 => n().prop_map(Step::Cut),
        1 => n().prop_map(Step::Purge),
        2 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_appended_is_read_wherever_it_is(steps in proptest::collection::vec(any_step(), 0..40), step_len in 1..40_000usize) {
        let dir = tempfile::tempdir().unwrap();
        let mut feeds = Feeds::open(dir.path()).unwrap();
        let mut model: BTreeMap<u8, (Vec<u8>, bool)> = BTreeMap::new();
        let mut purged = 0;
        for step in steps {
            match step {
                Step::Append(n, count, len) => {
                    let (frames, sealed) = model.entry(n).or_default();
                    if *sealed || n <= purged {
                        continue;
                    }
                    let batch = lines(n, feeds.length(key(n)), count, len);
                    frames.extend_from_slice(&batch.frames);
                    feeds.append(&[(key(n), batch)]).unwrap();
                }
                Step::Seal(n) if n > purged => {
                    seal(&feeds, n);
                    feeds.flush().unwrap();
                    model.entry(n).or_default().1 = true;
                }
                Step::Archive => {
                    let ended: Vec<_> = feeds.unarchived().into_iter().map(|(k, ..)| (k, i64::from(k.execution[0]))).collect();
                    prop_assert_eq!(feeds.archive(&ended).unwrap().feeds, ended.len());
                }
                Step::Compact => while feeds.compact().unwrap() {},
                Step::Cut(n) if n > purged => {
                    feeds.cut(key(n), 0).unwrap();
                    model.remove(&n);
                }
                Step::Purge(n) if n > purged => {
                    let others: Vec<_> = (1..=n).map(key).filter(|k| !feeds.is_archived(*k)).collect();
                    prop_assert!(feeds.purge(n.into(), &others).unwrap());
                    purged = n;
                    model.retain(|key, _| *key > n);
                }
                Step::Reopen => {
                    drop(feeds);
                    feeds = Feeds::open(dir.path()).unwrap();
                    prop_assert_eq!(feeds.damage(), &[]);
                }
                Step::Seal(_) | Step::Cut(_) | Step::Purge(_) => {}
            }
            for n in 1..6 {
                let (frames, sealed) = model.get(&n).cloned().unwrap_or_default();
                prop_assert_eq!(all_of(&feeds, n, step_len), frames);
                prop_assert_eq!(feeds.sealed(key(n)).is_some(), sealed);
            }
        }
    }
}
