//! What a person gives when something is started, and the names that they type.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::command::nearest_hint;
use crate::nearest::nearest;
use crate::value::Value;

/// What is given at launch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Launch {
    /// Values: of a step's parameters by name; in a pipeline of pipeline parameters by name and of nodes' parameters by
    /// `node.name`. Later ones win.
    pub parameters: Vec<Assignment>,
    /// URIs of inputs by name, in a pipeline by `node.name`. They take the place of the defaults.
    pub inputs: BTreeMap<String, Vec<String>>,
    /// Environment variables beside those of the step. Only for a single step.
    pub environment_variables: BTreeMap<String, String>,
    /// The environment: instead of the step's for a single step, for nodes whose step names none in a pipeline.
    pub environment: Option<String>,
}

/// A value for a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The parameter's name, as in [`Launch::parameters`].
    pub name: String,
    /// The value; text is taken as the type of the parameter.
    pub value: Value,
    /// Whether the value is added to the default.
    pub append: bool,
}

/// Why an argument cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ArgumentSyntax {
    /// It does not begin with two dashes.
    #[error("`{0}` is not an argument; write `--name=value`")]
    NoDashes(String),
    /// There is nothing between the dashes and the value.
    #[error("`{0}` names no parameter; write `--name=value`")]
    NoName(String),
}

/// Reads `--name=value`, `--name+=value` and, for flags, `--name`. A name given several times has all its values as a list,
/// in their order; one `+=` among them adds all of them to the default.
///
/// # Errors
/// The first argument that is none.
pub fn read_arguments(arguments: &[String]) -> Result<Vec<Assignment>, ArgumentSyntax> {
    let mut assignments: Vec<Assignment> = Vec::new();
    for argument in arguments {
        let bare = argument
            .strip_prefix("--")
            .ok_or_else(|| ArgumentSyntax::NoDashes(argument.clone()))?;
        let (name, value) = match bare.split_once('=') {
            Some((name, text)) => (name, Value::Str(text.to_owned())),
            None => (bare, Value::Bool(true)),
        };
        let (name, append) = name
            .strip_suffix('+')
            .map_or((name, false), |name| (name, true));
        if name.is_empty() {
            return Err(ArgumentSyntax::NoName(argument.clone()));
        }
        match assignments
            .iter_mut()
            .find(|assignment| assignment.name == name)
        {
            Some(earlier) => {
                earlier.append |= append;
                earlier.value = match std::mem::take(&mut earlier.value) {
                    Value::List(mut items) => {
                        items.push(value);
                        Value::List(items)
                    }
                    single => Value::List(vec![single, value]),
                };
            }
            None => assignments.push(Assignment {
                name: name.to_owned(),
                value,
                append,
            }),
        }
    }
    Ok(assignments)
}

/// Why a name that was typed is not the name of something.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing begins like that.
    #[error("there is no {what} `{name}`{hint}{known}", hint = nearest_hint(.nearest), known = list_of("there are", .candidates))]
    Unknown {
        /// What was looked for: `step`, `pipeline`.
        what: &'static str,
        /// What was typed.
        name: String,
        /// What was perhaps meant.
        nearest: Option<String>,
        /// All there are, in the order of the file.
        candidates: Vec<String>,
    },
    /// Several things begin like that.
    #[error("`{name}` could be more than one {what}{list}", list = list_of("it begins", .candidates))]
    Ambiguous {
        /// What was looked for.
        what: &'static str,
        /// What was typed.
        name: String,
        /// All that it could be, in the order of the file.
        candidates: Vec<String>,
    },
}

fn list_of(verb: &str, names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("; {verb} {}", names.join(", "))
    }
}

/// The name that is meant: the one that is typed exactly, else the only one that begins like that, in any case.
///
/// `what` is said in the error: `step`, `pipeline`.
///
/// # Errors
/// None or several begin like that.
pub fn find_name<'n>(
    what: &'static str,
    typed: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<&'n str, NameError> {
    let names: Vec<&str> = names.into_iter().collect();
    let lower = typed.to_lowercase();
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    if let Some(exact) = names.iter().find(|name| **name == typed) {
        return Ok(exact);
    }
    let whole: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| name.to_lowercase() == lower)
        .collect();
    if let [only] = whole.as_slice() {
        return Ok(only);
    }
    let begun: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| name.to_lowercase().starts_with(&lower))
        .collect();
    match begun.as_slice() {
        [only] => Ok(only),
        [] => Err(NameError::Unknown {
            what,
            name: typed.to_owned(),
            nearest: nearest(typed, names.iter().copied()).map(str::to_owned),
            candidates: owned(&names),
        }),
        several => Err(NameError::Ambiguous {
            what,
            name: typed.to_owned(),
            candidates: owned(several),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_their_beginning() {
        let names = ["Train model", "train", "Evaluate", "evil"];
        let find = |typed: &str| find_name("step", typed, names).map_err(|error| error.to_string());
        assert_eq!(find("train"), Ok("train"));
        assert_eq!(find("TRAIN"), Ok("train"));
        assert_eq!(find("train m"), Ok("Train model"));
        assert_eq!(find("eva"), Ok("Evaluate"));
        assert_eq!(
            find("ev").unwrap_err(),
            "`ev` could be more than one step; it begins `Evaluate`, `evil`"
        );
        assert_eq!(
            find("trian").unwrap_err(),
            "there is no step `trian`; did you mean `train`?; there are `Train model`, `train`, `Evaluate`, `evil`"
        );
    }

    #[test]
    fn arguments_are_gathered_by_name() {
        let read = |arguments: &[&str]| {
            read_arguments(
                &arguments
                    .iter()
                    .map(|text| (*text).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        let text = |text: &str| Value::Str(text.to_owned());
        let assignment = |name: &str, value, append| Assignment {
            name: name.to_owned(),
            value,
            append,
        };
        assert_eq!(
            read(&[
                "--lr=0.1",
                "--n.size=1",
                "--fast",
                "--n.size=2",
                "--tag+=a=b",
                "--empty="
            ]),
            Ok(vec![
                assignment("lr", text("0.1"), false),
                assignment("n.size", Value::List(vec![text("1"), text("2")]), false),
                assignment("fast", Value::Bool(true), false),
                assignment("tag", text("a=b"), true),
                assignment("empty", text(""), false),
            ])
        );
        assert_eq!(
            read(&["lr=1"]),
            Err(ArgumentSyntax::NoDashes("lr=1".to_owned()))
        );
        assert_eq!(
            read(&["--=1"]),
            Err(ArgumentSyntax::NoName("--=1".to_owned()))
        );
        assert_eq!(
            read(&["--+=1"]),
            Err(ArgumentSyntax::NoName("--+=1".to_owned()))
        );
    }
}
