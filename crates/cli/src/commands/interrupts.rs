//! Ctrl-C while something is watched: once says what the choices are, twice leaves. On a terminal, `c` then cancels.

use std::io::{BufRead as _, IsTerminal as _};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// What is watched.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// `pipeline` or `execution`.
    pub(super) what: &'static str,
    /// Its number in the project.
    pub(super) number: i64,
    /// Whether it runs on this machine for the sake of shoal commands.
    pub(super) embedded: bool,
}

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To know the choices.
    Choices,
    /// To leave; what is watched goes on.
    Leave,
    /// To cancel what is watched.
    Cancel,
}

/// Where wishes come from. One listener for the whole watch: a signal between two looks is not lost.
pub(super) struct Interrupts {
    signals: Signal,
    asked: bool,
    /// Lines typed since the first Ctrl-C.
    typed: Option<mpsc::Receiver<String>>,
}

impl Interrupts {
    /// Listens from now on: Ctrl-C does not end the program any more.
    ///
    /// # Errors
    /// When the system gives no way to listen.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            signals: signal(SignalKind::interrupt())?,
            asked: false,
            typed: None,
        })
    }

    /// Whether the user can type a wish.
    pub(super) fn typing(&self) -> bool {
        self.typed.is_some()
    }

    /// Waits for the next wish. May be dropped and called again without losing one.
    pub(super) async fn next(&mut self) -> Wish {
        loop {
            tokio::select! {
                signal = self.signals.recv() => match signal {
                    Some(()) if self.asked => return Wish::Leave,
                    Some(()) => {
                        self.asked = true;
                        self.typed = std::io::stdin().is_terminal().then(typed_lines);
                        return Wish::Choices;
                    }
                    // Without a way to be told there is nothing to wait for.
                    None => std::future::pending().await,
                },
                line = next_line(&mut self.typed) => {
                    if matches!(line.trim(), "c" | "C" | "cancel") {
                        return Wish::Cancel;
                    }
                }
            }
        }
    }
}

async fn next_line(typed: &mut Option<mpsc::Receiver<String>>) -> String {
    if let Some(lines) = typed
        && let Some(line) = lines.recv().await
    {
        return line;
    }
    std::future::pending().await
}

/// Lines of standard input. The thread that waits for them ends with the process: a read of a terminal cannot be called off.
fn typed_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The choices after the first Ctrl-C; whether lines are typed decides what they are.
pub(super) fn choices(subject: &Subject, typing: bool) -> String {
    let Subject { what, number, .. } = subject;
    let cancel = match typing {
        true => "  c and Enter   cancels it".to_owned(),
        false => format!("  to cancel it: shoal {what} cancel {number}"),
    };
    format!(
        "{what} #{number} has not ended\n  Ctrl-C again  leaves; {}\n{cancel}",
        goes_on(subject)
    )
}

/// What to know when leaving.
pub(super) fn farewell(subject: &Subject) -> String {
    let Subject { what, number, .. } = subject;
    format!(
        "left {what} #{number}: {}; `shoal {what} watch {number}` comes back to it",
        goes_on(subject)
    )
}

fn goes_on(subject: &Subject) -> &'static str {
    match (subject.embedded, subject.what) {
        (false, _) => "it goes on",
        (true, "pipeline") => "steps that run go on, the others wait for the next shoal command",
        (true, _) => "its program goes on",
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn words() {
        let subject = Subject {
            what: "pipeline",
            number: 3,
            embedded: true,
        };
        expect![[r#"
            pipeline #3 has not ended
              Ctrl-C again  leaves; steps that run go on, the others wait for the next shoal command
              to cancel it: shoal pipeline cancel 3"#]]
        .assert_eq(&choices(&subject, false));
        expect!["left execution #4: it goes on; `shoal execution watch 4` comes back to it"]
            .assert_eq(&farewell(&Subject {
                what: "execution",
                number: 4,
                embedded: false,
            }));
    }
}
