//! The coordinators: processes around the real minds, disks that outlive them, and the group that they are together.

mod disk;
mod feeds;
mod host;

use ledger::Ledger;

pub(crate) use disk::{Disk, Stored};
pub(crate) use feeds::{Feed, Key, key, words};
pub(crate) use host::{Fetch, Host, Standing};

use crate::event::CoordinatorId;
use crate::stage::Stage;

/// Time between a program's first signal and its kill.
pub(crate) const GRACE_MS: u64 = 2_000;

/// What a coordinator is called, which is also its address.
pub(crate) fn name(id: CoordinatorId) -> String {
    format!("c{}", id + 1)
}

/// The coordinator of that name.
pub(crate) fn id_of(name: &str) -> Option<CoordinatorId> {
    name.strip_prefix('c')?
        .parse::<CoordinatorId>()
        .ok()?
        .checked_sub(1)
}

/// All of them.
pub(crate) struct Coordinators {
    hosts: Vec<Host>,
}

impl Coordinators {
    /// One that founds a group, and machines for others.
    pub(crate) fn founding(count: usize) -> Self {
        let first = Host::founding();
        let others = (1..count).map(Host::spare);
        let hosts = std::iter::once(first).chain(others).collect();
        Self { hosts }
    }

    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Those that belong to the group.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Host> {
        self.hosts
            .iter()
            .filter(|host| host.standing() == Standing::Member)
    }

    /// Another machine for a coordinator, which is not one yet.
    pub(crate) fn add(&mut self, stage: &mut Stage) -> CoordinatorId {
        let id = self.hosts.len();
        self.hosts.push(Host::spare(id));
        stage.coordinator_count = self.hosts.len();
        id
    }

    /// Whether the group is as it should be: everybody votes, is up and has caught up.
    pub(crate) fn is_settled(&self) -> bool {
        let Some(leader) = self.leader().and_then(|id| self.get(id)?.mind()) else {
            return false;
        };
        let members = leader.members();
        let ids: Vec<u64> = self.members().map(Host::member_id).collect();
        let newest = self.newest().revision();
        let votes = |id: &u64| members.voters.contains(id);
        leader.group().is_change_known()
            && members.learners.is_empty()
            && members.voters_outgoing.is_empty()
            && members.voters.len() == ids.len()
            && ids.iter().all(votes)
            && self
                .members()
                .all(|host| host.is_up() && host.published().revision() == newest)
            && self
                .members()
                .all(|host| host.lacks().is_none() && !host.is_flipped())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Host> {
        self.hosts.iter_mut()
    }

    pub(crate) fn get(&self, id: CoordinatorId) -> Option<&Host> {
        self.hosts.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: CoordinatorId) -> Option<&mut Host> {
        self.hosts.get_mut(id)
    }

    /// The one that leads: of several that believe it, the newest.
    pub(crate) fn leader(&self) -> Option<CoordinatorId> {
        let leaders = self
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, host)| host.leads());
        let newest = leaders.max_by_key(|(_, host)| host.mind().map(|mind| mind.group().term()))?;
        Some(newest.0)
    }

    /// The newest ledger that anybody has published.
    pub(crate) fn newest(&self) -> &Ledger {
        static NONE: std::sync::OnceLock<Ledger> = std::sync::OnceLock::new();
        let published = self.hosts.iter().map(Host::published);
        published
            .max_by_key(|ledger| ledger.revision())
            .unwrap_or_else(|| NONE.get_or_init(Ledger::new))
    }

    /// Who votes as each one that is up knows it, and how far the logs are, for a person.
    fn votes(&self) -> String {
        let minds = self.hosts.iter().filter_map(|host| {
            let group = host.mind()?.group();
            Some((host.name(), group))
        });
        let words = minds.map(|(name, group)| {
            let members = group.members();
            format!(
                "{name} is member {} in term {}, its log ends with {} of term {}, {} are committed, voters are {:?}, before {:?}, learners {:?}",
                group.id(),
                group.term(),
                group.last_index(),
                group.term_at(group.last_index()),
                group.commit_index(),
                members.voters,
                members.voters_outgoing,
                members.learners,
            )
        });
        words.collect::<Vec<_>>().join("; ")
    }

    /// What is not done, in words: somebody leads, and everybody has caught up.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let mut unfinished = Vec::new();
        match self.leader().and_then(|id| self.get(id)?.mind()) {
            None => unfinished.push(format!("nobody leads: {}", self.votes())),
            Some(leader) => {
                let members = leader.members();
                if !members.learners.is_empty() || !members.voters_outgoing.is_empty() {
                    unfinished.push(format!("the group is still {members:?}"));
                }
            }
        }
        for host in self
            .hosts
            .iter()
            .filter(|host| host.standing() == Standing::Lost)
        {
            unfinished.push(format!("{} is not replaced", host.name()));
        }
        let newest = self.newest().revision();
        for host in self.members() {
            let at = host.published().revision();
            if !host.is_up() || at < newest {
                let name = host.name();
                unfinished.push(format!("{name} is at revision {at} of {newest}"));
            }
            unfinished.extend(host.lacks());
            if !host.has_surveyed() {
                unfinished.push(format!("{} has yet to look for logs", host.name()));
            }
            if host.is_flipped() {
                unfinished.push(format!("{} is damaged", host.name()));
            }
        }
        unfinished
    }
}
