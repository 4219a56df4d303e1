//! The maps, and how they are read.

use std::sync::Arc;

use contract::ledger as pb;
use imbl::{OrdMap, Vector};
use uuid::Uuid;

use crate::changes::{Changes, Subject};
use crate::commands;
use crate::ids::Fence;
use crate::lanes::{Lane, Lanes};
use crate::needs::Needs;
use crate::outcome::{Applied, Refused};
use crate::recipes::Recipes;
use crate::records::{
    Datum, Execution, Member, Pipeline, Project, Promise, Request, Revocation, Token, Worker,
};
use crate::stored::Stored;

/// The replicated truth at one index. A clone takes constant time.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub(crate) cluster_id: Arc<str>,
    pub(crate) revision: u64,
    pub(crate) time_ms: i64,
    pub(crate) feature_level: u32,
    /// Version of the program that raised it.
    pub(crate) feature_version: Arc<str>,
    /// Of everything that changed up to here.
    pub(crate) digest: [u8; 32],
    pub(crate) projects: OrdMap<Arc<str>, Arc<Project>>,
    pub(crate) data: OrdMap<Uuid, Arc<Datum>>,
    pub(crate) workers: OrdMap<Arc<str>, Arc<Worker>>,
    /// Coordinators by id, with those that were removed.
    pub(crate) members: OrdMap<u64, Arc<Member>>,
    pub(crate) tokens: OrdMap<Arc<str>, Arc<Token>>,
    pub(crate) revocations: OrdMap<Arc<str>, Revocation>,
    /// By environment.
    pub(crate) promises: OrdMap<Arc<str>, Promise>,
    pub(crate) requests: OrdMap<Uuid, Arc<Request>>,
    /// Ids of the remembered requests, oldest first.
    pub(crate) request_order: Vector<Uuid>,

    /// Who has the bytes of data. A snapshot has its copies; the rest follows from the data.
    pub(crate) stored: Stored,

    // Follow from the records above; no part of a snapshot.
    pub(crate) recipes: Recipes,
    pub(crate) by_id: OrdMap<Uuid, (Arc<str>, i64)>,
    pub(crate) lanes: Lanes,
    pub(crate) changes: Changes,
    /// How many ids the entry being applied has derived.
    pub(crate) ordinal: u32,
}

// Getters.
impl Ledger {
    /// The ledger before the first entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies the entry at `index` of the log: the one transition function.
    ///
    /// Every command has its own outcome; one that is refused changes nothing, and the others take effect all the same.
    /// An index that is not after the last one changes nothing at all.
    pub fn apply(&mut self, index: u64, entry: &pb::Entry) -> Applied {
        commands::apply(self, index, entry)
    }

    /// UUID of the cluster; empty before it is founded.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The feature level: which rules count.
    pub fn feature_level(&self) -> u32 {
        self.feature_level
    }

    /// Version of the program that raised the feature level; empty when it never was.
    pub fn feature_version(&self) -> &str {
        &self.feature_version
    }

    /// Index of the last applied entry.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A running digest of everything that changed: equal on every member at the same revision (I-04).
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The ledger's time: the greatest clock of a leader seen so far, Unix milliseconds.
    pub fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// The project of that name.
    pub fn project(&self, name: &str) -> Option<&Project> {
        self.projects.get(name).map(|project| &**project)
    }

    /// Every project, by name.
    pub fn projects(&self) -> impl DoubleEndedIterator<Item = &Project> {
        self.projects.values().map(|project| &**project)
    }

    /// The pipeline of that number.
    pub fn pipeline(&self, project: &str, number: i64) -> Option<&Pipeline> {
        self.projects
            .get(project)?
            .pipeline(number)
            .map(|pipeline| &**pipeline)
    }

    /// The pipelines of a project, newest first; none when there is no such project.
    pub fn pipelines(&self, project: &str) -> impl DoubleEndedIterator<Item = &Pipeline> {
        let pipelines = self.projects.get(project).map(|project| &project.pipelines);
        pipelines
            .into_iter()
            .flat_map(|pipelines| pipelines.iter().rev())
            .map(|pipeline| &**pipeline)
    }

    /// The execution of that number.
    pub fn execution(&self, project: &str, number: i64) -> Option<&Execution> {
        self.projects
            .get(project)?
            .execution(number)
            .map(|execution| &**execution)
    }

    /// The execution of that UUID.
    pub fn execution_by_id(&self, id: &Uuid) -> Option<&Execution> {
        let (project, number) = self.by_id.get(id)?;
        self.execution(project, *number)
    }

    /// The executions of a project, newest first; none when there is no such project.
    pub fn executions(&self, project: &str) -> impl DoubleEndedIterator<Item = &Execution> {
        let executions = self
            .projects
            .get(project)
            .map(|project| &project.executions);
        executions
            .into_iter()
            .flat_map(|executions| executions.iter().rev())
            .map(|execution| &**execution)
    }

    /// The datum of that UUID.
    pub fn datum(&self, id: &Uuid) -> Option<&Datum> {
        self.data.get(id).map(|datum| &**datum)
    }

    /// The data of a project, newest first; none when there is no such project.
    pub fn data(&self, project: &str) -> impl DoubleEndedIterator<Item = &Datum> {
        let data = self.projects.get(project).map(|project| &project.data);
        data.into_iter()
            .flat_map(|data| data.iter().rev())
            .filter_map(|id| self.datum(id))
    }

    /// The worker of that name.
    pub fn worker(&self, name: &str) -> Option<&Worker> {
        self.workers.get(name).map(|worker| &**worker)
    }

    /// The worker of that name, for what is said by or of this incarnation; another one's word counts for nothing.
    pub(crate) fn worker_as(&self, name: &str, incarnation: u64) -> Result<&Worker, Refused> {
        let Some(worker) = self.worker(name) else {
            return Err(Refused::UnknownWorker {
                name: name.to_owned(),
            });
        };
        match worker.incarnation == incarnation {
            true => Ok(worker),
            false => Err(Refused::StaleIncarnation {
                current: worker.incarnation,
            }),
        }
    }

    /// Every worker, by name.
    pub fn workers(&self) -> impl DoubleEndedIterator<Item = &Worker> {
        self.workers.values().map(|worker| &**worker)
    }

    /// The coordinator of that id, also one that was removed.
    pub fn member(&self, member_id: u64) -> Option<&Member> {
        self.members.get(&member_id).map(|member| &**member)
    }

    /// Every coordinator that ever was, by id.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = &Member> {
        self.members.values().map(|member| &**member)
    }

    /// Every execution that waits for a worker, oldest first.
    pub fn queued(&self) -> impl Iterator<Item = &Execution> {
        let queued = self.lanes.oldest_first();
        queued.filter_map(|(project, number)| self.execution(project, number))
    }

    /// How many executions wait for a worker.
    pub fn queued_count(&self) -> usize {
        self.lanes.len()
    }

    /// The same by environment and project, for those that place executions without looking at all of them.
    pub fn lanes(&self) -> impl Iterator<Item = Lane<'_>> {
        self.lanes.iter()
    }

    /// Those of a project that wait for the same with the same priority; none when nothing does.
    pub fn lane(&self, needs: &Arc<Needs>, project: &Arc<str>, priority: i32) -> Option<Lane<'_>> {
        self.lanes.get(needs, project, priority)
    }

    /// The start that was promised in an environment.
    pub fn promise(&self, environment: &str) -> Option<&Promise> {
        self.promises.get(environment)
    }

    /// Every start that was promised, by environment.
    pub fn promises(&self) -> impl Iterator<Item = &Promise> {
        self.promises.values()
    }

    /// Fences of a worker's live attempts; none when it is not known.
    pub fn assigned(&self, worker: &str) -> impl ExactSizeIterator<Item = Fence> {
        let attempts = self
            .worker(worker)
            .map(|worker| worker.attempts())
            .unwrap_or_default();
        attempts.iter().copied()
    }

    /// What is remembered of a request.
    pub fn request(&self, id: &Uuid) -> Option<&Request> {
        self.requests.get(id).map(|request| &**request)
    }

    /// What changed after `revision`: each subject once, at its last change, in the order of those changes.
    pub fn changed_since(&self, revision: u64) -> impl DoubleEndedIterator<Item = (u64, &Subject)> {
        self.changes.since(revision)
    }
}
