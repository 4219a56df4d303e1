//! The Rust client: follows the leader, retries with request ids, resumes streams.
//!
//! A [`Client`] is made of a [`Resolve`]r, which says where the cluster is, again after every lost connection. Calls are
//! repeated with the same request id while the cluster cannot be reached, up to a deadline; watches and logs go on where they
//! were cut, with nothing missing and nothing twice. Everything here speaks the public contract and nothing else.

mod error;

mod backoff;

mod resolve;

mod dial;

mod connection;

mod calls;

mod watch;

mod resume;

mod log;

mod blobs;

mod cluster;

pub use blobs::{BlobSource, Progress};
pub use calls::{Client, Options};
pub use cluster::BackupPart;
pub use error::{Error, Kind, Violation};
pub use log::{LogEvent, LogStart, MetadataEvent, MetricEvent};
pub use resolve::{Fixed, Resolve};
pub use tokio_stream::{Stream, StreamExt};
pub use tonic::async_trait;
pub use watch::{ExecutionEvent, PipelineEvent};
