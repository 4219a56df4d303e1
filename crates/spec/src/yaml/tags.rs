//! Directives, anchors, aliases and tags.

use super::Fault;
use super::cursor::{Cursor, Mark, is_blank_or_end, is_break_or_end};
use super::token::{Directive, Kind, Token};

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

/// A space, a line break or the end: what ends most words here. A tab does not.
fn ends_word(character: char) -> bool {
    character == ' ' || is_break_or_end(character)
}

/// `&name` or `*name`.
pub(super) fn anchor(cursor: &mut Cursor) -> Result<Token, Fault> {
    let start = cursor.mark();
    let is_alias = cursor.peek() == '*';
    cursor.advance();
    let name = cursor.take_while(is_name);
    let next = cursor.peek();
    if name.is_empty() || !(is_blank_or_end(next) || "?:,]}%@`".contains(next)) {
        let what = if is_alias {
            "an alias (`*`)"
        } else {
            "an anchor (`&`)"
        };
        return Err(Fault::new(
            format!("the name of {what} is letters, digits, `-` and `_`"),
            cursor.mark(),
        )
        .hint("a value that begins with `*` or `&` belongs in quotes"));
    }
    let kind = if is_alias {
        Kind::Alias(name)
    } else {
        Kind::Anchor(name)
    };
    Ok(Token {
        kind,
        start,
        end: cursor.mark(),
    })
}

/// `!`, `!name`, `!!name`, `!handle!name` or `!<uri>`.
pub(super) fn tag(cursor: &mut Cursor) -> Result<Token, Fault> {
    let start = cursor.mark();
    let next = cursor.peek_at(1);
    let (handle, suffix) = if next == '<' {
        cursor.advance_by(2);
        let suffix = uri(cursor)?;
        if cursor.peek() != '>' {
            return Err(Fault::new(
                "a tag that begins with `!<` ends with `>`",
                cursor.mark(),
            ));
        }
        cursor.advance();
        (None, suffix)
    } else if is_blank_or_end(next) {
        cursor.advance();
        (None, "!".to_owned())
    } else {
        let named = (1..)
            .map(|ahead| cursor.peek_at(ahead))
            .take_while(|&c| !ends_word(c))
            .any(|c| c == '!');
        let handle = if named {
            handle(cursor)?
        } else {
            cursor.advance();
            "!".to_owned()
        };
        (Some(handle), uri(cursor)?)
    };
    if !ends_word(cursor.peek()) {
        return Err(Fault::new("a space is expected after a tag", cursor.mark())
            .hint("a value that begins with `!` belongs in quotes"));
    }
    Ok(Token {
        kind: Kind::Tag(handle, suffix),
        start,
        end: cursor.mark(),
    })
}

/// `!`, `!!` or `!name!`.
fn handle(cursor: &mut Cursor) -> Result<String, Fault> {
    let wrong = |mark: Mark| Fault::new("a `!` is expected here", mark);
    if cursor.peek() != '!' {
        return Err(wrong(cursor.mark()));
    }
    cursor.advance();
    if cursor.peek() == ' ' {
        return Ok("!".to_owned());
    }
    let name = cursor.take_while(is_name);
    if cursor.peek() != '!' {
        return Err(wrong(cursor.mark()));
    }
    cursor.advance();
    Ok(format!("!{name}!"))
}

fn uri(cursor: &mut Cursor) -> Result<String, Fault> {
    let mut bytes = Vec::new();
    let start = cursor.mark();
    loop {
        match cursor.peek() {
            '%' => bytes.push(uri_escape(cursor)?),
            c if c.is_ascii_alphanumeric() || "-;/?:@&=+$,_.!~*'()[]".contains(c) => {
                bytes.push(c as u8);
                cursor.advance();
            }
            _ if bytes.is_empty() => {
                return Err(Fault::new("the name of a tag is missing", cursor.mark()));
            }
            _ => break,
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| Fault::new("the `%` escapes of the tag are not UTF-8", start))
}

fn uri_escape(cursor: &mut Cursor) -> Result<u8, Fault> {
    cursor.advance();
    match (cursor.peek().to_digit(16), cursor.peek_at(1).to_digit(16)) {
        (Some(high), Some(low)) => {
            cursor.advance_by(2);
            Ok((high * 16 + low) as u8)
        }
        _ => Err(Fault::new(
            "two hexadecimal digits are expected after `%`",
            cursor.mark(),
        )),
    }
}

/// A line that begins with `%`, up to and with its break.
pub(super) fn directive(cursor: &mut Cursor) -> Result<Token, Fault> {
    let start = cursor.mark();
    cursor.advance();
    let name = cursor.take_while(is_name);
    if name.is_empty() || !ends_word(cursor.peek()) {
        return Err(Fault::new(
            "the name of a directive is letters, digits, `-` and `_`",
            cursor.mark(),
        )
        .hint("a value that begins with `%` belongs in quotes"));
    }
    let directive = match name.as_str() {
        "YAML" => Directive::Yaml(version(cursor)?),
        "TAG" => {
            cursor.skip_spaces();
            let handle = handle(cursor)?;
            if cursor.peek() != ' ' {
                return Err(Fault::new("a space is expected here", cursor.mark()));
            }
            cursor.skip_spaces();
            let prefix = uri(cursor)?;
            if !ends_word(cursor.peek()) {
                return Err(Fault::new("a space is expected here", cursor.mark()));
            }
            Directive::Tag(handle, prefix)
        }
        _ => {
            cursor.take_while(|character| !is_break_or_end(character));
            Directive::Unknown
        }
    };
    let end = cursor.mark();
    cursor.skip_spaces();
    cursor.skip_comment();
    if !is_break_or_end(cursor.peek()) {
        return Err(Fault::new(
            "only a comment can stand after a directive",
            cursor.mark(),
        ));
    }
    cursor.take_break();
    Ok(Token {
        kind: Kind::Directive(directive),
        start,
        end,
    })
}

/// `1.1`, of which the major version is returned.
fn version(cursor: &mut Cursor) -> Result<String, Fault> {
    cursor.skip_spaces();
    let digits = |cursor: &mut Cursor| {
        let digits = cursor.take_while(|character| character.is_ascii_digit());
        if digits.is_empty() {
            Err(Fault::new("a version is expected here", cursor.mark()))
        } else {
            Ok(digits)
        }
    };
    let major = digits(cursor)?;
    if cursor.peek() != '.' {
        return Err(Fault::new("a `.` is expected here", cursor.mark()));
    }
    cursor.advance();
    digits(cursor)?;
    if !ends_word(cursor.peek()) {
        return Err(Fault::new("a space is expected here", cursor.mark()));
    }
    Ok(major)
}
