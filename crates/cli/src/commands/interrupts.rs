//! Ctrl-C while something is watched: once says what the choices are, twice leaves. On a terminal, the key `c` then cancels.

use std::io::Read as _;

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
    /// Whether keys can be pressed.
    takes_keys: bool,
    /// Keys pressed since the first Ctrl-C.
    keys: Option<mpsc::Receiver<u8>>,
}

impl Interrupts {
    /// Listens from now on: Ctrl-C does not end the program any more.
    ///
    /// # Errors
    /// When the system gives no way to listen.
    pub(super) fn listen(takes_keys: bool) -> std::io::Result<Self> {
        Ok(Self {
            signals: signal(SignalKind::interrupt())?,
            asked: false,
            takes_keys,
            keys: None,
        })
    }

    /// Waits for the next wish. May be dropped and called again without losing one.
    pub(super) async fn next(&mut self) -> Wish {
        loop {
            tokio::select! {
                signal = self.signals.recv() => match signal {
                    Some(()) if self.asked => return Wish::Leave,
                    Some(()) => {
                        self.asked = true;
                        self.keys = self.takes_keys.then(pressed);
                        return Wish::Choices;
                    }
                    // Without a way to be told there is nothing to wait for.
                    None => std::future::pending().await,
                },
                key = next_key(&mut self.keys) => if matches!(key, b'c' | b'C') {
                    return Wish::Cancel;
                },
            }
        }
    }
}

async fn next_key(keys: &mut Option<mpsc::Receiver<u8>>) -> u8 {
    if let Some(keys) = keys
        && let Some(key) = keys.recv().await
    {
        return key;
    }
    std::future::pending().await
}

/// Keys as they are pressed. The thread that waits for them ends with the process: a read of a terminal cannot be called off.
fn pressed() -> mpsc::Receiver<u8> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for key in std::io::stdin().lock().bytes().map_while(Result::ok) {
            if sender.blocking_send(key).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The choices after the first Ctrl-C; whether keys can be pressed decides what they are.
pub(super) fn choices(subject: &Subject, takes_keys: bool) -> String {
    let Subject { what, number, .. } = subject;
    let cancel = match takes_keys {
        true => "  c             cancels it".to_owned(),
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
        (true, "pipeline") => "what runs goes on, the rest waits for a shoal command",
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
              Ctrl-C again  leaves; what runs goes on, the rest waits for a shoal command
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
