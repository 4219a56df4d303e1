//! What a worker counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use net::ports::Calls;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{Book, Common, LONG, Look, as_gauge};
use crate::Fault;
use crate::worker::Stock;

/// A part of an attempt's life that the daemon works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its image, source and inputs are fetched.
    Prepare,
    /// Its program, or its container, is started.
    Launch,
    /// Its outputs are stored.
    Collect,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Prepare => "prepare",
            Phase::Launch => "launch",
            Phase::Collect => "collect",
        }
    }
}

/// The counts; a clone is the same.
#[derive(Clone)]
pub(crate) struct WorkerMetrics {
    pub(crate) registry: Registry,
    common: Common,
    attempts: IntGaugeVec,
    slots: IntGauge,
    disk_full: IntGauge,
    devices: IntGaugeVec,
    blobs: IntGauge,
    blob_bytes: IntGauge,
    started: IntCounter,
    phases: HistogramVec,
    sent: IntCounter,
    fetched: IntCounterVec,
    heard: Arc<AtomicBool>,
}

impl WorkerMetrics {
    /// Nothing counted yet; a worker that offers so many slots.
    ///
    /// # Errors
    /// When two metrics have one name.
    pub(crate) fn new(slots: u32) -> Result<Self, Fault> {
        let book = Book(Registry::new());
        let metrics = Self {
            common: Common::new(&book, "worker")?,
            attempts: book.gauges(
                "shoal_worker_attempts",
                "Attempts that this worker has, by how far they are.",
                &["phase"],
            )?,
            slots: book.gauge("shoal_worker_slots", "Attempts that it runs at once.")?,
            disk_full: book.gauge(
                "shoal_worker_disk_full",
                "Whether it takes no new attempts because its disk lacks the room that is kept in reserve.",
            )?,
            devices: book.gauges(
                "shoal_worker_devices",
                "Its devices, and those of them that attempts have.",
                &["state"],
            )?,
            blobs: book.gauge("shoal_worker_blobs", "Blobs that it holds.")?,
            blob_bytes: book.gauge("shoal_worker_blob_bytes", "Bytes of those blobs.")?,
            started: book.counter(
                "shoal_worker_attempts_started_total",
                "Attempts whose program was started.",
            )?,
            phases: book.times_of(
                "shoal_worker_phase_seconds",
                "How long it took to prepare an attempt, to launch its program, and to collect its outputs.",
                &["phase"],
                LONG,
            )?,
            sent: book.counter(
                "shoal_worker_sent_bytes_total",
                "Bytes of blobs that others read from it.",
            )?,
            fetched: book.counters(
                "shoal_worker_fetched_bytes_total",
                "Bytes of inputs and sources that it fetched, from other nodes or from the web.",
                &["source"],
            )?,
            registry: book.0,
            heard: Arc::default(),
        };
        metrics.slots.set(slots.into());
        for source in ["node", "web"] {
            metrics.fetched.with_label_values(&[source]);
        }
        for phase in [Phase::Prepare, Phase::Launch, Phase::Collect] {
            metrics.phases.with_label_values(&[phase.name()]);
        }
        Ok(metrics)
    }

    /// Counts calls.
    pub(crate) fn calls(&self) -> Arc<dyn Calls> {
        Arc::new(self.common.calls.clone())
    }

    /// Counts what others read.
    pub(crate) fn sent(&self) -> IntCounter {
        self.sent.clone()
    }

    /// Counts what is fetched from other nodes, and from the web.
    pub(crate) fn fetched(&self) -> (IntCounter, IntCounter) {
        let from = |source: &str| self.fetched.with_label_values(&[source]);
        (from("node"), from("web"))
    }

    /// A program was started.
    pub(crate) fn started(&self) {
        self.started.inc();
    }

    /// A phase of an attempt took so long.
    pub(crate) fn took(&self, phase: Phase, since: Instant) {
        let seconds = self.phases.with_label_values(&[phase.name()]);
        seconds.observe(since.elapsed().as_secs_f64());
    }

    /// A coordinator has told the worker what to run; or the connection to it has ended. A connection alone says nothing: it may be to
    /// one that does not lead.
    pub(crate) fn heard(&self, heard: bool) {
        self.heard.store(heard, Ordering::Relaxed);
    }

    /// Takes in how the worker is.
    pub(crate) fn look(&self, mind: &worker::Worker) {
        for (phase, count) in mind.phases() {
            let gauge = self.attempts.with_label_values(&[phase]);
            gauge.set(as_gauge(count as u64));
        }
        self.disk_full.set(mind.is_disk_full().into());
        let (all, used) = mind.devices();
        let devices = |state: &str, count: usize| {
            let gauge = self.devices.with_label_values(&[state]);
            gauge.set(as_gauge(count as u64));
        };
        devices("used", used);
        devices("free", all.saturating_sub(used));
    }
}

/// A worker as it is looked at.
pub(crate) struct WorkerView {
    metrics: WorkerMetrics,
    stock: Stock,
    data_dir: PathBuf,
}

impl WorkerView {
    pub(crate) fn new(metrics: &WorkerMetrics, stock: Stock, data_dir: &Path) -> Self {
        Self {
            metrics: metrics.clone(),
            stock,
            data_dir: data_dir.to_owned(),
        }
    }
}

impl Look for WorkerView {
    fn look(&self) {
        let ready = self.ready().is_ok();
        self.metrics.common.look(ready, &self.data_dir);
        if let Some(counted) = self.stock.count() {
            self.metrics.blobs.set(as_gauge(counted.blobs));
            self.metrics.blob_bytes.set(as_gauge(counted.bytes));
        }
    }

    fn ready(&self) -> Result<(), String> {
        match self.metrics.heard.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("no coordinator hears it".to_owned()),
        }
    }
}
