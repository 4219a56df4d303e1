//! Workers: what they say becomes commands, what the ledger says becomes what they are told. Sessions are soft state: whoever leads next
//! builds them up again from what workers say, and adopts what runs as it is.

use std::collections::{BTreeMap, BTreeSet};

use contract::ledger::{LoseWorker, command::Kind};
use contract::link::{SynchronizeRequest, SynchronizeResponse};
use schedule::WorkerFact;

use crate::coordinator::Coordinator;
use crate::disconnect::OnDisconnect;
use crate::io::{Now, Output, SessionId};
use crate::proposals::Queued;
use crate::session::Session;
use crate::{Refusal, desired, reports};

/// A worker that lives and is connected says what it has at least this often.
const REGULAR_US: u64 = 5_000_000;

/// A connected worker that has said nothing for this long may be dead, though its connection stands: that of a machine that has vanished
/// does. Until then nobody takes its place. A daemon that is started again on the same machine finds the connection of the earlier one ended.
const DOUBT_US: u64 = 2 * REGULAR_US;

/// Until when a worker that is connected, and spoke last at `contact`, is known to have lived.
fn lived_until(now: Now, contact: u64) -> u64 {
    now.monotonic_us.min(contact.saturating_add(REGULAR_US))
}

/// The newest state of each connection that nobody has decided on: there is no leader, or this one is not ready yet.
pub(crate) type Unheard = BTreeMap<SessionId, Box<SynchronizeRequest>>;

impl Coordinator {
    /// A worker said what it has. Only a leader can do something about it; until one is known, it is kept.
    pub(crate) fn worker_state(&mut self, now: Now, id: SessionId, state: Box<SynchronizeRequest>) {
        if !self.is_ready() || self.group.is_transferring() {
            let known = self.unheard.get(&id).map(|known| known.generation);
            if known.is_none_or(|known| known < state.generation) {
                self.unheard.insert(id, state);
            }
            return;
        }
        self.hear_worker(now, id, &state);
    }

    /// A worker's connection ended.
    pub(crate) fn worker_gone(&mut self, now: Now, id: SessionId) {
        self.unheard.remove(&id);
        if let Some(session) = self.sessions.remove(&id) {
            if let Some(contact) = self.contacts.get_mut(&session.worker) {
                *contact = lived_until(now, *contact);
            }
            self.see(&session.worker, None);
        }
    }

    /// Tells the scheduler which incarnation of a worker is in contact.
    fn see(&mut self, worker: &str, incarnation: Option<u64>) {
        let ahead_per_slot = self.pace.ahead_per_slot(worker);
        let fact = WorkerFact {
            incarnation,
            ahead_per_slot,
        };
        self.scheduler.see(worker, fact);
    }

    /// Tells the scheduler how short a worker's attempts are by now.
    pub(crate) fn see_pace(&mut self, worker: &str) {
        let known = self.scheduler.facts().get(worker);
        let incarnation = known.and_then(|fact| fact.incarnation);
        self.see(worker, incarnation);
    }

    /// What was said before this member could decide.
    pub(crate) fn hear_workers(&mut self, now: Now) {
        for (id, state) in std::mem::take(&mut self.unheard) {
            self.hear_worker(now, id, &state);
        }
    }

    fn hear_worker(&mut self, now: Now, id: SessionId, state: &SynchronizeRequest) {
        let tip = self
            .ahead
            .back()
            .map_or(&self.ledger, |ahead| &ahead.ledger);
        let checked = reports::check(tip, state, &self.config);
        if let Err(refusal) = checked.and_then(|()| self.check_alone(now, id, state)) {
            self.outputs.push(Output::EndSession {
                session: id,
                refusal,
            });
            if let Some(session) = self.sessions.remove(&id) {
                self.see(&session.worker, None);
            }
            return;
        }
        if !self.sessions.contains_key(&id) {
            // A worker speaks on one connection: an older one of the same worker is of no use any more.
            self.sessions
                .retain(|_, session| session.worker != state.worker);
        }
        let session = self
            .sessions
            .entry(id)
            .or_insert_with(|| Session::new(state));
        let offer = state.offer.clone().unwrap_or_default();
        session.counts_answers = OnDisconnect::of(&offer, &self.config).stop_after_ms() != 0;
        self.contacts.insert(state.worker.clone(), now.monotonic_us);
        if session.take_in(state) {
            let commands = reports::commands(tip, session, state, &self.members.voters);
            self.inbox.extend(commands.into_iter().map(Queued::from));
            let kept = self.copies.hear(now, tip, state);
            self.inbox.extend(kept.map(Queued::own));
        }
        let incarnation = session.incarnation;
        self.see(&state.worker, Some(incarnation));
    }

    /// Refuses one that speaks as a worker whose daemon is another one and lives.
    fn check_alone(
        &self,
        now: Now,
        id: SessionId,
        state: &SynchronizeRequest,
    ) -> Result<(), Refusal> {
        let contact = self.contacts.get(&state.worker).copied().unwrap_or(0);
        if now.monotonic_us.saturating_sub(contact) > DOUBT_US {
            return Ok(());
        }
        let is_taken = self.sessions.iter().any(|(other, session)| {
            *other != id
                && session.worker == state.worker
                && reports::is_other(&session.instance_id, state)
        });
        match is_taken {
            true => Err(reports::duplicate(&state.worker)),
            false => Ok(()),
        }
    }

    /// Ends every connection: another member leads, and workers must speak to it.
    pub(crate) fn end_sessions(&mut self) {
        if self.sessions.is_empty() && self.unheard.is_empty() {
            return;
        }
        let refusal = self.not_leader();
        let sessions = std::mem::take(&mut self.sessions);
        for session in sessions.values() {
            self.see(&session.worker, None);
        }
        let mut ids: Vec<SessionId> = sessions.into_keys().collect();
        ids.extend(std::mem::take(&mut self.unheard).into_keys());
        ids.sort_unstable();
        ids.dedup();
        for session in ids {
            self.outputs.push(Output::EndSession {
                session,
                refusal: refusal.clone(),
            });
        }
    }

    /// Declares workers lost that were out of contact for too long and hold attempts. A connection that stands shows nothing: that of a
    /// machine that sleeps or has vanished stands, too.
    pub(crate) fn declare_lost(&mut self, now: Now) {
        // Nothing changes between two ticks that matters here, and it looks at every worker.
        if std::mem::replace(&mut self.judged_tick, self.group.ticks()) == self.group.ticks() {
            return;
        }
        let connected: BTreeSet<&str> = self
            .sessions
            .values()
            .map(|session| session.worker.as_str())
            .collect();
        let mut lost = Vec::new();
        for worker in self.tip().workers() {
            let contact = self
                .contacts
                .get(&*worker.name)
                .copied()
                .unwrap_or(now.monotonic_us);
            let contact = match connected.contains(&*worker.name) {
                true => lived_until(now, contact),
                false => contact,
            };
            let silent_us = now.monotonic_us.saturating_sub(contact);
            if worker.lost || silent_us <= self.config.lost_after_us {
                continue;
            }
            match OnDisconnect::of(&worker.offer, &self.config) {
                OnDisconnect::Wait => lost.extend(reports::waited_for(self.tip(), worker)),
                OnDisconnect::KeepRunning | OnDisconnect::StopAfter { .. } => {
                    lost.push(Kind::LoseWorker(LoseWorker {
                        name: worker.name.to_string(),
                        incarnation: worker.incarnation,
                    }));
                }
            }
        }
        self.inbox.extend(lost.into_iter().map(Queued::own));
    }

    /// Tells every worker whose desired state differs from what it knows.
    pub(crate) fn tell_workers(&mut self) {
        if !self.is_ready() {
            return;
        }
        self.follow_members();
        for (id, session) in &mut self.sessions {
            let standing = self.standing.number();
            if !session.must_be_looked_at(self.ledger.revision(), standing, self.copies.number()) {
                continue;
            }
            let registered = self
                .ledger
                .worker(&session.worker)
                .is_some_and(|worker| !worker.lost && worker.incarnation == session.incarnation);
            if !registered {
                continue;
            }
            let wanted = desired::wanted(&self.ledger, &session.worker);
            let copies = self.copies.asked_of(&session.worker);
            if !session.must_be_told(&wanted, &copies, standing) {
                continue;
            }
            self.generation += 1;
            let attempts = desired::attempts(&self.ledger, session, &self.config, &self.standing);
            let worker = self.ledger.worker(&session.worker);
            let stop_after_ms = worker.map_or(0, |worker| {
                OnDisconnect::of(&worker.offer, &self.config).stop_after_ms()
            });
            self.outputs.push(Output::Desired {
                session: *id,
                desired: SynchronizeResponse {
                    generation: self.generation,
                    attempts,
                    cluster_id: self.ledger.cluster_id().to_owned(),
                    worker_generation: session.generation,
                    coordinators: self.standing.coordinators().to_vec(),
                    stop_after_ms,
                    copies: self.copies.wanted(&self.ledger, &session.worker),
                },
            });
            session.tell(wanted, copies, self.generation, standing);
        }
    }

    /// Keeps what workers are told of the coordinators: those that vote, which are as many as a majority is counted of.
    fn follow_members(&mut self) {
        let (ledger, config) = (&self.ledger, &self.config);
        let address = |id: u64| match ledger.member(id) {
            _ if id == config.member_id => config.address.as_str(),
            Some(member) => &*member.address,
            None => "",
        };
        let voters = self.members.voters.iter();
        self.standing.set(voters.map(|id| (*id, address(*id))));
    }
}
