//! From text to tokens.

use crate::expression::ExpressionError;

/// What a dash between two names means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dashes {
    /// `val-loss` is one name, as at run time.
    JoinNames,
    /// `val-loss` is a subtraction, as in Python.
    Subtract,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    /// Exactly as written.
    pub(super) text: &'t str,
    /// Byte offset of the first character.
    pub(super) start: usize,
}

/// The sort of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, or a word such as `and`.
    Name,
    /// A name that must be one: dashes were joined into it.
    JoinedName,
    Number,
    /// With its prefix and its quotes.
    Text,
    /// One of [`OPERATORS`].
    Operator,
    /// The end of the expression.
    End,
}

/// Longer ones before those they begin with.
const OPERATORS: [&str; 33] = [
    "...", "**", "//", "<<", ">>", "<=", ">=", "==", "!=", ":=", "->", "+", "-", "*", "/", "%",
    "@", "&", "|", "^", "~", "<", ">", "=", "(", ")", "[", "]", "{", "}", ",", ":", ".",
];

impl Token<'_> {
    /// Byte offset after the last character.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether this is the operator, bracket or reserved word.
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Operator | Kind::Name) && self.text == text
    }
}

/// An error at a byte offset of the text.
pub(super) fn error_at(text: &str, offset: usize, message: impl Into<String>) -> ExpressionError {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    ExpressionError {
        message: message.into(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

/// All tokens of the text; the last one is [`Kind::End`].
pub(super) fn tokens(text: &str, dashes: Dashes) -> Result<Vec<Token<'_>>, ExpressionError> {
    let mut lexer = Lexer {
        text,
        at: 0,
        open: Vec::new(),
    };
    let mut tokens = Vec::new();
    lexer.skip_blank_lines()?;
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    if let Some(open) = lexer.open.last() {
        return Err(error_at(
            text,
            *open,
            format!("`{}` is never closed", &text[*open..=*open]),
        ));
    }
    let end = text.trim_end().len();
    tokens.push(Token {
        kind: Kind::End,
        text: "",
        start: end,
    });
    Ok(match dashes {
        Dashes::Subtract => tokens,
        Dashes::JoinNames => join_names(text, &tokens),
    })
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Offsets of the brackets that are open: inside of them line ends are blanks.
    open: Vec<usize>,
}

/// How many brackets may be open at once.
const MAX_OPEN: usize = 200;

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Skips lines that hold nothing or only a comment. The first line that holds more must not be indented.
    fn skip_blank_lines(&mut self) -> Result<(), ExpressionError> {
        while let Some((line, _)) = self.rest().split_once('\n') {
            if !is_blank(line) {
                break;
            }
            self.at += line.len() + 1;
        }
        let line = self.rest().split('\n').next().unwrap_or_default();
        if line.starts_with([' ', '\t', '\u{c}']) && !is_blank(line) {
            return Err(error_at(
                self.text,
                self.at,
                "the expression must not be indented",
            ));
        }
        Ok(())
    }

    /// The next token; `None` at the end of the expression.
    fn next(&mut self) -> Result<Option<Token<'t>>, ExpressionError> {
        self.skip_blanks()?;
        let Some(first) = self.rest().chars().next() else {
            return Ok(None);
        };
        let start = self.at;
        let (kind, length) = if is_name_start(first) {
            let length = length_while(self.rest(), is_name_part);
            match self.rest()[length..].chars().next() {
                Some('\'' | '"') if is_text_prefix(&self.rest()[..length]) => {
                    (Kind::Text, length + self.text_length(start + length)?)
                }
                _ => (Kind::Name, length),
            }
        } else if first == '\'' || first == '"' {
            (Kind::Text, self.text_length(start)?)
        } else if let Some(length) = number_length(self.rest()) {
            (Kind::Number, length)
        } else if let Some(operator) = OPERATORS
            .iter()
            .find(|operator| self.rest().starts_with(**operator))
        {
            self.note_bracket(operator)?;
            (Kind::Operator, operator.len())
        } else {
            return Err(error_at(
                self.text,
                start,
                format!("`{first}` means nothing here"),
            ));
        };
        self.at += length;
        Ok(Some(Token {
            kind,
            text: &self.text[start..self.at],
            start,
        }))
    }

    /// Skips blanks and comments; outside of brackets a line end is the end of the expression.
    fn skip_blanks(&mut self) -> Result<(), ExpressionError> {
        loop {
            let rest = self.rest();
            let blanks = length_while(rest, |char| matches!(char, ' ' | '\t' | '\u{c}'));
            let after = &rest[blanks..];
            self.at += blanks;
            if after.starts_with('#') {
                self.at += length_while(after, |char| char != '\n');
            } else if let Some(continued) = ["\\\n", "\\\r\n"]
                .iter()
                .find_map(|end| after.strip_prefix(end))
            {
                if continued.is_empty() {
                    return Err(error_at(
                        self.text,
                        self.at,
                        "nothing follows the backslash",
                    ));
                }
                self.at = self.text.len() - continued.len();
            } else if after.starts_with(['\n', '\r']) {
                if self.open.is_empty() {
                    return self.end_here();
                }
                self.at += 1;
            } else {
                return Ok(());
            }
        }
    }

    /// Makes sure that nothing but blank lines follows, and goes to the end.
    fn end_here(&mut self) -> Result<(), ExpressionError> {
        for line in self.rest().split_inclusive(['\n', '\r']) {
            if !is_blank(line) {
                let indent = length_while(line, |char| matches!(char, ' ' | '\t' | '\u{c}'));
                return Err(error_at(
                    self.text,
                    self.at + indent,
                    "an expression is one line, unless it is in brackets",
                ));
            }
            self.at += line.len();
        }
        Ok(())
    }

    fn note_bracket(&mut self, operator: &str) -> Result<(), ExpressionError> {
        match operator {
            "(" | "[" | "{" => self.open.push(self.at),
            ")" | "]" | "}" => {
                let opened = self.open.pop().map(|open| &self.text[open..=open]);
                let fits = matches!(
                    (opened, operator),
                    (Some("("), ")") | (Some("["), "]") | (Some("{"), "}")
                );
                if !fits {
                    return Err(error_at(
                        self.text,
                        self.at,
                        format!("`{operator}` closes nothing"),
                    ));
                }
            }
            _ => {}
        }
        if self.open.len() > MAX_OPEN {
            return Err(error_at(self.text, self.at, "too many brackets are open"));
        }
        Ok(())
    }

    /// Length of a string from its first quote to its last.
    fn text_length(&self, start: usize) -> Result<usize, ExpressionError> {
        let rest = &self.text[start..];
        let quote = if rest.starts_with("'''") || rest.starts_with("\"\"\"") {
            &rest[..3]
        } else {
            &rest[..1]
        };
        let mut at = quote.len();
        while let Some(char) = rest[at..].chars().next() {
            if rest[at..].starts_with(quote) {
                return Ok(at + quote.len());
            }
            if char == '\n' && quote.len() == 1 {
                break;
            }
            at += char.len_utf8();
            if char == '\\' {
                at += rest[at..].chars().next().map_or(0, char::len_utf8);
            }
        }
        Err(error_at(
            self.text,
            start,
            format!("the string has no closing {quote}"),
        ))
    }
}

/// Whether a line holds nothing, or only a comment.
fn is_blank(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t', '\u{c}', '\r', '\n']);
    line.is_empty() || line.starts_with('#')
}

fn length_while(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|char| !wanted(char)).unwrap_or(text.len())
}

fn is_name_start(char: char) -> bool {
    char == '_' || char.is_alphabetic()
}

fn is_name_part(char: char) -> bool {
    // Beyond letters and digits: accents that follow their letter, the middle dot and the ties.
    let is_mark = matches!(
        char,
        '\u{300}'..='\u{36f}' | '\u{b7}' | '\u{203f}' | '\u{2040}'
    );
    char == '_' || char.is_alphanumeric() || is_mark
}

/// Letters that may stand before a quote.
fn is_text_prefix(word: &str) -> bool {
    ["r", "u", "b", "f", "br", "rb", "fr", "rf"]
        .iter()
        .any(|prefix| word.eq_ignore_ascii_case(prefix))
}

/// Length of the number that the text begins with, if it does. A letter that cannot belong to it ends it.
fn number_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let radix_digits: Option<fn(&u8) -> bool> = match bytes {
        [b'0', b'x' | b'X', ..] => Some(u8::is_ascii_hexdigit),
        [b'0', b'o' | b'O', ..] => Some(|byte| matches!(byte, b'0'..=b'7')),
        [b'0', b'b' | b'B', ..] => Some(|byte| matches!(byte, b'0' | b'1')),
        _ => None,
    };
    if let Some(is_digit) = radix_digits {
        let mut end = 2;
        while let Some(next) = next_group(bytes, end, is_digit) {
            end = next;
        }
        if end > 2 {
            return Some(end);
        }
    }
    let whole = digits(bytes, 0);
    let mut end = whole;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(bytes, end + 1);
        if whole == 0 && fraction == end + 1 {
            return None;
        }
        end = fraction;
    }
    if end == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(bytes, end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    Some(end + usize::from(matches!(bytes.get(end), Some(b'j' | b'J'))))
}

/// The end of one more digit, with an underscore before it or not.
fn next_group(bytes: &[u8], at: usize, is_digit: fn(&u8) -> bool) -> Option<usize> {
    let at = at + usize::from(bytes.get(at) == Some(&b'_'));
    bytes.get(at).filter(|byte| is_digit(byte)).map(|_| at + 1)
}

/// Where a run of decimal digits ends; single underscores may stand between them.
fn digits(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    if !bytes.get(start).is_some_and(u8::is_ascii_digit) {
        return start;
    }
    while let Some(next) = next_group(bytes, end, u8::is_ascii_digit) {
        end = next;
    }
    end
}

/// Joins names and dashes that touch each other: `val-loss`, `top-5`.
///
/// A run that ends in a dash stays as it is. The token that ends a run is not looked at as the beginning of another
/// one, so `not a-b` is a subtraction: that is how the platform reads it.
fn join_names<'t>(text: &'t str, tokens: &[Token<'t>]) -> Vec<Token<'t>> {
    let mut joined = Vec::with_capacity(tokens.len());
    let mut rest = tokens;
    while let [first, after @ ..] = rest {
        rest = after;
        if first.kind != Kind::Name {
            joined.push(*first);
            continue;
        }
        let mut run = 1;
        for token in after {
            let touches = token.start == tokens_end(first, after, run);
            let is_digits =
                token.kind == Kind::Number && token.text.bytes().all(|byte| byte.is_ascii_digit());
            if !touches || !(token.kind == Kind::Name || token.is("-") || is_digits) {
                break;
            }
            run += 1;
        }
        let last = if run == 1 { first } else { &after[run - 2] };
        if run == 1 || last.kind == Kind::Operator {
            joined.push(*first);
            joined.extend_from_slice(&after[..run - 1]);
        } else {
            joined.push(Token {
                kind: Kind::JoinedName,
                text: &text[first.start..last.end()],
                start: first.start,
            });
        }
        // The token that ended the run is passed on unseen.
        rest = &after[run - 1..];
        if let [ended, after @ ..] = rest {
            joined.push(*ended);
            rest = after;
        }
    }
    joined
}

/// Where a run of so many tokens ends.
fn tokens_end(first: &Token<'_>, after: &[Token<'_>], run: usize) -> usize {
    if run == 1 {
        first.end()
    } else {
        after[run - 2].end()
    }
}
