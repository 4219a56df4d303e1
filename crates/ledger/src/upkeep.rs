//! The only ways in which the maps change. Each of these keeps what follows from the records in step with them, so that
//! nothing else has to.

use std::sync::Arc;

use contract::api::State;
use uuid::Uuid;

use crate::changes::Subject;
use crate::ids::{self, Fence};
use crate::lanes::Age;
use crate::ledger::Ledger;
use crate::records::{
    Datum, Execution, Member, Node, Pipeline, Project, Recipe, Request, Taken, Worker, position,
};

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
        let needs = &execution.recipe.needs;
        for attempt in &execution.attempts {
            let (project, priority) = (&execution.project, execution.priority);
            self.lanes
                .serve(needs, project, priority, attempt.assign_time_ms);
        }
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
            let (needs, priority) = (&after.recipe.needs, after.priority);
            match after.waiting {
                true => self.lanes.insert(needs, &project, priority, after.age),
                false => self.lanes.remove(needs, &project, priority, after.age),
            }
            if !after.waiting {
                self.keep_promise(&needs.environment, &project, after.age.1);
            }
            if before.waiting && after.live.is_some() {
                self.lanes.serve(needs, &project, priority, self.time_ms);
            }
        }
        if before.live == after.live && before.stopping == after.stopping {
            return;
        }
        let change = i32::from(after.live.is_some()) - i32::from(before.live.is_some());
        if let Some(owner) = self.projects.get_mut(&project) {
            let owner = Arc::make_mut(owner);
            owner.live = owner.live.saturating_add_signed(change);
            let weight = i64::from(change) * after.recipe.needs.weight() as i64;
            owner.live_weight = owner.live_weight.saturating_add_signed(weight);
        }
        if let Some((worker, fence)) = before.live {
            self.update_worker(&worker, |worker| {
                worker.attempts.retain(|known| *known != fence);
                worker.taken = worker.taken.minus(&before.recipe.needs);
            });
        }
        if let Some((worker, fence)) = after.live {
            self.update_worker(&worker, |worker| {
                worker.attempts.push(fence);
                worker.taken = worker.taken.plus(&after.recipe.needs);
            });
        }
    }

    /// A promise to an execution that waits no more is over.
    fn keep_promise(&mut self, environment: &str, project: &str, number: i64) {
        let promise = self.promises.get(environment);
        if promise
            .is_some_and(|promise| promise.execution == number && *promise.project == *project)
        {
            self.promises.remove(environment);
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
        self.stored
            .insert(datum.digest, datum.size_bytes, &datum.worker);
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

    /// What is kept for these attempts in all.
    pub(crate) fn taken_by(&self, attempts: &[Fence]) -> Taken {
        let executions = attempts
            .iter()
            .filter_map(|fence| self.execution_by_id(&fence.execution_id));
        executions.fold(Taken::default(), |taken, execution| {
            taken.plus(&execution.recipe.needs)
        })
    }

    /// Gives back the devices of an attempt.
    pub(crate) fn release_devices(&mut self, worker: &str, fence: Fence) {
        let holds = self.worker(worker).map(|worker| &worker.holds);
        if holds.is_some_and(|holds| holds.values().any(|holder| *holder == fence)) {
            self.update_worker(worker, |worker| {
                worker.holds.retain(|_, holder| *holder != fence);
            });
        }
    }

    /// Adds a coordinator, or what is new of one.
    pub(crate) fn insert_member(&mut self, member: Member) {
        self.members.insert(member.member_id, Arc::new(member));
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
    priority: i32,
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
            priority: execution.priority,
            waiting: false,
            live: None,
            stopping: false,
        }
    }
}
