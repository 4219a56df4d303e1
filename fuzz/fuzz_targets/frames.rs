//! Any bytes as frames of a feed: what is read is exactly what was written, and batches are cut between frames only.
//!
//! Chance never finds a checksum, so the first byte decides whether the others are taken as they are or made right first.
#![no_main]

use bytes::Bytes;
use feed::{Batch, FRAME_HEADER_LEN, encode, frames};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&how, rest)) = input.split_first() else {
        return;
    };
    let mut bytes = rest.to_vec();
    if how % 2 == 1 {
        make_checksums_right(&mut bytes);
    }
    let mut walk = frames(&bytes);
    let mut again = Vec::new();
    let mut failed = false;
    for frame in walk.by_ref() {
        assert!(!failed, "nothing comes after a fault");
        match frame {
            Ok(frame) => {
                assert_eq!(frame.offset, again.len());
                encode(&frame.to_record(), &mut again);
                assert_eq!(frame.offset + frame.frame_len(), again.len());
            }
            Err(error) => {
                assert_eq!(error.offset, again.len());
                failed = true;
            }
        }
    }
    assert_eq!(walk.whole_bytes(), again.len());
    assert_eq!(
        bytes[..again.len()],
        again,
        "a frame that is read is the frame that was written"
    );

    let first_record = u64::from(how);
    let whole = Batch::of_whole_prefix(first_record, Bytes::from(bytes));
    assert_eq!(whole.is_err(), failed);
    let Ok((batch, length)) = whole else { return };
    assert_eq!(length, again.len());
    assert_eq!(batch.check(), Ok(()));
    for number in batch.first_record..=batch.end_record() {
        let (Ok(before), Ok(after)) = (batch.before_record(number), batch.from_record(number))
        else {
            panic!("a sound batch can be cut at {number}");
        };
        assert_eq!(before.check(), Ok(()));
        assert_eq!(after.check(), Ok(()));
        assert_eq!(before.count + after.count, batch.count);
        assert_eq!(
            [&before.frames[..], &after.frames[..]].concat(),
            &batch.frames[..]
        );
    }
});

/// Walks the lengths and puts the right checksum over each body.
fn make_checksums_right(bytes: &mut [u8]) {
    let prefix = 8;
    let mut at = 0;
    while at + FRAME_HEADER_LEN <= bytes.len() {
        let length =
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let body = at + prefix;
        let Some(end) = body.checked_add(length).filter(|end| *end <= bytes.len()) else {
            return;
        };
        let sum = crc32fast::hash(&bytes[body..end]).to_le_bytes();
        bytes[at + 4..body].copy_from_slice(&sum);
        at = end;
    }
}
