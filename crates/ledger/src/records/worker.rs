//! A worker as the ledger knows it.

use std::sync::Arc;

use contract::ledger as pb;
use contract::link::Offer;

use crate::ids::Fence;

/// A worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    /// Its name.
    pub name: Arc<str>,
    /// Its newest incarnation.
    pub incarnation: u64,
    /// What it offers.
    pub offer: Arc<Offer>,
    /// Whether it was declared lost.
    pub lost: bool,
    /// Fences of its live attempts, in no order that means anything but the same everywhere.
    pub(crate) attempts: Vec<Fence>,
    /// Raft index of its last change: of what it is, of what it has, or of what should stop.
    pub revision: u64,
}

impl Worker {
    /// Fences of its live attempts.
    pub fn attempts(&self) -> &[Fence] {
        &self.attempts
    }

    pub(crate) fn record(&self) -> pb::WorkerRecord {
        pb::WorkerRecord {
            name: self.name.to_string(),
            incarnation: self.incarnation,
            offer: Some((*self.offer).clone()),
            lost: self.lost,
            attempts: self.attempts.iter().map(|fence| (*fence).into()).collect(),
            revision: self.revision,
        }
    }
}
