//! A gate: a place in a step's script where its program tells the test that it is there, and waits until it may go on.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{FileType, Mode, mknodat};

use super::{PATIENCE, kill};

/// Two named pipes: by one the program tells, by the other it is told.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    here: File,
    go: File,
}

impl Gate {
    /// A gate with its pipes at `path` and beside it.
    pub(super) fn new(path: &Path) -> Self {
        let open = |end: &str| {
            let path = path.with_extension(end);
            let everyone =
                Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
            mknodat(rustix::fs::CWD, &path, FileType::Fifo, everyone, 0)
                .expect("a pipe can be made");
            // For both ways, so that neither side waits for the other to open its end, and what was written waits in the pipe.
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .expect("a pipe can be opened")
        };
        Self {
            here: open("here"),
            go: open("go"),
            path: path.to_path_buf(),
        }
    }

    /// The shell line of the gate, for a step's script.
    pub fn line(&self) -> String {
        let path = self.path.display();
        format!("echo > {path}.here; read -r _ < {path}.go")
    }

    /// Waits until a program stands at the gate.
    pub fn wait(&mut self) {
        let came = kill::ended(self.here.as_fd(), Instant::now() + PATIENCE);
        assert!(came, "no program comes to the gate {}", self.path.display());
        self.here.read_exact(&mut [0]).expect("a pipe can be read");
    }

    /// Lets one program through, now or when it comes.
    pub fn open(&mut self) {
        self.go.write_all(b"\n").expect("a pipe can be written");
    }
}
