//! Parameters and inputs on the command line: `--lr=0.1`, `--train.epochs 5`, `--tags+=new`, `--param lr=0.1`, `--input data=URI`.
//!
//! Only the form is read here. Whether a name exists, and whether it is a parameter or an input, the step or pipeline decides.

use std::fmt;

/// One thing that was given by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its name, as typed: `lr` or `train.lr`.
    pub name: String,
    /// Its value, as typed.
    pub value: String,
    /// Whether `+=` was used.
    pub append: bool,
}

/// What cannot be read as a named value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

/// Reads the free arguments after the name of a step or pipeline.
///
/// `--name=value`, `--name value`, `--name+=value`; a `--name` that nothing follows, or another option follows, is the flag `true`.
///
/// # Errors
/// When an argument is not of that form.
pub fn free(arguments: &[String]) -> Result<Vec<Given>, Malformed> {
    let mut given = Vec::new();
    let mut arguments = arguments.iter().peekable();
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.strip_prefix("--").filter(|text| !text.is_empty()) else {
            return Err(Malformed(format!(
                "unexpected argument {argument:?}; parameters and inputs are given as --NAME=VALUE"
            )));
        };
        if text.contains('=') {
            given.push(assignment(text)?);
            continue;
        }
        let value = match arguments.peek() {
            Some(next) if !next.starts_with("--") => arguments.next().cloned().unwrap_or_default(),
            _ => "true".to_owned(),
        };
        given.push(Given {
            name: text.to_owned(),
            value,
            append: false,
        });
    }
    Ok(given)
}

/// Reads `name=value` or `name+=value`.
///
/// # Errors
/// When there is no `=` or no name.
pub fn assignment(text: &str) -> Result<Given, Malformed> {
    let malformed = || Malformed(format!("expected NAME=VALUE, got {text:?}"));
    let (name, value) = text.split_once('=').ok_or_else(malformed)?;
    let (name, append) = match name.strip_suffix('+') {
        Some(name) => (name, true),
        None => (name, false),
    };
    if name.is_empty() {
        return Err(malformed());
    }
    Ok(Given {
        name: name.to_owned(),
        value: value.to_owned(),
        append,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(arguments: &[&str], expected: &[(&str, &str, bool)]) {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let given = free(&arguments).unwrap();
        let given: Vec<_> = given
            .iter()
            .map(|given| (given.name.as_str(), given.value.as_str(), given.append))
            .collect();
        assert_eq!(given, expected);
    }

    #[test]
    fn forms() {
        check(&[], &[]);
        check(&["--lr=0.1"], &[("lr", "0.1", false)]);
        check(
            &["--lr", "0.1", "--train.epochs", "-5"],
            &[("lr", "0.1", false), ("train.epochs", "-5", false)],
        );
        check(&["--tags+=a=b"], &[("tags", "a=b", true)]);
        check(
            &["--fast", "--lr="],
            &[("fast", "true", false), ("lr", "", false)],
        );
        check(&["--data", "s3://b/x"], &[("data", "s3://b/x", false)]);
    }

    #[test]
    fn what_is_no_option_is_refused() {
        assert!(
            free(&["lr=0.1".to_owned()])
                .unwrap_err()
                .to_string()
                .contains("--NAME=VALUE")
        );
        assert!(assignment("=1").is_err());
        assert!(assignment("a").is_err());
    }
}
