//! Messages of other members: what raft would not check itself. What is in an entry or a snapshot must be readable before this member
//! promises anything about it, and who was removed has nothing to say.

use contract::ledger::Entry;
use ledger::Member;
use prost::Message as _;
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeV2, EntryType, Message, MessageType};

use crate::coordinator::Coordinator;
use crate::group::Unfit;
use crate::io::Output;
use crate::proposals::ENTRY_VERSION;

impl Coordinator {
    /// Takes in a message of a member. One that no sound member sends is refused before raft sees it, and said so.
    pub(crate) fn peer(&mut self, message: Message) {
        let member = message.from;
        if let Err(Unfit::Bad(why)) = self.hear_peer(message)
            && !self.halted
        {
            self.outputs.push(Output::PeerRefused { member, why });
        }
    }

    fn hear_peer(&mut self, message: Message) -> Result<(), Unfit> {
        let known = self.ledger.member(message.from);
        if known.is_some_and(Member::is_removed) && !self.is_member(message.from) {
            return Err(Unfit::Bad("the sender was removed"));
        }
        // Ids rise: who was added after all that this member knows has a higher one than all it knows.
        let newest = self.ledger.members().next_back();
        let is_newer = newest.is_none_or(|newest| newest.member_id < message.from);
        let may_be_new = known.is_some() || is_newer;
        self.group.check(&message, may_be_new)?;
        match message.get_msg_type() {
            MessageType::MsgAppend => {
                check_entries(&message).map_err(Unfit::Bad)?;
                self.group.receive(message, may_be_new)
            }
            MessageType::MsgSnapshot => {
                let snapshot = message.get_snapshot();
                let index = snapshot.get_metadata().index;
                let ledger = self
                    .read_snapshot(index, &snapshot.data)
                    .map_err(Unfit::Bad)?;
                self.group.receive(message, may_be_new)?;
                if self.group.incoming_snapshot() == Some(index) {
                    self.incoming = Some((index, ledger));
                }
                Ok(())
            }
            _ => self.group.receive(message, may_be_new),
        }
    }

    fn is_member(&self, id: u64) -> bool {
        self.is_voter(id) || self.members.learners.contains(&id)
    }
}

/// Whether this version can read every entry of a message. One that it cannot it must not promise to keep: it could not go on past it.
fn check_entries(message: &Message) -> Result<(), &'static str> {
    for entry in message.entries.iter() {
        let readable = match entry.get_entry_type() {
            EntryType::EntryNormal => {
                entry.data.is_empty()
                    || Entry::decode(&entry.data[..]).is_ok_and(|entry| {
                        (1..=ENTRY_VERSION).contains(&entry.version)
                            && entry.commands.iter().all(|command| command.kind.is_some())
                    })
            }
            EntryType::EntryConfChangeV2 => ConfChangeV2::parse_from_bytes(&entry.data).is_ok(),
            EntryType::EntryConfChange => {
                raft::eraftpb::ConfChange::parse_from_bytes(&entry.data).is_ok()
            }
        };
        if !readable {
            return Err("an entry cannot be read by this version");
        }
    }
    Ok(())
}
