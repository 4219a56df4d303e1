//! How a command ends: its exit code, and an error that has a kind, a reason and a hint.

use std::fmt;
use std::process::ExitCode;

use client::Kind;
use serde_json::{Value, json};

use crate::args::Format;
use crate::print::{self, escape};

/// How a command ends. The numbers are part of the command line's contract; `shoal --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Done,
    /// What was run failed, or what was checked is invalid.
    Failed,
    /// The arguments make no sense.
    Usage,
    /// What was run was stopped.
    Stopped,
    /// The other end is not who it should be; nothing was said to it.
    Untrusted,
    /// The cluster refused, or cannot be reached.
    Refused,
    /// The user left with Ctrl-C.
    Left,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Stopped | Self::Untrusted => 3,
            Self::Refused => 4,
            Self::Left => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command could not be done.
#[derive(Debug, Clone)]
pub struct Failure {
    kind: &'static str,
    reason: Option<&'static str>,
    message: String,
    details: Vec<(String, String)>,
    /// Whether people have seen the details in another form.
    shown: bool,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// A failure of the command itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            kind: "command",
            reason: None,
            message: message.into(),
            details: Vec::new(),
            shown: false,
            hint: None,
            exit: Exit::Failed,
        }
    }

    /// Arguments that make no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            kind: "usage",
            exit: Exit::Usage,
            ..Self::new(message)
        }
    }

    /// The other end is not who it should be.
    pub fn untrusted(message: impl Into<String>) -> Self {
        Self {
            kind: "untrusted",
            exit: Exit::Untrusted,
            ..Self::new(message)
        }
    }

    /// Nothing has run here, so what is asked for cannot be there.
    pub fn nothing_here(message: impl Into<String>) -> Self {
        Self {
            kind: Kind::NotFound.as_str(),
            exit: Exit::Refused,
            ..Self::new(message)
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says all that is wrong, each with its place.
    #[must_use]
    pub fn details(mut self, details: impl IntoIterator<Item = (String, String)>) -> Self {
        self.details = details.into_iter().collect();
        self
    }

    /// Says whether people have seen the details already.
    #[must_use]
    pub fn shown_already(mut self, shown: bool) -> Self {
        self.shown = shown;
        self
    }

    /// The exit code that goes with it.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    fn json(&self) -> Value {
        let details: Vec<Value> = self
            .details
            .iter()
            .map(|(place, what)| json!({"place": place, "message": what}))
            .collect();
        json!({"error": {
            "kind": self.kind,
            "reason": self.reason,
            "message": self.message,
            "details": details,
            "hint": self.hint,
        }})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.message.lines();
        writeln!(
            f,
            "error: {}",
            escape::for_line(lines.next().unwrap_or_default())
        )?;
        for line in lines {
            writeln!(f, "  {}", escape::for_line(line))?;
        }
        // One that the message says already is not said twice.
        let news = self
            .details
            .iter()
            .filter(|(_, what)| !self.shown && !self.message.contains(what.as_str()));
        for (place, what) in news {
            writeln!(
                f,
                "  {}: {}",
                escape::for_line(place),
                escape::for_line(what)
            )?;
        }
        if let Some(reason) = self.reason {
            writeln!(f, "  reason: {reason}")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "  hint: {}", escape::for_line(hint))?;
        }
        Ok(())
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self {
            kind: error.kind.as_str(),
            reason: error.reason_name(),
            details: error
                .violations
                .iter()
                .map(|violation| (violation.field.clone(), violation.description.clone()))
                .collect(),
            shown: false,
            hint: error.hint,
            exit: match error.kind {
                // The cluster says so, but it is what was typed that is wrong.
                Kind::Invalid => Exit::Usage,
                Kind::Local => Exit::Failed,
                _ => Exit::Refused,
            },
            message: error.message,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<crate::launch::Malformed> for Failure {
    fn from(error: crate::launch::Malformed) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<clap::Error> for Failure {
    /// The words of the argument parser without its frame, for programs; people get them as they are.
    fn from(error: clap::Error) -> Self {
        let text = error.to_string();
        let mut parts = text.trim().splitn(2, "\n\n");
        let message = parts.next().unwrap_or_default();
        let lines: Vec<&str> = message.lines().map(str::trim).collect();
        let failure = Self::usage(lines.join(" ").trim_start_matches("error: "));
        let tip = parts.next().and_then(|rest| {
            rest.lines()
                .find_map(|line| line.trim().strip_prefix("tip: "))
        });
        match tip {
            Some(tip) => failure.hint(tip),
            None => failure,
        }
    }
}

/// Says what went wrong, on standard error: in words, or as one JSON object.
pub(crate) fn print(failure: &Failure, format: Format) {
    match format {
        Format::Human => print::tell(&failure.to_string()),
        Format::Json => print::tell(&format!("{}\n", failure.json())),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_people_see() {
        let details = [
            ("config:3:5", "`epochs`: bad"),
            ("config:9:5", "\x1b]0;evil\x07"),
        ];
        let details = details.map(|(place, what)| (place.to_owned(), what.to_owned()));
        let failure = Failure::new("train: `epochs`: bad\nand another")
            .details(details)
            .hint("try `shoal lint`");
        expect![[r#"
            error: train: `epochs`: bad
              and another
              config:9:5: \u{1b}]0;evil\u{7}
              hint: try `shoal lint`
        "#]]
        .assert_eq(&failure.to_string());
    }

    #[test]
    fn what_programs_see() {
        let failure = Failure::usage("x").details([("a.yaml:1:2".to_owned(), "bad".to_owned())]);
        expect![[r#"{"error":{"kind":"usage","reason":null,"message":"x","details":[{"place":"a.yaml:1:2","message":"bad"}],"hint":null}}"#]]
            .assert_eq(&failure.json().to_string());
    }

    #[test]
    fn exit_codes_of_kinds() {
        for (kind, exit) in [
            (Kind::Invalid, 2),
            (Kind::Local, 1),
            (Kind::NotFound, 4),
            (Kind::Unavailable, 4),
            (Kind::Forbidden, 4),
        ] {
            let failure = Failure::from(client::Error::new(kind, "x"));
            assert_eq!(failure.exit().code(), exit, "{kind:?}");
        }
    }
}
