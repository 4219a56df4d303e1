//! Removes a coordinator for good. The last one stays.

use contract::ledger as pb;

use super::request::{self, Seen};
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused};
use crate::records::Member;

pub(super) fn apply(ledger: &mut Ledger, command: &pb::RemoveMember) -> Result<Outcome, Refused> {
    let key = match request::look_up(ledger, command.request.as_ref())? {
        Seen::Before(outcome) => return Ok(outcome),
        Seen::Never(key) => key,
    };
    let member_id = command.member_id;
    let Some(member) = ledger.member(member_id) else {
        return Err(Refused::UnknownMember { member_id });
    };
    if !member.is_removed() {
        let others = ledger
            .members()
            .filter(|other| !other.is_removed() && other.member_id != member_id);
        if others.count() == 0 {
            return Err(Refused::LastMember { member_id });
        }
        // A time of 0 says that it is a member; the clock of a leader may be that wrong.
        let remove_time_ms = ledger.time_ms.max(1);
        let removed = Member {
            remove_time_ms,
            ..member.clone()
        };
        ledger.insert_member(removed);
    }
    request::remember(ledger, key, Outcome::Member { member_id })
}
