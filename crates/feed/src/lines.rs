//! Records of one stream back into whole lines, for those who read meaning in lines (metadata).

use std::borrow::Cow;

/// Longest line that is put together. Longer ones are only told of: nobody prints metadata of a mebibyte.
pub const MAX_LINE_LEN: usize = 1024 * 1024;

/// One line of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The whole line, with its newline if it had one.
    Whole(Cow<'a, [u8]>),
    /// A line longer than [`MAX_LINE_LEN`]; its bytes are in the feed and nowhere else.
    TooLong {
        /// Bytes of the line.
        len: u64,
    },
}

/// Puts the partial records of one stream together again. Holds at most [`MAX_LINE_LEN`] bytes.
#[derive(Clone, Debug, Default)]
pub struct LineAssembler {
    held: Vec<u8>,
    /// Bytes of the line so far; more than `held` once the line is too long.
    len: u64,
}

impl LineAssembler {
    /// An assembler that holds nothing.
    pub fn new() -> LineAssembler {
        LineAssembler::default()
    }

    /// Takes the stream's next record; gives the line that it ends.
    pub fn push<'a>(&mut self, data: &'a [u8], partial: bool) -> Option<Line<'a>> {
        if !partial && self.len == 0 && data.len() <= MAX_LINE_LEN {
            return Some(Line::Whole(Cow::Borrowed(data)));
        }
        self.len = self.len.saturating_add(data.len() as u64);
        if self.len <= MAX_LINE_LEN as u64 {
            self.held.extend_from_slice(data);
        } else {
            self.held = Vec::new();
        }
        if partial { None } else { self.finish() }
    }

    /// The stream has ended: gives the line that was begun and never ended.
    pub fn finish(&mut self) -> Option<Line<'static>> {
        let len = std::mem::take(&mut self.len);
        let held = std::mem::take(&mut self.held);
        match len {
            0 => None,
            len if len > MAX_LINE_LEN as u64 => Some(Line::TooLong { len }),
            _ => Some(Line::Whole(Cow::Owned(held))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::splitter::Splitter;
    use proptest::prelude::*;

    #[test]
    fn lines_beyond_the_bound_are_told_of_and_not_kept() {
        let mut lines = LineAssembler::new();
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..17 {
            assert_eq!(lines.push(&piece, true), None);
            assert!(lines.held.len() <= MAX_LINE_LEN);
        }
        assert_eq!(
            lines.push(b"\n", false),
            Some(Line::TooLong {
                len: 17 * 64 * 1024 + 1
            })
        );
        assert_eq!(
            lines.push(b"next\n", false),
            Some(Line::Whole(b"next\n".into()))
        );
    }

    #[test]
    fn the_longest_line_is_whole() {
        let mut lines = LineAssembler::new();
        assert_eq!(lines.push(&vec![b'x'; MAX_LINE_LEN - 1], true), None);
        let Some(Line::Whole(line)) = lines.push(b"\n", false) else {
            panic!("not whole")
        };
        assert_eq!(line.len(), MAX_LINE_LEN);
    }

    proptest! {
        #[test]
        fn splitting_and_assembling_gives_the_lines(chunks in proptest::collection::vec("[ab\n]{0,8}", 0..12), flush in any::<bool>()) {
            let (mut splitter, mut assembler) = (Splitter::new(), LineAssembler::new());
            let mut got: Vec<Vec<u8>> = Vec::new();
            let mut emit = |data: &[u8], partial: bool| {
                if let Some(Line::Whole(line)) = assembler.push(data, partial) {
                    got.push(line.into_owned());
                }
            };
            for chunk in &chunks {
                splitter.push(chunk.as_bytes(), &mut emit);
                if flush {
                    splitter.flush_partial(&mut emit);
                }
            }
            splitter.finish(&mut emit);
            if let Some(Line::Whole(line)) = assembler.finish() {
                got.push(line.into_owned());
            }
            let whole = chunks.concat();
            let expected: Vec<Vec<u8>> = whole.as_bytes().split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            prop_assert_eq!(got, expected);
        }
    }
}
