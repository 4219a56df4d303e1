//! Text from programs on a terminal: colours and progress bars pass, everything else that could command the terminal is shown, not obeyed.

/// Makes bytes of a program's output safe for a terminal. UTF-8 text, tabs, line ends, carriage returns and colour sequences
/// (`ESC [ … m`) pass; other control characters, other escape sequences and broken UTF-8 are written out as `\x1b` and the like.
pub fn for_terminal(bytes: &[u8]) -> String {
    let mut safe = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        push_text(&mut safe, chunk.valid());
        for byte in chunk.invalid() {
            safe.push_str(&format!("\\x{byte:02x}"));
        }
    }
    safe
}

/// The same for one line of a table or a message: nothing passes that moves the cursor.
pub fn for_line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

fn push_text(safe: &mut String, text: &str) {
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if character == '\x1b'
            && let Some(length) = colour(rest)
        {
            safe.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        match character {
            '\t' | '\n' | '\r' => safe.push(character),
            _ if character.is_control() => {
                safe.push_str(&format!("\\x{:02x}", u32::from(character)))
            }
            _ => safe.push(character),
        }
        rest = &rest[character.len_utf8()..];
    }
}

/// Length of the colour sequence at the start of a text, if there is one.
fn colour(text: &str) -> Option<usize> {
    let body = text.strip_prefix("\x1b[")?;
    let end =
        body.find(|letter: char| !(letter.is_ascii_digit() || letter == ';' || letter == ':'))?;
    body[end..].starts_with('m').then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_and_what_is_shown() {
        for (bytes, expected) in [
            (&b"plain \xc3\xa4\n"[..], "plain \u{e4}\n"),
            (b"50%\r100%\r\n", "50%\r100%\r\n"),
            (b"\x1b[31;1mred\x1b[0m", "\x1b[31;1mred\x1b[0m"),
            (b"\x1b]52;c;ZXZpbA==\x07", "\\x1b]52;c;ZXZpbA==\\x07"),
            (b"\x1b[2J", "\\x1b[2J"),
            (b"\x1b[", "\\x1b["),
            (b"a\xff\xfeb\0", "a\\xff\\xfeb\\x00"),
            ("\u{9b}2J".as_bytes(), "\\x9b2J"),
        ] {
            assert_eq!(for_terminal(bytes), expected);
        }
        assert_eq!(for_line("a\nb\x1b[m"), "a\\nb\\u{1b}[m");
    }
}
