//! How a command ends: its exit code, and an error that has a kind, a reason and a hint.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::args::Format;
use crate::print::escape;

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
            Self::Stopped => 3,
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
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// A failure of the command itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self { kind: "command", reason: None, message: message.into(), details: Vec::new(), hint: None, exit: Exit::Failed }
    }

    /// Arguments that make no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { kind: "usage", exit: Exit::Usage, ..Self::new(message) }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code that goes with it.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    fn json(&self) -> Value {
        let details: Vec<Value> =
            self.details.iter().map(|(place, what)| json!({"place": place, "message": what})).collect();
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
        writeln!(f, "error: {}", escape::for_line(lines.next().unwrap_or_default()))?;
        for line in lines {
            writeln!(f, "  {}", escape::for_line(line))?;
        }
        for (place, what) in &self.details {
            writeln!(f, "  {}: {}", escape::for_line(place), escape::for_line(what))?;
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
            message: error.message.clone(),
            details: error
                .violations
                .iter()
                .map(|violation| (violation.field.clone(), violation.description.clone()))
                .collect(),
            hint: error.hint.clone(),
            exit: Exit::Refused,
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

/// Says what went wrong, on standard error: in words, or as one JSON object.
pub(crate) fn print(failure: &Failure, format: Format) {
    let text = match format {
        Format::Human => failure.to_string(),
        Format::Json => format!("{}\n", failure.json()),
    };
    // There is nobody left to tell when standard error is closed.
    drop(std::io::stderr().write_all(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_people_see() {
        let failure = Failure::new("no such thing\nlooked in /tmp").hint("try `shoal lint`");
        expect![[r#"
            error: no such thing
              looked in /tmp
              hint: try `shoal lint`
        "#]]
        .assert_eq(&failure.to_string());
        expect![[r#"{"error":{"kind":"usage","reason":null,"message":"x","details":[],"hint":null}}"#]]
            .assert_eq(&Failure::usage("x").json().to_string());
    }
}
