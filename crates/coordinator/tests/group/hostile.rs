//! Whatever bytes a peer sends: no panic, and the group goes on (I-25, row 8 of the attacks).

use coordinator::Input;
use proptest::prelude::*;
use protobuf::{Message as _, ProtobufEnum};
use raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType, Snapshot};

use crate::world::{Disk, World};

/// A number that is often near what matters.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0..12_u64,
        1 => Just(u64::MAX),
        1 => Just(u64::MAX >> 1),
        1 => Just(u64::from(u32::MAX)),
        1 => any::<u64>(),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let data = prop_oneof![
        4 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => Just(vec![8, 1]),
        1 => Just(vec![0; 16]),
    ];
    (number(), number(), data, 0..3_i32).prop_map(|(index, term, data, kind)| {
        let mut entry = Entry {
            index,
            term,
            data: data.into(),
            ..Entry::default()
        };
        entry.set_entry_type(EntryType::from_i32(kind).unwrap());
        entry
    })
}

fn members() -> impl Strategy<Value = ConfState> {
    let ids = || prop::collection::vec(0..6_u64, 0..4);
    (ids(), ids(), ids(), ids(), any::<bool>()).prop_map(
        |(voters, learners, outgoing, next, leave)| {
            let mut members = ConfState::default();
            members.set_voters(voters);
            members.set_learners(learners);
            members.set_voters_outgoing(outgoing);
            members.set_learners_next(next);
            members.set_auto_leave(leave);
            members
        },
    )
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let data = prop_oneof![prop::collection::vec(any::<u8>(), 0..30), Just(ledger())];
    (number(), number(), members(), data).prop_map(|(index, term, members, data)| {
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = index;
        snapshot.mut_metadata().term = term;
        snapshot.mut_metadata().set_conf_state(members);
        snapshot.data = data.into();
        snapshot
    })
}

/// A ledger of this cluster.
fn ledger() -> Vec<u8> {
    use prost::Message as _;
    let snapshot = contract::ledger::Snapshot {
        version: 1,
        applied_index: 1,
        cluster_id: crate::world::CLUSTER.into(),
        ..contract::ledger::Snapshot::default()
    };
    snapshot.encode_to_vec()
}

/// A message of any kind; now and then dense, as a sound one would be.
fn message() -> impl Strategy<Value = Message> {
    let head = (0..20_i32, 1..=3_u64, 1..6_u64, number());
    let log = (number(), number(), number(), number());
    let tail = (
        number(),
        any::<bool>(),
        any::<i64>(),
        prop::collection::vec(any::<u8>(), 0..20),
    );
    let body = (
        prop::collection::vec(entry(), 0..4),
        prop::option::weighted(0.2, snapshot()),
        any::<bool>(),
    );
    (head, log, tail, body).prop_map(|(head, log, tail, body)| {
        let mut message = Message::default();
        if let Some(kind) = MessageType::from_i32(head.0) {
            message.set_msg_type(kind);
        }
        (message.to, message.from, message.term) = (head.1, head.2, head.3);
        (
            message.index,
            message.log_term,
            message.commit,
            message.commit_term,
        ) = log;
        message.reject_hint = tail.0;
        message.reject = tail.1;
        message.priority = tail.2;
        message.context = tail.3.into();
        message.request_snapshot = if tail.1 { tail.0 } else { 0 };
        let (mut entries, snapshot, dense) = body;
        if dense {
            for (at, entry) in entries.iter_mut().enumerate() {
                entry.index = message.index.wrapping_add(1 + at as u64);
                entry.term = message.term;
            }
        }
        message.set_entries(entries.into());
        if let Some(snapshot) = snapshot {
            message.set_snapshot(snapshot);
        }
        message
    })
}

/// What is done to a sound message on its way.
fn mutate(mut message: Message, how: (u8, u64)) -> Message {
    let (what, number) = how;
    match what % 10 {
        0 => message.term = number,
        1 => message.index = number,
        2 => message.log_term = number,
        3 => message.commit = number,
        4 => message.reject = !message.reject,
        5 => message.reject_hint = number,
        6 => message.from = number % 7,
        7 => {
            let entries = message.mut_entries();
            if let Some(entry) = entries.iter_mut().next() {
                entry.index = number;
            }
        }
        8 => {
            let kind = MessageType::from_i32((number % 19) as i32);
            message.set_msg_type(kind.unwrap_or(MessageType::MsgHup));
        }
        _ => {
            let mut bytes = message.write_to_bytes().unwrap();
            let at = number as usize % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (number % 8);
            }
            message = Message::parse_from_bytes(&bytes).unwrap_or_default();
        }
    }
    message
}

/// Messages that are no lies about a log that could be: a member of the group may tell those, and only trust keeps it from doing so.
fn is_harmless(message: &Message) -> bool {
    let honest = message.get_msg_type();
    !matches!(
        honest,
        MessageType::MsgAppend
            | MessageType::MsgHeartbeat
            | MessageType::MsgSnapshot
            | MessageType::MsgAppendResponse
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgReadIndexResp
    )
}

proptest! {
    #![proptest_config(crate::cases(100))]

    /// Nothing that can be said to a member ends it, whatever state it is in. (A member that lies about its log can harm the group's
    /// agreement; that nobody but members speaks is the transport's part.)
    #[test]
    fn no_message_ends_a_member(seed: u64, before in 0..30_u64, messages in prop::collection::vec((message(), any::<bool>()), 1..25), slow: bool) {
        let mut world = World::of(3, seed);
        world.compares = false;
        world.judges = false;
        world.add(4, Disk::default());
        world.run(before);
        world.submit(1, 1);
        if slow {
            world.nodes.values_mut().for_each(|node| node.stores = false);
        }
        for (message, tick) in messages {
            for to in 1..=4 {
                let mut message = message.clone();
                message.to = to;
                world.happen(to, Input::Peer { message: Box::new(message) });
                if tick {
                    world.tick(to);
                }
            }
        }
        for id in 1..=4 {
            world.nodes.get_mut(&id).unwrap().stores = true;
            world.persist(id);
            world.settle(id);
            (0..60).for_each(|_| world.tick(id));
        }
    }

    /// What real members say, damaged on the way in any field, ends nobody.
    #[test]
    fn no_damaged_message_ends_a_member(seed: u64, damage in prop::collection::vec((any::<u8>(), number(), any::<usize>()), 1..120)) {
        let mut world = World::of(3, seed);
        world.compares = false;
        world.judges = false;
        world.snapshot_entries = 10;
        world.elect();
        for (at, (what, number, which)) in damage.into_iter().enumerate() {
            let id = 1 + at as u64 % 3;
            world.submit(id, at as u128);
            world.tick(id);
            if !world.network.is_empty() {
                let which = which % world.network.len();
                let message = mutate(world.network[which].clone(), (what, number));
                let to = message.to;
                world.happen(to, Input::Peer { message: Box::new(message) });
            }
            world.deliver(which, false);
        }
    }

    /// What is no lie about a log changes nothing that lasts: the group keeps every promise and goes on.
    #[test]
    fn the_group_goes_on(seed: u64, messages in prop::collection::vec(message().prop_filter("no lie", is_harmless), 1..30)) {
        let mut world = World::of(3, seed);
        world.elect();
        for (at, mut message) in messages.into_iter().enumerate() {
            let to = message.to;
            message.term = message.term.min(1_000);
            world.happen(to, Input::Peer { message: Box::new(message) });
            // It was refused by name, or it did no harm.
            world.nodes.values_mut().for_each(|node| node.refused.clear());
            world.submit(to, at as u128);
            world.run(2);
        }
        world.heal_and_check();
    }
}

#[test]
fn strangers_and_the_removed_are_refused_by_name() {
    let mut world = World::of(3, 1);
    world.elect();
    world.run(10);
    let mut message = Message {
        from: 99,
        to: 1,
        term: 1_000,
        ..Message::default()
    };
    for kind in [
        MessageType::MsgHup,
        MessageType::MsgPropose,
        MessageType::MsgUnreachable,
    ] {
        message.set_msg_type(kind);
        world.happen(
            1,
            Input::Peer {
                message: Box::new(message.clone()),
            },
        );
    }
    assert_eq!(
        world.nodes[&1].refused.len(),
        3,
        "{:?}",
        world.nodes[&1].refused
    );
    // An answer of somebody who was never asked is nobody's.
    let term = world.mind(1).group().term();
    message.set_msg_type(MessageType::MsgAppendResponse);
    world.happen(
        1,
        Input::Peer {
            message: Box::new(message),
        },
    );
    assert_eq!(world.mind(1).group().term(), term);
}
