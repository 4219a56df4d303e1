//! A terminal that shows nothing of what is typed: an echoed `^C` would shift the rows of the board.

use std::io;

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// While this is there, keys are not echoed and come one by one. Ctrl-C and its like still are signals.
pub struct Silent {
    before: Termios,
}

impl Silent {
    /// Silences the terminal that standard input is; none where it is none, or belongs to another program just now.
    pub fn take() -> Option<Self> {
        let input = io::stdin();
        // Who changes a terminal from the background is stopped by the system.
        if tcgetpgrp(&input).ok()? != getpgrp() {
            return None;
        }
        let before = tcgetattr(&input).ok()?;
        let mut modes = before.clone();
        modes
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON);
        tcsetattr(&input, OptionalActions::Now, &modes).ok()?;
        Some(Self { before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        tcsetattr(io::stdin(), OptionalActions::Now, &self.before).ok();
    }
}
