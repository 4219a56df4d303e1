//! What every [`LogStore`] does, run against each of them.

use super::keys::PART_LEN;
use super::sled_log::open_sled;
use super::snapshots::Snapshots;
use super::{FileLog, LogConfig, LogStore, MemoryLog, Recovered, SledLog, SnapshotMeta};
use crate::error::DiskError;
use proptest::prelude::*;
use raft::eraftpb::{ConfState, Entry, HardState};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A place that a store can be opened at again.
trait Place {
    type Store: LogStore;
    fn new() -> Self;
    fn open(&self) -> Self::Store;
}

/// One on a disk.
trait OnDisk: Place {
    fn path(&self) -> PathBuf;
    fn open_with(&self, config: LogConfig) -> Result<Self::Store, DiskError>;
}

struct Memory(MemoryLog);

impl Place for Memory {
    type Store = MemoryLog;
    fn new() -> Memory {
        Memory(MemoryLog::new())
    }
    fn open(&self) -> MemoryLog {
        self.0.clone()
    }
}

struct Sled(tempfile::TempDir);

impl OnDisk for Sled {
    fn path(&self) -> PathBuf {
        self.0.path().join("raft")
    }
    fn open_with(&self, config: LogConfig) -> Result<SledLog, DiskError> {
        SledLog::open(&self.path(), config)
    }
}

impl Place for Sled {
    type Store = SledLog;
    fn new() -> Sled {
        Sled(tempfile::tempdir().unwrap())
    }
    fn open(&self) -> SledLog {
        self.open_with(roomy()).unwrap()
    }
}

struct Files(tempfile::TempDir);

impl Place for Files {
    type Store = FileLog;
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }
    fn open(&self) -> FileLog {
        self.open_with(roomy()).unwrap()
    }
}

impl OnDisk for Files {
    fn path(&self) -> PathBuf {
        self.0.path().join("raft")
    }
    fn open_with(&self, config: LogConfig) -> Result<FileLog, DiskError> {
        FileLog::open(&self.path(), config)
    }
}

/// Tests need no room that stays free.
fn roomy() -> LogConfig {
    LogConfig {
        reserve_bytes: 0,
        ..LogConfig::default()
    }
}

fn entry(index: u64, term: u64, len: usize) -> Entry {
    Entry {
        index,
        term,
        data: vec![index as u8; len].into(),
        ..Entry::default()
    }
}

fn entries(range: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
    range.map(|index| entry(index, term, 20)).collect()
}

fn hard(term: u64, vote: u64, commit: u64) -> HardState {
    HardState {
        term,
        vote,
        commit,
        ..HardState::default()
    }
}

fn meta(index: u64, term: u64) -> SnapshotMeta {
    let mut members = ConfState::default();
    members.set_voters(vec![1, 2, 3]);
    SnapshotMeta {
        index,
        term,
        members,
    }
}

/// `hard state | snapshot | entries as index:term`, as found when opened again.
fn found<P: Place>(place: &P) -> String {
    describe(&place.open().load().unwrap())
}

fn describe(found: &Recovered) -> String {
    let HardState {
        term, vote, commit, ..
    } = found.hard_state;
    let snapshot = found
        .snapshot
        .as_ref()
        .map_or("-".into(), |s| format!("{}:{}", s.index, s.term));
    let entries: Vec<String> = found
        .entries
        .iter()
        .map(|entry| format!("{}:{}", entry.index, entry.term))
        .collect();
    format!(
        "{term},{vote},{commit} | {snapshot} | {}",
        entries.join(" ")
    )
}

fn a_new_place_is_empty<P: Place>() {
    let place = P::new();
    let mut store = place.open();
    assert!(store.load().unwrap().is_empty());
    assert_eq!(store.latest_snapshot().unwrap(), None);
    drop(store);
    assert!(place.open().load().unwrap().is_empty());
}

fn what_was_appended_is_found<P: Place>() {
    let place = P::new();
    let mut store = place.open();
    store.load().unwrap();
    store
        .append(&entries(1..4, 1), Some(&hard(1, 2, 0)))
        .unwrap();
    store.append(&[], Some(&hard(2, 3, 2))).unwrap();
    store.append(&entries(4..5, 2), None).unwrap();
    store.append(&[], None).unwrap();
    drop(store);
    assert_eq!(found(&place), "2,3,2 | - | 1:1 2:1 3:1 4:2");
    let mut store = place.open();
    assert_eq!(store.load().unwrap().entries[..3], entries(1..4, 1));
}

fn a_suffix_is_replaced<P: Place>() {
    let place = P::new();
    let mut store = place.open();
    store.load().unwrap();
    store.append(&entries(1..8, 1), None).unwrap();
    store.append(&entries(3..5, 2), None).unwrap();
    drop(store);
    assert_eq!(found(&place), "0,0,0 | - | 1:1 2:1 3:2 4:2");
    let mut store = place.open();
    store.load().unwrap();
    store.append(&entries(1..2, 3), None).unwrap();
    drop(store);
    assert_eq!(found(&place), "0,0,0 | - | 1:3");
}

fn a_long_suffix_and_long_entries_are_replaced<P: Place>() {
    let place = P::new();
    let mut store = place.open();
    store.load().unwrap();
    store.append(&entries(1..300, 1), None).unwrap();
    store
        .append(
            &[entry(300, 1, 5 * PART_LEN), entry(301, 1, PART_LEN)],
            None,
        )
        .unwrap();
    store.append(&[entry(5, 2, 3 * PART_LEN)], None).unwrap();
    store.append(&[entry(6, 2, 0)], None).unwrap();
    drop(store);
    let mut store = place.open();
    let recovered = store.load().unwrap();
    assert_eq!(describe(&recovered), "0,0,0 | - | 1:1 2:1 3:1 4:1 5:2 6:2");
    assert_eq!(recovered.entries[4], entry(5, 2, 3 * PART_LEN));
    // An entry of many parts gives way to a short one.
    store.append(&[entry(5, 3, 1)], None).unwrap();
    drop(store);
    assert_eq!(found(&place), "0,0,0 | - | 1:1 2:1 3:1 4:1 5:3");
}

fn entries_out_of_place_are_refused<P: Place>() {
    let place = P::new();
    let mut store = place.open();
    store.load().unwrap();
    store.append(&entries(1..4, 1), None).unwrap();
    let misuse = |got: Result<(), DiskError>| assert!(matches!(got, Err(DiskError::Misuse(_))));
    misuse(store.append(&entries(5..6, 1), None));
    misuse(store.append(&entries(0..1, 1), None));
    misuse(store.append(&[entry(4, 1, 0), entry(6, 1, 0)], None));
    drop(store);
    assert_eq!(found(&place), "0,0,0 | - | 1:1 2:1 3:1");
}

fn snapshots_and_compaction<P: Place>() {
    let place = P::new();
    let mut store = place.open();
    store.load().unwrap();
    store.store_snapshot(&meta(1, 1), b"founding").unwrap();
    store
        .append(&entries(2..260, 1), Some(&hard(1, 1, 1)))
        .unwrap();
    store.compact(100).unwrap();
    drop(store);
    let mut store = place.open();
    assert_eq!(
        store.load().unwrap().entries.len(),
        258,
        "nothing that no other snapshot covers"
    );
    store.store_snapshot(&meta(200, 1), b"two hundred").unwrap();
    store.store_snapshot(&meta(250, 1), b"later").unwrap();
    store.compact(258).unwrap();
    assert_eq!(
        store.latest_snapshot().unwrap(),
        Some((meta(250, 1), b"later".to_vec()))
    );
    drop(store);
    assert_eq!(
        found(&place),
        "1,1,1 | 250:1 | 251:1 252:1 253:1 254:1 255:1 256:1 257:1 258:1 259:1"
    );
    let mut store = place.open();
    store.load().unwrap();
    assert!(
        store.append(&entries(200..201, 1), None).is_err(),
        "compacted up to the older snapshot"
    );
    store.append(&entries(252..253, 2), None).unwrap();
    store.compact(3).unwrap();
    drop(store);
    assert_eq!(found(&place), "1,1,1 | 250:1 | 251:1 252:2");
}

fn a_snapshot_from_the_leader_replaces_the_log<P: Place>() {
    let place = P::new();
    let mut store = place.open();
    store.load().unwrap();
    store
        .append(&entries(1..150, 1), Some(&hard(1, 0, 5)))
        .unwrap();
    store
        .store_snapshot(&meta(500, 4), b"from the leader")
        .unwrap();
    drop(store);
    assert_eq!(found(&place), "1,0,5 | 500:4 | ");
    let mut store = place.open();
    store.load().unwrap();
    assert!(store.append(&entries(150..151, 1), None).is_err());
    store.append(&entries(501..503, 4), None).unwrap();
    // The same index with another term: these entries went another way.
    store.store_snapshot(&meta(502, 5), b"another way").unwrap();
    drop(store);
    assert_eq!(found(&place), "1,0,5 | 502:5 | ");
}

macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            $(#[test] fn $name() { super::$name::<super::Memory>() })*
        }
        mod in_files {
            $(#[test] fn $name() { super::$name::<super::Files>() })*
        }
        mod in_sled {
            $(#[test] fn $name() { super::$name::<super::Sled>() })*
        }
    };
}

conformance!(
    a_new_place_is_empty,
    what_was_appended_is_found,
    a_suffix_is_replaced,
    a_long_suffix_and_long_entries_are_replaced,
    entries_out_of_place_are_refused,
    snapshots_and_compaction,
    a_snapshot_from_the_leader_replaces_the_log,
);

#[derive(Clone, Debug)]
enum Step {
    Append { back: u64, count: u64, len: usize },
    Snapshot { ahead: u64 },
    Compact { ahead: u64 },
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6u64, 1..5u64, prop_oneof![4 => 0..50usize, 1 => Just(PART_LEN + 9)])
            .prop_map(|(back, count, len)| Step::Append { back, count, len }),
        1 => (0..9u64).prop_map(|ahead| Step::Snapshot { ahead }),
        1 => (0..20u64).prop_map(|ahead| Step::Compact { ahead }),
        1 => Just(Step::Reopen),
    ]
}

/// Whatever is asked of them, a store on disk and the store in memory say the same.
fn agrees_with_memory<P: Place>(steps: Vec<Step>) {
    let (disk_place, memory_place) = (P::new(), Memory::new());
    let (mut disk, mut memory) = (disk_place.open(), memory_place.open());
    disk.load().unwrap();
    let mut term = 1;
    for step in steps {
        term += 1;
        let now = memory.load().unwrap();
        let base = now.snapshot.as_ref().map_or(0, |s| s.index);
        let last = now.entries.last().map_or(base, |e| e.index);
        match step {
            Step::Append { back, count, len } => {
                let first = (last + 1).saturating_sub(back).max(base + 1);
                let new: Vec<Entry> = (first..first + count)
                    .map(|i| entry(i, term, len))
                    .collect();
                disk.append(&new, Some(&hard(term, 0, base))).unwrap();
                memory.append(&new, Some(&hard(term, 0, base))).unwrap();
            }
            Step::Snapshot { ahead } => {
                let index = base + ahead + 1;
                let kept = now.entries.iter().find(|e| e.index == index);
                let at = kept.map_or(term, |e| e.term);
                disk.store_snapshot(&meta(index, at), b"s").unwrap();
                memory.store_snapshot(&meta(index, at), b"s").unwrap();
            }
            Step::Compact { ahead } => {
                disk.compact(base + ahead).unwrap();
                memory.compact(base + ahead).unwrap();
            }
            Step::Reopen => {
                drop(disk);
                disk = disk_place.open();
                assert_eq!(disk.load().unwrap(), memory.load().unwrap());
            }
        }
    }
    drop(disk);
    let mut disk = disk_place.open();
    assert_eq!(disk.load().unwrap(), memory.load().unwrap());
    assert_eq!(
        disk.load().unwrap(),
        memory.load().unwrap(),
        "and once more"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn sled_and_memory_agree(steps in proptest::collection::vec(any_step(), 1..25)) {
        agrees_with_memory::<Sled>(steps);
    }

    #[test]
    fn files_and_memory_agree(steps in proptest::collection::vec(any_step(), 1..60)) {
        agrees_with_memory::<Files>(steps);
    }
}

/// sled itself, as soon as the store has let go of it.
fn open_raw(place: &Sled) -> sled::Db {
    let until = Instant::now() + Duration::from_secs(5);
    open_sled(&place.path().join("log"), until).unwrap()
}

/// The error that loading gives after `damage` was done to a log of entries 3..10 above a snapshot of 2.
fn after_damage(damage: impl FnOnce(&sled::Db)) -> String {
    let place = Sled::new();
    let mut store = place.open();
    store.load().unwrap();
    store.store_snapshot(&meta(2, 1), b"state").unwrap();
    store
        .append(
            &[entry(3, 1, 10), entry(4, 1, 2 * PART_LEN)],
            Some(&hard(1, 1, 3)),
        )
        .unwrap();
    store.append(&entries(5..10, 1), None).unwrap();
    drop(store);
    {
        let db = open_raw(&place);
        damage(&db);
        db.flush().unwrap();
    }
    let error = place.open().load().unwrap_err().to_string();
    let error = error.replace(&place.path().display().to_string(), "DIR");
    error.split(". Do not repair").next().unwrap().to_owned()
}

#[test]
fn damage_is_found_and_named() {
    let key = super::keys::entry::key;
    let flip = |db: &sled::Db, key: &[u8]| {
        let mut value = db.get(key).unwrap().unwrap().to_vec();
        let middle = value.len() / 2;
        value[middle] ^= 4;
        db.insert(key, value).unwrap();
    };
    let check = |damage: &dyn Fn(&sled::Db), expected: &str| {
        assert_eq!(
            after_damage(|db| damage(db)),
            format!("state lost or corrupt at DIR, {expected}")
        );
    };
    check(
        &|db| flip(db, &key(6, 0)),
        "entry 6: checksum does not match",
    );
    check(
        &|db| flip(db, &key(4, 1)),
        "entry 4: checksum does not match",
    );
    check(&|db| flip(db, &[0]), "bounds: checksum does not match");
    check(&|db| flip(db, &[1]), "hard state: checksum does not match");
    check(
        &|db| drop(db.remove(key(7, 0)).unwrap()),
        "entry 7: missing or cut off",
    );
    check(
        &|db| drop(db.remove(key(9, 0)).unwrap()),
        "entry 9: missing or cut off",
    );
    check(
        &|db| drop(db.remove(key(4, 0)).unwrap()),
        "entry 4: part 0 is missing",
    );
    check(
        &|db| drop(db.remove(key(4, 2)).unwrap()),
        "entry 4: missing or cut off",
    );
    check(
        &|db| drop(db.remove([0]).unwrap()),
        "bounds: missing, though there are entries",
    );
    check(
        &|db| drop(db.insert([9], b"x").unwrap()),
        "log: unknown key [09]",
    );
    let swap = |db: &sled::Db| {
        let other = db.get(key(6, 0)).unwrap().unwrap();
        db.insert(key(5, 0), other).unwrap();
    };
    check(&swap, "entry 5: checksum does not match");
}

fn a_lost_snapshot_is_found_once_the_log_was_compacted<P: OnDisk>() {
    let place = P::new();
    let mut store = place.open();
    store.load().unwrap();
    store.store_snapshot(&meta(2, 1), b"state").unwrap();
    store.append(&entries(3..10, 1), None).unwrap();
    store.store_snapshot(&meta(6, 1), b"state").unwrap();
    store.store_snapshot(&meta(8, 1), b"state").unwrap();
    store.compact(8).unwrap();
    drop(store);
    let snapshots = place.path().join("snapshots");
    let damage = |index: u64| {
        let path = snapshots.join(format!("{index:020}-{:020}.snap", 1));
        std::fs::write(path, b"nonsense").unwrap();
    };
    damage(8);
    assert_eq!(
        found(&place),
        "0,0,0 | 6:1 | 7:1 8:1 9:1",
        "the older one stands in"
    );
    damage(6);
    let error = place.open().load().unwrap_err().to_string();
    assert!(
        error.contains("compacted, and no snapshot is sound"),
        "{error}"
    );
}

#[test]
fn leftovers_of_a_crash_are_no_damage() {
    let place = Sled::new();
    let mut store = place.open();
    store.load().unwrap();
    store.append(&entries(1..4, 1), None).unwrap();
    drop(store);
    {
        // Entries beyond the bounds: a removal that did not get to its end.
        let db = open_raw(&place);
        for (key, value) in super::keys::entry::encode(&entry(9, 1, 3)).unwrap() {
            db.insert(key, value).unwrap();
        }
        db.flush().unwrap();
    }
    std::fs::write(
        place.path().join("log/snap.0000000000000000.generating"),
        b"half",
    )
    .unwrap();
    assert_eq!(found(&place), "0,0,0 | - | 1:1 2:1 3:1");
    let mut store = place.open();
    store.load().unwrap();
    store.append(&entries(4..9, 1), None).unwrap();
    drop(store);
    assert_eq!(
        found(&place),
        "0,0,0 | - | 1:1 2:1 3:1 4:1 5:1 6:1 7:1 8:1",
        "9 did not come back"
    );
}

fn one_process_at_a_time<P: OnDisk>() {
    let place = P::new();
    let _store = place.open();
    let config = LogConfig {
        lock_wait: Duration::ZERO,
        ..LogConfig::default()
    };
    assert!(matches!(
        place.open_with(config),
        Err(DiskError::InUse { .. })
    ));
}

/// A power cut between the two moves that replace a log by a snapshot: the snapshot is there, the log is the old one.
fn a_snapshot_from_the_leader_counts_also_if_the_log_was_not_told<P: OnDisk>() {
    let place = P::new();
    let mut store = place.open();
    store.load().unwrap();
    store
        .append(&entries(1..9, 1), Some(&hard(1, 0, 5)))
        .unwrap();
    let snapshots = Snapshots::open(&place.path().join("snapshots")).unwrap();
    Snapshots::store(&snapshots, &meta(500, 4), b"from the leader").unwrap();
    drop(store);
    assert_eq!(found(&place), "1,0,5 | 500:4 | ");
    let mut store = place.open();
    store.load().unwrap();
    store.append(&entries(501..503, 4), None).unwrap();
    drop(store);
    assert_eq!(found(&place), "1,0,5 | 500:4 | 501:4 502:4");
}

macro_rules! on_disk {
    ($($name:ident),* $(,)?) => {
        mod of_files {
            $(#[test] fn $name() { super::$name::<super::Files>() })*
        }
        mod of_sled {
            $(#[test] fn $name() { super::$name::<super::Sled>() })*
        }
    };
}

on_disk!(
    a_lost_snapshot_is_found_once_the_log_was_compacted,
    one_process_at_a_time,
    a_snapshot_from_the_leader_counts_also_if_the_log_was_not_told,
);

#[test]
fn a_full_disk_refuses_and_keeps_what_is_there() {
    let place = Sled::new();
    let mut store = place.open();
    store.load().unwrap();
    store.append(&entries(1..3, 1), None).unwrap();
    drop(store);
    let config = LogConfig {
        reserve_bytes: u64::MAX,
        ..LogConfig::default()
    };
    let mut store = SledLog::open(&place.path(), config).unwrap();
    store.load().unwrap();
    assert!(
        store
            .append(&entries(3..4, 1), None)
            .is_err_and(|e| e.is_full())
    );
    assert!(
        store
            .store_snapshot(&meta(2, 1), b"x")
            .is_err_and(|e| e.is_full())
    );
    drop(store);
    assert_eq!(found(&place), "0,0,0 | - | 1:1 2:1");
}

/// sled takes a damaged end for a write that was cut off, and wakes up in the past.
#[test]
fn a_log_that_went_back_is_found() {
    let place = Sled::new();
    let mut store = place.open();
    store.load().unwrap();
    store
        .append(&entries(1..5, 1), Some(&hard(1, 1, 0)))
        .unwrap();
    let older = std::fs::read(place.path().join("log/db")).unwrap();
    store.append(&[], Some(&hard(2, 3, 0))).unwrap();
    drop(store);
    drop(open_raw(&place));
    let log = place.path().join("log");
    for found in std::fs::read_dir(&log).unwrap() {
        let path = found.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("snap.")
        {
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::write(log.join("db"), older).unwrap();
    let error = place.open().load().unwrap_err().to_string();
    assert!(
        error.contains("it went back: it has 1 writes of 2"),
        "{error}"
    );
    std::fs::remove_dir_all(&log).unwrap();
    let error = place.open().load().unwrap_err().to_string();
    assert!(
        error.contains("it went back: it has 0 writes of 2"),
        "{error}"
    );
    assert!(error.contains("replace this member"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A damaged database file gives an error or, where the damage hit what is no longer needed, the whole log.
    #[test]
    fn a_damaged_file_is_an_error_or_harmless(at in any::<prop::sample::Index>(), len in 1..2000usize, byte: u8) {
        let place = Sled::new();
        let mut store = place.open();
        store.load().unwrap();
        for n in 1..20 {
            store.append(&entries(n..n + 1, n), Some(&hard(n, 1, n - 1))).unwrap();
        }
        let expected = store.load().unwrap();
        drop(store);
        drop(open_raw(&place));
        let path = place.path().join("log/db");
        let mut bytes = std::fs::read(&path).unwrap();
        // What was written is at the beginning; the rest of the first segment is empty.
        let at = at.index(6000.min(bytes.len()));
        let end = bytes.len().min(at + len);
        bytes[at..end].fill(byte);
        std::fs::write(&path, bytes).unwrap();
        let config = LogConfig { reserve_bytes: 0, ..LogConfig::default() };
        let found = SledLog::open(&place.path(), config).and_then(|mut store| store.load());
        match found {
            Ok(found) => prop_assert_eq!(found, expected),
            Err(error) => prop_assert!(matches!(error, DiskError::Corrupt { .. } | DiskError::Io { .. }), "{error}"),
        }
    }
}
