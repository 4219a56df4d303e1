//! Walking over the characters of a text, with the place at hand.

use crate::span::Span;

/// What is read after the last character. The text itself never contains it: it is not printable.
pub(super) const END: char = '\0';

/// A place between two characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Characters before it.
    pub index: usize,
    /// Bytes before it.
    pub offset: usize,
    /// Lines before it.
    pub line: usize,
    /// Characters before it on its line.
    pub column: usize,
}

impl Mark {
    /// The stretch from here to there.
    pub(super) fn to(self, end: Mark) -> Span {
        Span {
            line: u32::try_from(self.line + 1).unwrap_or(u32::MAX),
            column: u32::try_from(self.column + 1).unwrap_or(u32::MAX),
            start: self.offset,
            end: end.offset.max(self.offset),
        }
    }
}

/// A position in a text that only moves forward.
pub(super) struct Cursor {
    characters: Vec<char>,
    mark: Mark,
}

impl Cursor {
    pub(super) fn new(text: &str) -> Self {
        Cursor {
            characters: text.chars().collect(),
            mark: Mark::default(),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    pub(super) fn column(&self) -> isize {
        self.mark.column as isize
    }

    /// The next character, or [`END`].
    pub(super) fn peek(&self) -> char {
        self.peek_at(0)
    }

    /// The character after so many others, or [`END`].
    pub(super) fn peek_at(&self, ahead: usize) -> char {
        self.characters
            .get(self.mark.index + ahead)
            .copied()
            .unwrap_or(END)
    }

    pub(super) fn advance(&mut self) {
        let Some(&character) = self.characters.get(self.mark.index) else {
            return;
        };
        self.mark.index += 1;
        self.mark.offset += character.len_utf8();
        if is_break(character) && !(character == '\r' && self.peek() == '\n') {
            self.mark.line += 1;
            self.mark.column = 0;
        } else if character != '\u{feff}' {
            self.mark.column += 1;
        }
    }

    pub(super) fn advance_by(&mut self, count: usize) {
        for _ in 0..count {
            self.advance();
        }
    }

    /// Takes characters for as long as they please.
    pub(super) fn take_while(&mut self, pleases: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while self.peek() != END && pleases(self.peek()) {
            taken.push(self.peek());
            self.advance();
        }
        taken
    }

    pub(super) fn skip_spaces(&mut self) {
        while self.peek() == ' ' {
            self.advance();
        }
    }

    /// Steps over the rest of the line if it is a comment.
    pub(super) fn skip_comment(&mut self) {
        if self.peek() == '#' {
            while !is_break_or_end(self.peek()) {
                self.advance();
            }
        }
    }

    /// Takes one line break, and says which: all are `\n` but the two separators of Unicode.
    pub(super) fn take_break(&mut self) -> Option<char> {
        let character = self.peek();
        if !is_break(character) {
            return None;
        }
        self.advance();
        if character == '\r' && self.peek() == '\n' {
            self.advance();
        }
        Some(if matches!(character, '\u{2028}' | '\u{2029}') {
            character
        } else {
            '\n'
        })
    }

    /// Whether `---` or `...` stands here as a word of its own.
    pub(super) fn at_document_marker(&self) -> bool {
        ['-', '.'].iter().any(|&dot| {
            (0..3).all(|ahead| self.peek_at(ahead) == dot) && is_blank_or_end(self.peek_at(3))
        })
    }
}

/// Ends a line.
pub(super) fn is_break(character: char) -> bool {
    matches!(character, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Ends a line or the text.
pub(super) fn is_break_or_end(character: char) -> bool {
    character == END || is_break(character)
}

/// Ends a word.
pub(super) fn is_blank_or_end(character: char) -> bool {
    matches!(character, ' ' | '\t') || is_break_or_end(character)
}

/// May stand in a YAML text at all.
pub(super) fn is_printable(character: char) -> bool {
    matches!(
        character,
        '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..
    )
}
