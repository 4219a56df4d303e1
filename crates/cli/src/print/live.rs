//! A text that is shown again and again: on a terminal in its own place, elsewhere one below the other.

use console::Term;

use crate::Failure;
use crate::commands::write_out;

/// Where it is shown.
pub(crate) struct Screen {
    terminal: Option<Term>,
    /// Lines of the last text that still stand there.
    standing: usize,
    shown: bool,
}

impl Screen {
    /// Standard output.
    pub(crate) fn new() -> Self {
        let terminal = Some(Term::stdout()).filter(Term::is_term);
        Self {
            terminal,
            standing: 0,
            shown: false,
        }
    }

    /// Whether it is a terminal, where what was shown is replaced.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Columns of the terminal; none where it is none.
    pub(crate) fn width(&self) -> Option<usize> {
        self.terminal
            .as_ref()
            .map(|terminal| terminal.size().1.into())
    }

    /// Shows a text in the place of the one before. What is too long for the terminal is left out below.
    ///
    /// # Errors
    /// When standard output takes nothing.
    pub(crate) fn show(&mut self, text: &str) -> Result<(), Failure> {
        let Some(terminal) = &self.terminal else {
            let apart = if self.shown { "\n" } else { "" };
            self.shown = true;
            return write_out(format!("{apart}{text}").as_bytes());
        };
        let (rows, columns) = terminal.size();
        let lines = text
            .lines()
            .take(usize::from(rows).saturating_sub(1).max(1));
        let lines: Vec<_> = lines
            .map(|line| console::truncate_str(line, columns.into(), "…"))
            .collect();
        // A terminal that cannot go back shows one below the other.
        drop(terminal.clear_last_lines(self.standing));
        self.standing = lines.len();
        write_out(format!("{}\n", lines.join("\n")).as_bytes())
    }
}
