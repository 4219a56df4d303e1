//! Damage to a log that was synced: it is found, or it hit what is no longer needed.

use super::*;
use crate::raft_log::file_log::format::Header;
use std::collections::BTreeSet;

/// Every so many bytes one is damaged; all of them take a minute.
const STEP: usize = 7;

/// A log of several segments, one of which was written anew, and all that it held after each of its batches.
struct Sample {
    contents: Vec<(String, Vec<u8>)>,
    /// The segments as they were after each batch.
    earlier: Vec<Vec<(String, Vec<u8>)>>,
    held: Vec<Held>,
    mark: u64,
}

fn sample() -> Sample {
    let directory = Forgetful::new(1);
    let (mut log, held) = open(&directory).unwrap();
    let (mut held, mut earlier) = (vec![held], vec![directory.contents()]);
    let mut take = |step: Step| {
        take(&mut log, &step).unwrap();
        let next = held.last().unwrap().after(&step);
        held.push(next);
        earlier.push(directory.contents());
        log.bounds()
    };
    for index in 1..24 {
        let step = Step::Append(
            vec![entry(index, index / 5, 900)],
            Some(hard(index / 5, index)),
        );
        take(step);
    }
    take(Step::Forget(15));
    let replaced = [entry(22, 9, 100), entry(23, 9, 900), entry(24, 9, 2_000)];
    take(Step::Append(replaced.to_vec(), Some(hard(9, 20))));
    take(Step::Append(vec![entry(25, 9, 50)], None));
    let mark = take(Step::Append(vec![], Some(hard(10, 20)))).writes;
    Sample {
        contents: directory.contents(),
        earlier,
        held,
        mark,
    }
}

impl Sample {
    fn now(&self) -> &Held {
        self.held.last().unwrap()
    }

    /// What becomes of these segments: found to be damaged, or the whole state. Anything else is a failure.
    fn is_found(&self, contents: &[(String, Vec<u8>)], what: &str) -> bool {
        match open(&Forgetful::holding(contents, self.mark)) {
            Err(DiskError::Corrupt { .. }) => true,
            Err(error) => panic!("{what}: {error}"),
            Ok((_, found)) => {
                assert!(self.now().is(&found), "{what}: {found:#?}");
                false
            }
        }
    }
}

#[test]
fn a_sample_has_what_is_to_be_damaged() {
    let sample = sample();
    assert!(sample.contents.len() >= 3, "{}", sample.contents.len());
    assert!(sample.now().first == 15);
    assert!(!sample.is_found(&sample.contents, "nothing"));
    // Without the mark it is as sound.
    let (_, found) = open(&Forgetful::holding(&sample.contents, 0)).unwrap();
    assert!(sample.now().is(&found));
}

#[test]
fn one_bit_anywhere_is_found_or_harmless() {
    let sample = sample();
    let (mut found, mut harmless) = (0, 0);
    for file in 0..sample.contents.len() {
        for at in (0..sample.contents[file].1.len()).step_by(STEP) {
            let mut contents = sample.contents.clone();
            contents[file].1[at] ^= 1 << (at % 8);
            let what = format!("{} at {at}", contents[file].0);
            match sample.is_found(&contents, &what) {
                true => found += 1,
                false => harmless += 1,
            }
        }
    }
    // Of three files of 8192 bytes about two are needed; headers and padding have room in them.
    assert!(found > 10_000 / STEP, "{found} found, {harmless} harmless");
}

/// A power cut may take the mark with it. Then damage to the very last batch looks like a write that was cut off; all else is
/// found as before.
#[test]
fn without_the_mark_only_damage_to_the_last_batch_goes_unseen() {
    let sample = sample();
    let before = &sample.held[sample.held.len() - 2];
    let mut unseen = BTreeSet::new();
    for file in 0..sample.contents.len() {
        for at in (0..sample.contents[file].1.len()).step_by(STEP) {
            let mut contents = sample.contents.clone();
            contents[file].1[at] ^= 1 << (at % 8);
            match open(&Forgetful::holding(&contents, 0)) {
                Err(DiskError::Corrupt { .. }) => {}
                Err(error) => panic!("{error}"),
                Ok((_, found)) if sample.now().is(&found) => {}
                Ok((_, found)) => {
                    assert!(
                        before.is(&found),
                        "{} at {at}: {found:#?}",
                        contents[file].0
                    );
                    unseen.insert((file, at));
                }
            }
        }
    }
    let (low, high) = (unseen.first().unwrap(), unseen.last().unwrap());
    assert_eq!(low.0, high.0, "one file");
    assert!(high.1 - low.1 < 64, "one short batch: {low:?} to {high:?}");
}

#[test]
fn zeroed_pages_and_sectors_are_found_or_harmless() {
    let sample = sample();
    let mut found = 0;
    for (file, (name, bytes)) in sample.contents.iter().enumerate() {
        for size in [512, 4096] {
            for at in (0..bytes.len()).step_by(size) {
                let mut contents = sample.contents.clone();
                contents[file].1[at..at + size].fill(0);
                found += u32::from(sample.is_found(&contents, &format!("{name}, {size} at {at}")));
            }
        }
    }
    assert!(found > 20, "{found}");
}

#[test]
fn files_cut_lost_or_swapped_are_found_or_harmless() {
    let sample = sample();
    let mut found = 0;
    for (file, (name, bytes)) in sample.contents.iter().enumerate() {
        for len in (0..bytes.len()).step_by(97) {
            let mut contents = sample.contents.clone();
            contents[file].1.truncate(len);
            found += u32::from(sample.is_found(&contents, &format!("{name} cut to {len}")));
        }
        let mut contents = sample.contents.clone();
        contents.remove(file);
        sample.is_found(&contents, &format!("{name} lost"));
        for other in 0..file {
            let mut contents = sample.contents.clone();
            let moved = contents[file].1.clone();
            contents[file].1 = std::mem::replace(&mut contents[other].1, moved);
            assert!(!sample.is_found(&contents, "swapped"), "names mean nothing");
        }
    }
    assert!(found > 40, "{found}");
    assert!(sample.is_found(&[], "all lost"));
}

#[test]
fn files_as_they_were_are_found_or_harmless() {
    let sample = sample();
    let mut found = 0;
    for (time, earlier) in sample.earlier.iter().enumerate() {
        for (name, bytes) in earlier {
            let mut contents = sample.contents.clone();
            for (known, now) in &mut contents {
                if known == name {
                    now.clone_from(bytes);
                }
            }
            found += u32::from(sample.is_found(&contents, &format!("{name} of {time}")));
        }
        // The whole log as it was. Less than that nobody could find out.
        if time + 1 < sample.earlier.len() && sample.held[time] != *sample.now() {
            found += u32::from(sample.is_found(earlier, &format!("all of {time}")));
        }
    }
    assert!(found > 20, "{found}");
}

#[test]
fn what_else_lies_there_is_left_alone() {
    let sample = sample();
    let mut contents = sample.contents.clone();
    contents.push(("00000001.copy".into(), vec![7; 5_000]));
    assert!(!sample.is_found(&contents, "a stray file"));
}

#[test]
fn damage_is_named() {
    let sample = sample();
    let told = |contents: &[(String, Vec<u8>)]| {
        let error = open(&Forgetful::holding(contents, sample.mark))
            .err()
            .unwrap();
        let error = error.to_string();
        assert!(error.contains("replace this member"), "{error}");
        error.split(". Do not repair").next().unwrap().to_owned()
    };
    let number = |bytes: &[u8]| Header::read(bytes).unwrap().bounds.writes;
    let newest = sample.contents.iter().map(|(_, bytes)| number(bytes));
    let last = newest
        .enumerate()
        .max_by_key(|(_, number)| *number)
        .unwrap()
        .0;
    let mut contents = sample.contents.clone();
    contents[last].1[600] ^= 1;
    let named = told(&contents);
    assert!(
        named.contains("DIR, 0000000") && named.contains("is not sound, and later ones are there"),
        "{named}"
    );
    let mut contents = sample.contents.clone();
    contents.remove(last);
    assert!(
        told(&contents).contains("it went back: it has "),
        "{}",
        told(&contents)
    );
}
