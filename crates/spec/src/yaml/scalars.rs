//! Texts: plain, quoted, and blocks.

use super::Fault;
use super::cursor::{Cursor, END, Mark, is_blank_or_end, is_break, is_break_or_end};
use super::token::{Kind, Token};

fn scalar(text: String, plain: bool, start: Mark, end: Mark) -> Token {
    Token {
        kind: Kind::Scalar(text, plain),
        start,
        end,
    }
}

/// A text without quotes. It may go on over lines that are indented deeper than the block it stands in.
///
/// Says too whether the last thing that was taken is a line break, after which a key may stand.
pub(super) fn plain(cursor: &mut Cursor, indent: isize, in_brackets: bool) -> (Token, bool) {
    let start = cursor.mark();
    let mut end = start;
    let mut text = String::new();
    let mut gap = String::new();
    let mut ended_line = false;
    while cursor.peek() != '#' {
        let before = cursor.mark().index;
        while !ends_plain(cursor, in_brackets) {
            if cursor.mark().index == before {
                text.push_str(&gap);
            }
            text.push(cursor.peek());
            cursor.advance();
        }
        if cursor.mark().index == before {
            break;
        }
        end = cursor.mark();
        (gap, ended_line) = plain_gap(cursor);
        if gap.is_empty() || (!in_brackets && cursor.column() < indent + 1) {
            break;
        }
    }
    (scalar(text, true, start, end), ended_line)
}

fn ends_plain(cursor: &Cursor, in_brackets: bool) -> bool {
    let (character, next) = (cursor.peek(), cursor.peek_at(1));
    is_blank_or_end(character)
        || (character == ':' && (is_blank_or_end(next) || (in_brackets && ",[]{}".contains(next))))
        || (in_brackets && ",?[]{}".contains(character))
}

/// What stands between two words of a plain text: spaces as they are, or line breaks, folded. Empty: nothing that
/// could go on. And whether there was a line break.
fn plain_gap(cursor: &mut Cursor) -> (String, bool) {
    let spaces = cursor.take_while(|character| character == ' ');
    let Some(first) = cursor.take_break() else {
        return (spaces, false);
    };
    let mut breaks = String::new();
    loop {
        // Only right after a break can a marker stand; after spaces it is text.
        if cursor.column() == 0 && cursor.at_document_marker() {
            return (String::new(), true);
        }
        cursor.skip_spaces();
        match cursor.take_break() {
            Some(more) => breaks.push(more),
            None => return (fold(first, breaks), true),
        }
    }
}

/// One break is a space, each further one is itself.
fn fold(first: char, breaks: String) -> String {
    match (first, breaks.is_empty()) {
        ('\n', true) => " ".to_owned(),
        ('\n', false) => breaks,
        (separator, _) => format!("{separator}{breaks}"),
    }
}

/// A text in single or double quotes.
pub(super) fn quoted(cursor: &mut Cursor) -> Result<Token, Fault> {
    let start = cursor.mark();
    let quote = cursor.peek();
    cursor.advance();
    let mut text = String::new();
    loop {
        quoted_words(cursor, quote, &mut text)?;
        if cursor.peek() == quote {
            break;
        }
        quoted_gap(cursor, start, &mut text)?;
    }
    cursor.advance();
    Ok(scalar(text, false, start, cursor.mark()))
}

/// Takes all up to the closing quote, a blank or the end.
fn quoted_words(cursor: &mut Cursor, quote: char, text: &mut String) -> Result<(), Fault> {
    loop {
        match cursor.peek() {
            '\'' if quote == '\'' && cursor.peek_at(1) == '\'' => {
                text.push('\'');
                cursor.advance_by(2);
            }
            '\\' if quote == '"' => escape(cursor, text)?,
            character if character == quote || is_blank_or_end(character) => return Ok(()),
            character => {
                text.push(character);
                cursor.advance();
            }
        }
    }
}

/// What stands between two words of a quoted text: blanks as they are, or line breaks, folded.
fn quoted_gap(cursor: &mut Cursor, start: Mark, text: &mut String) -> Result<(), Fault> {
    let blanks = cursor.take_while(|character| matches!(character, ' ' | '\t'));
    if cursor.peek() == END {
        return Err(
            Fault::new("the file ends inside a quoted text", cursor.mark()).hint(format!(
                "the quote that opens on line {}, column {} is never closed",
                start.line + 1,
                start.column + 1
            )),
        );
    }
    match cursor.take_break() {
        None => text.push_str(&blanks),
        Some(first) => {
            let breaks = quoted_breaks(cursor)?;
            text.push_str(&fold(first, breaks));
        }
    }
    Ok(())
}

fn quoted_breaks(cursor: &mut Cursor) -> Result<String, Fault> {
    let mut breaks = String::new();
    loop {
        if cursor.at_document_marker() {
            return Err(Fault::new(
                "a document marker stands inside a quoted text",
                cursor.mark(),
            )
            .hint("a quote before it is not closed"));
        }
        cursor.take_while(|character| matches!(character, ' ' | '\t'));
        match cursor.take_break() {
            Some(more) => breaks.push(more),
            None => return Ok(breaks),
        }
    }
}

/// Takes what begins with a backslash in double quotes.
fn escape(cursor: &mut Cursor, text: &mut String) -> Result<(), Fault> {
    cursor.advance();
    let character = cursor.peek();
    let plain = match character {
        '0' => '\0',
        'a' => '\x07',
        'b' => '\x08',
        't' | '\t' => '\t',
        'n' => '\n',
        'v' => '\x0b',
        'f' => '\x0c',
        'r' => '\r',
        'e' => '\x1b',
        ' ' | '"' | '\\' | '/' => character,
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        'x' => return hexadecimal(cursor, 2, text),
        'u' => return hexadecimal(cursor, 4, text),
        'U' => return hexadecimal(cursor, 8, text),
        other if is_break(other) => {
            cursor.take_break();
            let breaks = quoted_breaks(cursor)?;
            text.push_str(&breaks);
            return Ok(());
        }
        other => {
            return Err(Fault::new(
                format!("`\\{other}` means nothing in double quotes"),
                cursor.mark(),
            )
            .hint("write `\\\\` for a backslash, or use single quotes"));
        }
    };
    text.push(plain);
    cursor.advance();
    Ok(())
}

fn hexadecimal(cursor: &mut Cursor, digits: usize, text: &mut String) -> Result<(), Fault> {
    cursor.advance();
    let start = cursor.mark();
    let mut code = 0;
    for ahead in 0..digits {
        let Some(digit) = cursor.peek_at(ahead).to_digit(16) else {
            return Err(Fault::new(
                format!("{digits} hexadecimal digits are expected here"),
                start,
            ));
        };
        code = code * 16 + digit;
    }
    let Some(character) = char::from_u32(code) else {
        return Err(Fault::new("there is no such character", start));
    };
    text.push(character);
    cursor.advance_by(digits);
    Ok(())
}

/// What becomes of the line breaks at the end of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomping {
    /// One stays.
    Clip,
    /// None stays (`-`).
    Strip,
    /// All stay (`+`).
    Keep,
}

/// A block after `|` (as it is) or `>` (folded), indented deeper than the block it stands in.
pub(super) fn block(cursor: &mut Cursor, outer_indent: isize) -> Result<Token, Fault> {
    let start = cursor.mark();
    let folded = cursor.peek() == '>';
    cursor.advance();
    let (chomping, increment) = block_header(cursor)?;

    let least = (outer_indent + 1).max(1);
    let (indent, mut breaks, mut end) = match increment {
        Some(increment) => {
            let indent = least + increment - 1;
            let (breaks, end) = block_breaks(cursor, indent);
            (indent, breaks, end)
        }
        None => {
            let (deepest, breaks, end) = block_first_breaks(cursor);
            (least.max(deepest), breaks, end)
        }
    };

    let mut text = String::new();
    let mut line_break = None;
    while cursor.column() == indent && cursor.peek() != END {
        text.push_str(&breaks);
        let indented_deeper = matches!(cursor.peek(), ' ' | '\t');
        text.push_str(&cursor.take_while(|character| !is_break_or_end(character)));
        line_break = cursor.take_break();
        (breaks, end) = block_breaks(cursor, indent);
        if cursor.column() != indent || cursor.peek() == END {
            break;
        }
        let folds = folded
            && line_break == Some('\n')
            && !indented_deeper
            && !matches!(cursor.peek(), ' ' | '\t');
        match line_break {
            Some(_) if folds && breaks.is_empty() => text.push(' '),
            Some(_) if folds => {}
            Some(kept) => text.push(kept),
            None => {}
        }
    }
    if chomping != Chomping::Strip {
        text.extend(line_break);
    }
    if chomping == Chomping::Keep {
        text.push_str(&breaks);
    }
    Ok(scalar(text, false, start, end))
}

/// The rest of the line of a `|` or `>`: how it ends, how deep it is indented, a comment.
fn block_header(cursor: &mut Cursor) -> Result<(Chomping, Option<isize>), Fault> {
    let mut chomping = block_chomping(cursor);
    let increment = block_increment(cursor)?;
    if chomping.is_none() && increment.is_some() {
        chomping = block_chomping(cursor);
    }
    let at_word_end = cursor.peek() == ' ' || is_break_or_end(cursor.peek());
    if at_word_end {
        cursor.skip_spaces();
        cursor.skip_comment();
    }
    if !is_break_or_end(cursor.peek()) {
        return Err(Fault::new("only a comment can stand after `|` or `>`", cursor.mark())
            .hint("the text begins on the next line; a plain value that begins with `|` or `>` belongs in quotes"));
    }
    cursor.take_break();
    Ok((chomping.unwrap_or(Chomping::Clip), increment))
}

fn block_chomping(cursor: &mut Cursor) -> Option<Chomping> {
    let chomping = match cursor.peek() {
        '+' => Chomping::Keep,
        '-' => Chomping::Strip,
        _ => return None,
    };
    cursor.advance();
    Some(chomping)
}

fn block_increment(cursor: &mut Cursor) -> Result<Option<isize>, Fault> {
    match cursor.peek().to_digit(10) {
        None => Ok(None),
        Some(0) => Err(Fault::new(
            "a block is indented by 1 to 9 columns, not 0",
            cursor.mark(),
        )),
        Some(digit) => {
            cursor.advance();
            Ok(Some(digit as isize))
        }
    }
}

/// The empty lines before the first line of a block, and the deepest column among them and it.
fn block_first_breaks(cursor: &mut Cursor) -> (isize, String, Mark) {
    let mut breaks = String::new();
    let mut deepest = 0;
    let mut end = cursor.mark();
    loop {
        if let Some(line_break) = cursor.take_break() {
            breaks.push(line_break);
            end = cursor.mark();
        } else if cursor.peek() == ' ' {
            cursor.advance();
            deepest = deepest.max(cursor.column());
        } else {
            return (deepest, breaks, end);
        }
    }
}

/// The empty lines before the next line of a block, whose indentation is taken too.
fn block_breaks(cursor: &mut Cursor, indent: isize) -> (String, Mark) {
    let mut breaks = String::new();
    let mut end = cursor.mark();
    loop {
        while cursor.column() < indent && cursor.peek() == ' ' {
            cursor.advance();
        }
        match cursor.take_break() {
            Some(line_break) => {
                breaks.push(line_break);
                end = cursor.mark();
            }
            None => return (breaks, end),
        }
    }
}
