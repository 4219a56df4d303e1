//! What a server needs from its host: small traits that `node` implements, so that nothing here names a disk or a loop.

use std::sync::Arc;
use std::time::Duration;

use blob::{Digest, Manifest};
use bytes::Bytes;
use contract::api;
use contract::link::{SynchronizeRequest, SynchronizeResponse, Usage};
use contract::peer::{Envelope, HelloResponse, Promise};
use coordinator::{Answer, Refusal, Request};
use feed::{Batch, Fence, Seal};
use ledger::Ledger;
use pki::{Authority, Credentials, Lifetimes};
use tokio::sync::{mpsc, oneshot, watch};

/// What a coordinator with TLS has.
#[derive(Clone)]
pub struct CoordinatorTls {
    /// What it speaks with.
    pub credentials: Credentials,
    /// What it signs with.
    pub signing: Signing,
}

/// What certificates are signed with.
#[derive(Clone)]
pub struct Signing {
    /// The cluster's authority.
    pub authority: Arc<Authority>,
    /// For how long a certificate counts.
    pub lifetimes: Lifetimes,
}

/// Takes mutations to the coordinator's loop.
#[tonic::async_trait]
pub trait Mutations: Send + Sync + 'static {
    /// Does what was asked and answers once it is durable, and once the published ledger shows it.
    ///
    /// # Errors
    /// Any reason that the contract lists for the RPC.
    async fn request(&self, request: Request) -> Result<Answer, Refusal>;
}

/// Answers reads that must not be older than what was acknowledged.
#[tonic::async_trait]
pub trait FreshReads: Send + Sync + 'static {
    /// A ledger at least as fresh as everything that was acknowledged, by whichever coordinator, before the call. It is
    /// published: watches go on from there.
    ///
    /// # Errors
    /// `NO_QUORUM` when no majority answers in time; `NOT_READY` when the node stops.
    async fn fresh(&self) -> Result<Ledger, Refusal>;
}

/// Takes what other members of the Raft group say.
#[tonic::async_trait]
pub trait Members: Send + Sync + 'static {
    /// Checks that the sender may speak to this member, before anything else of it is read.
    ///
    /// # Errors
    /// `STATE_FORBIDS` when it is of another cluster, means another member, or was removed.
    fn admit(&self, envelope: &Envelope) -> Result<(), Refusal>;

    /// What is remembered of a member that has just started.
    ///
    /// # Errors
    /// As for [`Members::admit`], except that one that was removed is told so.
    fn hello(&self, envelope: &Envelope) -> Result<HelloResponse, Refusal>;

    /// Takes Raft messages of an admitted member; waits while too much of it is taken in already.
    ///
    /// # Errors
    /// `STATE_FORBIDS` when the member holds less than it promised before; `INVALID_FIELD` when a message cannot be read.
    async fn messages(
        &self,
        from: u64,
        promise: Promise,
        messages: Vec<Bytes>,
    ) -> Result<(), Refusal>;

    /// Takes a snapshot of an admitted member: a Raft message and the data that belongs into it, whole.
    ///
    /// # Errors
    /// `INVALID_FIELD` when the message cannot be read.
    async fn snapshot(&self, from: u64, message: Bytes, data: Bytes) -> Result<(), Refusal>;
}

/// What a coordinator knows beside the ledger.
pub trait Surroundings: Send + Sync + 'static {
    /// The cluster as this coordinator sees it.
    fn cluster(&self) -> api::Cluster;

    /// When a worker was last heard of; nothing if it never was since this coordinator started.
    fn contact(&self, worker: &str) -> Option<Contact>;
}

/// A worker's contact with this coordinator.
#[derive(Debug, Clone, PartialEq)]
pub struct Contact {
    /// Whether it is in contact now.
    pub connected: bool,
    /// Unix time in milliseconds at which it last was.
    pub time_ms: i64,
    /// How busy its machine is, as it said last.
    pub usage: Option<Usage>,
    /// Unix time in milliseconds at which a second daemon last spoke as this worker.
    pub duplicate_ms: Option<i64>,
}

pub use coordinator::feeds::FeedKey;

/// How far a feed is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedEnd {
    /// The number the next record will have: all before it are on the disk and can be read.
    pub next_record: u64,
    /// Its seal, once it is complete.
    pub seal: Option<Seal>,
    /// It ended without a seal, and a majority of the coordinators has no more of it.
    pub settled: bool,
}

/// Reads feeds.
#[tonic::async_trait]
pub trait FeedReader: Send + Sync + 'static {
    /// The stored batches from `from_record` on, consecutive, about `max_bytes` of frames but at least one batch if there is
    /// one. The first may begin before `from_record`.
    ///
    /// # Errors
    /// `INTERNAL_FAULT` when the disk fails.
    async fn read(
        &self,
        key: FeedKey,
        from_record: u64,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, Refusal>;

    /// How far a feed is, now and whenever that changes. A feed that nobody has written to yet is empty.
    fn end(&self, key: FeedKey) -> watch::Receiver<FeedEnd>;

    /// Whether a feed whose attempt ended at `end_time_ms`, Unix time in milliseconds, is not here and will not be, because its time is over.
    fn is_purged(&self, key: FeedKey, end_time_ms: i64) -> bool;

    /// Feeds whose attempts ended at this time or before, and that are not whole here, will not be; Unix time in milliseconds.
    fn absent_until_ms(&self) -> i64;

    /// Whether no more records of the feed are taken here from its worker. Asked before the last are read, so that none is missed.
    async fn is_closed(&self, key: FeedKey) -> bool;
}

/// Keeps source trees on other coordinators' behalf.
#[tonic::async_trait]
pub trait Sources: Send + Sync + 'static {
    /// Sees to it that a blob is on the disk here, fetched from one of `sources` if it is not; answers once it is.
    ///
    /// # Errors
    /// `BLOB_MISSING` when none of them gives it; `DISK_FULL`.
    async fn ensure(&self, digest: Digest, size: u64, sources: Vec<String>) -> Result<(), Refusal>;
}

/// Stores feeds.
pub trait FeedStore: Send + Sync + 'static {
    /// Stores a batch that the holder of `fence` pushed; answered once it is on the disk. Calls come in the order in which
    /// one worker pushed, and need not be answered one by one: one sync may cover many.
    ///
    /// The answer is `DISK_FULL` when there is no room.
    fn store(
        &self,
        key: FeedKey,
        fence: Fence,
        batch: Batch,
    ) -> oneshot::Receiver<Result<Stored, Refusal>>;
}

/// What became of a pushed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The record to go on with: all before it are on the disk.
    pub next_record: u64,
    /// Whether the fence may not write any more.
    pub refused: bool,
}

/// Hands the worker conversation to the coordinator's loop.
#[tonic::async_trait]
pub trait Sessions: Send + Sync + 'static {
    /// A worker connected. What it is told goes into `desired`; a refusal ends its connection. Answers with a name for the
    /// connection that is never used again.
    fn opened(&self, desired: mpsc::Sender<Result<SynchronizeResponse, Refusal>>) -> u64;

    /// The worker of a connection said the whole of its state.
    async fn state(&self, session: u64, state: SynchronizeRequest);

    /// A connection ended, from whichever side.
    fn gone(&self, session: u64);
}

/// The blobs of a node.
#[tonic::async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// The size of a blob in bytes, if it is stored here whole.
    ///
    /// # Errors
    /// `INTERNAL_FAULT` when the disk fails; likewise for the others.
    async fn size(&self, digest: Digest) -> Result<Option<u64>, Refusal>;

    /// The manifest of a stored blob.
    ///
    /// # Errors
    /// As for [`Blobs::size`].
    async fn manifest(&self, digest: Digest) -> Result<Option<Manifest>, Refusal>;

    /// At most `length` bytes of a stored blob from `offset` on; fewer only at its end.
    ///
    /// # Errors
    /// As for [`Blobs::size`]; `RESOURCE_NOT_FOUND` when it was removed meanwhile.
    async fn read(&self, digest: Digest, offset: u64, length: usize) -> Result<Bytes, Refusal>;

    /// Begins to store a blob.
    ///
    /// # Errors
    /// `DISK_FULL`, or `LIMIT_EXCEEDED` when the host takes none of that size.
    async fn begin(&self, digest: Digest, size: u64) -> Result<Box<dyn Upload>, Refusal>;
}

/// Counts the calls that are answered.
pub trait Calls: Send + Sync + 'static {
    /// A call has ended: its method, as `ExecutionService/GetExecution`; its code by gRPC's name, `CANCELLED` when the caller gave it up;
    /// and how long it took, unless it is a stream.
    fn answered(&self, method: &'static str, code: &'static str, took: Option<Duration>);
}

/// What monitoring systems and supervisors are told.
#[tonic::async_trait]
pub trait Probes: Send + Sync + 'static {
    /// Every metric, in Prometheus' text format.
    async fn metrics(&self) -> String;

    /// Whether the node does its work.
    ///
    /// # Errors
    /// Why it does not, in a line.
    fn ready(&self) -> Result<(), String>;
}

/// A blob on its way in. Dropped without a commit, it leaves nothing behind.
#[tonic::async_trait]
pub trait Upload: Send {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// `DISK_FULL`.
    async fn write(&mut self, data: Bytes) -> Result<(), Refusal>;

    /// Stores the blob for good: answers once it is on the disk.
    ///
    /// # Errors
    /// `DIGEST_MISMATCH` when the bytes are not those of the digest; `DISK_FULL`.
    async fn commit(self: Box<Self>) -> Result<(), Refusal>;
}
