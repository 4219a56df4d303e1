//! A client and a group: it finds the leader through whoever answers, and tells fresh from old.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::{Client, Fixed, Options};
use contract::api::{self, Consistency, ErrorReason};
use coordinator::{Answer, Refusal, Request};

use super::support::host::Host;

fn client(address: &str, deadline: Duration) -> Client {
    let options = Options {
        deadline,
        ..Options::default()
    };
    Client::with_options(Fixed::one(address), options)
}

#[tokio::test]
async fn a_client_is_sent_on_to_the_leader_and_stays_there() {
    let (follower, leader) = (Host::new(), Host::new());
    let (at_follower, at_leader) = (follower.serve().await, leader.serve().await);
    let asked = Arc::new(AtomicUsize::new(0));
    follower.answer({
        let (asked, leader) = (asked.clone(), at_leader.address.clone());
        move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            Err(Refusal::new(ErrorReason::NotLeader, "ask the leader").with("leader", &leader))
        }
    });
    leader.answer(|request| match request {
        Request::RemoveMember { member_id, .. } => Ok(Answer::Member { member_id }),
        other => panic!("{other:?}"),
    });
    let client = client(&at_follower.address, Duration::from_secs(30));
    for _ in 0..3 {
        let request = api::RemoveMemberRequest {
            member_id: 2,
            ..Default::default()
        };
        client.remove_member(request).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    at_follower.stop().await;
    at_leader.stop().await;
}

#[tokio::test]
async fn without_a_majority_only_an_old_answer_is_given() {
    let host = Host::new();
    let server = host.serve().await;
    host.no_quorum.store(true, Ordering::Relaxed);
    let client = client(&server.address, Duration::from_millis(200));
    let get = |consistency: Consistency| api::GetWorkerRequest {
        name: "workers/w".to_owned(),
        consistency: consistency.into(),
    };
    let refused = client.get_worker(get(Consistency::Unspecified)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.reason, Some(ErrorReason::NoQuorum));
    assert!(refused.message.contains("tried for"), "{refused}");
    let old = client.get_worker(get(Consistency::Stale)).await.unwrap();
    assert_eq!(old.revision, 1);
    let list = api::ListWorkersRequest {
        consistency: Consistency::Stale.into(),
        ..Default::default()
    };
    assert_eq!(client.list_workers(list).await.unwrap().workers.len(), 1);
    // What is not known here may be known to others.
    let unknown = client.get_worker(api::GetWorkerRequest {
        name: "workers/nobody".to_owned(),
        consistency: Consistency::Stale.into(),
    });
    assert_eq!(
        unknown.await.unwrap_err().reason,
        Some(ErrorReason::ResourceNotFound)
    );
    server.stop().await;
}
