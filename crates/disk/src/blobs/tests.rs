//! Blobs taken in, given out, received, damaged.

use super::*;
use ::blob::ChunkSet;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt as _;

fn store() -> (tempfile::TempDir, Blobs) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&dir.path().join("blobs")).unwrap();
    (dir, blobs)
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn built(data: &[u8]) -> (Digest, Manifest) {
    let mut builder = ManifestBuilder::new();
    builder.update(data);
    builder.finish()
}

/// The names in the store, apart from its own directories.
fn names(blobs: &Blobs) -> usize {
    let count = |dir: PathBuf| fs::read_dir(dir).unwrap().count();
    let own = ["tmp", "partial", "quarantine"];
    let dirs = fs::read_dir(&blobs.dir).unwrap().map(|e| e.unwrap().path());
    dirs.filter(|d| !own.iter().any(|o| d.ends_with(o)))
        .map(count)
        .sum()
}

#[test]
fn files_of_all_sizes_are_taken_in_and_given_out() {
    let (dir, blobs) = store();
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17] {
        let data = bytes(size);
        let (digest, manifest) = built(&data);
        let from = dir.path().join("output");
        fs::write(&from, &data).unwrap();
        let taken = blobs.ingest_move(&from).unwrap();
        assert_eq!(
            taken,
            Ingested {
                digest,
                manifest: manifest.clone()
            }
        );
        assert!(!from.exists() && blobs.has(&digest));
        let mode = fs::metadata(blobs.path(&digest))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o444);
        assert_eq!(blobs.manifest(&digest).unwrap(), Some(manifest.clone()));
        for index in 0..manifest.chunk_count() {
            let chunk = blobs.read_chunk(&digest, index).unwrap().unwrap();
            manifest.verify_chunk(index, &chunk).unwrap();
        }
        let to = dir.path().join(format!("input{size}"));
        assert!(blobs.copy_out(&digest, &to).unwrap());
        assert_eq!(fs::read(&to).unwrap(), data);
        fs::write(&to, b"the program's own").unwrap();
        assert!(blobs.verify(&digest).unwrap(), "the copy is private");
    }
    assert_eq!(blobs.list().unwrap().len(), 6);
}

#[test]
fn the_same_bytes_are_kept_once() {
    let (dir, blobs) = store();
    let copied = blobs.ingest_copy(&b"same"[..]).unwrap();
    for name in ["a", "b"] {
        fs::write(dir.path().join(name), b"same").unwrap();
    }
    let moved = blobs
        .ingest_many(&[dir.path().join("a"), dir.path().join("b")])
        .unwrap();
    assert_eq!(moved, [copied.clone(), copied.clone()]);
    assert_eq!(blobs.list().unwrap(), [(copied.digest, 4)]);
    assert_eq!(names(&blobs), 1);
    blobs.remove(&copied.digest).unwrap();
    blobs.remove(&copied.digest).unwrap();
    assert_eq!(
        (blobs.list().unwrap(), blobs.has(&copied.digest)),
        (vec![], false)
    );
}

#[test]
fn a_file_that_changed_after_it_was_hashed_is_refused() {
    let (dir, blobs) = store();
    let path = dir.path().join("output");
    fs::write(&path, b"first").unwrap();
    let hashed = blobs.hash(&path).unwrap();
    assert_eq!(hashed.ingested().digest, Digest::of(b"first"));
    assert!(
        path.exists() && !blobs.has(&hashed.ingested().digest),
        "not moved before it is adopted"
    );
    fs::write(&path, b"second one").unwrap();
    assert!(matches!(
        blobs.adopt(vec![hashed]),
        Err(DiskError::Misuse(_))
    ));
    assert_eq!(
        (names(&blobs), fs::read(&path).unwrap()),
        (0, b"second one".to_vec())
    );
}

#[test]
fn a_file_of_another_file_system_is_copied() {
    let (_dir, blobs) = store();
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = elsewhere.path().join("output");
    fs::write(&path, bytes(CHUNK + 3)).unwrap();
    let taken = blobs.ingest_move(&path).unwrap();
    assert!(!path.exists() && blobs.verify(&taken.digest).unwrap());
}

#[test]
fn what_is_not_here_is_nothing_and_no_error() {
    let (dir, blobs) = store();
    let digest = Digest([9; 32]);
    let to = dir.path().join("to");
    assert!(!blobs.has(&digest) && !blobs.verify(&digest).unwrap());
    assert_eq!(blobs.read_chunk(&digest, 0).unwrap(), None);
    assert_eq!(blobs.manifest(&digest).unwrap(), None);
    assert!(!blobs.copy_out(&digest, &to).unwrap() && !to.exists());
    assert!(blobs.ingest_move(&dir.path().join("missing")).is_err());
}

#[test]
fn a_damaged_blob_is_never_given_out() {
    let (dir, blobs) = store();
    let to = dir.path().join("to");
    for (n, detect) in [0usize, 1, 2]
        .into_iter()
        .zip(["verify", "copy_out", "manifest"])
    {
        let data = bytes(CHUNK + 100);
        let digest = blobs.ingest_copy(&data[..]).unwrap().digest;
        let path = blobs.path(&digest);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut bad = data.clone();
        bad[CHUNK + 5] ^= 1;
        fs::write(&path, bad).unwrap();
        let error = match detect {
            "verify" => blobs.verify(&digest).unwrap_err(),
            "copy_out" => blobs.copy_out(&digest, &to).unwrap_err(),
            _ => {
                // Its manifest is lost, too, and would have to be made from these bytes.
                fs::remove_file(blobs.manifest_path(&digest)).unwrap();
                blobs.manifest(&digest).unwrap_err()
            }
        };
        assert!(
            matches!(error, DiskError::Corrupt { .. }),
            "{detect}: {error}"
        );
        assert!(!blobs.has(&digest) && !to.exists(), "{detect}");
        assert_eq!(fs::read_dir(blobs.quarantine_dir()).unwrap().count(), n + 1);
    }
}

#[test]
fn a_damaged_manifest_is_made_again() {
    let (_dir, blobs) = store();
    let taken = blobs.ingest_copy(&bytes(CHUNK + 1)[..]).unwrap();
    let path = blobs.manifest_path(&taken.digest);
    let other = built(&bytes(CHUNK + 2)).1.encode();
    for damage in [&b"nonsense"[..], &other] {
        fs::write(&path, damage).unwrap();
        assert_eq!(
            blobs.manifest(&taken.digest).unwrap(),
            Some(taken.manifest.clone())
        );
        assert_eq!(fs::read(&path).unwrap(), taken.manifest.encode());
    }
}

#[test]
fn leftovers_are_removed_at_the_start() {
    let (_dir, blobs) = store();
    fs::write(blobs.tmp_path(), b"half").unwrap();
    let blobs = Blobs::open(blobs.dir()).unwrap();
    assert_eq!(fs::read_dir(blobs.tmp_dir()).unwrap().count(), 0);
    assert_eq!(blobs.ingest_copy(&b"x"[..]).unwrap().manifest.size(), 1);
}

#[test]
fn a_reader_that_fails_leaves_nothing() {
    struct Failing(usize);
    impl std::io::Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            if self.0 < 3 {
                Ok(buffer.len())
            } else {
                Err(std::io::Error::other("gone"))
            }
        }
    }
    let (_dir, blobs) = store();
    assert!(blobs.ingest_copy(Failing(0)).is_err());
    assert_eq!(
        (
            names(&blobs),
            fs::read_dir(blobs.tmp_dir()).unwrap().count()
        ),
        (0, 0)
    );
}

#[test]
fn a_full_disk_is_told_as_such() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let error =
        std::io::Write::write_all(&mut &full, b"x").during("writing", Path::new("/dev/full"));
    assert!(error.is_err_and(|e| e.is_full()));
}

/// Writes the chunks with these numbers.
fn write_chunks(partial: &mut Partial, data: &[u8], indexes: impl IntoIterator<Item = u64>) {
    let manifest = partial.manifest().clone();
    for index in indexes {
        let start = index as usize * CHUNK;
        let chunk = &data[start..start + manifest.chunk_len(index)];
        partial
            .write(&manifest.verify_chunk(index, chunk).unwrap())
            .unwrap();
    }
}

#[test]
fn a_blob_is_received_chunk_by_chunk() {
    let (_dir, blobs) = store();
    let data = bytes(3 * CHUNK + 9);
    let (digest, manifest) = built(&data);
    let mut partial = blobs.receive(manifest.clone()).unwrap();
    write_chunks(&mut partial, &data, [3, 0, 0]);
    assert_eq!(partial.read_chunk(3).unwrap().unwrap(), data[3 * CHUNK..]);
    assert_eq!(partial.read_chunk(1).unwrap(), None);
    assert!(!blobs.has(&digest));
    write_chunks(&mut partial, &data, [2, 1]);
    blobs.seal(partial).unwrap();
    assert!(blobs.verify(&digest).unwrap());
    assert_eq!(blobs.manifest(&digest).unwrap(), Some(manifest));
    assert_eq!(blobs.partials().unwrap(), []);
    let empty = built(b"");
    let mut partial = blobs.receive(empty.1).unwrap();
    write_chunks(&mut partial, b"", [0]);
    blobs.seal(partial).unwrap();
    assert!(blobs.has(&empty.0));
}

#[test]
fn what_is_not_whole_cannot_be_sealed() {
    let (_dir, blobs) = store();
    let data = bytes(2 * CHUNK);
    let (digest, manifest) = built(&data);
    let mut partial = blobs.receive(manifest).unwrap();
    write_chunks(&mut partial, &data, [1]);
    let other_data = bytes(5);
    let other = built(&other_data).1;
    let foreign = other.verify_chunk(0, &other_data).unwrap();
    assert!(matches!(partial.write(&foreign), Err(DiskError::Misuse(_))));
    assert!(matches!(blobs.seal(partial), Err(DiskError::Misuse(_))));
    assert!(!blobs.has(&digest));
    assert_eq!(blobs.partials().unwrap(), [digest]);
    blobs.remove(&digest).unwrap();
    assert_eq!(blobs.partials().unwrap(), []);
}

/// Receives all of a blob.
fn received(blobs: &Blobs, data: &[u8]) -> Partial {
    let manifest = built(data).1;
    let mut partial = blobs.receive(manifest.clone()).unwrap();
    write_chunks(&mut partial, data, 0..manifest.chunk_count());
    partial
}

/// What can be done with a blob, in a table.
#[derive(Clone, Copy, Debug)]
enum Do {
    Fetch,
    FetchForGood,
    Copy,
    Move,
    Keep,
    GiveUp,
    Remove,
    Restart,
    /// Takes the blob itself away, as a crash may that comes while it is given up.
    LoseName,
}

#[test]
fn only_what_was_only_fetched_can_be_given_up() {
    use Do::*;
    let data = bytes(CHUNK + 3);
    let digest = Digest::of(&data);
    // What is done, whether the last of it says yes, and what there is then: nothing, a cached blob or a kept one.
    let table: &[(&[Do], bool, &str)] = &[
        (&[Keep], false, "none"),
        (&[GiveUp], false, "none"),
        (&[Fetch], true, "cached"),
        (&[Fetch, Restart], true, "cached"),
        (&[Fetch, GiveUp], true, "none"),
        (&[Fetch, GiveUp, GiveUp], false, "none"),
        (&[Fetch, GiveUp, Keep], false, "none"),
        (&[Fetch, GiveUp, Fetch], true, "cached"),
        (&[Fetch, Keep], true, "kept"),
        (&[Fetch, Keep, Keep], true, "kept"),
        (&[Fetch, Keep, GiveUp], false, "kept"),
        (&[Fetch, Keep, Restart, GiveUp], false, "kept"),
        (&[Fetch, Copy], true, "kept"),
        (&[Fetch, Move], true, "kept"),
        (&[Fetch, Copy, GiveUp], false, "kept"),
        // It was made here while it was fetched.
        (&[Copy, Fetch], true, "kept"),
        (&[Move, Fetch, GiveUp], false, "kept"),
        (&[Fetch, Fetch], true, "cached"),
        (&[Fetch, FetchForGood], true, "kept"),
        (&[FetchForGood, Fetch], true, "kept"),
        (&[FetchForGood, GiveUp], false, "kept"),
        (&[Fetch, Remove], true, "none"),
        (&[Copy, Remove, Fetch], true, "cached"),
        // A mark that was left alone says nothing of who comes by that name later.
        (&[Fetch, LoseName, GiveUp], false, "none"),
        (&[Fetch, LoseName, Keep], false, "none"),
        (&[Fetch, LoseName, Copy], true, "kept"),
        (&[Fetch, LoseName, Move], true, "kept"),
        (&[Fetch, LoseName, FetchForGood], true, "kept"),
        (&[Fetch, LoseName, Fetch], true, "cached"),
        (&[Fetch, LoseName, Restart], true, "none"),
    ];
    for (done, expected, left) in table {
        let (dir, mut blobs) = store();
        let mut said = true;
        for one in *done {
            said = match one {
                Fetch => blobs.seal_cached(received(&blobs, &data)).is_ok(),
                FetchForGood => blobs.seal(received(&blobs, &data)).is_ok(),
                Copy => blobs.ingest_copy(&data[..]).is_ok(),
                Move => {
                    let from = dir.path().join("output");
                    fs::write(&from, &data).unwrap();
                    blobs.ingest_move(&from).is_ok() && !from.exists()
                }
                Keep => blobs.keep(&digest).unwrap(),
                GiveUp => blobs.give_up(&digest).unwrap(),
                Remove => blobs.remove(&digest).is_ok(),
                LoseName => fs::remove_file(blobs.path(&digest)).is_ok(),
                Restart => {
                    blobs = Blobs::open(blobs.dir()).unwrap();
                    true
                }
            };
        }
        assert_eq!(said, *expected, "{done:?}");
        let size = data.len() as u64;
        let (here, cached) = (left != &"none", left == &"cached");
        let listed: Vec<_> = here.then_some((digest, size)).into_iter().collect();
        assert_eq!(blobs.list().unwrap(), listed, "{done:?}");
        assert_eq!(blobs.verify(&digest).unwrap(), here, "{done:?}");
        assert_eq!(blobs.is_cached(&digest), cached, "{done:?}");
        let found = blobs.cached().unwrap();
        let found: Vec<_> = found.iter().map(|one| (one.digest, one.size)).collect();
        assert_eq!(found, if cached { listed } else { vec![] }, "{done:?}");
        assert_eq!(blobs.partials().unwrap(), [], "{done:?}");
        // A blob, its manifest, its mark: after a start there is nothing else.
        let blobs = Blobs::open(blobs.dir()).unwrap();
        let files = 2 * usize::from(here) + usize::from(cached);
        assert_eq!(names(&blobs), files, "{done:?}");
    }
}

#[test]
fn the_longest_unused_is_told_first() {
    let (dir, blobs) = store();
    let digests: Vec<_> = (1..5).map(|size| Digest::of(&bytes(size))).collect();
    for size in [3, 1, 4, 2] {
        blobs.seal_cached(received(&blobs, &bytes(size))).unwrap();
    }
    let order = |blobs: &Blobs| -> Vec<u64> {
        let cached = blobs.cached().unwrap();
        cached.iter().map(|one| one.size).collect()
    };
    assert_eq!(order(&blobs), [3, 1, 4, 2]);
    blobs.used(&digests[2]);
    assert!(blobs.copy_out(&digests[0], &dir.path().join("to")).unwrap());
    assert_eq!(order(&blobs), [4, 2, 3, 1]);
    let blobs = Blobs::open(blobs.dir()).unwrap();
    assert_eq!(order(&blobs), [4, 2, 3, 1], "also after a restart");
    // One that is kept is not told of, however it is used.
    assert!(blobs.keep(&digests[3]).unwrap());
    for digest in [digests[3], Digest([9; 32])] {
        blobs.used(&digest);
    }
    assert_eq!(order(&blobs), [2, 3, 1]);
    // One that goes and comes again is new.
    assert!(blobs.give_up(&digests[1]).unwrap());
    blobs.seal_cached(received(&blobs, &bytes(2))).unwrap();
    assert_eq!(order(&blobs), [3, 1, 2]);
}

#[test]
fn an_open_blob_is_read_to_its_end_after_it_was_given_up() {
    let (_dir, blobs) = store();
    let data = bytes(CHUNK + 3);
    blobs.seal_cached(received(&blobs, &data)).unwrap();
    let digest = Digest::of(&data);
    let open = blobs.open_blob(&digest).unwrap().unwrap();
    assert!(blobs.give_up(&digest).unwrap() && !blobs.has(&digest));
    assert_eq!(open.read_at(0, data.len()).unwrap(), data);
}

#[test]
fn a_damaged_blob_takes_its_mark_with_it() {
    let (_dir, blobs) = store();
    let data = bytes(CHUNK + 3);
    blobs.seal_cached(received(&blobs, &data)).unwrap();
    let digest = Digest::of(&data);
    let path = blobs.path(&digest);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, b"something else").unwrap();
    assert!(blobs.verify(&digest).is_err());
    assert_eq!(names(&blobs), 0);
}

/// Many times over, one thread gives a blob up while another begins to rely on it. Who was told that it is here finds it, and for good.
#[test]
fn a_blob_is_given_up_or_relied_upon_but_never_both() {
    // Where a sync takes no time, the two meet at every step.
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let blobs = Blobs::open(&dir.path().join("blobs")).unwrap();
    for round in 0..3_000 {
        let data = bytes(100 + round);
        let digest = Digest::of(&data);
        blobs.seal_cached(received(&blobs, &data)).unwrap();
        let output = dir.path().join("output");
        fs::write(&output, &data).unwrap();
        let made = (round % 2 == 0).then(|| blobs.hash(&output).unwrap());
        let is_made = made.is_some();
        let together = std::sync::Barrier::new(2);
        let (gone, told) = std::thread::scope(|scope| {
            let gone = scope.spawn(|| {
                together.wait();
                (0..round % 97).for_each(|_| std::hint::spin_loop());
                blobs.give_up(&digest).unwrap()
            });
            let told = scope.spawn(|| {
                together.wait();
                match made {
                    Some(hashed) => blobs.adopt(vec![hashed]).is_ok(),
                    None => blobs.keep(&digest).unwrap(),
                }
            });
            (gone.join().unwrap(), told.join().unwrap())
        });
        assert_eq!(blobs.has(&digest), told, "round {round}");
        assert!(!blobs.is_cached(&digest), "round {round}");
        // One that is made comes again after it has gone.
        assert_eq!(told, is_made || !gone, "round {round}");
        assert!(!blobs.give_up(&digest).unwrap());
        blobs.remove(&digest).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// After a crash, whatever became of the data and of the hint, only right chunks count as present.
    #[test]
    fn a_partial_goes_on_after_a_crash(first in proptest::collection::btree_set(0..4u64, 0..4), hinted in proptest::collection::btree_set(0..4u64, 0..4), damaged in proptest::option::of(0..3 * CHUNK)) {
        let (_dir, blobs) = store();
        let data = bytes(3 * CHUNK + 9);
        let (digest, manifest) = built(&data);
        let mut partial = blobs.receive(manifest.clone()).unwrap();
        write_chunks(&mut partial, &data, first.iter().copied());
        partial.save().unwrap();
        let (file, present) = (partial.dir.join("data"), partial.dir.join("present"));
        drop(partial);
        let mut hint = ChunkSet::empty(4);
        first.iter().chain(&hinted).for_each(|index| { hint.insert(*index); });
        fs::write(present, hint.encode()).unwrap();
        if let Some(at) = damaged {
            let mut on_disk = fs::read(&file).unwrap();
            on_disk[at] ^= 1;
            fs::write(&file, on_disk).unwrap();
        }
        let blobs = Blobs::open(blobs.dir()).unwrap();
        prop_assert_eq!(blobs.partial_manifest(&digest), Some(manifest.clone()));
        let mut partial = blobs.receive(manifest).unwrap();
        let lost = damaged.map(|at| (at / CHUNK) as u64);
        let expected: Vec<u64> = first.iter().copied().filter(|index| Some(*index) != lost).collect();
        prop_assert_eq!(partial.present().iter().collect::<Vec<_>>(), expected);
        let missing: Vec<u64> = (0..4).filter(|index| !partial.present().contains(*index)).collect();
        write_chunks(&mut partial, &data, missing);
        blobs.seal(partial).unwrap();
        prop_assert!(blobs.verify(&digest).unwrap());
    }
}
