//! Bytes of one stream in, pieces of at most one line out. No byte is added, dropped or moved.

use crate::record::MAX_RECORD_LEN;

/// Cuts one stream at newlines, and lines at [`MAX_RECORD_LEN`].
///
/// Feed it with [`push`](Splitter::push) as bytes come; call [`flush_partial`](Splitter::flush_partial) when the stream
/// has been idle (so that a prompt or a progress bar is seen), and [`finish`](Splitter::finish) at its end. Each
/// calls `emit(data, partial)` once per record, in order; `partial` means that the line goes on in the next record.
#[derive(Clone, Debug, Default)]
pub struct Splitter {
    /// A line's beginning that has not been given out: no newline in it, shorter than a record.
    held: Vec<u8>,
}

impl Splitter {
    /// A splitter that holds nothing.
    pub fn new() -> Splitter {
        Splitter::default()
    }

    /// Takes the stream's next bytes.
    pub fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&[u8], bool)) {
        while !bytes.is_empty() {
            let room = MAX_RECORD_LEN - self.held.len();
            let window = &bytes[..bytes.len().min(room)];
            let newline = window.iter().position(|b| *b == b'\n');
            let take = newline.map_or(window.len(), |at| at + 1);
            if newline.is_none() && take < room {
                self.held.extend_from_slice(window);
                return;
            }
            let (piece, rest) = bytes.split_at(take);
            if self.held.is_empty() {
                emit(piece, newline.is_none());
            } else {
                self.held.extend_from_slice(piece);
                emit(&self.held, newline.is_none());
                self.held.clear();
            }
            bytes = rest;
        }
    }

    /// Gives out what is held, as a partial record. Nothing if nothing is held.
    pub fn flush_partial(&mut self, mut emit: impl FnMut(&[u8], bool)) {
        if !self.held.is_empty() {
            emit(&self.held, true);
            self.held.clear();
        }
    }

    /// Gives out what is held as the stream's last line, which had no newline.
    pub fn finish(&mut self, mut emit: impl FnMut(&[u8], bool)) {
        if !self.held.is_empty() {
            emit(&self.held, false);
            self.held.clear();
        }
    }

    /// Bytes held back, waiting for their newline.
    pub fn held_len(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Splits `chunks`, flushing after the chunks whose flag is set; gives the records.
    fn split(chunks: &[(Vec<u8>, bool)]) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = Splitter::new();
        let mut out = Vec::new();
        let mut emit = |data: &[u8], partial: bool| out.push((data.to_vec(), partial));
        for (chunk, flush) in chunks {
            splitter.push(chunk, &mut emit);
            if *flush {
                splitter.flush_partial(&mut emit);
            }
        }
        splitter.finish(&mut emit);
        assert_eq!(splitter.held_len(), 0);
        out
    }

    fn check(input: &[u8], expected: &[(&[u8], bool)]) {
        let got = split(&[(input.to_vec(), false)]);
        let got: Vec<(&[u8], bool)> = got.iter().map(|(d, p)| (&d[..], *p)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn lines_bars_and_broken_text() {
        check(b"", &[]);
        check(b"a\nb\n", &[(b"a\n", false), (b"b\n", false)]);
        check(b"\n\n", &[(b"\n", false), (b"\n", false)]);
        check(b"no newline", &[(b"no newline", false)]);
        check(
            b"\r10%\r20%\r100%\ndone\n",
            &[(b"\r10%\r20%\r100%\n", false), (b"done\n", false)],
        );
        check(b"crlf\r\nx", &[(b"crlf\r\n", false), (b"x", false)]);
        check(
            b"\xff\xfe\x00\n\xc3",
            &[(b"\xff\xfe\x00\n", false), (b"\xc3", false)],
        );
    }

    #[test]
    fn a_line_of_one_mebibyte_is_sixteen_pieces_and_a_newline() {
        let mut line = vec![b'x'; 1 << 20];
        line.push(b'\n');
        let got = split(&[(line.clone(), false)]);
        assert_eq!(got.len(), 17);
        assert!(
            got[..16]
                .iter()
                .all(|(data, partial)| data.len() == MAX_RECORD_LEN && *partial)
        );
        assert_eq!(got[16], (b"\n".to_vec(), false));
        assert_eq!(got.concat_data(), line);
    }

    #[test]
    fn an_idle_remainder_is_partial_and_the_rest_of_its_line_follows() {
        let got = split(&[(b"50%".to_vec(), true), (b" 100%\n".to_vec(), true)]);
        assert_eq!(got, [(b"50%".to_vec(), true), (b" 100%\n".to_vec(), false)]);
    }

    trait ConcatData {
        fn concat_data(&self) -> Vec<u8>;
    }
    impl ConcatData for Vec<(Vec<u8>, bool)> {
        fn concat_data(&self) -> Vec<u8> {
            self.iter()
                .flat_map(|(data, _)| data.iter().copied())
                .collect()
        }
    }

    fn any_chunk() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>()];
        prop_oneof![
            8 => proptest::collection::vec(byte, 0..40),
            1 => (MAX_RECORD_LEN - 2..MAX_RECORD_LEN + 3).prop_map(|n| vec![b'z'; n]),
        ]
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_whatever_the_chunks(chunks in proptest::collection::vec((any_chunk(), any::<bool>()), 0..12)) {
            let input: Vec<u8> = chunks.iter().flat_map(|(c, _)| c.iter().copied()).collect();
            let got = split(&chunks);
            prop_assert_eq!(got.concat_data(), input);
            for (data, partial) in &got {
                prop_assert!(!data.is_empty() && data.len() <= MAX_RECORD_LEN);
                let newlines = data.iter().filter(|b| **b == b'\n').count();
                prop_assert_eq!(newlines, usize::from(data.ends_with(b"\n")), "a newline only ends a record");
                prop_assert!(!(*partial && data.ends_with(b"\n")), "a line that ended is not partial");
            }
        }

        #[test]
        fn chunking_does_not_matter_without_flushes(chunks in proptest::collection::vec(any_chunk(), 0..12)) {
            let whole: Vec<u8> = chunks.concat();
            let cut: Vec<_> = chunks.into_iter().map(|c| (c, false)).collect();
            prop_assert_eq!(split(&cut), split(&[(whole, false)]));
        }
    }
}
