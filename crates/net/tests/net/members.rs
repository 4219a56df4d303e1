//! Coordinators that speak to each other: who is heard, what arrives, and what is said of what does not.

use std::collections::BTreeMap;

use bytes::Bytes;
use contract::api::ErrorReason;
use contract::peer::Promise;
use net::{PeerEvent, PeerLinks, Sender, hello};
use tokio::sync::mpsc;

use super::support::host::Host;

fn sender(cluster: &str) -> Sender {
    Sender {
        cluster_id: cluster.to_owned(),
        member_id: 2,
        address: "127.0.0.1:9".to_owned(),
        holds: net::Holds::default(),
        dialer: pki::Dialer::Plain,
        feature_level: 0,
    }
}

/// Ways of member 2, and what is said of them.
fn links(cluster: &str) -> (PeerLinks, mpsc::UnboundedReceiver<PeerEvent>) {
    let (events, told) = mpsc::unbounded_channel();
    let links = PeerLinks::new(sender(cluster), move |event| {
        let _ = events.send(event);
    });
    (links, told)
}

const PROMISE: Promise = Promise { term: 2, index: 7 };

#[tokio::test]
async fn messages_arrive_in_order_and_again_after_the_member_came_back() {
    let host = Host::new();
    let server = host.serve().await;
    let address = server.address.clone();
    let (mut links, mut told) = links("c");
    assert!(!links.send(1, PROMISE, Bytes::new()), "nobody is known yet");
    links.keep(&BTreeMap::from([
        (1, address.clone()),
        (2, "127.0.0.1:9".to_owned()),
    ]));
    assert!(!links.knows(2), "there is no way to oneself");
    for number in 0..1_000u32 {
        assert!(links.send(1, PROMISE, number.to_be_bytes().to_vec().into()));
    }
    let mut from_peers = host.from_peers.lock().await;
    for number in 0..1_000u32 {
        let (from, promise, message) = from_peers.recv().await.unwrap();
        assert_eq!((from, promise), (2, PROMISE));
        assert_eq!(message[..], number.to_be_bytes());
    }
    server.stop().await;
    assert_eq!(
        told.recv().await,
        Some(PeerEvent::Unreachable { member: 1 })
    );
    let server = host.serve_at(&address).await;
    // What is sent before the member is reached is dropped: it is sent until one arrives.
    let arrived = async {
        loop {
            links.send(1, PROMISE, Bytes::from_static(b"again"));
            tokio::select! {
                message = from_peers.recv() => break message.unwrap().2,
                told = told.recv() => drop(told.unwrap()),
            }
        }
    };
    assert_eq!(arrived.await, "again");
    server.stop().await;
}

#[tokio::test]
async fn another_cluster_is_not_heard_and_told_so() {
    let host = Host::new();
    let server = host.serve().await;
    let (mut links, mut told) = links("other");
    links.meet(1, &server.address);
    links.send(1, PROMISE, Bytes::from_static(b"hear me"));
    let refused = loop {
        if let PeerEvent::Refused { member, refusal } = told.recv().await.unwrap() {
            break (member, refusal.reason);
        }
    };
    assert_eq!(refused, (1, ErrorReason::StateForbids));
    let refusal = hello(&sender("other"), 1, &server.address)
        .await
        .unwrap_err();
    assert_eq!(refusal.reason, ErrorReason::StateForbids);
    let known = hello(&sender("c"), 1, &server.address).await.unwrap();
    assert_eq!(known.promise, Some(Promise { term: 3, index: 9 }));
    server.stop().await;
    assert!(host.from_peers.lock().await.try_recv().is_err());
}

#[tokio::test]
async fn a_snapshot_arrives_whole_or_is_said_not_to() {
    let host = Host::new();
    let server = host.serve().await;
    let (mut links, mut told) = links("c");
    let data: Bytes = (0..5_000_000u32)
        .flat_map(u32::to_be_bytes)
        .collect::<Vec<u8>>()
        .into();
    let message = Bytes::from_static(b"message");
    let load = {
        let data = data.clone();
        move || Ok(data)
    };
    links.send_snapshot(1, message.clone(), load.clone());
    let ended = |delivered| PeerEvent::SnapshotSent {
        member: 1,
        delivered,
    };
    assert_eq!(
        told.recv().await,
        Some(ended(false)),
        "its address is not known"
    );
    links.meet(1, &server.address);
    links.send_snapshot(1, message.clone(), || Err("the file is gone".to_owned()));
    assert_eq!(told.recv().await, Some(ended(false)));
    links.send_snapshot(1, message.clone(), load);
    assert_eq!(told.recv().await, Some(ended(true)));
    let (from, got, bytes) = host.snapshots.lock().await.recv().await.unwrap();
    assert_eq!((from, got), (2, message));
    assert!(bytes == data);
    server.stop().await;
}
