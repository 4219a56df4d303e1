//! What others may see of the loop beside the ledger: who leads, how far the log is, who was last in contact when.

use std::collections::BTreeMap;

use contract::api;
use coordinator::{Coordinator, MemberView, PoolView, Role};
use disk::Space;
use ledger::Ledger;
use net::ports::Contact;

/// Who leads, as this member sees it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Leader {
    /// Raft id; 0 when nobody is known.
    pub(super) id: u64,
    pub(super) is_self: bool,
}

/// The loop as others may see it.
#[derive(Default)]
pub(super) struct View {
    pub(super) members: Vec<MemberView>,
    pub(super) contacts: BTreeMap<String, Contact>,
    /// How far the logs of the others equal the leader's, and whether it hears them; empty unless this member leads.
    progress: BTreeMap<u64, (u64, bool)>,
    /// The part that this member plays.
    pub(super) role: Role,
    member_id: u64,
    /// The highest feature level that this program knows.
    knows: u32,
    leader: u64,
    term: u64,
    commit: u64,
    last: u64,
    snapshot: u64,
    /// Logs and source trees that are missing here.
    lacking: (usize, usize),
    pools: Vec<PoolView>,
}

impl View {
    /// Takes in how things are.
    pub(super) fn look(&mut self, mind: &Coordinator, snapshot: u64) {
        let group = mind.group();
        self.role = group.role();
        self.member_id = group.id();
        self.knows = mind.knows().level;
        self.leader = group.leader();
        self.term = group.term();
        self.commit = group.commit_index();
        self.last = group.last_index();
        self.snapshot = snapshot;
    }

    /// Takes in how far the others are, and how many logs and source trees this one lacks.
    pub(super) fn look_at_others(&mut self, mind: &Coordinator, lacking: (usize, usize)) {
        self.lacking = lacking;
        self.progress.clear();
        self.pools = mind.pools().filter(|_| mind.leads()).collect();
        if mind.leads() {
            let group = mind.group();
            let others = self.members.iter().map(|member| member.member_id);
            self.progress.extend(others.map(|member| {
                let matched = group.matched(member).unwrap_or_default();
                (member, (matched, group.is_heard(member)))
            }));
        }
    }

    /// The cluster as people see it.
    pub(super) fn cluster(
        &self,
        ledger: &Ledger,
        ready: bool,
        space: Option<Space>,
    ) -> api::Cluster {
        // Not known is shown as zero.
        let (available, total) = space.map_or((0, 0), |space| {
            (space.available_bytes as i64, space.total_bytes as i64)
        });
        let member = |member: &MemberView| {
            let (matched, active) = self
                .progress
                .get(&member.member_id)
                .copied()
                .unwrap_or_default();
            api::Member {
                member_id: member.member_id as i64,
                address: member.address.clone(),
                learner: member.learner,
                matched_index: matched as i64,
                active,
            }
        };
        api::Cluster {
            cluster_id: ledger.cluster_id().to_owned(),
            members: self.members.iter().map(member).collect(),
            leader_id: self.leader as i64,
            term: self.term as i64,
            commit_index: self.commit as i64,
            applied_index: ledger.revision() as i64,
            version: crate::VERSION.to_owned(),
            member_id: self.member_id as i64,
            last_index: self.last as i64,
            snapshot_index: self.snapshot as i64,
            disk_available_bytes: available,
            disk_total_bytes: total,
            ready,
            feature_level: ledger.feature_level().cast_signed(),
            feature_version: ledger.feature_version().to_owned(),
            known_feature_level: self.knows.cast_signed(),
            lacking_log_count: self.lacking.0 as i64,
            lacking_source_count: self.lacking.1 as i64,
            pools: self.pools.iter().map(pool).collect(),
        }
    }
}

fn pool(pool: &PoolView) -> api::MachinePool {
    api::MachinePool {
        environment: pool.environment.clone(),
        present: pool.present.cast_signed(),
        wanted: pool.wanted.cast_signed(),
        maximum: pool.maximum.cast_signed(),
        ask_time: (pool.asked_ms != 0).then(|| prost_types::Timestamp {
            seconds: pool.asked_ms.div_euclid(1_000),
            nanos: pool.asked_ms.rem_euclid(1_000) as i32 * 1_000_000,
        }),
        failure: pool.failure.clone(),
        failure_count: pool.failures.cast_signed(),
        holding_workers: pool
            .holding
            .iter()
            .map(|name| format!("workers/{name}"))
            .collect(),
    }
}
