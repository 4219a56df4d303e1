//! Any bytes as what a program prints: however they arrive, no byte is lost, and the same lines and metadata come of them.
#![no_main]

use feed::{Line, LineAssembler, Splitter, parse_metadata};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&size, bytes)) = input.split_first() else {
        return;
    };
    let size = usize::from(size).max(1);
    let at_once = records(&[bytes], false);
    let in_pieces = records(&bytes.chunks(size).collect::<Vec<_>>(), true);
    assert_eq!(joined(&at_once), bytes);
    assert_eq!(joined(&in_pieces), bytes);
    let lines = lines(&at_once);
    assert_eq!(lines, self::lines(&in_pieces));
    for line in &lines {
        let Some(object) = parse_metadata(line) else {
            continue;
        };
        let text = serde_json::to_vec(&object).unwrap_or_default();
        assert_eq!(
            parse_metadata(&text),
            Some(object),
            "what was read can be written and read again"
        );
    }
});

/// The records that pieces of a stream become; with a pause after each piece, if asked for.
fn records(pieces: &[&[u8]], pauses: bool) -> Vec<(Vec<u8>, bool)> {
    let mut splitter = Splitter::new();
    let mut records = Vec::new();
    let mut emit = |data: &[u8], partial: bool| {
        assert!(!data.is_empty());
        records.push((data.to_vec(), partial));
    };
    for piece in pieces {
        splitter.push(piece, &mut emit);
        if pauses {
            splitter.flush_partial(&mut emit);
        }
    }
    splitter.finish(&mut emit);
    records
}

fn joined(records: &[(Vec<u8>, bool)]) -> Vec<u8> {
    records
        .iter()
        .flat_map(|(data, _)| data.iter().copied())
        .collect()
}

/// The whole lines of records.
fn lines(records: &[(Vec<u8>, bool)]) -> Vec<Vec<u8>> {
    let mut assembler = LineAssembler::new();
    let mut lines = Vec::new();
    let mut keep = |line: Line<'_>| match line {
        Line::Whole(bytes) => lines.push(bytes.into_owned()),
        Line::TooLong { .. } => {}
    };
    for (data, partial) in records {
        if let Some(line) = assembler.push(data, *partial) {
            keep(line);
        }
    }
    if let Some(line) = assembler.finish() {
        keep(line);
    }
    lines
}
