//! The power fails at every change of the disk: what was told to be durable is there, and the log goes on.

use super::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// What a group could ask next of a log that holds `held`.
fn next(held: &Held, chance: &mut ChaCha8Rng) -> Step {
    let term = held.hard_state.term;
    match chance.random_range(0..20) {
        0..14 => {
            let kept = held.last + 1 - held.first;
            let back = match chance.random_range(0..5) {
                0 => chance.random_range(0..=kept.min(6)),
                _ => 0,
            };
            let first = held.last + 1 - back;
            let term = term + u64::from(back > 0) + chance.random_range(0..2);
            let count = chance.random_range(0..5);
            let len = match chance.random_range(0..12) {
                0 => 9_000,
                1 => 3_000,
                _ => chance.random_range(0..400),
            };
            let entries = (first..first + count).map(|index| entry(index, term, len));
            let hard_state = chance.random::<bool>().then(|| hard(term, held.first));
            Step::Append(entries.collect(), hard_state)
        }
        14..19 => Step::Forget(chance.random_range(held.first..=held.last + 1)),
        _ => Step::Restart(held.last + chance.random_range(0..9)),
    }
}

/// Lives a few lives in which the power fails after so many changes each. Whether every life ended by that.
fn live(seed: u64, changes: u64) -> bool {
    let directory = Forgetful::new(seed);
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut may_be = vec![Held::nothing()];
    let mut cut_off = true;
    for life in 0..4 {
        // The power may fail while the log is opened, too.
        directory.fail_after(Some(changes));
        let opened = open(&directory);
        let mut done = 0;
        if let Ok((mut log, found)) = opened {
            let is_one = may_be.iter().any(|held| held.is(&found));
            assert!(
                is_one,
                "seed {seed}, {changes} changes, life {life}: none of {may_be:#?} is {found:#?}"
            );
            let mut held = found;
            may_be = vec![held.clone()];
            while done < 40 {
                let step = next(&held, &mut chance);
                let after = held.after(&step);
                if let Err(error) = take(&mut log, &step) {
                    assert!(
                        matches!(error, DiskError::Io { .. } | DiskError::Sync { .. }),
                        "{error}"
                    );
                    may_be.push(after);
                    break;
                }
                held = after;
                may_be = vec![held.clone()];
                done += 1;
            }
        }
        cut_off &= done < 40;
        directory.cut();
    }
    let (_, found) = open(&directory).unwrap_or_else(|error| {
        panic!("seed {seed}, {changes} changes: {error}");
    });
    assert!(
        may_be.iter().any(|held| held.is(&found)),
        "seed {seed}, {changes} changes: none of {may_be:#?} is {found:#?}"
    );
    cut_off
}

#[test]
fn what_is_durable_survives_a_power_cut_at_any_change() {
    let (mut all, mut lives) = (0, 0);
    for seed in 0..20 {
        for changes in 0..400 {
            lives += 1;
            if !live(seed, changes) {
                all += 1;
                break;
            }
        }
    }
    assert_eq!(all, 20, "every seed came to lives that end by themselves");
    assert!(lives > 1_000, "{lives} lives are few");
}

/// The check above has teeth: a log that does not sync its files is caught.
#[test]
fn a_log_that_does_not_sync_would_be_caught() {
    let mut lost = 0;
    for seed in 0..20 {
        let directory = Forgetful::new(seed);
        let (mut log, mut held) = open(&directory).unwrap();
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        // The disk says that it has synced, and has not.
        directory.lie(true);
        for _ in 0..10 {
            let step = next(&held, &mut chance);
            take(&mut log, &step).unwrap();
            held = held.after(&step);
        }
        directory.lie(false);
        directory.cut();
        lost += u32::from(!open(&directory).is_ok_and(|(_, found)| held.is(&found)));
    }
    assert!(lost > 10, "{lost} of 20");
}

#[test]
fn a_full_disk_refuses_a_batch_and_takes_it_when_there_is_room() {
    let directory = Forgetful::new(3);
    let (mut log, mut held) = open(&directory).unwrap();
    directory.with_disk(|disk| disk.set_capacity(Some(3 * 8192 + 2_000)));
    let refused = loop {
        let step = Step::Append(vec![entry(held.last + 1, 1, 700)], Some(hard(1, 0)));
        match take(&mut log, &step) {
            Ok(()) => held = held.after(&step),
            Err(error) => break error,
        }
    };
    assert!(refused.is_full(), "{refused}");
    let step = Step::Forget(held.last);
    take(&mut log, &step).unwrap();
    held = held.after(&step);
    // Now there are files to be written anew.
    for _ in 0..6 {
        let step = Step::Append(vec![entry(held.last + 1, 1, 700)], None);
        take(&mut log, &step).unwrap();
        held = held.after(&step);
    }
    drop(log);
    directory.cut();
    assert!(held.is(&open(&directory).unwrap().1));
}

#[test]
fn after_a_failed_sync_nothing_is_taken_any_more() {
    let directory = Forgetful::new(4);
    let (mut log, held) = open(&directory).unwrap();
    let step = Step::Append(vec![entry(1, 1, 10)], None);
    take(&mut log, &step).unwrap();
    directory.with_disk(|disk| disk.fail_syncs(true));
    let second = Step::Append(vec![entry(2, 1, 10)], None);
    assert!(take(&mut log, &second).unwrap_err().is_fatal());
    directory.with_disk(|disk| disk.fail_syncs(false));
    assert!(matches!(take(&mut log, &second), Err(DiskError::Misuse(_))));
    drop(log);
    let found = open(&directory).unwrap().1;
    let held = held.after(&step);
    assert!(held.is(&found) || held.after(&second).is(&found));
}

#[test]
fn files_are_written_anew_and_surplus_ones_removed() {
    let directory = Forgetful::new(5);
    let (mut log, mut held) = open(&directory).unwrap();
    let mut most = 0;
    for round in 0..400 {
        let step = Step::Append(vec![entry(held.last + 1, 1, 500)], None);
        take(&mut log, &step).unwrap();
        held = held.after(&step);
        if round % 50 == 49 {
            let step = Step::Forget(held.last - 5);
            take(&mut log, &step).unwrap();
            held = held.after(&step);
            let files = directory.contents().len();
            // Those that are spare, the last one, and the one before it.
            assert!(files <= 5, "{files} files");
        }
        most = most.max(directory.contents().len());
    }
    assert!(most > 5, "there was a surplus");
    assert!(held.is(&open(&directory).unwrap().1));
}
