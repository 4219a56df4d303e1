//! What a coordinator counts.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use contract::api::{self, State};
use coordinator::{Group, Role};
use ledger::Ledger;
use net::ports::{Calls, Surroundings};
use prometheus::{Histogram, IntCounter, IntGauge, IntGaugeVec, Registry};

use super::{Book, Common, Look, SHORT, as_gauge};
use crate::Fault;
use crate::coordinator::Engine;

/// Proposals that are waited for at most: what is proposed beyond them is counted without its time.
const WAITING: usize = 4_096;

/// The states of an execution, as labels say them.
const STATES: [(State, &str); 7] = [
    (State::Created, "created"),
    (State::Queued, "queued"),
    (State::Started, "started"),
    (State::Stopping, "stopping"),
    (State::Stopped, "stopped"),
    (State::Error, "error"),
    (State::Complete, "complete"),
];

/// The counts; a clone is the same.
#[derive(Clone)]
pub(crate) struct CoordinatorMetrics {
    pub(crate) registry: Registry,
    common: Common,
    raft: Raft,
    ledger: LedgerMetrics,
    /// How long the log's disk takes.
    pub(crate) fsync: Histogram,
    /// Records of feeds that were stored.
    pub(crate) feed_records: IntCounter,
    /// Their bytes.
    pub(crate) feed_bytes: IntCounter,
    /// How long storing what gathered takes.
    pub(crate) feed_store: Histogram,
}

#[derive(Clone)]
struct Raft {
    role: IntGaugeVec,
    leader: IntGauge,
    term: IntGauge,
    last: IntGauge,
    commit: IntGauge,
    applied: IntGauge,
    snapshot: IntGauge,
    lag: IntGaugeVec,
    members: IntGaugeVec,
    elections: IntCounter,
    leader_changes: IntCounter,
    proposals: IntCounter,
    proposal: Histogram,
}

#[derive(Clone)]
struct LedgerMetrics {
    executions: IntGaugeVec,
    queue: IntGauge,
    oldest: IntGauge,
    workers: IntGaugeVec,
    draining: IntGauge,
    slots: IntGaugeVec,
}

impl CoordinatorMetrics {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// When two metrics have one name.
    pub(crate) fn new() -> Result<Self, Fault> {
        let book = Book(Registry::new());
        Ok(Self {
            common: Common::new(&book, "coordinator")?,
            raft: Raft::new(&book)?,
            ledger: LedgerMetrics::new(&book)?,
            fsync: book.times(
                "shoal_raft_fsync_seconds",
                "How long it took to write to the log what gathered, until it was on the disk.",
                SHORT,
            )?,
            feed_records: book.counter(
                "shoal_feed_records_total",
                "Records of logs that were stored here, fetched ones included.",
            )?,
            feed_bytes: book.counter("shoal_feed_bytes_total", "Bytes of those records.")?,
            feed_store: book.times(
                "shoal_feed_store_seconds",
                "How long it took to store the records that gathered, until they were on the disk.",
                SHORT,
            )?,
            registry: book.0,
        })
    }

    /// Counts calls.
    pub(crate) fn calls(&self) -> Arc<dyn Calls> {
        Arc::new(self.common.calls.clone())
    }

    /// Follows the loop.
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            raft: self.raft.clone(),
            role: Role::Follower,
            leader: 0,
            last: None,
            waiting: VecDeque::new(),
        }
    }
}

impl Raft {
    fn new(book: &Book) -> Result<Self, Fault> {
        let index = |name: &str, help: &str| book.gauge(name, help);
        Ok(Self {
            role: book.gauges(
                "shoal_raft_role",
                "1 for the role that this member has in the group, 0 for the others.",
                &["role"],
            )?,
            leader: book.gauge(
                "shoal_raft_leader_id",
                "Number of the member that leads; 0 while none is known.",
            )?,
            term: book.gauge("shoal_raft_term", "Raft's term.")?,
            last: index("shoal_raft_last_index", "Index of the log's last entry.")?,
            commit: index(
                "shoal_raft_commit_index",
                "Index up to which a majority has the log.",
            )?,
            applied: index(
                "shoal_raft_applied_index",
                "Index up to which readers see the log.",
            )?,
            snapshot: index("shoal_raft_snapshot_index", "Index of the newest snapshot.")?,
            lag: book.gauges(
                "shoal_raft_lag_entries",
                "By how many entries a member's log is behind the leader's; told by the leader.",
                &["member"],
            )?,
            members: book.gauges("shoal_raft_members", "Members of the group.", &["kind"])?,
            elections: book.counter(
                "shoal_raft_elections_total",
                "How often this member stood for election.",
            )?,
            leader_changes: book.counter(
                "shoal_raft_leader_changes_total",
                "How often another member began to lead.",
            )?,
            proposals: book.counter(
                "shoal_raft_proposals_total",
                "Entries that this member proposed as the leader.",
            )?,
            proposal: book.times(
                "shoal_raft_proposal_seconds",
                "How long it took from an entry's proposal until a majority had it.",
                SHORT,
            )?,
        })
    }
}

impl LedgerMetrics {
    fn new(book: &Book) -> Result<Self, Fault> {
        Ok(Self {
            executions: book.gauges(
                "shoal_executions",
                "Executions by state, since the cluster was founded.",
                &["state"],
            )?,
            queue: book.gauge("shoal_queue_length", "Executions that wait for a worker.")?,
            oldest: book.gauge(
                "shoal_queue_oldest_age_seconds",
                "How long ago that one of them was created that waits the longest; 0 when none waits.",
            )?,
            workers: book.gauges(
                "shoal_workers",
                "Workers: in contact, out of contact, or given up; told by the leader.",
                &["state"],
            )?,
            draining: book.gauge(
                "shoal_workers_draining",
                "Workers that take nothing new, not counting those given up.",
            )?,
            slots: book.gauges(
                "shoal_slots",
                "Attempts that workers can run at once, not counting those given up.",
                &["state"],
            )?,
        })
    }

    fn look(&self, ledger: &Ledger, contact: Option<&dyn Fn(&str) -> bool>, now_ms: i64) {
        let mut states = BTreeMap::new();
        for project in ledger.projects() {
            for execution in ledger.executions(&project.name) {
                *states.entry(execution.state()).or_insert(0_i64) += 1;
            }
        }
        for (state, name) in STATES {
            let count = states.get(&state).copied().unwrap_or_default();
            self.executions.with_label_values(&[name]).set(count);
        }
        self.queue.set(as_gauge(ledger.queued_count() as u64));
        let oldest = ledger.queued().next();
        let age = oldest.map_or(0, |oldest| (now_ms - oldest.create_time_ms).max(0));
        self.oldest.set(age / 1_000);

        let (mut slots, mut used, mut draining) = (0, 0, 0);
        let mut workers = BTreeMap::from([("connected", 0), ("away", 0), ("lost", 0)]);
        for worker in ledger.workers() {
            let connected = contact.is_some_and(|contact| contact(&worker.name));
            let state = match (worker.lost, connected) {
                (true, _) => "lost",
                (false, true) => "connected",
                (false, false) => "away",
            };
            *workers.entry(state).or_insert(0) += 1;
            if !worker.lost {
                slots += u64::from(worker.offer.slot_count);
                used += worker.attempts().len() as u64;
                draining += i64::from(worker.drained || worker.offer.draining);
            }
        }
        self.workers.reset();
        if contact.is_some() {
            for (state, count) in workers {
                self.workers.with_label_values(&[state]).set(count);
            }
        }
        self.draining.set(draining);
        let slot = |state: &str, count: u64| {
            self.slots.with_label_values(&[state]).set(as_gauge(count));
        };
        slot("used", used);
        // A worker may be assigned some ahead of a free slot.
        slot("free", slots.saturating_sub(used));
    }
}

/// How this member stood when the loop last looked: what changes is counted.
pub(crate) struct Standing {
    raft: Raft,
    role: Role,
    leader: u64,
    /// The log's last index, while this member leads.
    last: Option<u64>,
    /// Last index of what was proposed at once, and when.
    waiting: VecDeque<(u64, Instant)>,
}

impl Standing {
    /// Takes in how the group is.
    pub(crate) fn look(&mut self, group: &Group) {
        let role = group.role();
        if self.role != role {
            let stands = matches!(role, Role::Candidate | Role::Leader);
            // Who wins its election at once, having nobody to ask, is never seen as a candidate.
            if stands && self.role != Role::Candidate {
                self.raft.elections.inc();
            }
            self.role = role;
        }
        let leader = group.leader();
        if leader != 0 && leader != self.leader {
            self.raft.leader_changes.inc();
            self.leader = leader;
        }
        self.follow_proposals(group.leads(), group.last_index(), group.commit_index());
    }

    fn follow_proposals(&mut self, leads: bool, last: u64, commit: u64) {
        if !leads {
            self.last = None;
            self.waiting.clear();
            return;
        }
        let before = self.last.replace(last).unwrap_or(last);
        if last > before {
            self.raft.proposals.inc_by(last - before);
            if self.waiting.len() < WAITING {
                self.waiting.push_back((last, Instant::now()));
            }
        }
        while let Some((index, since)) = self.waiting.front()
            && *index <= commit
        {
            self.raft.proposal.observe(since.elapsed().as_secs_f64());
            self.waiting.pop_front();
        }
    }
}

/// A coordinator as it is looked at.
pub(crate) struct CoordinatorView {
    metrics: CoordinatorMetrics,
    engine: Engine,
    data_dir: PathBuf,
    /// One look at a time: two would mix what they find.
    turn: Mutex<()>,
}

impl Look for CoordinatorView {
    fn look(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = self.engine.cluster();
        self.metrics.common.look(cluster.ready, &self.data_dir);
        let leads = cluster.leader_id == cluster.member_id && cluster.member_id != 0;
        self.look_at_raft(&cluster, leads);
        let ledger = self.engine.ledger().borrow().clone();
        let contact = |worker: &str| {
            let contact = self.engine.contact(worker);
            contact.is_some_and(|contact| contact.connected)
        };
        let contact: Option<&dyn Fn(&str) -> bool> = if leads { Some(&contact) } else { None };
        let now_ms = crate::tls::now_s() * 1_000;
        self.metrics.ledger.look(&ledger, contact, now_ms);
    }

    fn ready(&self) -> Result<(), String> {
        match self.engine.is_ready() {
            true => Ok(()),
            false => Err("it neither leads nor has caught up with a leader".to_owned()),
        }
    }
}

impl CoordinatorView {
    pub(crate) fn new(metrics: &CoordinatorMetrics, engine: &Engine, data_dir: &Path) -> Self {
        Self {
            metrics: metrics.clone(),
            engine: engine.clone(),
            data_dir: data_dir.to_owned(),
            turn: Mutex::default(),
        }
    }

    fn look_at_raft(&self, cluster: &api::Cluster, leads: bool) {
        let raft = &self.metrics.raft;
        let role = self.engine.role();
        for one in Role::ALL {
            let gauge = raft.role.with_label_values(&[one.as_str()]);
            gauge.set(i64::from(one == role));
        }
        raft.leader.set(cluster.leader_id);
        raft.term.set(cluster.term);
        raft.last.set(cluster.last_index);
        raft.commit.set(cluster.commit_index);
        raft.applied.set(cluster.applied_index);
        raft.snapshot.set(cluster.snapshot_index);
        let learners = cluster.members.iter().filter(|member| member.learner);
        let learners = learners.count() as i64;
        let voters = cluster.members.len() as i64 - learners;
        raft.members.with_label_values(&["voter"]).set(voters);
        raft.members.with_label_values(&["learner"]).set(learners);
        raft.lag.reset();
        let others = cluster.members.iter();
        for other in others.filter(|other| leads && other.member_id != cluster.member_id) {
            let lag = (cluster.last_index - other.matched_index).max(0);
            let member = other.member_id.to_string();
            raft.lag.with_label_values(&[&member]).set(lag);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn proposals_are_counted_while_this_member_leads_and_timed_until_a_majority_has_them() {
        let metrics = CoordinatorMetrics::new().unwrap();
        let mut standing = metrics.standing();
        standing.follow_proposals(false, 10, 10);
        // What was there when it began to lead is no proposal of its own.
        standing.follow_proposals(true, 11, 10);
        standing.follow_proposals(true, 14, 11);
        standing.follow_proposals(true, 15, 13);
        assert_eq!(metrics.raft.proposals.get(), 4);
        assert_eq!(metrics.raft.proposal.get_sample_count(), 0);
        standing.follow_proposals(true, 15, 15);
        assert_eq!(metrics.raft.proposal.get_sample_count(), 2);
        // What is in flight when it stops leading is another's to commit.
        standing.follow_proposals(true, 16, 15);
        standing.follow_proposals(false, 20, 20);
        standing.follow_proposals(true, 21, 21);
        assert_eq!(metrics.raft.proposals.get(), 5);
        assert_eq!(metrics.raft.proposal.get_sample_count(), 2);
    }

    #[test]
    fn an_empty_ledger_has_every_state_and_no_queue() {
        let metrics = CoordinatorMetrics::new().unwrap();
        metrics.ledger.look(&Ledger::new(), None, 1);
        let families = metrics.registry.gather();
        let executions = families
            .iter()
            .find(|family| family.name() == "shoal_executions");
        assert_eq!(executions.unwrap().get_metric().len(), STATES.len());
        assert!(
            !families
                .iter()
                .any(|family| family.name() == "shoal_workers"),
            "only the leader knows who is in contact"
        );
    }
}
