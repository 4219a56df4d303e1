//! Resource names, `projects/{project}/executions/{number}` and the like: read once at the border.

use crate::Refusal;

/// Longest name of a project, in bytes.
const MAX_PROJECT: usize = 63;

/// Longest name of a worker or a user, in bytes.
const MAX_PRINCIPAL: usize = 63;

/// Reads `projects/{project}`.
///
/// # Errors
/// `INVALID_FIELD` naming `field`, when the text has another form.
pub fn project(field: &str, text: &str) -> Result<String, Refusal> {
    let name = text.strip_prefix("projects/").ok_or_else(|| {
        Refusal::invalid_field(field, format!("expected projects/PROJECT, got {text:?}"))
    })?;
    check_project(field, name)?;
    Ok(name.to_owned())
}

/// Checks the name of a worker or a user.
///
/// # Errors
/// `INVALID_FIELD` naming `field`.
pub fn principal(field: &str, name: &str) -> Result<(), Refusal> {
    let good = !name.is_empty()
        && name.len() <= MAX_PRINCIPAL
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if good {
        return Ok(());
    }
    Err(Refusal::invalid_field(
        field,
        format!("expected 1 to {MAX_PRINCIPAL} of letters, digits, -, _ and .; got {name:?}"),
    ))
}

/// Reads `projects/{project}/{collection}/{number}`.
///
/// # Errors
/// `INVALID_FIELD` naming `field`, when the text has another form.
pub fn numbered(field: &str, text: &str, collection: &str) -> Result<(String, i64), Refusal> {
    let expected = || {
        Refusal::invalid_field(
            field,
            format!("expected projects/PROJECT/{collection}/NUMBER, got {text:?}"),
        )
    };
    let mut parts = text.split('/');
    let (Some("projects"), Some(name), Some(kind), Some(number), None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return Err(expected());
    };
    if kind != collection {
        return Err(expected());
    }
    check_project(field, name)?;
    let number = number
        .parse::<i64>()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(expected)?;
    Ok((name.to_owned(), number))
}

/// A project's name is 1 to 63 of `a-z`, `0-9` and `-`, starting with a letter.
fn check_project(field: &str, name: &str) -> Result<(), Refusal> {
    let good = name.len() <= MAX_PROJECT
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if good {
        return Ok(());
    }
    Err(Refusal::invalid_field(
        field,
        format!(
            "a project is named by 1 to {MAX_PROJECT} of a-z, 0-9 and -, starting with a letter; got {name:?}"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(
            project("parent", "projects/default"),
            Ok("default".to_owned())
        );
        assert_eq!(
            numbered("name", "projects/a-1/executions/42", "executions"),
            Ok(("a-1".to_owned(), 42))
        );
        for bad in [
            "",
            "default",
            "projects/",
            "projects/A",
            "projects/1a",
            "projects/a_b",
        ] {
            assert!(project("parent", bad).is_err(), "{bad}");
        }
        for bad in [
            "projects/a/pipelines/1",
            "projects/a/executions/0",
            "projects/a/executions/-1",
            "projects/a/executions/x",
            "projects/a/executions/1/2",
        ] {
            assert!(numbered("name", bad, "executions").is_err(), "{bad}");
        }
    }
}
