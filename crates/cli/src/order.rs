//! Options wherever they stand: `shoal execution run train --lr=0.1 --detach`.
//!
//! What follows the name of a step is free, `--lr=0.1` may be a parameter of anything, so to clap all that comes after the first of
//! them is free as well. Here the options that a command knows are put in front of the free ones. One that a parameter shares its
//! name with is the option; `--param NAME=VALUE` reaches the parameter.

use std::ffi::OsString;

use clap::{Arg, Command};

/// The same arguments, with the options that the command knows before those that only the step or pipeline knows.
pub fn options_first(
    command: &mut Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    command.build();
    let mut arguments = arguments.into_iter().peekable();
    let mut ordered: Vec<OsString> = arguments.next().into_iter().collect();
    let mut current: &Command = command;
    while let Some(argument) = arguments
        .next_if(|argument| !takes_free(current) || current.find_subcommand(argument).is_some())
    {
        if let Some(below) = current.find_subcommand(&argument) {
            current = below;
        }
        ordered.push(argument);
    }
    let mut free = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            free.push(argument);
            break;
        }
        match option(current, &argument) {
            Known::Alone => ordered.push(argument),
            Known::WithNext => {
                ordered.extend([Some(argument), arguments.next()].into_iter().flatten())
            }
            Known::Not => {
                let is_named = argument
                    .to_str()
                    .is_some_and(|text| text.starts_with("--") && !text.contains('='));
                free.push(argument);
                // Its value may look like an option: `--offset -4`.
                let value = |next: &OsString| {
                    let is_long = next.to_str().is_some_and(|text| text.starts_with("--"));
                    is_named && !is_long && matches!(option(current, next), Known::Not)
                };
                free.extend(arguments.next_if(value));
            }
        }
    }
    ordered.into_iter().chain(free).chain(arguments).collect()
}

/// Whether a command takes arguments of any name.
fn takes_free(command: &Command) -> bool {
    command
        .get_positionals()
        .any(Arg::is_allow_hyphen_values_set)
}

/// What an argument is to a command.
enum Known {
    /// Nothing it knows.
    Not,
    /// An option, whole.
    Alone,
    /// An option whose value comes next.
    WithNext,
}

fn option(command: &Command, argument: &OsString) -> Known {
    let text = argument.to_string_lossy();
    let (found, is_whole) = if let Some(long) = text.strip_prefix("--") {
        let (name, value) = long
            .split_once('=')
            .map_or((long, None), |(name, value)| (name, Some(value)));
        let found = command.get_arguments().find(|known| {
            known
                .get_long_and_visible_aliases()
                .unwrap_or_default()
                .contains(&name)
        });
        (found, value.is_some())
    } else if let Some(short) = text.strip_prefix('-').and_then(|rest| rest.chars().next()) {
        let found = command.get_arguments().find(|known| {
            known
                .get_short_and_visible_aliases()
                .unwrap_or_default()
                .contains(&short)
        });
        (found, text.chars().count() > 2)
    } else {
        (None, true)
    };
    match found {
        None => Known::Not,
        Some(known) if known.get_action().takes_values() && !is_whole => Known::WithNext,
        Some(_) => Known::Alone,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    fn check(given: &str, expected: &str) {
        let arguments = given.split(' ').map(OsString::from);
        let ordered = options_first(&mut Cli::command(), arguments);
        let ordered: Vec<_> = ordered
            .iter()
            .map(|argument| argument.to_string_lossy())
            .collect();
        assert_eq!(ordered.join(" "), expected);
    }

    #[test]
    fn options_come_before_what_is_free() {
        check(
            "shoal execution run train --lr=0.1 -d",
            "shoal execution run -d train --lr=0.1",
        );
        check(
            "shoal -o json exec run train --lr 0.1 --env A=1 --rows=x --param b=2 -p c=3 --title=t",
            "shoal -o json exec run --env A=1 --param b=2 -p c=3 --title=t train --lr 0.1 --rows=x",
        );
        check(
            "shoal pipeline run p --train.lr=1 -o json --fast --cluster a:1 --detach",
            "shoal pipeline run -o json --cluster a:1 --detach p --train.lr=1 --fast",
        );
    }

    #[test]
    fn values_that_look_like_options_stay_with_their_names() {
        check(
            "shoal execution run s --offset -4 -d",
            "shoal execution run -d s --offset -4",
        );
        check(
            "shoal execution run s --fast -d",
            "shoal execution run -d s --fast",
        );
        check(
            "shoal execution run s --a=1 -- --title x",
            "shoal execution run s --a=1 -- --title x",
        );
        check(
            "shoal execution run s --word run --lr=1",
            "shoal execution run s --word run --lr=1",
        );
    }

    #[test]
    fn other_commands_stay_as_they_are() {
        check("shoal", "shoal");
        check(
            "shoal execution logs 3 --tail 5 -F",
            "shoal execution logs 3 --tail 5 -F",
        );
        check(
            "shoal worker --coordinator a:1 --data-dir d",
            "shoal worker --coordinator a:1 --data-dir d",
        );
        check("shoal nonsense --lr=1 -d", "shoal nonsense --lr=1 -d");
    }
}
