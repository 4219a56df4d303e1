//! A member alone: what it commits and when, and whom it hears.
#![allow(clippy::unwrap_used)]
use super::*;

fn single() -> Group {
    Group::new(1, 7, Recovered::founding(&[1])).unwrap()
}

/// What a committed entry holds.
fn data(committed: &Committed) -> Option<Vec<u8>> {
    match committed {
        Committed::Entry(entry) if !entry.data.is_empty() => Some(entry.data.to_vec()),
        _ => None,
    }
}

/// Stores what is asked for until nothing more is, and gives the committed data.
fn settle(group: &mut Group, disk: &mut Recovered) -> Vec<Vec<u8>> {
    let mut committed = Vec::new();
    loop {
        let step = group.step();
        committed.extend(step.committed.iter().filter_map(data));
        if step.persist.is_empty() {
            return committed;
        }
        for batch in step.persist {
            if let Some(first) = batch.entries.first() {
                disk.entries.retain(|entry| entry.index < first.index);
            }
            disk.entries.extend(batch.entries);
            disk.hard_state = batch.hard_state.unwrap();
            group.persisted(batch.number);
        }
    }
}

#[test]
fn a_group_of_one_leads_and_commits_only_what_is_stored() {
    let mut group = single();
    let mut disk = Recovered::founding(&[1]);
    settle(&mut group, &mut disk);
    assert!(group.leads());
    group.propose(b"a".to_vec()).unwrap();
    let step = group.step();
    assert!(
        step.committed.is_empty(),
        "nothing is committed before it is stored"
    );
    assert_eq!(step.persist.len(), 1);
    group.persisted(step.persist[0].number);
    let step = group.step();
    assert_eq!(
        step.committed.iter().filter_map(data).collect::<Vec<_>>(),
        [b"a"]
    );
}

#[test]
fn a_restart_commits_again_what_was_stored() {
    let mut group = single();
    let mut disk = Recovered::founding(&[1]);
    settle(&mut group, &mut disk);
    for data in [b"a", b"b", b"c"] {
        group.propose(data.to_vec()).unwrap();
    }
    assert_eq!(settle(&mut group, &mut disk), [b"a", b"b", b"c"]);
    let term = group.term();
    let mut again = Group::new(1, 7, disk.clone()).unwrap();
    assert_eq!(settle(&mut again, &mut disk), [b"a", b"b", b"c"]);
    assert!(again.leads() && again.term() > term);
}

#[test]
fn messages_of_strangers_are_refused() {
    let mut group = single();
    let mut message = Message {
        from: 9,
        to: 1,
        ..Message::default()
    };
    message.set_msg_type(raft::eraftpb::MessageType::MsgAppend);
    message.term = 2;
    assert_eq!(
        group.receive(message, true),
        Err(Unfit::Bad("the sender is no member")),
        "a lone voter has agreed to every member"
    );
}

#[test]
fn a_follower_takes_no_proposals() {
    let mut group = Group::new(1, 7, Recovered::founding(&[1, 2, 3])).unwrap();
    assert!(group.propose(b"a".to_vec()).is_err());
}
