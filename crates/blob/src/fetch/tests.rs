//! Fetches from good, lying, silent and vanishing sources.

use super::*;
use crate::manifest::{CHUNK, ChunkError, ManifestBuilder, chunk_len};
use proptest::prelude::*;
use std::sync::OnceLock;

const CHUNKS: u64 = 5;
const SIZE: u64 = (CHUNKS - 1) * CHUNK as u64 + 11;

struct Blob {
    data: Vec<u8>,
    digest: Digest,
    manifest: Manifest,
}

impl Blob {
    fn chunk(&self, index: u64) -> &[u8] {
        let start = index as usize * CHUNK;
        &self.data[start..start + chunk_len(self.data.len() as u64, index)]
    }
}

fn blob() -> &'static Blob {
    static BLOB: OnceLock<Blob> = OnceLock::new();
    BLOB.get_or_init(|| {
        let data: Vec<u8> = (0..SIZE).map(|i| (i * 7 + i / 300) as u8).collect();
        let mut builder = ManifestBuilder::new();
        builder.update(&data);
        let (digest, manifest) = builder.finish();
        Blob {
            data,
            digest,
            manifest,
        }
    })
}

fn fetch(sources: &[&'static str]) -> Fetch<&'static str> {
    let mut fetch = Fetch::new(blob().digest, SIZE, 0, FetchLimits::default());
    sources
        .iter()
        .for_each(|s| fetch.set_source(*s, Holds::All));
    fetch
}

/// A fetch that has its manifest and has not asked for a chunk.
fn receiving(sources: &[&'static str]) -> Fetch<&'static str> {
    let mut fetch = fetch(sources);
    fetch
        .resume(blob().manifest.clone(), ChunkSet::empty(CHUNKS))
        .unwrap();
    fetch
}

fn asks(fetch: &mut Fetch<&'static str>, now_ms: u64) -> Vec<(&'static str, u64)> {
    std::iter::from_fn(|| fetch.poll(now_ms))
        .map(|ask| match ask {
            Ask::Chunk { source, index } => (source, index),
            Ask::Manifest { source } => panic!("asks {source} for a manifest"),
        })
        .collect()
}

fn deliver(fetch: &mut Fetch<&'static str>, source: &'static str, index: u64) {
    match fetch.on_chunk(0, &source, index, blob().chunk(index)) {
        Verdict::Write(chunk) => assert_eq!(chunk.data(), blob().chunk(index)),
        other => panic!("{other:?}"),
    }
    fetch.on_written(index);
}

#[test]
fn the_straight_way() {
    let mut fetch = fetch(&["a", "b"]);
    assert_eq!(fetch.state(), FetchState::Planned);
    assert_eq!(fetch.poll(0), Some(Ask::Manifest { source: "a" }));
    assert_eq!(fetch.poll(0), None);
    fetch.on_manifest(5, &"a", blob().manifest.clone()).unwrap();
    assert_eq!(
        asks(&mut fetch, 5),
        [("a", 0), ("b", 1), ("a", 2), ("b", 3), ("a", 4)]
    );
    assert_eq!(fetch.deadline(5), Some(10_005));
    for index in [4, 0, 3, 1] {
        deliver(&mut fetch, "a", index);
    }
    assert_eq!(
        fetch.state(),
        FetchState::Receiving {
            written: 4,
            total: 5
        }
    );
    assert_eq!(fetch.on_chunk(6, &"b", 0, blob().chunk(0)), Verdict::Repeat);
    deliver(&mut fetch, "b", 2);
    assert_eq!(fetch.state(), FetchState::Verified);
    assert_eq!(
        (fetch.poll(7), fetch.deadline(7), fetch.stuck(7)),
        (None, None, None)
    );
    fetch.on_sealed();
    assert_eq!(fetch.state(), FetchState::Sealed);
}

#[test]
fn a_small_blob_needs_no_manifest() {
    let data = b"small";
    let mut fetch = Fetch::new(Digest::of(data), 5, 9, FetchLimits::default());
    fetch.set_source(1, Holds::All);
    assert_eq!(
        fetch.poll(0),
        Some(Ask::Chunk {
            source: 1,
            index: 0
        })
    );
    assert!(matches!(fetch.on_chunk(0, &1, 0, data), Verdict::Write(_)));
    fetch.on_written(0);
    assert_eq!(fetch.state(), FetchState::Verified);
}

#[test]
#[should_panic(expected = "I-19")]
fn what_is_not_verified_cannot_be_sealed() {
    let mut fetch = receiving(&["a"]);
    asks(&mut fetch, 0);
    (0..CHUNKS - 1).for_each(|index| deliver(&mut fetch, "a", index));
    fetch.on_written(CHUNKS - 1);
    fetch.on_sealed();
}

#[test]
fn wrong_bytes_come_from_elsewhere_and_their_source_rests() {
    let mut fetch = receiving(&["a", "b"]);
    asks(&mut fetch, 0);
    let mut wrong = blob().chunk(0).to_vec();
    wrong[77] ^= 1;
    assert_eq!(
        fetch.on_chunk(9, &"a", 0, &wrong),
        Verdict::Refused(ChunkError::Mismatch { index: 0 })
    );
    assert_eq!(
        asks(&mut fetch, 9),
        [("b", 0), ("b", 2), ("b", 4)],
        "all that a had been asked for"
    );
    assert_eq!(fetch.stuck(9), None);
    fetch.on_lost(&"b");
    assert_eq!(
        fetch.stuck(9),
        Some(Stuck::DataLoss {
            digest: blob().digest
        })
    );
    assert_eq!(fetch.deadline(9), Some(300_009));
    fetch.on_lost(&"a");
    assert_eq!(fetch.poll(300_009), None, "lost, too");
    assert_eq!(fetch.deadline(10), None);
    fetch.set_source("a", Holds::All);
    assert_eq!(
        fetch.poll(300_008),
        None,
        "finding it again does not clear its name"
    );
    assert_eq!(
        asks(&mut fetch, 300_009).len(),
        5,
        "it may try again after five minutes"
    );
}

#[test]
fn lying_manifests_are_refused() {
    let mut fetch = fetch(&["a", "b"]);
    let lie = Manifest::new(SIZE + 1, blob().manifest.chunks().to_vec()).unwrap();
    assert_eq!(fetch.poll(0), Some(Ask::Manifest { source: "a" }));
    assert!(fetch.on_manifest(0, &"a", lie).is_err());
    assert_eq!(fetch.poll(0), Some(Ask::Manifest { source: "b" }));
    let lie = Manifest::new(SIZE, vec![[1; 32]; CHUNKS as usize]).unwrap();
    assert!(fetch.on_manifest(0, &"b", lie).is_err());
    assert_eq!(
        fetch.stuck(0),
        Some(Stuck::DataLoss {
            digest: blob().digest
        })
    );
    assert_eq!(fetch.state(), FetchState::Planned);
    assert_eq!(
        fetch.on_chunk(0, &"a", 0, blob().chunk(0)),
        Verdict::TooEarly
    );
}

#[test]
fn lost_sources_leave_it_unavailable_and_new_ones_carry_it_on() {
    let mut fetch = receiving(&["a"]);
    assert_eq!(asks(&mut fetch, 0).len(), 5);
    deliver(&mut fetch, "a", 3);
    fetch.on_lost(&"a");
    assert_eq!(
        fetch.stuck(1),
        Some(Stuck::Unavailable {
            digest: blob().digest
        })
    );
    fetch.set_source("b", Holds::All);
    assert_eq!(fetch.stuck(1), None);
    assert_eq!(
        asks(&mut fetch, 1),
        [("b", 0), ("b", 1), ("b", 2), ("b", 4)]
    );
}

#[test]
fn silence_makes_it_ask_others() {
    let limits = FetchLimits {
        chunks_per_source: 2,
        timeouts_in_a_row: 4,
        ..FetchLimits::default()
    };
    let mut fetch = Fetch::new(blob().digest, SIZE, 0, limits);
    fetch.set_source("a", Holds::All);
    fetch
        .resume(blob().manifest.clone(), ChunkSet::empty(CHUNKS))
        .unwrap();
    assert_eq!(asks(&mut fetch, 0), [("a", 0), ("a", 1)]);
    fetch.set_source("b", Holds::All);
    assert_eq!(asks(&mut fetch, 10_000), [("b", 0), ("b", 1)], "a rests");
    // What comes late is taken all the same, and not asked twice.
    deliver(&mut fetch, "a", 0);
    assert_eq!(asks(&mut fetch, 10_000), [("a", 2), ("a", 3), ("b", 4)]);
    fetch.on_lost(&"b");
    assert_eq!(asks(&mut fetch, 20_000), []);
    assert_eq!(fetch.stuck(20_000), None);
    assert_eq!(asks(&mut fetch, 22_000), [("a", 1), ("a", 2)]);
    assert_eq!(asks(&mut fetch, 32_000), []);
    assert_eq!(
        fetch.stuck(32_000),
        Some(Stuck::Unavailable {
            digest: blob().digest
        })
    );
}

#[test]
fn rare_chunks_come_first_and_partial_holders_are_used() {
    let mut fetch = receiving(&["origin"]);
    let mut part = ChunkSet::empty(CHUNKS);
    part.insert(0);
    part.insert(1);
    fetch.set_source("peer", Holds::Some(part.clone()));
    assert_eq!(
        fetch.poll(0),
        Some(Ask::Chunk {
            source: "peer",
            index: 0
        })
    );
    assert_eq!(
        fetch.poll(0),
        Some(Ask::Chunk {
            source: "origin",
            index: 2
        })
    );
    fetch.on_not_here(&"peer", 0);
    assert_eq!(
        fetch.poll(0),
        Some(Ask::Chunk {
            source: "peer",
            index: 1
        })
    );
    part.insert(4);
    fetch.set_source("peer", Holds::Some(part));
    assert_eq!(
        asks(&mut fetch, 0),
        [("peer", 0), ("origin", 3), ("peer", 4)]
    );
}

#[test]
fn seeds_begin_at_different_places() {
    let first = |seed| {
        let mut fetch = Fetch::new(blob().digest, SIZE, seed, FetchLimits::default());
        fetch.set_source("a", Holds::All);
        fetch
            .resume(blob().manifest.clone(), ChunkSet::empty(CHUNKS))
            .unwrap();
        asks(&mut fetch, 0)
            .into_iter()
            .map(|(_, index)| index)
            .collect::<Vec<_>>()
    };
    assert_eq!(first(0), [0, 1, 2, 3, 4]);
    assert_eq!(first(8), [3, 4, 0, 1, 2]);
}

#[test]
fn it_goes_on_where_it_stopped() {
    let mut present = ChunkSet::empty(CHUNKS);
    (1..CHUNKS).for_each(|index| assert!(present.insert(index)));
    let mut fetch = fetch(&["a"]);
    assert!(
        fetch
            .resume(blob().manifest.clone(), ChunkSet::empty(9))
            .is_err()
    );
    fetch.resume(blob().manifest.clone(), present).unwrap();
    assert_eq!(asks(&mut fetch, 0), [("a", 0)]);
    deliver(&mut fetch, "a", 0);
    assert_eq!(fetch.state(), FetchState::Verified);
}

#[test]
fn a_chunk_that_could_not_be_written_is_asked_for_again() {
    let mut fetch = receiving(&["a"]);
    asks(&mut fetch, 0);
    assert!(matches!(
        fetch.on_chunk(0, &"a", 2, blob().chunk(2)),
        Verdict::Write(_)
    ));
    fetch.on_write_failed(2);
    assert_eq!(asks(&mut fetch, 0), [("a", 2)]);
}

/// What the world does to a fetch.
#[derive(Clone, Debug)]
enum Step {
    /// The oldest open question of the source is answered well.
    Answer(usize),
    /// It is answered with a flipped bit.
    Lie(usize),
    /// The source is lost.
    Lose(usize),
    /// The source is there again, with some of the chunks.
    Return(usize, u8),
    /// Time passes.
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let source = || 0..3usize;
    prop_oneof![
        6 => source().prop_map(Step::Answer),
        1 => source().prop_map(Step::Lie),
        1 => source().prop_map(Step::Lose),
        2 => (source(), any::<u8>()).prop_map(|(s, bits)| Step::Return(s, bits)),
        1 => (0..20_000u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// I-19: whatever the sources do, what is written is right, and a good source ends it.
    #[test]
    fn only_right_bytes_are_written_and_a_good_source_ends_it(steps in proptest::collection::vec(any_step(), 0..60), seed: u64) {
        let mut fetch: Fetch<usize> = Fetch::new(blob().digest, SIZE, seed, FetchLimits::default());
        let mut file: Vec<Option<Vec<u8>>> = vec![None; CHUNKS as usize];
        let mut open: Vec<Ask<usize>> = Vec::new();
        let mut now_ms = 0;
        let mut settle = vec![Step::Lose(0), Step::Lose(1), Step::Lose(2)];
        settle.extend([Step::Wait(400_000), Step::Return(7, 255)]);
        settle.extend((0..20).map(|_| Step::Answer(7)));
        for step in steps.into_iter().chain(settle) {
            match step {
                Step::Wait(ms) => now_ms += ms,
                Step::Lose(s) => {
                    open.retain(|ask| source_of(ask) != s);
                    fetch.on_lost(&s);
                }
                Step::Return(s, 255) => fetch.set_source(s, Holds::All),
                Step::Return(s, bits) => {
                    let mut part = ChunkSet::empty(CHUNKS);
                    (0..CHUNKS).filter(|i| bits >> i & 1 == 1).for_each(|i| { part.insert(i); });
                    fetch.set_source(s, Holds::Some(part));
                }
                Step::Answer(s) | Step::Lie(s) => {
                    let lie = matches!(step, Step::Lie(_));
                    let Some(at) = open.iter().position(|ask| source_of(ask) == s) else { continue };
                    match open.remove(at) {
                        Ask::Manifest { source } => {
                            let mut chunks = blob().manifest.chunks().to_vec();
                            chunks[2][3] ^= u8::from(lie);
                            let manifest = Manifest::new(SIZE, chunks).unwrap();
                            prop_assert_eq!(fetch.on_manifest(now_ms, &source, manifest).is_err(), lie);
                        }
                        Ask::Chunk { source, index } => {
                            let mut data = blob().chunk(index).to_vec();
                            data[5] ^= u8::from(lie);
                            match fetch.on_chunk(now_ms, &source, index, &data) {
                                Verdict::Write(chunk) => {
                                    prop_assert!(file[index as usize].is_none(), "written once");
                                    file[index as usize] = Some(chunk.data().to_vec());
                                    fetch.on_written(index);
                                }
                                Verdict::Refused(_) => prop_assert!(lie),
                                Verdict::Repeat | Verdict::TooEarly => {}
                            }
                        }
                    }
                }
            }
            open.extend(std::iter::from_fn(|| fetch.poll(now_ms)));
        }
        prop_assert_eq!(fetch.state(), FetchState::Verified);
        let got: Vec<u8> = file.into_iter().flat_map(Option::unwrap).collect();
        prop_assert_eq!(Digest::of(&got), blob().digest);
    }
}

fn source_of(ask: &Ask<usize>) -> usize {
    match ask {
        Ask::Manifest { source } | Ask::Chunk { source, .. } => *source,
    }
}
