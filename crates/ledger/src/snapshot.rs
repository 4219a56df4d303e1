//! The whole ledger as one message, and back. What a snapshot says and what the replay of its entries says is the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::api::State;
use contract::ledger as pb;
use prost::Message as _;
use thiserror::Error;

use crate::ids::Fence;
use crate::ledger::Ledger;
use crate::records::{
    Attempt, Blueprint, Datum, Execution, Input, Member, Node, Pipeline, Project, Promise, Recipe,
    Request, Revocation, Taken, Token, Worker, digest, id, reason, share, state,
};

/// The version of snapshots this program writes, and the newest that it reads.
pub const SNAPSHOT_VERSION: u32 = 1;

/// Why a snapshot is not a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// It was written by a newer version.
    #[error("snapshot of version {0}; this program reads up to {SNAPSHOT_VERSION}")]
    Version(u32),
    /// A part of it cannot be.
    #[error("snapshot with a malformed {0}")]
    Malformed(&'static str),
    /// Its parts contradict each other.
    #[error("snapshot that contradicts itself: {0}")]
    Contradiction(String),
}

impl Ledger {
    /// The whole ledger as a message.
    pub fn snapshot(&self) -> pb::Snapshot {
        let projects = || self.projects.values();
        pb::Snapshot {
            version: SNAPSHOT_VERSION,
            applied_index: self.revision,
            cluster_id: self.cluster_id.to_string(),
            feature_level: self.feature_level,
            feature_version: self.feature_version.to_string(),
            projects: projects().map(|project| project.record()).collect(),
            pipelines: projects()
                .flat_map(|project| &project.pipelines)
                .map(|pipeline| pipeline.record())
                .collect(),
            executions: projects()
                .flat_map(|project| &project.executions)
                .map(|execution| execution.record())
                .collect(),
            data: projects()
                .flat_map(|project| &project.data)
                .filter_map(|id| self.datum(id))
                .map(Datum::record)
                .collect(),
            workers: self
                .workers
                .values()
                .map(|worker| worker.record())
                .collect(),
            requests: self
                .request_order
                .iter()
                .filter_map(|id| self.request(id))
                .map(Request::record)
                .collect(),
            leader_time_ms: self.time_ms,
            members: self.members().map(Member::record).collect(),
            tokens: self.tokens().map(Token::record).collect(),
            revocations: self.revocations().map(Revocation::record).collect(),
            promises: self.promises().map(Promise::record).collect(),
            copies: self.stored.copy_records(),
            digest: prost::bytes::Bytes::copy_from_slice(&self.digest),
        }
    }

    /// A digest of everything a snapshot holds: equal on every member at the same revision (I-04). Takes time that grows
    /// with the ledger.
    pub fn state_hash(&self) -> [u8; 32] {
        *blake3::hash(&self.snapshot().encode_to_vec()).as_bytes()
    }

    /// The ledger that a snapshot was made of.
    ///
    /// # Errors
    /// When the snapshot is of a newer version, or no ledger ever was so.
    pub fn restore(snapshot: pb::Snapshot) -> Result<Self, RestoreError> {
        if !(1..=SNAPSHOT_VERSION).contains(&snapshot.version) {
            return Err(RestoreError::Version(snapshot.version));
        }
        let mut ledger = Self {
            cluster_id: share(&snapshot.cluster_id),
            revision: snapshot.applied_index,
            time_ms: snapshot.leader_time_ms,
            feature_level: snapshot.feature_level,
            feature_version: share(&snapshot.feature_version),
            // One of a version before there were digests has none; so had whoever wrote it.
            digest: digest(&snapshot.digest).unwrap_or_default(),
            ..Self::default()
        };
        let mut counts = Vec::new();
        for record in snapshot.projects {
            let id = id(&record.project_id, "project_id")?;
            let name = share(&record.name);
            counts.push((name.clone(), record.last_execution, record.last_pipeline));
            ledger
                .projects
                .insert(name.clone(), Arc::new(Project::new(name, id)));
        }
        for record in snapshot.pipelines {
            let pipeline = ledger.restore_pipeline(record)?;
            ledger.insert_pipeline(pipeline);
        }
        let workers: Vec<Worker> = snapshot
            .workers
            .into_iter()
            .map(restore_worker)
            .collect::<Result<_, RestoreError>>()?;
        let names: BTreeMap<&str, &Arc<str>> = workers
            .iter()
            .map(|worker| (&*worker.name, &worker.name))
            .collect();
        for record in snapshot.executions {
            let execution = ledger.restore_execution(record, &names)?;
            ledger.insert_execution(execution);
        }
        for record in snapshot.data {
            let project = ledger.project_name(&record.project)?;
            let worker = names
                .get(record.worker.as_str())
                .map_or_else(|| share(&record.worker), |name| (*name).clone());
            ledger.insert_datum(Datum::restore(record, project, worker)?);
        }
        // After the executions, so that the fences of their attempts stand in the order in which they stood.
        for mut worker in workers {
            worker.taken = ledger.taken_by(&worker.attempts);
            ledger.insert_worker(worker);
        }
        let mut stored = std::mem::take(&mut ledger.stored);
        for record in &snapshot.copies {
            stored.restore_copy(record, |name| ledger.worker_name(name))?;
        }
        ledger.stored = stored;
        for record in snapshot.members {
            ledger.insert_member(Member::restore(record));
        }
        for record in snapshot.requests {
            ledger.remember(Request::restore(record)?);
        }
        for record in snapshot.promises {
            let promise = Promise::restore(record);
            let environment = promise.environment.clone();
            ledger.promises.insert(environment, promise);
        }
        for record in snapshot.tokens {
            let token = Token::restore(record)?;
            let token_id = token.token_id.clone();
            ledger.tokens.insert(token_id, Arc::new(token));
        }
        for record in snapshot.revocations {
            let revocation = Revocation::restore(record)?;
            let principal = revocation.principal.clone();
            ledger.revocations.insert(principal, revocation);
        }
        for (name, executions, pipelines) in counts {
            let project = ledger.project(&name);
            let found =
                project.map(|project| (project.execution_count(), project.pipeline_count()));
            if found != Some((executions, pipelines)) {
                return Err(RestoreError::Contradiction(format!(
                    "the counts of project {name}"
                )));
            }
        }
        ledger
            .check_invariants()
            .map_err(RestoreError::Contradiction)?;
        Ok(ledger)
    }

    /// The name of a project as it is shared.
    fn project_name(&self, name: &str) -> Result<Arc<str>, RestoreError> {
        let project = self.project(name).map(|project| project.name.clone());
        project.ok_or_else(|| RestoreError::Contradiction(format!("project {name} does not exist")))
    }

    fn restore_pipeline(&self, record: pb::PipelineRecord) -> Result<Pipeline, RestoreError> {
        let blueprint = Blueprint::new(&record.plan.unwrap_or_default())
            .map_err(RestoreError::Contradiction)?;
        let nodes: imbl::Vector<Node> = record
            .nodes
            .into_iter()
            .map(Node::restore)
            .collect::<Result<_, RestoreError>>()?;
        Ok(Pipeline {
            project: self.project_name(&record.project)?,
            number: record.number,
            pipeline_id: id(&record.pipeline_id, "pipeline_id")?,
            blueprint: Arc::new(blueprint),
            state: state(record.state)?,
            end_reason: reason(record.end_reason)?,
            message: record.message,
            create_time_ms: record.create_time_ms,
            end_time_ms: record.end_time_ms,
            open: nodes.iter().filter(|node| !node.is_final()).count(),
            nodes,
            source: record.source,
            title: share(&record.title),
            annotations: Arc::new(record.annotations),
            revision: record.revision,
            ending: match state(record.ending)? {
                State::Unspecified => None,
                state => Some(state),
            },
            priority: record.priority,
        })
    }

    fn restore_execution(
        &mut self,
        record: pb::ExecutionRecord,
        workers: &BTreeMap<&str, &Arc<str>>,
    ) -> Result<Execution, RestoreError> {
        let project = self.project_name(&record.project)?;
        let node = match self.pipeline(&project, record.pipeline) {
            None => Arc::default(),
            Some(pipeline) => pipeline.node_name(&record.node),
        };
        let template = Arc::new(record.template.unwrap_or_default());
        let recipe = self
            .recipes
            .share(Recipe::new(template, record.commands, record.source));
        let attempts = record.attempts.into_iter().map(|attempt| {
            let known = workers.get(attempt.worker.as_str());
            let worker = known.map_or_else(|| share(&attempt.worker), |name| (*name).clone());
            Attempt::restore(attempt, worker)
        });
        let outputs = record
            .outputs
            .iter()
            .map(|output| id(output, "execution.outputs"));
        Ok(Execution {
            project,
            number: record.number,
            execution_id: id(&record.execution_id, "execution_id")?,
            recipe,
            inputs: record
                .inputs
                .into_iter()
                .map(Input::restore)
                .collect::<Result<_, _>>()?,
            pipeline: record.pipeline,
            node,
            state: state(record.state)?,
            end_reason: reason(record.end_reason)?,
            message: record.message,
            create_time_ms: record.create_time_ms,
            end_time_ms: record.end_time_ms,
            attempts: attempts.collect::<Result<_, _>>()?,
            outputs: outputs.collect::<Result<_, _>>()?,
            metadata_json: share(&record.metadata_json),
            identity: digest(&record.identity),
            exit_code: record.exit_code,
            title: share(&record.title),
            annotations: (!record.annotations.is_empty()).then(|| Arc::new(record.annotations)),
            revision: record.revision,
            stop_reason: reason(record.stop_reason)?,
            create_index: record.create_index,
            priority: record.priority,
        })
    }
}

fn restore_worker(record: pb::WorkerRecord) -> Result<Worker, RestoreError> {
    let fences = record
        .attempts
        .iter()
        .map(Fence::try_from)
        .collect::<Result<_, _>>();
    let holds = record.holds.iter().map(|hold| {
        let fence = hold.fence.as_ref().map(Fence::try_from);
        match fence {
            Some(Ok(fence)) => Ok((share(&hold.device_id), fence)),
            _ => Err(RestoreError::Malformed("worker.holds")),
        }
    });
    Ok(Worker {
        holds: holds.collect::<Result<_, _>>()?,
        taken: Taken::default(),
        drained: record.drained,
        name: share(&record.name),
        incarnation: record.incarnation,
        instance_id: Arc::from(&*record.instance_id),
        offer: Arc::new(record.offer.unwrap_or_default()),
        lost: record.lost,
        attempts: fences.map_err(|_| RestoreError::Malformed("worker.attempts"))?,
        revision: record.revision,
    })
}
