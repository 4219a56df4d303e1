//! Admits a coordinator under the next id, or says where a known one is. Ids are never reused (I-13): the next is after
//! all there ever were.

use std::sync::Arc;

use contract::ledger as pb;

use super::request::{self, Seen};
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};
use crate::records::Member;

pub(super) fn apply(ledger: &mut Ledger, command: &pb::AdmitMember) -> Result<Outcome, Refused> {
    let key = match &command.request {
        None => None,
        request => match request::look_up(ledger, request.as_ref())? {
            Seen::Before(outcome) => return Ok(outcome),
            Seen::Never(key) => Some(key),
        },
    };
    let knows = command.feature_level;
    if key.is_some() && knows != 0 && knows < ledger.feature_level {
        return Err(Refused::TooOld {
            level: ledger.feature_level,
            raised_by: ledger.feature_version.clone(),
            knows,
        });
    }
    let known = ledger.member(command.member_id);
    let may_be_empty = key.is_none() && known.is_none() && command.member_id != 0;
    if command.address.is_empty() && !may_be_empty {
        return Err(malformed("address is empty"));
    }
    let taken = ledger.members().find(|member| {
        !member.is_removed()
            && !member.address.is_empty()
            && *member.address == *command.address
            && member.member_id != command.member_id
    });
    if let Some(taken) = taken {
        return Err(Refused::AddressTaken {
            address: taken.address.clone(),
            member_id: taken.member_id,
        });
    }
    if known.is_some_and(Member::is_removed) {
        let member_id = command.member_id;
        return Err(Refused::MemberRemoved { member_id });
    }
    let newest = ledger.members().next_back().map(|member| member.member_id);
    let member_id = match command.member_id {
        0 => newest.unwrap_or_default() + 1,
        // A leader says who the others are: founders that never said so themselves.
        given if known.is_some() || key.is_none() => given,
        given => return Err(Refused::UnknownMember { member_id: given }),
    };
    let admit_time_ms = known.map_or(ledger.time_ms, |known| known.admit_time_ms);
    let member = Member {
        member_id,
        address: Arc::from(command.address.as_str()),
        admit_time_ms,
        remove_time_ms: 0,
    };
    ledger.insert_member(member);
    match key {
        None => Ok(Outcome::Member { member_id }),
        Some(key) => request::remember(ledger, key, Outcome::Member { member_id }),
    }
}
