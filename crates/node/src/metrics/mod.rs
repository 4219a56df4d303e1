//! What a node tells monitoring systems: counts and times, kept where they happen, and gauges that are looked up when somebody asks.
//!
//! Names begin with `shoal_`, say their unit at the end, and `_total` where they only rise; `process_` are the usual ones of every program.
//! `docs/operations.md` lists them all, and a test compares.

mod coordinator;
mod process;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use self::coordinator::{CoordinatorMetrics, CoordinatorView, Standing};
use self::process::Process;
pub(crate) use self::worker::{Phase, WorkerMetrics, WorkerView};
use crate::{Fault, VERSION};

/// Bounds of the buckets of what takes from a tenth of a millisecond to seconds.
const SHORT: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// Bounds of the buckets of what takes from a hundredth of a second to minutes.
const LONG: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0,
];

/// Makes metrics, and registers each.
struct Book(Registry);

impl Book {
    fn keep<M: Collector + Clone + 'static>(
        &self,
        made: Result<M, prometheus::Error>,
    ) -> Result<M, Fault> {
        let wrong = |error: prometheus::Error| Fault::new(format!("metrics: {error}"));
        let metric = made.map_err(wrong)?;
        self.0.register(Box::new(metric.clone())).map_err(wrong)?;
        Ok(metric)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Fault> {
        self.keep(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Fault> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Fault> {
        self.keep(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Fault> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn times(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, Fault> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.keep(Histogram::with_opts(options))
    }

    fn times_of(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, Fault> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.keep(HistogramVec::new(options, labels))
    }
}

/// What both roles tell.
#[derive(Clone)]
struct Common {
    ready: IntGauge,
    disk_available: IntGauge,
    disk_size: IntGauge,
    process: Process,
    calls: CallMetrics,
}

impl Common {
    fn new(book: &Book, role: &str) -> Result<Self, Fault> {
        let build = book.gauges(
            "shoal_build_info",
            "1; the labels say which program this is.",
            &["role", "version"],
        )?;
        build.with_label_values(&[role, VERSION]).set(1);
        Ok(Self {
            ready: book.gauge(
                "shoal_ready",
                "Whether the node does its work, as /readyz says.",
            )?,
            disk_available: book.gauge(
                "shoal_disk_available_bytes",
                "Bytes that can still be written to the disk of the data directory.",
            )?,
            disk_size: book.gauge(
                "shoal_disk_size_bytes",
                "Bytes of the disk of the data directory.",
            )?,
            process: Process::new(book)?,
            calls: CallMetrics {
                requests: book.counters(
                    "shoal_grpc_requests_total",
                    "Calls that have ended, by method and gRPC code.",
                    &["method", "code"],
                )?,
                seconds: book.times_of(
                    "shoal_grpc_request_seconds",
                    "How long calls took that answer once, until the last byte of the answer.",
                    &["method"],
                    SHORT,
                )?,
            },
        })
    }

    fn look(&self, ready: bool, data_dir: &std::path::Path) {
        self.ready.set(ready.into());
        // Not known is shown as zero.
        let (available, size) = disk::space_of(data_dir)
            .map_or((0, 0), |space| (space.available_bytes, space.total_bytes));
        self.disk_available.set(as_gauge(available));
        self.disk_size.set(as_gauge(size));
        self.process.look();
    }
}

/// A count as a gauge takes it.
fn as_gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Counts calls.
#[derive(Clone)]
struct CallMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl net::ports::Calls for CallMetrics {
    fn answered(&self, method: &'static str, code: &'static str, took: Option<Duration>) {
        self.requests.with_label_values(&[method, code]).inc();
        if let Some(took) = took {
            let seconds = self.seconds.with_label_values(&[method]);
            seconds.observe(took.as_secs_f64());
        }
    }
}

/// What is looked up whenever somebody asks.
pub(crate) trait Look: Send + Sync + 'static {
    /// Brings the gauges up to date. May wait for a disk.
    fn look(&self);

    /// Whether the node does its work.
    ///
    /// # Errors
    /// Why it does not, in a line.
    fn ready(&self) -> Result<(), String>;
}

/// What is served.
struct Page<L> {
    registry: Registry,
    view: Arc<L>,
}

#[net::async_trait]
impl<L: Look> net::ports::Probes for Page<L> {
    async fn metrics(&self) -> String {
        let (registry, view) = (self.registry.clone(), self.view.clone());
        let text = tokio::task::spawn_blocking(move || {
            view.look();
            TextEncoder::new().encode_to_string(&registry.gather())
        });
        match text.await {
            Ok(Ok(text)) => text,
            failed => {
                tracing::error!("metrics cannot be told: {failed:?}");
                String::new()
            }
        }
    }

    fn ready(&self) -> Result<(), String> {
        self.view.ready()
    }
}

/// Where a node is to serve its metrics: bound before it does anything that lasts, so that a wrong address is said at once.
pub(crate) async fn listen(address: Option<&String>) -> Result<Option<TcpListener>, Fault> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Fault::new(format!("cannot listen on {address} for metrics: {error}")))?;
    Ok(Some(listener))
}

/// Serves them until the node stops.
pub(crate) fn serve(
    listener: TcpListener,
    registry: Registry,
    view: impl Look,
    stopping: &CancellationToken,
) {
    let view = Arc::new(view);
    let page = Arc::new(Page { registry, view });
    let stopped = stopping.clone().cancelled_owned();
    tokio::spawn(net::serve_probes(listener, page, stopped));
}
