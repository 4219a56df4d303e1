//! The bytes of a record, the same in the shim's file, on the wire and on a coordinator's disk.
//!
//! ```text
//! len u32le | crc32 u32le | version and stream u8 | flags u8 | time_us u64le | data
//!             of all that follows; `len` counts the same bytes
//! ```
//!
//! The high half of the third field is the version (1), the low half the stream. Frames are written once and passed on
//! unchanged, so the seal's digest over them is the same wherever it is computed.

use crate::record::{MAX_RECORD_LEN, Record, Stream};
use bytes::Bytes;
use std::fmt;
use thiserror::Error;

/// Bytes before the data of a frame.
pub const FRAME_HEADER_LEN: usize = PREFIX_LEN + FIXED_LEN;
/// Bytes of the longest frame.
pub const MAX_FRAME_LEN: usize = FRAME_HEADER_LEN + MAX_RECORD_LEN;

/// `len` and `crc32`.
const PREFIX_LEN: usize = 8;
/// What `len` counts besides the data: version and stream, flags, time.
const FIXED_LEN: usize = 10;
const VERSION: u8 = 1;
const FLAG_PARTIAL: u8 = 1;

/// Appends the frame of `record` to `out`. Data beyond [`MAX_RECORD_LEN`] is a mistake of the caller: see [`encode_parts`].
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    encode_parts(
        record.stream,
        record.partial,
        record.time_us,
        &record.data,
        out,
    );
}

/// Appends the frame of one record, given in parts, to `out`.
///
/// Data longer than [`MAX_RECORD_LEN`] becomes several frames, all but the last partial, so that what is written can
/// always be read back.
pub fn encode_parts(stream: Stream, partial: bool, time_us: u64, data: &[u8], out: &mut Vec<u8>) {
    let mut rest = data;
    while rest.len() > MAX_RECORD_LEN {
        let (piece, tail) = rest.split_at(MAX_RECORD_LEN);
        encode_one(stream, true, time_us, piece, out);
        rest = tail;
    }
    encode_one(stream, partial, time_us, rest, out);
}

fn encode_one(stream: Stream, partial: bool, time_us: u64, data: &[u8], out: &mut Vec<u8>) {
    let mut fixed = [0; FIXED_LEN];
    fixed[0] = VERSION << 4 | stream as u8;
    fixed[1] = if partial { FLAG_PARTIAL } else { 0 };
    fixed[2..].copy_from_slice(&time_us.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&fixed);
    crc.update(data);
    out.reserve(FRAME_HEADER_LEN + data.len());
    out.extend_from_slice(&((FIXED_LEN + data.len()) as u32).to_le_bytes());
    out.extend_from_slice(&crc.finalize().to_le_bytes());
    out.extend_from_slice(&fixed);
    out.extend_from_slice(data);
}

/// One whole, checked frame, borrowed from the bytes it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Microseconds since the Unix epoch.
    pub time_us: u64,
    /// Where the record came from.
    pub stream: Stream,
    /// The line goes on in the next record of the same stream.
    pub partial: bool,
    /// The record's bytes.
    pub data: &'a [u8],
    /// Where the frame begins in the bytes given to [`frames`].
    pub offset: usize,
}

impl Frame<'_> {
    /// Bytes of the whole frame, header included.
    pub fn frame_len(&self) -> usize {
        FRAME_HEADER_LEN + self.data.len()
    }

    /// The record, with its own copy of the data.
    pub fn to_record(&self) -> Record {
        Record {
            time_us: self.time_us,
            stream: self.stream,
            partial: self.partial,
            data: Bytes::copy_from_slice(self.data),
        }
    }
}

/// Bytes that are no frame. What came before `offset` was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("corrupt frame at byte {offset}: {fault}")]
pub struct FrameError {
    /// Where the bad frame begins.
    pub offset: usize,
    /// What is wrong with it.
    pub fault: FrameFault,
}

/// Why some bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// The length is shorter than a header or longer than any record.
    Length(u32),
    /// The checksum does not fit the bytes.
    Checksum,
    /// A version this program does not know.
    Version(u8),
    /// A stream this program does not know.
    Stream(u8),
    /// Flags this program does not know.
    Flags(u8),
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameFault::Length(len) => write!(f, "impossible length {len}"),
            FrameFault::Checksum => f.write_str("checksum does not match"),
            FrameFault::Version(v) => write!(f, "unknown frame version {v}"),
            FrameFault::Stream(s) => write!(f, "unknown stream {s}"),
            FrameFault::Flags(flags) => write!(f, "unknown flags {flags:#04x}"),
        }
    }
}

/// Walks the frames of `bytes`: whole ones are yielded, an incomplete tail ends the walk, a corrupt one ends it with an error.
pub fn frames(bytes: &[u8]) -> Frames<'_> {
    Frames {
        bytes,
        at: 0,
        count: 0,
        failed: false,
    }
}

/// The walk over frames begun by [`frames`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    count: u64,
    failed: bool,
}

impl<'a> Frames<'a> {
    /// Bytes of the whole frames yielded so far. After the walk: where the incomplete or corrupt tail begins.
    pub fn whole_bytes(&self) -> usize {
        self.at
    }

    /// Frames yielded so far.
    pub fn count_so_far(&self) -> u64 {
        self.count
    }

    fn decode(&self) -> Result<Option<Frame<'a>>, FrameFault> {
        let rest = &self.bytes[self.at..];
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX_LEN>() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, c0, c1, c2, c3] = *prefix;
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        if !(FIXED_LEN..=FIXED_LEN + MAX_RECORD_LEN).contains(&(len as usize)) {
            return Err(FrameFault::Length(len));
        }
        let Some(body) = rest.get(..len as usize) else {
            return Ok(None);
        };
        if crc32fast::hash(body) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(FrameFault::Checksum);
        }
        let Some((&[kind, flags, t0, t1, t2, t3, t4, t5, t6, t7], data)) =
            body.split_first_chunk::<FIXED_LEN>()
        else {
            return Err(FrameFault::Length(len));
        };
        if kind >> 4 != VERSION {
            return Err(FrameFault::Version(kind >> 4));
        }
        let stream = Stream::from_number(kind & 0x0f).ok_or(FrameFault::Stream(kind & 0x0f))?;
        if flags & !FLAG_PARTIAL != 0 {
            return Err(FrameFault::Flags(flags));
        }
        Ok(Some(Frame {
            time_us: u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            stream,
            partial: flags & FLAG_PARTIAL != 0,
            data,
            offset: self.at,
        }))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.decode() {
            Ok(frame) => {
                let frame = frame?;
                self.at += frame.frame_len();
                self.count += 1;
                Some(Ok(frame))
            }
            Err(fault) => {
                self.failed = true;
                Some(Err(FrameError {
                    offset: self.at,
                    fault,
                }))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_record() -> impl Strategy<Value = Record> {
        let data = prop_oneof![
            8 => proptest::collection::vec(any::<u8>(), 0..60),
            1 => (0..3usize, any::<u8>()).prop_map(|(cut, b)| vec![b; MAX_RECORD_LEN - cut]),
        ];
        (any::<u64>(), 0..4usize, any::<bool>(), data).prop_map(|(time_us, s, partial, data)| {
            Record {
                time_us,
                stream: Stream::ALL[s],
                partial,
                data: data.into(),
            }
        })
    }

    fn encode_all(records: &[Record]) -> Vec<u8> {
        let mut out = Vec::new();
        records.iter().for_each(|r| encode(r, &mut out));
        out
    }

    #[test]
    fn the_bytes_of_a_frame_never_change() {
        let mut out = Vec::new();
        encode_parts(Stream::Stderr, true, 0x0102_0304, b"hi\n", &mut out);
        let hex: String = out.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "0d000000".to_owned() + "8d5a16eb" + "12" + "01" + "0403020100000000" + "68690a"
        );
    }

    #[test]
    fn too_long_data_becomes_several_readable_frames() {
        let data = vec![b'x'; 2 * MAX_RECORD_LEN + 1];
        let mut out = Vec::new();
        encode_parts(Stream::Stdout, false, 7, &data, &mut out);
        let got: Vec<(usize, bool)> = frames(&out)
            .map(|f| f.unwrap())
            .map(|f| (f.data.len(), f.partial))
            .collect();
        assert_eq!(
            got,
            [(MAX_RECORD_LEN, true), (MAX_RECORD_LEN, true), (1, false)]
        );
    }

    #[test]
    fn faults_are_named() {
        let table: [(&[u8], FrameFault); 2] = [
            (&[9, 0, 0, 0, 0, 0, 0, 0], FrameFault::Length(9)),
            (
                &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
                FrameFault::Length(u32::MAX),
            ),
        ];
        for (bytes, fault) in table {
            assert_eq!(
                frames(bytes).next(),
                Some(Err(FrameError { offset: 0, fault }))
            );
        }
        // A good checksum over an unknown version, stream or flag.
        let with_body = |kind: u8, flags: u8| {
            let body = [kind, flags, 0, 0, 0, 0, 0, 0, 0, 0];
            let mut bytes = 10u32.to_le_bytes().to_vec();
            bytes.extend(crc32fast::hash(&body).to_le_bytes());
            bytes.extend(body);
            frames(&bytes).next().unwrap().unwrap_err().fault
        };
        assert_eq!(with_body(0x21, 0), FrameFault::Version(2));
        assert_eq!(with_body(0x1f, 0), FrameFault::Stream(15));
        assert_eq!(with_body(0x11, 2), FrameFault::Flags(2));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(records in proptest::collection::vec(any_record(), 0..6)) {
            let bytes = encode_all(&records);
            let mut walk = frames(&bytes);
            let got: Vec<Record> = walk.by_ref().map(|f| f.unwrap().to_record()).collect();
            prop_assert_eq!(got, records);
            prop_assert_eq!(walk.whole_bytes(), bytes.len());
        }

        #[test]
        fn a_cut_tail_leaves_the_whole_frames(records in proptest::collection::vec(any_record(), 1..5), cut in any::<prop::sample::Index>()) {
            let bytes = encode_all(&records);
            let cut = cut.index(bytes.len());
            let mut walk = frames(&bytes[..cut]);
            let got = walk.by_ref().map(|f| f.unwrap().to_record()).collect::<Vec<_>>();
            prop_assert_eq!(&got[..], &records[..got.len()]);
            prop_assert!(walk.whole_bytes() <= cut);
            // Nothing whole was left behind: one more record would not fit.
            let next = FRAME_HEADER_LEN + records[got.len()].data.len();
            prop_assert!(walk.whole_bytes() + next > cut);
        }

        #[test]
        fn a_flipped_bit_is_caught_or_looks_like_a_torn_tail(records in proptest::collection::vec(any_record(), 1..5), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut bytes = encode_all(&records);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let mut walk = frames(&bytes);
            let good: Vec<Record> = walk.by_ref().map_while(Result::ok).map(|f| f.to_record()).collect();
            prop_assert!(good.len() < records.len(), "the damaged frame was taken for a good one");
            prop_assert_eq!(&good[..], &records[..good.len()]);
            prop_assert!(walk.whole_bytes() <= at);
        }

        #[test]
        fn any_bytes_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut walk = frames(&bytes);
            let n = walk.by_ref().count();
            prop_assert!(n <= bytes.len());
            prop_assert!(walk.whole_bytes() <= bytes.len());
        }
    }
}
