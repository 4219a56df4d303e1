//! What changed when: each subject once, at its last change.

use std::fmt;
use std::sync::Arc;

use imbl::OrdSet;

/// Something that changes and is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A pipeline.
    Pipeline {
        /// Its project.
        project: Arc<str>,
        /// Its number.
        number: i64,
    },
    /// An execution.
    Execution {
        /// Its project.
        project: Arc<str>,
        /// Its number.
        number: i64,
    },
    /// A worker: what it is, which attempts it has, or which of them should stop.
    Worker(Arc<str>),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipeline { project, number } => write!(f, "pipeline {project}/{number}"),
            Self::Execution { project, number } => write!(f, "execution {project}#{number}"),
            Self::Worker(name) => write!(f, "worker {name}"),
        }
    }
}

/// Subjects in the order of their last change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The raft index of the last change leads, so that a range of revisions is a range of the set.
    order: OrdSet<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    revision: u64,
    /// None comes before all subjects of its revision.
    subject: Option<Subject>,
}

impl Changes {
    /// Moves a subject from the revision it last changed at (0: never) to a new one.
    pub(crate) fn record(&mut self, subject: Subject, last: u64, revision: u64) {
        if last == revision {
            return;
        }
        let mut change = Change {
            revision: last,
            subject: Some(subject),
        };
        if last != 0 {
            self.order.remove(&change);
        }
        change.revision = revision;
        self.order.insert(change);
    }

    /// Subjects whose last change came after `revision`, in the order of those changes.
    pub(crate) fn since(&self, revision: u64) -> impl DoubleEndedIterator<Item = (u64, &Subject)> {
        let first = Change {
            revision: revision.saturating_add(1),
            subject: None,
        };
        let changes = self.order.range(first..);
        changes.filter_map(|change| Some((change.revision, change.subject.as_ref()?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }
}
