//! Power cuts at every change of the disk, for all that is kept beside the entries of the Raft log: snapshots, who a member is, feeds,
//! blobs, and the log as a whole.
//!
//! Each plan is carried out on a disk that forgets, mounted by FUSE, whose power fails after so many changes: first 0, then 1, and so
//! on until the plan comes to its end. Then what was promised is looked for. Where nothing can be mounted it says so and shows nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use blob::{CHUNK, Digest, ManifestBuilder};
use bytes::Bytes;
use disk::DiskError;
use disk::blobs::Blobs;
use disk::feeds::{FeedKey, Feeds};
use disk::member::{self, Identity};
use disk::raft_log::snapshots::Snapshots;
use disk::raft_log::{self, LogConfig, SnapshotMeta};
use feed::{Batch, Stream, encode_parts};
use powercut::{Disk, Mount};
use raft::eraftpb::{ConfState, Entry, HardState};

/// More changes than any plan makes.
const MOST: u64 = 2_000;

/// Carries out `plan` in a directory, which notes in its state what it was told is durable, with a power cut after each number of
/// changes; `check` looks for that.
fn at_every_change<S: Default>(
    plan: impl Fn(&Path, &mut S) -> Result<(), DiskError>,
    check: impl Fn(&Path, &S),
) {
    let place = tempfile::tempdir().unwrap();
    let mount = match Mount::new(place.path(), Disk::new(1)) {
        Ok(mount) => mount,
        Err(error) => {
            eprintln!("skipped: nothing can be mounted here: {error}");
            return;
        }
    };
    for changes in 0..MOST {
        let dir = place.path().join(changes.to_string());
        let mut told = S::default();
        mount.disk().fail_after(Some(changes));
        let ended = plan(&dir, &mut told);
        mount.disk().power_off();
        mount.disk().power_on();
        check(&dir, &told);
        if ended.is_ok() {
            assert!(changes > 3, "the plan changes nothing");
            return;
        }
        // What is not needed any more makes the disk slow.
        if dir.exists() {
            std::fs::remove_dir_all(&dir).unwrap();
        }
    }
    panic!("the plan never came to its end");
}

fn meta(index: u64) -> SnapshotMeta {
    let mut members = ConfState::default();
    members.set_voters(vec![1, 2, 3]);
    SnapshotMeta {
        index,
        term: 2,
        members,
    }
}

#[test]
fn a_snapshot_that_was_stored_is_there() {
    at_every_change(
        |dir, stored: &mut u64| {
            let snapshots = Snapshots::open(&dir.join("snapshots"))?;
            for index in 1..6 {
                snapshots.store(&meta(index), format!("state {index}").as_bytes())?;
                *stored = index;
            }
            Ok(())
        },
        |dir, stored| {
            let found = Snapshots::open(&dir.join("snapshots")).unwrap();
            let newest = found.checked().unwrap().map_or(0, |meta| meta.index);
            assert!(
                newest == *stored || newest == stored + 1,
                "{newest}, {stored}"
            );
            if let Some((meta, data)) = found.latest().unwrap() {
                assert_eq!(data, format!("state {}", meta.index).as_bytes());
            }
        },
    );
}

#[test]
fn who_a_member_is_is_what_was_said_last() {
    let said = |established| Identity {
        cluster_id: "c0ffee".to_owned(),
        member_id: 7,
        established,
    };
    at_every_change(
        |dir, told: &mut (Option<String>, Option<Identity>)| {
            told.0 = Some(member::join_request(dir, "first")?);
            for established in [false, true] {
                member::set_identity(dir, &said(established))?;
                told.1 = Some(said(established));
            }
            Ok(())
        },
        |dir, (request, identity)| {
            let asked = member::join_request(dir, "second").unwrap();
            assert!(asked == "first" || request.is_none());
            let found = member::identity(dir).unwrap();
            match identity {
                None => assert!(found.is_none_or(|found| found == said(false))),
                Some(identity) => assert!(
                    found.as_ref() == Some(identity) || found == Some(said(true)),
                    "{found:?}"
                ),
            }
        },
    );
}

fn key(n: u8) -> FeedKey {
    FeedKey {
        execution: [n; 16],
        attempt: 1,
    }
}

fn batch(n: u8, number: u64) -> Batch {
    let text = format!(
        "{n}:{number}:{}\n",
        "x".repeat((number * 977 % 9_000) as usize)
    );
    let mut frames = Vec::new();
    encode_parts(Stream::Stdout, false, number, text.as_bytes(), &mut frames);
    Batch {
        first_record: number,
        count: 1,
        frames: frames.into(),
    }
}

#[test]
fn records_that_were_appended_are_there_also_after_a_second_start() {
    at_every_change(
        |dir, appended: &mut u64| {
            for _ in 0..2 {
                let feeds = Feeds::open(&dir.join("feeds"))?;
                for _ in 0..6 {
                    let batches: Vec<_> = (0..3).map(|n| (key(n), batch(n, *appended))).collect();
                    feeds.append(&batches)?;
                    *appended += 1;
                }
            }
            Ok(())
        },
        |dir, appended| {
            let feeds = Feeds::open(&dir.join("feeds")).unwrap();
            assert!(feeds.damage().is_empty(), "{:?}", feeds.damage());
            let length = feeds.length(key(0));
            assert!(length == *appended || length == appended + 1);
            for n in 0..3 {
                assert_eq!(feeds.length(key(n)), length, "all or nothing");
                let read = feeds.read(key(n), 0, 1 << 20).unwrap();
                let found: Vec<u8> = read
                    .iter()
                    .flat_map(|batch| batch.frames.to_vec())
                    .collect();
                let expected: Vec<u8> = (0..length)
                    .flat_map(|number| batch(n, number).frames.to_vec())
                    .collect();
                assert_eq!(found, expected);
            }
        },
    );
}

fn content(n: u8) -> Vec<u8> {
    (0..usize::from(n) * 40_000 + 10)
        .map(|at| (at * usize::from(n) + at / 256) as u8)
        .collect()
}

#[test]
fn a_blob_that_was_taken_in_is_there_and_a_name_stands_over_nothing_else() {
    at_every_change(
        |dir, taken: &mut Vec<Digest>| {
            let blobs = Blobs::open(&dir.join("blobs"))?;
            for n in 1..4 {
                taken.push(blobs.ingest_copy(&content(n)[..])?.digest);
            }
            // One that is there already, and several at once from where a step left them.
            taken.push(blobs.ingest_copy(&content(2)[..])?.digest);
            let outputs = dir.join("outputs");
            let lost = |_| DiskError::Misuse("the power has failed".into());
            std::fs::create_dir(&outputs).map_err(lost)?;
            let paths: Vec<_> = (4..7).map(|n| outputs.join(n.to_string())).collect();
            for (path, n) in paths.iter().zip(4..) {
                std::fs::write(path, content(n)).map_err(lost)?;
            }
            let moved = blobs.ingest_many(&paths)?;
            taken.extend(moved.into_iter().map(|blob| blob.digest));
            Ok(())
        },
        |dir, taken| {
            let blobs = Blobs::open(&dir.join("blobs")).unwrap();
            for digest in taken {
                assert!(blobs.verify(digest).unwrap(), "{digest} is lost");
                assert!(blobs.manifest(digest).unwrap().is_some());
            }
            for (digest, _) in blobs.list().unwrap() {
                assert!(blobs.verify(&digest).unwrap());
            }
        },
    );
}

/// How a blob stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stands {
    #[default]
    NotHere,
    /// It was only fetched.
    Cached,
    Kept,
}

/// What is done with blobs that were fetched.
#[derive(Clone, Copy, Debug)]
enum Do {
    Fetch,
    FetchForGood,
    Keep,
    GiveUp,
    Copy,
    /// From where a step has left it.
    Move,
}

/// How blobs stand by what was told, and how one of them is to stand after what is being done.
#[derive(Default)]
struct Standing {
    told: BTreeMap<Digest, Stands>,
    doing: Option<(Digest, Stands)>,
    /// Where a file was that is to be a blob, on the disk under that name.
    moving: Option<(PathBuf, Digest)>,
}

fn lost(_: std::io::Error) -> DiskError {
    DiskError::Misuse("the power has failed".into())
}

fn carry_out(
    one: Do,
    blobs: &Blobs,
    data: &[u8],
    standing: &mut Standing,
) -> Result<(), DiskError> {
    let digest = Digest::of(data);
    let after = match one {
        // A fetch of what is kept changes nothing.
        Do::Fetch if standing.told.get(&digest) == Some(&Stands::Kept) => Stands::Kept,
        Do::Fetch => Stands::Cached,
        Do::GiveUp => Stands::NotHere,
        Do::FetchForGood | Do::Keep | Do::Copy | Do::Move => Stands::Kept,
    };
    standing.doing = Some((digest, after));
    match one {
        Do::Fetch | Do::FetchForGood => {
            let mut builder = ManifestBuilder::new();
            builder.update(data);
            let (_, manifest) = builder.finish();
            let mut partial = blobs.receive(manifest.clone())?;
            for (index, chunk) in data.chunks(CHUNK).enumerate() {
                partial.write(&manifest.verify_chunk(index as u64, chunk).unwrap())?;
            }
            match one {
                Do::Fetch => blobs.seal_cached(partial)?,
                _ => blobs.seal(partial)?,
            }
        }
        Do::Keep => assert!(blobs.keep(&digest)?),
        Do::GiveUp => assert!(blobs.give_up(&digest)?),
        Do::Copy => drop(blobs.ingest_copy(data)?),
        Do::Move => {
            let outputs = blobs.dir().with_file_name("outputs");
            fs::create_dir(&outputs).map_err(lost)?;
            let path = outputs.join("output");
            fs::write(&path, data).map_err(lost)?;
            for synced in [&path, &outputs, &outputs.join("..")] {
                File::open(synced)
                    .and_then(|file| file.sync_all())
                    .map_err(lost)?;
            }
            standing.moving = Some((path.clone(), digest));
            blobs.ingest_move(&path)?;
        }
    }
    standing.told.insert(digest, after);
    standing.doing = None;
    Ok(())
}

#[test]
fn a_blob_stands_as_was_told_or_as_it_was_to_and_nothing_between() {
    use Do::*;
    // The first is large enough to have a manifest.
    let lives: [(u8, &[Do]); 8] = [
        (27, &[Fetch, GiveUp]),
        (1, &[Fetch, GiveUp, Fetch, Keep, Fetch]),
        (2, &[Fetch, Copy]),
        (3, &[Fetch, GiveUp, Copy]),
        (4, &[Fetch, Move]),
        (5, &[Copy, Fetch]),
        (6, &[Fetch, FetchForGood]),
        (7, &[Fetch]),
    ];
    at_every_change(
        |dir, standing: &mut Standing| {
            let blobs = Blobs::open(&dir.join("blobs"))?;
            for (n, life) in lives {
                for one in life {
                    carry_out(*one, &blobs, &content(n), standing)?;
                }
            }
            Ok(())
        },
        |dir, standing| {
            let blobs = Blobs::open(&dir.join("blobs")).unwrap();
            let stands =
                |digest: &Digest| match (blobs.verify(digest).unwrap(), blobs.is_cached(digest)) {
                    (false, _) => Stands::NotHere,
                    (true, true) => Stands::Cached,
                    (true, false) => Stands::Kept,
                };
            for (n, life) in lives {
                let digest = Digest::of(&content(n));
                let told = standing.told.get(&digest).copied().unwrap_or_default();
                let doing = standing.doing.filter(|(of, _)| *of == digest);
                let found = stands(&digest);
                assert!(
                    found == told || doing.is_some_and(|(_, after)| found == after),
                    "{life:?}: {found:?}, told {told:?}, to be {doing:?}"
                );
                if found != Stands::NotHere {
                    assert!(blobs.manifest(&digest).unwrap().is_some());
                }
            }
            if let Some((path, digest)) = &standing.moving
                && !path.exists()
            {
                assert_eq!(stands(digest), Stands::Kept, "it is nowhere else");
            }
            // In the next life nothing goes that is relied upon, and everything else can.
            for cached in blobs.cached().unwrap() {
                assert!(blobs.give_up(&cached.digest).unwrap());
            }
            for (digest, told) in &standing.told {
                let is_here = blobs.keep(digest).unwrap();
                assert!(is_here || *told != Stands::Kept);
            }
        },
    );
}

fn entry(index: u64) -> Entry {
    Entry {
        index,
        term: 2,
        data: Bytes::from(vec![index as u8; (index * 733 % 20_000) as usize]),
        ..Entry::default()
    }
}

#[test]
fn a_log_with_its_snapshots_is_whole() {
    #[derive(Default)]
    struct Told {
        last: u64,
        term: u64,
    }
    at_every_change(
        |dir, told: &mut Told| {
            for _ in 0..2 {
                let mut log = raft_log::open(&dir.join("raft"), None, LogConfig::default())?;
                log.load()?;
                if told.last == 0 {
                    log.store_snapshot(&meta(1), b"founding")?;
                    told.last = 1;
                }
                for _ in 0..2 {
                    let term = told.term + 1;
                    let hard_state = HardState {
                        term,
                        ..HardState::default()
                    };
                    let new: Vec<_> = (told.last + 1..told.last + 4).map(entry).collect();
                    log.append(&new, Some(&hard_state))?;
                    (told.last, told.term) = (told.last + 3, term);
                    log.store_snapshot(&meta(told.last - 1), b"later")?;
                    log.compact(told.last - 1)?;
                }
            }
            Ok(())
        },
        |dir, told| {
            let mut log = raft_log::open(&dir.join("raft"), None, LogConfig::default()).unwrap();
            let found = log.load().unwrap();
            let base = found.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
            let last = found.entries.last().map_or(base, |entry| entry.index);
            assert!(
                last == told.last || last == told.last + 3 || told.last == 0,
                "{last}"
            );
            assert!((told.term..=told.term + 1).contains(&found.hard_state.term));
            let expected: Vec<_> = (base + 1..=last).map(entry).collect();
            assert_eq!(found.entries, expected);
        },
    );
}
