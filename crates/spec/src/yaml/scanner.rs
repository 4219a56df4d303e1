//! From characters to words: indentation, keys, indicators.
//!
//! A key is only known to be one when its `:` comes. So what may be a key is remembered, for each level of brackets one,
//! and a `:` on the same line puts the missing words in front of it, in the queue of words not yet handed out. A key
//! that stands where nothing else can (at the column of the block) must be followed by its `:`.

use std::collections::VecDeque;

use super::Fault;
use super::cursor::{Cursor, END, Mark, is_blank_or_end};
use super::scalars;
use super::tags;
use super::token::{Kind, Token};

/// A key and its `:` are no farther apart than this.
const MAX_KEY_CHARACTERS: usize = 1024;

/// Something that a `:` would make a key.
struct PossibleKey {
    /// Number of its first word, counted from the beginning of the text.
    token: usize,
    /// Whether nothing else can stand there.
    required: bool,
    mark: Mark,
}

/// Hands out the words of a text one after the other.
pub(super) struct Scanner {
    cursor: Cursor,
    queue: VecDeque<Token>,
    /// Words handed out so far.
    taken: usize,
    finished: bool,
    /// Column of the block we are in; -1 outside of all. Inside brackets columns mean nothing.
    indent: isize,
    outer_indents: Vec<isize>,
    /// Whether a key may begin here: not, for instance, after another key's `:` on the same line.
    key_allowed: bool,
    /// What may be a key, for each level of brackets; the last is the level we are in.
    possible_keys: Vec<Option<PossibleKey>>,
}

impl Scanner {
    pub(super) fn new(text: &str) -> Self {
        Scanner {
            cursor: Cursor::new(text),
            queue: VecDeque::new(),
            taken: 0,
            finished: false,
            indent: -1,
            outer_indents: Vec::new(),
            key_allowed: true,
            possible_keys: vec![None],
        }
    }

    /// The next word, without taking it. After the end of the text, that end again and again.
    pub(super) fn peek(&mut self) -> Result<&Token, Fault> {
        while self.must_scan_on()? {
            self.scan()?;
        }
        if self.queue.is_empty() {
            self.push(Kind::StreamEnd, self.cursor.mark());
        }
        Ok(&self.queue[0])
    }

    /// Takes the next word.
    pub(super) fn next(&mut self) -> Result<Token, Fault> {
        self.peek()?;
        self.taken += 1;
        let mark = self.cursor.mark();
        let end = Token {
            kind: Kind::StreamEnd,
            start: mark,
            end: mark,
        };
        Ok(self.queue.pop_front().unwrap_or(end))
    }

    /// The next word is not known before all that may turn out to be a key in front of it is settled.
    fn must_scan_on(&mut self) -> Result<bool, Fault> {
        if self.finished {
            return Ok(false);
        }
        if self.queue.is_empty() {
            return Ok(true);
        }
        self.drop_stale_keys()?;
        Ok(self
            .possible_keys
            .iter()
            .flatten()
            .any(|key| key.token == self.taken))
    }

    fn scan(&mut self) -> Result<(), Fault> {
        self.skip_to_word();
        self.drop_stale_keys()?;
        self.close_blocks(self.cursor.column());
        let cursor = &self.cursor;
        let (character, next) = (cursor.peek(), cursor.peek_at(1));
        let in_brackets = self.in_brackets();
        let line_start = cursor.column() == 0;
        match character {
            END => self.end(),
            '%' if line_start => self.directive(),
            '-' | '.' if line_start && cursor.at_document_marker() => {
                let kind = if character == '-' {
                    Kind::DocumentStart
                } else {
                    Kind::DocumentEnd
                };
                self.document_marker(kind)
            }
            '[' => self.open_bracket(Kind::FlowSequenceStart),
            '{' => self.open_bracket(Kind::FlowMappingStart),
            ']' => self.close_bracket(Kind::FlowSequenceEnd),
            '}' => self.close_bracket(Kind::FlowMappingEnd),
            ',' => self.comma(),
            '-' if is_blank_or_end(next) => self.dash(),
            '?' if in_brackets || is_blank_or_end(next) => self.question_mark(),
            ':' if in_brackets || is_blank_or_end(next) => self.colon(),
            '*' | '&' => self.may_be_key(tags::anchor),
            '!' => self.may_be_key(tags::tag),
            '|' | '>' if !in_brackets => self.block_scalar(),
            '\'' | '"' => self.may_be_key(scalars::quoted),
            _ if begins_plain(character, next, in_brackets) => self.plain(),
            '\t' => Err(Fault::new("a tab cannot stand here", cursor.mark())
                .hint("YAML is indented and spaced with spaces; a tab belongs in quotes")),
            other => Err(Fault::new(
                format!("a value cannot begin with `{other}`"),
                cursor.mark(),
            )
            .hint("put the value in quotes")),
        }
    }

    fn in_brackets(&self) -> bool {
        self.possible_keys.len() > 1
    }

    fn push(&mut self, kind: Kind, mark: Mark) {
        self.queue.push_back(Token {
            kind,
            start: mark,
            end: mark,
        });
    }

    /// Adds a word of so many characters that are right here.
    fn push_indicator(&mut self, kind: Kind, characters: usize) {
        let start = self.cursor.mark();
        self.cursor.advance_by(characters);
        self.queue.push_back(Token {
            kind,
            start,
            end: self.cursor.mark(),
        });
    }

    /// Skips spaces, comments and line breaks. A new line may begin with a key.
    fn skip_to_word(&mut self) {
        if self.cursor.mark().index == 0 && self.cursor.peek() == '\u{feff}' {
            self.cursor.advance();
        }
        loop {
            self.cursor.skip_spaces();
            self.cursor.skip_comment();
            if self.cursor.take_break().is_none() {
                return;
            }
            if !self.in_brackets() {
                self.key_allowed = true;
            }
        }
    }

    /// What did not become a key on its line will not become one.
    fn drop_stale_keys(&mut self) -> Result<(), Fault> {
        let here = self.cursor.mark();
        for possible in &mut self.possible_keys {
            let stale = possible.as_ref().is_some_and(|key| {
                key.mark.line != here.line || here.index - key.mark.index > MAX_KEY_CHARACTERS
            });
            if stale {
                refuse_if_required(possible.take(), here)?;
            }
        }
        Ok(())
    }

    /// What begins here may turn out to be a key.
    fn remember_key(&mut self) -> Result<(), Fault> {
        if self.key_allowed {
            self.forget_key()?;
            let mark = self.cursor.mark();
            let required = !self.in_brackets() && self.indent == self.cursor.column();
            let token = self.taken + self.queue.len();
            if let Some(level) = self.possible_keys.last_mut() {
                *level = Some(PossibleKey {
                    token,
                    required,
                    mark,
                });
            }
        }
        Ok(())
    }

    /// What may have been a key on this level is none.
    fn forget_key(&mut self) -> Result<(), Fault> {
        let here = self.cursor.mark();
        refuse_if_required(self.possible_keys.last_mut().and_then(Option::take), here)
    }

    /// A column to the left ends the blocks that began to its right.
    fn close_blocks(&mut self, column: isize) {
        while !self.in_brackets() && self.indent > column {
            self.push(Kind::BlockEnd, self.cursor.mark());
            self.indent = self.outer_indents.pop().unwrap_or(-1);
        }
    }

    /// A column to the right begins a block.
    fn begins_block(&mut self, column: isize) -> bool {
        let begins = self.indent < column;
        if begins {
            self.outer_indents.push(self.indent);
            self.indent = column;
        }
        begins
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.close_blocks(-1);
        self.forget_key()?;
        self.key_allowed = false;
        self.possible_keys = vec![None];
        self.push(Kind::StreamEnd, self.cursor.mark());
        self.finished = true;
        Ok(())
    }

    fn directive(&mut self) -> Result<(), Fault> {
        self.close_blocks(-1);
        self.forget_key()?;
        self.key_allowed = false;
        let token = tags::directive(&mut self.cursor)?;
        self.queue.push_back(token);
        Ok(())
    }

    fn document_marker(&mut self, kind: Kind) -> Result<(), Fault> {
        self.close_blocks(-1);
        self.forget_key()?;
        self.key_allowed = false;
        self.push_indicator(kind, 3);
        Ok(())
    }

    fn open_bracket(&mut self, kind: Kind) -> Result<(), Fault> {
        self.remember_key()?;
        self.possible_keys.push(None);
        self.key_allowed = true;
        self.push_indicator(kind, 1);
        Ok(())
    }

    /// A closing bracket too many is left to the grammar.
    fn close_bracket(&mut self, kind: Kind) -> Result<(), Fault> {
        self.forget_key()?;
        if self.in_brackets() {
            self.possible_keys.pop();
        }
        self.key_allowed = false;
        self.push_indicator(kind, 1);
        Ok(())
    }

    fn comma(&mut self) -> Result<(), Fault> {
        self.key_allowed = true;
        self.forget_key()?;
        self.push_indicator(Kind::FlowEntry, 1);
        Ok(())
    }

    fn dash(&mut self) -> Result<(), Fault> {
        if !self.in_brackets() {
            self.begin_block(Kind::BlockSequenceStart, "a `-` item cannot stand here")?;
        }
        self.key_allowed = true;
        self.forget_key()?;
        self.push_indicator(Kind::BlockEntry, 1);
        Ok(())
    }

    fn question_mark(&mut self) -> Result<(), Fault> {
        if !self.in_brackets() {
            self.begin_block(Kind::BlockMappingStart, "a `?` key cannot stand here")?;
        }
        self.key_allowed = !self.in_brackets();
        self.forget_key()?;
        self.push_indicator(Kind::Key, 1);
        Ok(())
    }

    fn colon(&mut self) -> Result<(), Fault> {
        if let Some(key) = self.possible_keys.last_mut().and_then(Option::take) {
            let place = key.token - self.taken;
            self.queue.insert(
                place,
                Token {
                    kind: Kind::Key,
                    start: key.mark,
                    end: key.mark,
                },
            );
            if !self.in_brackets() && self.begins_block(key.mark.column as isize) {
                let start = Token {
                    kind: Kind::BlockMappingStart,
                    start: key.mark,
                    end: key.mark,
                };
                self.queue.insert(place, start);
            }
            self.key_allowed = false;
        } else {
            if !self.in_brackets() {
                self.begin_block(Kind::BlockMappingStart, "a `:` cannot stand here")?;
            }
            self.key_allowed = !self.in_brackets();
            self.forget_key()?;
        }
        self.push_indicator(Kind::Value, 1);
        Ok(())
    }

    /// An indicator opens a block where its column is to the right, and is refused where no key could stand.
    fn begin_block(&mut self, kind: Kind, refusal: &str) -> Result<(), Fault> {
        if !self.key_allowed {
            return Err(Fault::new(refusal, self.cursor.mark()).hint(
                "check the indentation of this line and the one before; a text that contains `: ` belongs in quotes",
            ));
        }
        if self.begins_block(self.cursor.column()) {
            self.push(kind, self.cursor.mark());
        }
        Ok(())
    }

    /// Adds a word that may be the beginning of a key.
    fn may_be_key(&mut self, word: fn(&mut Cursor) -> Result<Token, Fault>) -> Result<(), Fault> {
        self.remember_key()?;
        self.key_allowed = false;
        let token = word(&mut self.cursor)?;
        self.queue.push_back(token);
        Ok(())
    }

    fn plain(&mut self) -> Result<(), Fault> {
        self.remember_key()?;
        let in_brackets = self.in_brackets();
        let (token, ended_line) = scalars::plain(&mut self.cursor, self.indent, in_brackets);
        self.key_allowed = ended_line;
        self.queue.push_back(token);
        Ok(())
    }

    fn block_scalar(&mut self) -> Result<(), Fault> {
        self.key_allowed = true;
        self.forget_key()?;
        let token = scalars::block(&mut self.cursor, self.indent)?;
        self.queue.push_back(token);
        Ok(())
    }
}

fn refuse_if_required(key: Option<PossibleKey>, here: Mark) -> Result<(), Fault> {
    match key {
        Some(key) if key.required => Err(Fault::new("a `:` is missing", here).hint(format!(
            "what stands on line {}, column {} can only be a key here, and a key is followed by `:`",
            key.mark.line + 1,
            key.mark.column + 1
        ))),
        _ => Ok(()),
    }
}

fn begins_plain(character: char, next: char, in_brackets: bool) -> bool {
    let indicator = "-?:,[]{}#&*!|>'\"%@`".contains(character) || is_blank_or_end(character);
    !indicator
        || (!is_blank_or_end(next)
            && (character == '-' || (!in_brackets && matches!(character, '?' | ':'))))
}
