//! Feature levels: which rules count. A rule that a former version does not know counts only from a level on, and the level is raised by an entry of
//! the log once every member has said that it knows it (I-12). So members of two versions decide alike, and none goes back unnoticed.
//!
//! | level | since | what it brings |
//! | --- | --- | --- |
//! | 0 | 0.1.0 | a cluster whose level was never raised |
//! | 1 | 0.1.0 | levels themselves: members that do not know the cluster's are refused by name |
//! | 2 | 0.1.0 | priorities of executions and pipelines; starts that are promised |
//! | 3 | 0.1.0 | copies of blobs on record: a worker that leaves hands over what only it has; requests to drain are remembered |

use std::fmt;
use std::sync::Arc;

/// The highest feature level that this program knows.
pub const FEATURE_LEVEL: u32 = 3;

/// From which level on executions have priorities and may be promised their start.
pub const PRIORITIES: u32 = 2;

/// From which level on copies of blobs are recorded.
pub const COPIES: u32 = 3;

/// How much a program knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knows {
    /// The highest feature level.
    pub level: u32,
    /// Its version, for people.
    pub version: Arc<str>,
}

impl Knows {
    /// What a program of this version knows.
    pub fn all(version: &str) -> Self {
        Self {
            level: FEATURE_LEVEL,
            version: Arc::from(version),
        }
    }

    /// Checks that a program may take part in a cluster at this level.
    ///
    /// # Errors
    /// When it knows too little.
    pub fn check(&self, level: u32, raised_by: &str) -> Result<(), TooOld> {
        if level <= self.level {
            return Ok(());
        }
        Err(TooOld {
            level,
            raised_by: Arc::from(raised_by),
            knows: self.clone(),
        })
    }
}

/// A program that knows less than its cluster needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooOld {
    /// The cluster's feature level.
    pub level: u32,
    /// Version of the program that raised it.
    pub raised_by: Arc<str>,
    /// What the program knows.
    pub knows: Knows,
}

impl fmt::Display for TooOld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (level, raised_by) = (self.level, &self.raised_by);
        let Knows {
            level: knows,
            version,
        } = &self.knows;
        write!(
            f,
            "this cluster is at feature level {level}; this shoal ({version}) knows up to {knows}; use version {raised_by} or newer"
        )
    }
}

impl std::error::Error for TooOld {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_old_is_said_by_name() {
        let knows = Knows::all("0.1.0");
        assert_eq!(knows.check(FEATURE_LEVEL, "0.1.0"), Ok(()));
        let refused = knows.check(7, "0.9.0").map_err(|error| error.to_string());
        let words = format!(
            "this cluster is at feature level 7; this shoal (0.1.0) knows up to {FEATURE_LEVEL}; use version 0.9.0 or newer"
        );
        assert_eq!(refused, Err(words));
    }
}
