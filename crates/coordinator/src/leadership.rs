//! Who leads: what a change of leader does to what this member has under way, and handing leadership over on purpose.

use contract::api::ErrorReason;

use crate::coordinator::{Coordinator, PATIENCE_TICKS};
use crate::io::{Now, Output, Token};
use crate::{Answer, Refusal};

/// Ticks after which a member that is about to stop, and leads once more, hands over again.
const HANDOVER_TICKS: u64 = 1_000 / crate::TICK_MS;

/// Leadership on its way to another member.
#[derive(Default)]
pub(crate) struct Handover {
    callers: Vec<Caller>,
    /// This node is about to stop; the tick from which it may hand over, again.
    stepping_down: Option<u64>,
}

/// Somebody who waits for another leader.
struct Caller {
    token: Token,
    /// Who should lead.
    target: u64,
    /// Tick at which it asked.
    since: u64,
}

impl Coordinator {
    /// Notices that leadership came or went.
    pub(crate) fn follow_leadership(&mut self, now: Now) {
        if self.group.leads() && !self.is_voter(self.group.id()) {
            self.group.resign();
        }
        if self.group.leader() != 0 {
            self.led_tick = self.group.ticks();
        }
        let term = if self.group.leads() {
            self.group.term()
        } else {
            0
        };
        if term != self.led_term {
            self.led_term = term;
            // A new leader gives every worker the full time to come into contact.
            self.contacts = self
                .ledger
                .workers()
                .map(|worker| (worker.name.to_string(), now.monotonic_us))
                .collect();
            self.generation = term << 32;
        }
        if self.is_ready() {
            self.drop_earlier();
        }
        self.move_handover();
    }

    /// Whether a member votes, in either half of a joint membership.
    pub(crate) fn is_voter(&self, id: u64) -> bool {
        self.members.voters.contains(&id) || self.members.voters_outgoing.contains(&id)
    }

    /// Whether no leader has been known for so long that nobody should wait for one (I-11).
    pub(crate) fn quorum_is_lost(&self) -> bool {
        self.group.leader() == 0 && self.group.ticks() - self.led_tick >= PATIENCE_TICKS
    }

    /// Sends a caller on to the leader; says that there is none where none is known.
    pub(crate) fn not_leader(&self) -> Refusal {
        let leader = self.group.leader();
        if leader == 0 {
            return self.no_quorum();
        }
        let refusal = Refusal::new(
            ErrorReason::NotLeader,
            "this coordinator does not lead; ask the leader",
        )
        .with("leader_id", leader.to_string());
        match self.ledger.member(leader) {
            Some(member) if !member.address.is_empty() => refusal.with("leader", &*member.address),
            _ => refusal,
        }
    }

    pub(crate) fn no_quorum(&self) -> Refusal {
        Refusal::new(
            ErrorReason::NoQuorum,
            "no majority of coordinators can be reached; nothing was done",
        )
    }

    /// Somebody wants another member to lead; 0 is whoever is furthest along.
    pub(crate) fn hand_over(&mut self, token: Token, member_id: u64) {
        if !self.group.leads() {
            let refusal = self.not_leader();
            return self.refuse(token, refusal);
        }
        if member_id == self.group.id() {
            let result = Ok(Answer::Member { member_id });
            return self.outputs.push(Output::Reply { token, result });
        }
        let target = match member_id {
            0 => self.group.successor(|_| false),
            id => {
                Some(id).filter(|id| self.members.voters.contains(id) && self.group.is_heard(*id))
            }
        };
        let Some(target) = target.filter(|_| !self.group.is_transferring()) else {
            let refusal = Refusal::new(
                ErrorReason::StateForbids,
                match member_id {
                    0 => {
                        "no other voter can be reached, or leadership is being handed over already"
                            .to_owned()
                    }
                    id => format!(
                        "member {id} is no voter or cannot be reached, or leadership is being handed over already"
                    ),
                },
            );
            return self.refuse(token, refusal.with("member_id", member_id.to_string()));
        };
        self.group.transfer(target);
        self.handover.callers.push(Caller {
            token,
            target,
            since: self.group.ticks(),
        });
    }

    /// This node is about to stop.
    pub(crate) fn step_down(&mut self) {
        self.handover
            .stepping_down
            .get_or_insert(self.group.ticks());
        self.move_handover();
    }

    fn move_handover(&mut self) {
        let leads = self.group.leads();
        let (leader, now) = (self.group.leader(), self.group.ticks());
        if self
            .handover
            .stepping_down
            .is_some_and(|tick| leads && tick <= now)
            && !self.group.is_transferring()
            && let Some(to) = self.group.successor(|_| false)
        {
            self.group.transfer(to);
            // Two that stop at once would hand it to each other for ever.
            self.handover.stepping_down = Some(now + HANDOVER_TICKS);
        }
        for caller in std::mem::take(&mut self.handover.callers) {
            let result = if leads && self.group.is_transferring() {
                None
            } else if leads {
                let why = format!("member {} did not take over in time", caller.target);
                Some(Err(Refusal::new(ErrorReason::StateForbids, why)))
            } else if leader == caller.target {
                let member_id = leader;
                Some(Ok(Answer::Member { member_id }))
            } else if leader != 0 {
                Some(Err(self.not_leader()))
            } else if now - caller.since > PATIENCE_TICKS {
                Some(Err(self.no_quorum()))
            } else {
                None
            };
            match result {
                None => self.handover.callers.push(caller),
                Some(result) => {
                    let token = caller.token;
                    self.outputs.push(Output::Reply { token, result });
                }
            }
        }
    }
}
