//! A project: what is numbered together.

use std::sync::Arc;

use contract::ledger as pb;
use imbl::Vector;
use uuid::Uuid;

use super::{Execution, Pipeline};
use crate::ids;

/// A project. It comes to be with its first pipeline or execution.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its name.
    pub name: Arc<str>,
    /// Its UUID.
    pub project_id: Uuid,
    /// Number `n` is at `n - 1`: executions are never removed.
    pub(crate) executions: Vector<Arc<Execution>>,
    /// Number `n` is at `n - 1`: pipelines are never removed.
    pub(crate) pipelines: Vector<Arc<Pipeline>>,
    /// In the order in which they were published.
    pub(crate) data: Vector<Uuid>,
    /// How many of its attempts are live.
    pub(crate) live: u32,
    /// What they weigh.
    pub(crate) live_weight: u64,
}

impl Project {
    pub(crate) fn new(name: Arc<str>, project_id: Uuid) -> Self {
        Self {
            name,
            project_id,
            executions: Vector::new(),
            pipelines: Vector::new(),
            data: Vector::new(),
            live: 0,
            live_weight: 0,
        }
    }

    /// How many executions it has; also the number of the newest.
    pub fn execution_count(&self) -> i64 {
        self.executions.len() as i64
    }

    /// How many pipelines it has; also the number of the newest.
    pub fn pipeline_count(&self) -> i64 {
        self.pipelines.len() as i64
    }

    /// How many of its executions are with a worker now.
    pub fn live_count(&self) -> u32 {
        self.live
    }

    /// What its executions that are with a worker weigh in all, as [`crate::Needs::weight`] counts it.
    pub fn live_weight(&self) -> u64 {
        self.live_weight
    }

    /// The execution of that number.
    pub fn execution(&self, number: i64) -> Option<&Arc<Execution>> {
        self.executions.get(position(number)?)
    }

    /// The pipeline of that number.
    pub fn pipeline(&self, number: i64) -> Option<&Arc<Pipeline>> {
        self.pipelines.get(position(number)?)
    }

    pub(crate) fn record(&self) -> pb::ProjectRecord {
        pb::ProjectRecord {
            name: self.name.to_string(),
            project_id: ids::wire(self.project_id),
            last_execution: self.execution_count(),
            last_pipeline: self.pipeline_count(),
        }
    }
}

/// Where a number stands in a vector.
pub(crate) fn position(number: i64) -> Option<usize> {
    usize::try_from(number.checked_sub(1)?).ok()
}
