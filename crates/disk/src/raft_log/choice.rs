//! Which of the two logs a directory holds: what is there decides, a new one is a [`FileLog`] unless told otherwise.

use super::{FileLog, LogConfig, LogStore, SledLog, file_log, sled_log};
use crate::error::DiskError;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use tracing::warn;

/// What a Raft log is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// Plain files: [`FileLog`].
    File,
    /// sled: [`SledLog`].
    Sled,
}

impl LogKind {
    /// Of the log that a directory holds; none if it holds none.
    pub fn of(dir: &Path) -> Option<LogKind> {
        let has = |name: &str| dir.join(name).is_dir();
        match (has(file_log::SEGMENTS), has(sled_log::DATABASE)) {
            (true, false) => Some(LogKind::File),
            (false, true) => Some(LogKind::Sled),
            (false, false) => None,
            // Segments are never made beside sled; an older program, which knows only sled, may have looked for it here.
            (true, true) => {
                warn!(dir = %dir.display(), "there is a raft log in sled too, which is not used");
                Some(LogKind::File)
            }
        }
    }
}

impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogKind::File => "file",
            LogKind::Sled => "sled",
        })
    }
}

impl FromStr for LogKind {
    type Err = String;

    fn from_str(text: &str) -> Result<LogKind, String> {
        match text {
            "file" => Ok(LogKind::File),
            "sled" => Ok(LogKind::Sled),
            other => Err(format!(
                "{other:?} is no kind of raft log: there are file, sled"
            )),
        }
    }
}

/// Opens the log in a directory, creating it if there is none.
///
/// # Errors
/// When it is of another kind than asked for, in use, damaged, or cannot be read.
pub fn open(
    dir: &Path,
    asked: Option<LogKind>,
    config: LogConfig,
) -> Result<Box<dyn LogStore>, DiskError> {
    let kind = match (LogKind::of(dir), asked) {
        (Some(found), Some(asked)) if found != asked => {
            let why = format!(
                "{} holds a raft log of kind {found}, not {asked}. It stays what it is: leave the choice out, or replace this member \
                 by a new one with an empty directory",
                dir.display()
            );
            return Err(DiskError::Misuse(why));
        }
        (Some(found), _) => found,
        (None, asked) => asked.unwrap_or(LogKind::File),
    };
    Ok(match kind {
        LogKind::File => Box::new(FileLog::open(dir, config)?),
        LogKind::Sled => Box::new(SledLog::open(dir, config)?),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use raft::eraftpb::HardState;

    fn store(dir: &Path, asked: Option<LogKind>, term: u64) {
        let mut log = open(dir, asked, LogConfig::default()).unwrap();
        let hard_state = HardState {
            term,
            ..HardState::default()
        };
        log.append(&[], Some(&hard_state)).unwrap();
    }

    fn term(dir: &Path, asked: Option<LogKind>) -> u64 {
        let mut log = open(dir, asked, LogConfig::default()).unwrap();
        log.load().unwrap().hard_state.term
    }

    #[test]
    fn a_log_stays_what_it_was_made_as() {
        for (asked, kind) in [
            (None, LogKind::File),
            (Some(LogKind::File), LogKind::File),
            (Some(LogKind::Sled), LogKind::Sled),
        ] {
            let dir = tempfile::tempdir().unwrap();
            assert_eq!(LogKind::of(dir.path()), None);
            store(dir.path(), asked, 7);
            assert_eq!(LogKind::of(dir.path()), Some(kind));
            assert_eq!(term(dir.path(), None), 7);
            assert_eq!(term(dir.path(), Some(kind)), 7);
            let other = match kind {
                LogKind::File => LogKind::Sled,
                LogKind::Sled => LogKind::File,
            };
            let refused = open(dir.path(), Some(other), LogConfig::default());
            let refused = refused.err().unwrap().to_string();
            assert!(
                refused.contains(&format!("of kind {kind}, not {other}")),
                "{refused}"
            );
            assert_eq!(term(dir.path(), None), 7);
        }
    }

    #[test]
    fn an_older_program_that_looks_for_sled_finds_no_empty_log() {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path(), None, 7);
        let refused = SledLog::open(dir.path(), LogConfig::default())
            .and_then(|mut log| log.load())
            .unwrap_err();
        assert!(refused.to_string().contains("went back"), "{refused}");
        assert_eq!(term(dir.path(), None), 7);
    }

    #[test]
    fn kinds_are_named() {
        for kind in [LogKind::File, LogKind::Sled] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!(
            "rocks"
                .parse::<LogKind>()
                .unwrap_err()
                .contains("file, sled")
        );
    }
}
