//! A refusal on its way out: its reason decides the code and the details, in one exhaustive match each.

use std::collections::HashMap;
use std::time::Duration;

use contract::api::ErrorReason;
use coordinator::Refusal;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every reason, as in the `google.rpc.ErrorInfo` of each error.
pub const DOMAIN: &str = "shoal.run";

/// Where the pages about reasons are: in the repository this program is built from.
const PAGES: &str = "docs/errors";

/// How long a caller should wait before it asks again, where asking again makes sense.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// The gRPC code of a reason.
pub fn code(reason: ErrorReason) -> Code {
    use ErrorReason as R;
    match reason {
        R::InvalidField
        | R::InvalidConfig
        | R::NotExecutable
        | R::InvalidLaunch
        | R::InvalidPageToken
        | R::DigestMismatch => Code::InvalidArgument,
        R::ResourceNotFound => Code::NotFound,
        R::RequestIdReused => Code::AlreadyExists,
        R::BlobMissing | R::StateForbids | R::DuplicateWorker => Code::FailedPrecondition,
        R::BlobLost => Code::DataLoss,
        R::StaleFence | R::StaleIncarnation => Code::Aborted,
        R::NotLeader | R::OutcomeUnknown | R::NoQuorum | R::NotReady => Code::Unavailable,
        R::PastEnd | R::RevisionCompacted => Code::OutOfRange,
        R::LimitExceeded | R::DiskFull => Code::ResourceExhausted,
        R::Unauthenticated => Code::Unauthenticated,
        R::NotPermitted | R::JoinDenied => Code::PermissionDenied,
        R::InternalFault | R::Unspecified => Code::Internal,
    }
}

/// The status of a refusal, with everything a program may want to read as details.
pub fn status(refusal: Refusal) -> Status {
    let reason = match refusal.reason {
        ErrorReason::Unspecified => ErrorReason::InternalFault,
        reason => reason,
    };
    let mut details = ErrorDetails::new();
    let metadata: HashMap<String, String> = refusal
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    add_detail(&mut details, reason, &refusal);
    details.set_error_info(name(reason), DOMAIN, metadata);
    details.add_help_link(name(reason), format!("{PAGES}/{}.md", name(reason)));
    Status::with_error_details(code(reason), refusal.message, details)
}

/// The detail that fits the reason, beside `ErrorInfo` and `Help`.
fn add_detail(details: &mut ErrorDetails, reason: ErrorReason, refusal: &Refusal) {
    use ErrorReason as R;
    for violation in &refusal.violations {
        details.add_bad_request_violation(&violation.field, &violation.description);
    }
    let about = |key: &str| refusal.metadata.get(key).cloned().unwrap_or_default();
    match reason {
        R::ResourceNotFound | R::RequestIdReused => {
            details.set_resource_info(
                kind_of(&about("resource")),
                about("resource"),
                "",
                &refusal.message,
            );
        }
        R::BlobMissing => {
            details.add_precondition_failure_violation(
                "MISSING",
                about("resource"),
                &refusal.message,
            );
        }
        R::StateForbids => {
            details.add_precondition_failure_violation(
                "STATE",
                about("resource"),
                &refusal.message,
            );
        }
        R::LimitExceeded | R::DiskFull => {
            details.add_quota_failure_violation(about("resource"), &refusal.message);
            details.set_retry_info(Some(RETRY_DELAY));
        }
        R::NotLeader | R::OutcomeUnknown | R::NoQuorum | R::NotReady => {
            details.set_retry_info(Some(RETRY_DELAY));
        }
        R::InvalidField
        | R::InvalidConfig
        | R::NotExecutable
        | R::InvalidLaunch
        | R::InvalidPageToken
        | R::DigestMismatch
        | R::BlobLost
        | R::StaleFence
        | R::StaleIncarnation
        | R::DuplicateWorker
        | R::PastEnd
        | R::RevisionCompacted
        | R::Unauthenticated
        | R::NotPermitted
        | R::JoinDenied
        | R::InternalFault
        | R::Unspecified => {}
    }
}

/// The reason as it stands in `ErrorInfo` and names its page: the enum value's own name.
fn name(reason: ErrorReason) -> &'static str {
    reason.as_str_name()
}

/// The kind of a named resource: the collection it lies in.
fn kind_of(resource: &str) -> &str {
    resource.rsplit('/').nth(1).unwrap_or("request")
}

/// Reads back a refusal from a status, for the ends of Shoal that speak to each other (worker to coordinator, worker to
/// worker). A status that no server of Shoal made becomes the reason that its code suggests.
pub fn refusal(status: &Status) -> Refusal {
    let details = status.get_error_details();
    let info = details.error_info();
    let reason = info
        .filter(|info| info.domain == DOMAIN)
        .and_then(|info| ErrorReason::from_str_name(&info.reason))
        .unwrap_or_else(|| reason_of(status.code()));
    let mut refusal = Refusal::new(reason, status.message());
    if let Some(info) = info {
        refusal.metadata.extend(info.metadata.clone());
    }
    for violation in details
        .bad_request()
        .iter()
        .flat_map(|bad| &bad.field_violations)
    {
        refusal = refusal.violation(&violation.field, &violation.description);
    }
    refusal
}

/// What a bare code means.
fn reason_of(code: Code) -> ErrorReason {
    use ErrorReason as R;
    match code {
        Code::InvalidArgument => R::InvalidField,
        Code::NotFound => R::ResourceNotFound,
        Code::AlreadyExists => R::RequestIdReused,
        Code::FailedPrecondition => R::StateForbids,
        Code::DataLoss => R::BlobLost,
        Code::Aborted => R::StaleFence,
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => R::NotReady,
        Code::OutOfRange => R::PastEnd,
        Code::ResourceExhausted => R::LimitExceeded,
        Code::PermissionDenied => R::NotPermitted,
        Code::Unauthenticated => R::Unauthenticated,
        Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal => R::InternalFault,
    }
}

/// Every reason that a server gives.
pub fn reasons() -> impl Iterator<Item = ErrorReason> {
    (1..).map_while(|number| ErrorReason::try_from(number).ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_way_out_and_back() {
        for reason in reasons() {
            let before = Refusal::new(reason, "words")
                .with("resource", "projects/a/executions/7")
                .violation("field[2]", "is bad");
            let status = status(before.clone());
            assert_eq!(status.code(), code(reason));
            assert_eq!(refusal(&status), before);
            let help = status.get_details_help().unwrap();
            assert!(
                help.links[0]
                    .url
                    .ends_with(&format!("/{}.md", reason.as_str_name())),
                "{reason:?}"
            );
        }
        assert_eq!(
            reasons().count(),
            26,
            "a new reason needs its code, its page and this number"
        );
    }

    #[test]
    fn each_kind_of_error_carries_the_detail_that_fits() {
        let of = |reason| {
            status(Refusal::new(reason, "words").with("resource", "projects/a/executions/7"))
                .get_error_details()
        };
        assert_eq!(
            of(ErrorReason::ResourceNotFound)
                .resource_info()
                .unwrap()
                .resource_type,
            "executions"
        );
        let missing = of(ErrorReason::BlobMissing);
        assert_eq!(
            missing.precondition_failure().unwrap().violations[0].r#type,
            "MISSING"
        );
        assert!(of(ErrorReason::DiskFull).quota_failure().is_some());
        assert!(of(ErrorReason::DiskFull).retry_info().is_some());
        assert!(of(ErrorReason::NotLeader).retry_info().is_some());
        assert!(of(ErrorReason::InternalFault).retry_info().is_none());
    }

    #[test]
    fn a_status_of_a_stranger_is_read_by_its_code() {
        assert_eq!(
            refusal(&Status::new(Code::Unavailable, "connection reset")).reason,
            ErrorReason::NotReady
        );
        assert_eq!(
            refusal(&Status::new(Code::Unknown, "?")).reason,
            ErrorReason::InternalFault
        );
    }

    #[test]
    fn an_unspecified_reason_never_leaves() {
        assert_eq!(
            refusal(&status(Refusal::new(ErrorReason::Unspecified, "?"))).reason,
            ErrorReason::InternalFault
        );
    }
}
