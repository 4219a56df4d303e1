//! The maps, how they are read, and the only ways in which they change.

use std::sync::Arc;

use contract::api::State;
use contract::ledger as pb;
use imbl::{OrdMap, Vector};
use uuid::Uuid;

use crate::changes::{Changes, Subject};
use crate::commands;
use crate::ids::{self, Fence};
use crate::lanes::{Age, Lane, Lanes};
use crate::outcome::Applied;
use crate::recipes::Recipes;
use crate::records::{
    Datum, Execution, Node, Pipeline, Project, Recipe, Request, Worker, position,
};

/// The replicated truth at one index. A clone takes constant time.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub(crate) cluster_id: Arc<str>,
    pub(crate) revision: u64,
    pub(crate) time_ms: i64,
    pub(crate) feature_level: u32,
    pub(crate) projects: OrdMap<Arc<str>, Arc<Project>>,
    pub(crate) data: OrdMap<Uuid, Arc<Datum>>,
    pub(crate) workers: OrdMap<Arc<str>, Arc<Worker>>,
    pub(crate) requests: OrdMap<Uuid, Arc<Request>>,
    /// Ids of the remembered requests, oldest first.
    pub(crate) request_order: Vector<Uuid>,

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

    /// Index of the last applied entry.
    pub fn revision(&self) -> u64 {
        self.revision
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

    /// Every worker, by name.
    pub fn workers(&self) -> impl DoubleEndedIterator<Item = &Worker> {
        self.workers.values().map(|worker| &**worker)
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

// How it changes. Each of these keeps what follows from the records in step with them, so that nothing else has to.
impl Ledger {
    /// Derives the next id of the entry being applied.
    pub(crate) fn derive(&mut self, kind: ids::Kind) -> Uuid {
        let id = ids::derive(&self.cluster_id, self.revision, self.ordinal, kind);
        self.ordinal += 1;
        id
    }

    /// The name of a project as it is shared; the project comes to be if it does not exist.
    pub(crate) fn found_project(&mut self, name: &str) -> Arc<str> {
        if let Some(project) = self.projects.get(name) {
            return project.name.clone();
        }
        let name: Arc<str> = Arc::from(name);
        let project = Project::new(name.clone(), self.derive(ids::Kind::Project));
        self.projects.insert(name.clone(), Arc::new(project));
        name
    }

    /// Adds an execution of a project that exists; its number is the next.
    pub(crate) fn insert_execution(&mut self, execution: Execution) {
        let subject = Subject::Execution {
            project: execution.project.clone(),
            number: execution.number,
        };
        self.changes.record(subject, 0, execution.revision);
        self.index_execution(&execution);
        let Some(project) = self.projects.get_mut(&execution.project) else {
            return;
        };
        Arc::make_mut(project)
            .executions
            .push_back(Arc::new(execution));
    }

    /// Takes an execution into everything that follows from the records.
    fn index_execution(&mut self, execution: &Execution) {
        self.by_id.insert(
            execution.execution_id,
            (execution.project.clone(), execution.number),
        );
        self.restand(
            execution.project.clone(),
            Standing::nowhere(execution),
            Standing::of(execution),
        );
    }

    /// Changes an execution. Nothing happens when it does not exist.
    pub(crate) fn update_execution(
        &mut self,
        project: &str,
        number: i64,
        change: impl FnOnce(&mut Execution),
    ) {
        let Some(at) = position(number) else { return };
        let Some(owner) = self.projects.get_mut(project) else {
            return;
        };
        let owner = Arc::make_mut(owner);
        let Some(execution) = owner.executions.get_mut(at) else {
            return;
        };
        let execution = Arc::make_mut(execution);
        let before = Standing::of(execution);
        change(execution);
        let last = std::mem::replace(&mut execution.revision, self.revision);
        let after = Standing::of(execution);
        let project = owner.name.clone();
        self.changes.record(
            Subject::Execution {
                project: project.clone(),
                number,
            },
            last,
            self.revision,
        );
        self.restand(project, before, after);
    }

    /// Follows a change of where an execution stands.
    fn restand(&mut self, project: Arc<str>, before: Standing, after: Standing) {
        if before.waiting != after.waiting {
            let environment = &after.recipe.template.environment;
            match after.waiting {
                true => self.lanes.insert(environment, &project, after.age),
                false => self.lanes.remove(environment, &project, after.age),
            }
        }
        if before.live == after.live && before.stopping == after.stopping {
            return;
        }
        let change = i32::from(after.live.is_some()) - i32::from(before.live.is_some());
        if let Some(owner) = self.projects.get_mut(&project) {
            let owner = Arc::make_mut(owner);
            owner.live = owner.live.saturating_add_signed(change);
        }
        if let Some((worker, fence)) = before.live {
            self.update_worker(&worker, |worker| {
                worker.attempts.retain(|known| *known != fence)
            });
        }
        if let Some((worker, fence)) = after.live {
            self.update_worker(&worker, |worker| worker.attempts.push(fence));
        }
    }

    /// Adds a pipeline of a project that exists; its number is the next.
    pub(crate) fn insert_pipeline(&mut self, pipeline: Pipeline) {
        let subject = Subject::Pipeline {
            project: pipeline.project.clone(),
            number: pipeline.number,
        };
        self.changes.record(subject, 0, pipeline.revision);
        let Some(project) = self.projects.get_mut(&pipeline.project) else {
            return;
        };
        Arc::make_mut(project)
            .pipelines
            .push_back(Arc::new(pipeline));
    }

    /// Changes a pipeline. Nothing happens when it does not exist.
    pub(crate) fn update_pipeline(
        &mut self,
        project: &str,
        number: i64,
        change: impl FnOnce(&mut Pipeline),
    ) {
        let Some(at) = position(number) else { return };
        let Some(owner) = self.projects.get_mut(project) else {
            return;
        };
        let owner = Arc::make_mut(owner);
        let Some(pipeline) = owner.pipelines.get_mut(at) else {
            return;
        };
        let pipeline = Arc::make_mut(pipeline);
        change(pipeline);
        let last = std::mem::replace(&mut pipeline.revision, self.revision);
        self.changes.record(
            Subject::Pipeline {
                project: owner.name.clone(),
                number,
            },
            last,
            self.revision,
        );
    }

    /// Changes a node of a pipeline.
    pub(crate) fn update_node(
        &mut self,
        project: &str,
        number: i64,
        node: usize,
        change: impl FnOnce(&mut Node),
    ) {
        self.update_pipeline(project, number, |pipeline| {
            let Some(node) = pipeline.nodes.get_mut(node) else {
                return;
            };
            let before = node.is_final();
            change(node);
            match (before, node.is_final()) {
                (false, true) => pipeline.open -= 1,
                (true, false) => pipeline.open += 1,
                _ => {}
            }
        });
    }

    /// Adds a datum of a project that exists.
    pub(crate) fn insert_datum(&mut self, datum: Datum) {
        if let Some(project) = self.projects.get_mut(&datum.project) {
            Arc::make_mut(project).data.push_back(datum.datum_id);
        }
        self.data.insert(datum.datum_id, Arc::new(datum));
    }

    /// Adds a worker, or what a snapshot says of one.
    pub(crate) fn insert_worker(&mut self, worker: Worker) {
        let last = self
            .worker(&worker.name)
            .map(|known| known.revision)
            .unwrap_or_default();
        self.changes
            .record(Subject::Worker(worker.name.clone()), last, worker.revision);
        self.workers.insert(worker.name.clone(), Arc::new(worker));
    }

    /// Changes a worker. Nothing happens when it is not known.
    pub(crate) fn update_worker(&mut self, name: &str, change: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.workers.get_mut(name) else {
            return;
        };
        let worker = Arc::make_mut(worker);
        change(worker);
        let last = std::mem::replace(&mut worker.revision, self.revision);
        self.changes
            .record(Subject::Worker(worker.name.clone()), last, self.revision);
    }

    /// Remembers a request and forgets the oldest beyond the limit.
    pub(crate) fn remember(&mut self, request: Request) {
        self.request_order.push_back(request.request_id);
        self.requests.insert(request.request_id, Arc::new(request));
        while self.request_order.len() > crate::REMEMBERED_REQUESTS {
            if let Some(oldest) = self.request_order.pop_front() {
                self.requests.remove(&oldest);
            }
        }
    }
}

/// Where an execution stands, as far as anything else follows from it.
struct Standing {
    recipe: Arc<Recipe>,
    age: Age,
    waiting: bool,
    live: Option<(Arc<str>, Fence)>,
    stopping: bool,
}

impl Standing {
    fn of(execution: &Execution) -> Self {
        let live = execution.live_attempt();
        Self {
            waiting: execution.is_waiting(),
            live: live.map(|attempt| (attempt.worker.clone(), execution.fence(attempt))),
            stopping: execution.state() == State::Stopping,
            ..Self::nowhere(execution)
        }
    }

    /// Of an execution that nothing knows of yet.
    fn nowhere(execution: &Execution) -> Self {
        Self {
            recipe: execution.recipe.clone(),
            age: (execution.create_index, execution.number),
            waiting: false,
            live: None,
            stopping: false,
        }
    }
}
