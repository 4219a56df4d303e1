//! What the engine says, as people are told.

use bollard::errors::Error;

/// The engine's own words, without the client's around them.
pub(super) fn of(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } | Error::DockerContainerWaitError { error, .. } => {
            error.trim().to_owned()
        }
        Error::HyperLegacyError { .. } | Error::IOError { .. } | Error::SocketNotFoundError(_) => {
            format!("the container engine cannot be reached: {}", deepest(error))
        }
        other => deepest(other),
    }
}

/// What lies at the bottom of it.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// There is no such thing.
pub(super) fn is_missing(error: &Error) -> bool {
    status(error) == Some(404)
}

/// Something of that name is there, or in the way.
pub(super) fn is_conflict(error: &Error) -> bool {
    status(error) == Some(409)
}

/// The engine did not answer at all.
pub(super) fn is_silent(error: &Error) -> bool {
    matches!(
        error,
        Error::HyperLegacyError { .. }
            | Error::HyperResponseError { .. }
            | Error::IOError { .. }
            | Error::SocketNotFoundError(_)
            | Error::RequestTimeoutError
    )
}

fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
