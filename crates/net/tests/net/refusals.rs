//! Every reason from the host to the user and back: code, kind, details.

use client::{Kind, Violation};
use contract::api::{self, ErrorReason};
use coordinator::Refusal;

use crate::support::host::Host;
use crate::support::impatient;

fn request() -> api::CreatePipelineRequest {
    api::CreatePipelineRequest {
        parent: "projects/p".to_owned(),
        config: "x".into(),
        blueprint: "x".to_owned(),
        ..api::CreatePipelineRequest::default()
    }
}

fn kind(reason: ErrorReason) -> Kind {
    use ErrorReason as R;
    match reason {
        R::InvalidField | R::InvalidConfig | R::NotExecutable | R::InvalidLaunch => Kind::Invalid,
        R::InvalidPageToken | R::DigestMismatch => Kind::Invalid,
        R::ResourceNotFound => Kind::NotFound,
        R::RequestIdReused => Kind::Exists,
        R::BlobMissing | R::StateForbids | R::DuplicateWorker => Kind::Forbidden,
        R::BlobLost => Kind::DataLoss,
        R::StaleFence | R::StaleIncarnation => Kind::Aborted,
        R::NotLeader | R::OutcomeUnknown | R::NoQuorum | R::NotReady => Kind::Unavailable,
        R::PastEnd | R::RevisionCompacted => Kind::OutOfRange,
        R::LimitExceeded | R::DiskFull => Kind::Exhausted,
        R::Unauthenticated | R::NotPermitted | R::JoinDenied => Kind::Denied,
        R::InternalFault | R::Unspecified => Kind::Internal,
    }
}

#[tokio::test]
async fn every_reason_reaches_the_user_whole() {
    let host = Host::new();
    let server = host.serve().await;
    for reason in net::status::reasons() {
        host.answer(move |_| {
            Err(Refusal::new(reason, "words for people")
                .with("key", "value")
                .violation("config:3:7", "is bad"))
        });
        let error = impatient(&server.address)
            .create_pipeline(request())
            .await
            .unwrap_err();
        assert_eq!(error.reason, Some(reason));
        assert_eq!(error.kind, kind(reason), "{reason:?}");
        assert_eq!(error.message, "words for people");
        assert_eq!(error.metadata["key"], "value");
        let place = Violation {
            field: "config:3:7".to_owned(),
            description: "is bad".to_owned(),
        };
        assert_eq!(error.violations, [place]);
        assert!(error.hint.is_some(), "{reason:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_panic_fails_its_call_and_nothing_else() {
    let host = Host::new();
    let server = host.serve().await;
    let client = impatient(&server.address);
    host.answer(|_| panic!("on purpose"));
    let error = client.create_pipeline(request()).await.unwrap_err();
    assert_eq!(error.reason, Some(ErrorReason::InternalFault));
    client.get_cluster(api::GetClusterRequest {}).await.unwrap();
    server.stop().await;
}
