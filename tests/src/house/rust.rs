//! Just enough of Rust's grammar to tell code from comments and text.

/// The source with comments and the contents of string and character literals made blank. Lines stay where they are.
pub(super) fn code(source: &str) -> String {
    let mut rest = source;
    let mut out = String::with_capacity(source.len());
    while let Some(first) = rest.chars().next() {
        let (length, blank) = token(rest, first, out.chars().next_back());
        let (taken, after) = rest.split_at(length);
        if blank {
            out.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            out.push_str(taken);
        }
        rest = after;
    }
    out
}

/// The length in bytes of what `rest` begins with, and whether it is to be made blank.
fn token(rest: &str, first: char, previous: Option<char>) -> (usize, bool) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), true);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), true);
    }
    let starts_a_word = previous.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    if starts_a_word && let Some(length) = raw_string(rest) {
        return (length, true);
    }
    match first {
        '"' => (quoted(rest, '"'), true),
        '\'' if is_character(rest) => (quoted(rest, '\''), true),
        other => (other.len_utf8(), false),
    }
}

/// The length of a block comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"` and so on, if there is one.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"]
        .into_iter()
        .find(|prefix| rest.starts_with(prefix))?;
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then(|| {
        let start = prefix.len() + hashes + 1;
        let end = format!("\"{}", "#".repeat(hashes));
        rest[start..]
            .find(&end)
            .map_or(rest.len(), |at| start + at + end.len())
    })
}

/// The length of a literal that ends with `quote`, where a backslash takes the next character with it.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// Whether this quote begins a character and not a lifetime.
fn is_character(rest: &str) -> bool {
    let mut after = rest.chars().skip(1);
    match after.next() {
        Some('\\') => true,
        Some(_) => after.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(source: &str, expected: Expect) {
        expected.assert_eq(&code(source));
    }

    #[test]
    fn comments_are_blank() {
        check(
            "a // b\nc /* d /* e\n */ f */ g",
            expect![["a     \nc          \n         g"]],
        );
    }

    #[test]
    fn text_is_blank_and_what_follows_is_not() {
        check(r#"a("b\"c", d)"#, expect!["a(      , d)"]);
        check(
            r##"a(r#"b"c"#, br"\", d)"##,
            expect!["a(        ,      , d)"],
        );
        check("for_r\"x\" y", expect!["for_r    y"]);
    }

    #[test]
    fn a_lifetime_is_no_character() {
        check(
            "fn f<'a>(x: &'a str) { '\"'; '\\''; 'é'; tokio }",
            expect!["fn f<'a>(x: &'a str) {    ;     ;    ; tokio }"],
        );
    }

    #[test]
    fn the_length_in_lines_stays() {
        let source = include_str!("rust.rs");
        assert_eq!(code(source).lines().count(), source.lines().count());
    }
}
