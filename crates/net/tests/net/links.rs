//! A worker's links: reports and desired states, feeds; and what happens when they break.

use std::sync::Arc;

use contract::api::ErrorReason;
use contract::link::{self, PushFeedRequest, SynchronizeRequest, SynchronizeResponse};
use coordinator::Refusal;
use net::ports::FeedKey;
use net::ports::FeedReader as _;
use net::{FeedLink, FeedLinkEvent, Link, LinkEvent};
use tokio::sync::mpsc;

use crate::support::host::{Host, SessionEvent};
use crate::support::proxy::Proxy;
use crate::support::soon;

const KEY: FeedKey = FeedKey {
    execution: [7; 16],
    attempt: 1,
};

async fn event(events: &mut mpsc::Receiver<LinkEvent>) -> LinkEvent {
    soon(events.recv()).await.expect("the link ended")
}

async fn feed_event(events: &mut mpsc::Receiver<FeedLinkEvent>) -> FeedLinkEvent {
    soon(events.recv()).await.expect("the link ended")
}

/// The next event that is not a failed try.
async fn session(host: &Arc<Host>) -> SessionEvent {
    soon(host.session_events.lock().await.recv()).await.unwrap()
}

fn state(generation: u64) -> SynchronizeRequest {
    SynchronizeRequest {
        worker: "w".to_owned(),
        incarnation: 1,
        generation,
        ..SynchronizeRequest::default()
    }
}

fn desired(generation: u64) -> SynchronizeResponse {
    SynchronizeResponse {
        generation,
        ..SynchronizeResponse::default()
    }
}

fn push(first_record: u64, lines: &[&str]) -> PushFeedRequest {
    let mut frames = Vec::new();
    for line in lines {
        feed::encode_parts(feed::Stream::Stdout, false, 1, line.as_bytes(), &mut frames);
    }
    PushFeedRequest {
        fence: Some(link::Fence {
            execution_id: KEY.execution.to_vec().into(),
            attempt: KEY.attempt,
            index: 9,
        }),
        first_record,
        record_count: lines.len() as u32,
        frames: frames.into(),
    }
}

#[tokio::test]
async fn states_go_up_desired_states_come_down() {
    let host = Host::new();
    let server = host.serve().await;
    let (link, mut events) = Link::open(vec![server.address.clone()]);
    link.report(state(1));
    assert_eq!(event(&mut events).await, LinkEvent::Connected);
    let SessionEvent::Opened(id, to_worker) = session(&host).await else {
        panic!()
    };
    let SessionEvent::State(from, first) = session(&host).await else {
        panic!()
    };
    assert_eq!((from, first.generation), (id, 1));
    to_worker.send(Ok(desired(3))).await.unwrap();
    assert_eq!(
        event(&mut events).await,
        LinkEvent::Desired(Box::new(desired(3)))
    );
    link.report(state(2));
    let SessionEvent::State(_, second) = session(&host).await else {
        panic!()
    };
    assert_eq!(second.generation, 2);

    // Dropped by the worker, it is gone for the coordinator.
    drop((link, events));
    let SessionEvent::Gone(gone) = session(&host).await else {
        panic!()
    };
    assert_eq!(gone, id);
    drop(to_worker);
    server.stop().await;
}

#[tokio::test]
async fn a_broken_link_opens_again_and_says_the_last_state() {
    let host = Host::new();
    let server = host.serve().await;
    let proxy = Proxy::to(&server.address).await;
    let (link, mut events) = Link::open(vec![proxy.address.clone()]);
    link.report(state(1));
    assert_eq!(event(&mut events).await, LinkEvent::Connected);
    let SessionEvent::Opened(first, _held) = session(&host).await else {
        panic!()
    };
    let SessionEvent::State(..) = session(&host).await else {
        panic!()
    };
    proxy.cut();
    let LinkEvent::Disconnected { .. } = event(&mut events).await else {
        panic!()
    };
    assert_eq!(event(&mut events).await, LinkEvent::Connected);
    // The old connection goes and the new one comes, in either order.
    let (mut gone, mut said) = (false, None);
    while !gone || said.is_none() {
        match session(&host).await {
            SessionEvent::Gone(id) => gone = id == first,
            SessionEvent::State(id, state) => said = Some((id, state.generation)),
            SessionEvent::Opened(id, _) => assert_ne!(id, first),
        }
    }
    assert_eq!(said.map(|(_, generation)| generation), Some(1));
    drop((link, events));
    server.stop().await;
}

#[tokio::test]
async fn a_refused_worker_is_told_why() {
    let host = Host::new();
    let server = host.serve().await;
    let (_link, mut events) = Link::open(vec![server.address.clone()]);
    assert_eq!(event(&mut events).await, LinkEvent::Connected);
    let SessionEvent::Opened(_, to_worker) = session(&host).await else {
        panic!()
    };
    to_worker
        .send(Err(Refusal::new(ErrorReason::StaleIncarnation, "too old")))
        .await
        .unwrap();
    let LinkEvent::Disconnected { refusal } = event(&mut events).await else {
        panic!()
    };
    assert_eq!(refusal.reason, ErrorReason::StaleIncarnation);
    drop(events);
    server.stop().await;
}

#[tokio::test]
async fn feeds_are_answered_once_stored() {
    let host = Host::new();
    let server = host.serve().await;
    let (link, mut events) = FeedLink::open(server.address.clone());
    let FeedLinkEvent::Connected(pushes) = feed_event(&mut events).await else {
        panic!()
    };
    pushes.push(push(0, &["a\n", "b\n"]));
    pushes.push(push(5, &["a gap\n"]));
    pushes.push(push(1, &["b\n", "c\n"]));
    let mut told = Vec::new();
    for _ in 0..3 {
        let FeedLinkEvent::Stored(stored) = feed_event(&mut events).await else {
            panic!()
        };
        assert_eq!(stored.fence.unwrap().index, 9);
        told.push((stored.next_record, stored.refused));
    }
    assert_eq!(told, [(2, false), (2, false), (3, false)]);
    assert_eq!(host.end(KEY).borrow().next_record, 3);
    // Foreign fences end the connection and harm nothing; what is pushed by a connection that is gone goes nowhere.
    let bad = PushFeedRequest {
        fence: None,
        ..push(3, &["x\n"])
    };
    pushes.push(bad);
    let FeedLinkEvent::Disconnected = feed_event(&mut events).await else {
        panic!()
    };
    pushes.push(push(3, &["too late\n"]));
    let FeedLinkEvent::Connected(pushes) = feed_event(&mut events).await else {
        panic!()
    };
    pushes.push(push(3, &["d\n"]));
    let FeedLinkEvent::Stored(stored) = feed_event(&mut events).await else {
        panic!()
    };
    assert_eq!((stored.next_record, stored.refused), (4, false));
    drop(link);
    assert!(
        soon(events.recv()).await.is_none(),
        "it ends when it is dropped"
    );
    server.stop().await;
}

#[tokio::test]
async fn who_is_sent_to_the_leader_goes_there_at_once_and_learns_of_new_coordinators() {
    let (follower, leader) = (Host::new(), Host::new());
    let (first, second) = (follower.serve().await, leader.serve().await);
    let (link, mut events) = Link::open(vec![first.address.clone()]);
    assert_eq!(event(&mut events).await, LinkEvent::Connected);
    let SessionEvent::Opened(_, to_worker) = session(&follower).await else {
        panic!()
    };
    let refusal = Refusal::new(ErrorReason::NotLeader, "ask the leader");
    to_worker
        .send(Err(refusal.with("leader", &second.address)))
        .await
        .unwrap();
    let LinkEvent::Disconnected { refusal } = event(&mut events).await else {
        panic!()
    };
    assert_eq!(refusal.reason, ErrorReason::NotLeader);
    assert_eq!(event(&mut events).await, LinkEvent::Connected);
    let SessionEvent::Opened(..) = session(&leader).await else {
        panic!()
    };
    // The first one is gone for good; a third was told of.
    let third_host = Host::new();
    let third = third_host.serve().await;
    link.follow(vec![third.address.clone()]);
    first.stop().await;
    second.stop().await;
    while !matches!(event(&mut events).await, LinkEvent::Connected) {}
    let SessionEvent::Opened(..) = session(&third_host).await else {
        panic!()
    };
    drop((link, events));
    third.stop().await;
}

#[tokio::test]
async fn a_stopping_coordinator_lets_go_and_the_next_is_found() {
    let host = Host::new();
    let first = host.serve().await;
    let second = host.serve().await;
    let (link, mut events) = Link::open(vec![first.address.clone(), second.address.clone()]);
    assert_eq!(event(&mut events).await, LinkEvent::Connected);
    first.stop().await;
    let LinkEvent::Disconnected { refusal } = event(&mut events).await else {
        panic!()
    };
    assert_eq!(refusal.reason, ErrorReason::NotReady);
    assert_eq!(event(&mut events).await, LinkEvent::Connected);
    drop((link, events));
    second.stop().await;
}
