//! The words of a command that needs no shell, for images that have none.

/// Splits a script of one plain command into its words, as a shell would; quotes are taken off.
///
/// # Errors
/// What in it only a shell can do, in words for people.
pub(super) fn split(script: &str) -> Result<Vec<String>, String> {
    let mut lines = script.lines().filter(|line| !line.trim().is_empty());
    let line = lines.next().unwrap_or_default();
    if lines.next().is_some() {
        return Err("it has several lines".to_owned());
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                take_quoted(&mut letters, word, '\'')?;
            }
            '"' => {
                let word = word.get_or_insert_default();
                take_quoted(&mut letters, word, '"')?;
            }
            '\\' => match letters.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("it ends with a backslash".to_owned()),
            },
            '~' | '#' if word.is_none() => return Err(of(letter)),
            '=' if words.is_empty() => return Err("it sets a variable".to_owned()),
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '[' | '{' | '}' => {
                return Err(of(letter));
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

fn take_quoted(
    letters: &mut std::str::Chars<'_>,
    word: &mut String,
    quote: char,
) -> Result<(), String> {
    while let Some(letter) = letters.next() {
        match letter {
            letter if letter == quote => return Ok(()),
            '$' | '`' if quote == '"' => return Err(of(letter)),
            '\\' if quote == '"' => match letters.next() {
                Some(next @ ('"' | '\\' | '$' | '`')) => word.push(next),
                Some(next) => word.extend(['\\', next]),
                None => break,
            },
            letter => word.push(letter),
        }
    }
    Err("a quote is not closed".to_owned())
}

fn of(letter: char) -> String {
    format!("it has a `{letter}`")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        let table: [(&str, &[&str]); 6] = [
            ("/train --epochs=5 'a b'", &["/train", "--epochs=5", "a b"]),
            ("\n  /a\tb  \n", &["/a", "b"]),
            (r#"a "b \" \c" ''"#, &["a", r#"b " \c"#, ""]),
            (r"a b\ c 'it'\''s'", &["a", "b c", "it's"]),
            ("a b#c d~", &["a", "b#c", "d~"]),
            ("", &[]),
        ];
        for (script, expected) in table {
            assert_eq!(split(script).unwrap(), expected, "{script}");
        }
    }

    #[test]
    fn what_only_a_shell_can_do_is_named() {
        let table = [
            ("a\nb", "it has several lines"),
            ("a | b", "it has a `|`"),
            ("a $HOME", "it has a `$`"),
            ("a \"$HOME\"", "it has a `$`"),
            ("A=b c", "it sets a variable"),
            ("a *.csv", "it has a `*`"),
            ("cd ~", "it has a `~`"),
            ("a 'b", "a quote is not closed"),
            ("a \\", "it ends with a backslash"),
        ];
        for (script, expected) in table {
            assert_eq!(split(script).unwrap_err(), expected, "{script}");
        }
    }
}
