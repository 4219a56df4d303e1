//! What went wrong, as a kind to branch on, a reason to tell apart, and words with a hint for people.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use contract::api::ErrorReason;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The domain of reasons that mean ours.
const DOMAIN: &str = "shoal.run";

/// What sort of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The request is at fault.
    Invalid,
    /// What it names does not exist.
    NotFound,
    /// What it would make exists, or its request id was used for something else.
    Exists,
    /// The state of things does not allow it.
    Forbidden,
    /// It was overtaken by something newer.
    Aborted,
    /// A limit was reached.
    Exhausted,
    /// The cluster could not be reached, or could not answer, in time.
    Unavailable,
    /// It asks for what lies past an end or before a beginning.
    OutOfRange,
    /// Bytes are gone or damaged.
    DataLoss,
    /// The caller may not do it.
    Denied,
    /// A file or stream of this machine failed.
    Local,
    /// A fault of Shoal itself.
    Internal,
}

impl Kind {
    /// The kind as one lower-case word, for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::Forbidden => "forbidden",
            Self::Aborted => "aborted",
            Self::Exhausted => "exhausted",
            Self::Unavailable => "unavailable",
            Self::OutOfRange => "out_of_range",
            Self::DataLoss => "data_loss",
            Self::Denied => "denied",
            Self::Local => "local",
            Self::Internal => "internal",
        }
    }
}

/// One bad field of a request, or one bad place of the file it carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, or `config:LINE:COLUMN`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What sort of failure it is.
    pub kind: Kind,
    /// The server's reason; nothing when no server of Shoal gave one, or one that this version does not know.
    pub reason: Option<ErrorReason>,
    /// What is wrong, for people.
    pub message: String,
    /// Every bad field or place.
    pub violations: Vec<Violation>,
    /// Everything dynamic in the message, for programs.
    pub metadata: BTreeMap<String, String>,
    /// What to do about it, for people.
    pub hint: Option<String>,
    /// How long to wait before asking again, when the server said so.
    pub retry_delay: Option<Duration>,
    /// Whether asking again with the same request id may help.
    pub(crate) repeatable: bool,
}

impl Error {
    /// An error that no server told.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            reason: None,
            message: message.into(),
            violations: Vec::new(),
            metadata: BTreeMap::new(),
            hint: None,
            retry_delay: None,
            repeatable: kind == Kind::Unavailable,
        }
    }

    /// The same with words about what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The name of the reason as programs know it (`RESOURCE_NOT_FOUND`), if there is one.
    pub fn reason_name(&self) -> Option<&'static str> {
        self.reason.map(|reason| reason.as_str_name())
    }
}

impl From<Status> for Error {
    /// Reads the details of a status. A status that the transport made up because the connection broke has a source and no
    /// details; it says nothing about the call and may be repeated.
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let reason = info.and_then(|info| ErrorReason::from_str_name(&info.reason));
        let broken = info.is_none() && status.source().is_some();
        if broken && let Some(why) = pki::handshake_refused(&status) {
            return Self::new(Kind::Denied, why);
        }
        let kind = if broken {
            Kind::Unavailable
        } else {
            kind(status.code())
        };
        let violations = details
            .bad_request()
            .into_iter()
            .flat_map(|bad| &bad.field_violations);
        let message = match (status.message(), broken) {
            ("", _) => status.code().description().to_owned(),
            (message, true) => format!("the connection failed: {message}"),
            (message, false) => message.to_owned(),
        };
        Self {
            kind,
            reason,
            message,
            violations: violations
                .map(|violation| Violation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                })
                .collect(),
            metadata: info
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
            hint: reason.and_then(hint).map(str::to_owned),
            retry_delay: details.retry_info().and_then(|info| info.retry_delay),
            repeatable: kind == Kind::Unavailable,
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(Kind::Local, error.to_string())
    }
}

/// The kind of a code: the inverse of what servers do.
fn kind(code: Code) -> Kind {
    match code {
        Code::InvalidArgument => Kind::Invalid,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::Exists,
        Code::FailedPrecondition => Kind::Forbidden,
        Code::Aborted => Kind::Aborted,
        Code::ResourceExhausted => Kind::Exhausted,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Kind::Unavailable,
        Code::OutOfRange => Kind::OutOfRange,
        Code::DataLoss => Kind::DataLoss,
        Code::PermissionDenied | Code::Unauthenticated => Kind::Denied,
        Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal => Kind::Internal,
    }
}

/// What a person can do about a reason.
fn hint(reason: ErrorReason) -> Option<&'static str> {
    use ErrorReason as R;
    Some(match reason {
        R::InvalidField => "correct the named fields of the request",
        R::InvalidConfig => "correct the file; `shoal lint` shows the same places",
        R::NotExecutable => {
            "remove what this version does not run, or run a part of the file without it"
        }
        R::InvalidLaunch => "give what the step needs with --param or --input",
        R::ResourceNotFound => {
            "look for its number with `shoal pipeline list` or `shoal execution list`"
        }
        R::RequestIdReused => "use a new request id for a new request",
        R::BlobMissing => "store the blob with BlobService.WriteBlob first",
        R::DigestMismatch => "send the bytes again",
        R::BlobLost => "run the execution again that made it, or bring back a worker that has it",
        R::StateForbids => "look at its state first",
        R::DuplicateWorker => "stop one of the two daemons",
        R::StaleFence | R::StaleIncarnation => "a newer one has taken over; nothing is to be done",
        R::NotLeader | R::OutcomeUnknown => "repeat the request with the same request id",
        R::NoQuorum => "bring back a majority of the coordinators",
        R::NotReady => "wait a little and try again",
        R::PastEnd => "start at an earlier place",
        R::RevisionCompacted => "start again without a revision",
        R::InvalidPageToken => {
            "start again without a page token, or leave the other fields as they were"
        }
        R::LimitExceeded => "ask for less at a time",
        R::DiskFull => "make room on the disk of the node",
        R::Unauthenticated => {
            "ask an administrator for a token, then `shoal login ADDRESS --token TOKEN`"
        }
        R::NotPermitted => "have somebody do it whose role allows it",
        R::JoinDenied => "create a new token with `shoal token create`; each lets one in, once",
        R::InternalFault => "this is a fault of Shoal; please report it with the node's log",
        R::Unspecified => return None,
    })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_hint() {
        let reasons: Vec<_> = (1..)
            .map_while(|number| ErrorReason::try_from(number).ok())
            .collect();
        assert_eq!(reasons.len(), 26);
        for reason in reasons {
            assert!(hint(reason).is_some(), "{reason:?}");
        }
    }

    #[test]
    fn only_unavailability_is_repeated() {
        assert!(Error::from(Status::unavailable("x")).repeatable);
        assert!(!Error::from(Status::aborted("x")).repeatable);
        assert!(!Error::from(Status::unknown("x")).repeatable);
        let broken = Status::from_error(Box::new(std::io::Error::other("reset")));
        assert!(Error::from(broken).repeatable);
    }
}
