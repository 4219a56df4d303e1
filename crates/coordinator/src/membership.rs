//! Who belongs to the group. The ledger says who should; raft's membership says who does; the leader turns the difference into one change
//! after the other. So a new leader finishes what a former one began, and nothing has to be remembered in between.
//!
//! ```text
//! AdmitMember ──> learner ──> caught up ──> joint ──> voter          RemoveMember ──> joint ──> gone
//! ```
//!
//! Ids are never reused (I-13): who lost its disk is admitted again as somebody else.

use contract::api::ErrorReason;
use contract::ledger::{AdmitMember, Command, command::Kind};
use ledger::{Ledger, Member};
use raft::eraftpb::ConfChangeType;

use crate::Refusal;
use crate::coordinator::Coordinator;
use crate::io::{MemberView, Output};
use crate::proposals::Queued;

impl Coordinator {
    /// Refuses a removal after which no majority of the voters could be reached.
    pub(crate) fn check_members(&self, command: &Command) -> Result<(), Refusal> {
        let Some(Kind::RemoveMember(remove)) = &command.kind else {
            return Ok(());
        };
        let id = remove.member_id;
        if !self.group.leads() || !self.members.voters.contains(&id) {
            return Ok(());
        }
        let (heard, voters) = self.reach(|voter| voter != id);
        if voters > 0 && heard > voters / 2 {
            return Ok(());
        }
        let why = format!(
            "without member {id}, {heard} of {voters} voters can be reached; a majority must be"
        );
        Err(Refusal::new(ErrorReason::StateForbids, why)
            .with("member_id", id.to_string())
            .with("reachable", heard.to_string())
            .with("voters", voters.to_string()))
    }

    /// How many of these voters can be heard, and how many there are.
    fn reach(&self, of: impl Fn(u64) -> bool) -> (usize, usize) {
        let voters = || self.members.voters.iter().filter(|id| of(**id));
        let heard = voters().filter(|id| self.group.is_heard(**id)).count();
        (heard, voters().count())
    }

    /// Tells the ledger of members that it does not know: founders, and where this leader is.
    pub(crate) fn introduce_members(&mut self) {
        let me = self.group.id();
        let is_announced = |queued: &Queued| matches!(&queued.command.kind, Some(Kind::AdmitMember(admit)) if admit.request.is_none());
        if self.inbox.iter().any(is_announced) {
            return;
        }
        let tip = self.tip();
        let mut unknown = Vec::new();
        for id in self.members.voters.iter().chain(&self.members.learners) {
            let address = match *id == me {
                true => self.config.address.clone(),
                false => String::new(),
            };
            let admit = match tip.member(*id) {
                None => true,
                Some(known) => {
                    *id == me && *known.address != *address && may_be_at(tip, known, &address)
                }
            };
            if admit {
                unknown.push(AdmitMember {
                    request: None,
                    address,
                    member_id: *id,
                    feature_level: 0,
                });
            }
        }
        let unknown = unknown.into_iter().map(Kind::AdmitMember);
        // Before anybody else is admitted, who would be given the id of a founder.
        self.inbox.splice(0..0, unknown.map(Queued::own));
    }

    /// Proposes the next change of membership, if one is needed and none is under way.
    pub(crate) fn arrange_members(&mut self) {
        if !self.members.voters_outgoing.is_empty() {
            return self.group.propose_change(None);
        }
        let is_removed = |id: u64| self.ledger.member(id).is_some_and(Member::is_removed);
        let members = || {
            self.members
                .voters
                .iter()
                .chain(&self.members.learners)
                .copied()
        };
        if let Some(id) = members().find(|id| is_removed(*id)) {
            if id == self.group.id() {
                if let Some(to) = self.group.successor(is_removed) {
                    self.group.transfer(to);
                }
                return;
            }
            let (heard, voters) = self.reach(|voter| voter != id);
            if heard > voters / 2 {
                return self
                    .group
                    .propose_change(Some((id, ConfChangeType::RemoveNode)));
            }
        }
        let is_member = |id: u64| members().any(|member| member == id);
        let admitted = self
            .ledger
            .members()
            .find(|member| !member.is_removed() && !is_member(member.member_id));
        if let Some(admitted) = admitted {
            let id = admitted.member_id;
            return self
                .group
                .propose_change(Some((id, ConfChangeType::AddLearnerNode)));
        }
        let (heard, voters) = self.reach(|_| true);
        let ready = |id: &u64| !is_removed(*id) && self.group.is_caught_up(*id);
        if let Some(id) = self.members.learners.iter().copied().find(ready)
            && heard + 1 > voters.div_ceil(2)
        {
            return self
                .group
                .propose_change(Some((id, ConfChangeType::AddNode)));
        }
        self.group.confirm_change();
    }

    /// Whether a majority can be made with a member's vote. While a change is under way a majority of those that voted before is
    /// needed too, so somebody new makes up for none of them yet.
    fn counts(&self, id: u64) -> bool {
        let before = &self.members.voters_outgoing;
        self.is_voter(id) && (before.is_empty() || before.contains(&id))
    }

    /// Tells the host whom to be connected with.
    pub(crate) fn tell_members(&mut self) {
        let mut ids: Vec<u64> = self.members.voters.clone();
        ids.extend(&self.members.voters_outgoing);
        ids.extend(&self.members.learners);
        let live = self.ledger.members().filter(|member| !member.is_removed());
        ids.extend(live.map(|member| member.member_id));
        ids.sort_unstable();
        ids.dedup();
        let address = |id: u64| self.ledger.member(id).map_or("", |member| &member.address);
        let is_told = self.told_members.len() == ids.len()
            && self.told_members.iter().zip(&ids).all(|(told, id)| {
                told.member_id == *id
                    && told.address == address(*id)
                    && told.learner != self.counts(*id)
            });
        if is_told {
            return;
        }
        let views = ids.into_iter().map(|member_id| MemberView {
            member_id,
            address: address(member_id).to_owned(),
            learner: !self.counts(member_id),
        });
        self.told_members = views.collect();
        self.outputs
            .push(Output::Members(self.told_members.clone()));
    }
}

/// Whether nobody else is at the address, so that the ledger would take it.
fn may_be_at(ledger: &Ledger, member: &Member, address: &str) -> bool {
    let taken = ledger.members().any(|other| {
        !other.is_removed() && other.member_id != member.member_id && *other.address == *address
    });
    !member.is_removed() && !address.is_empty() && !taken
}
