//! Files: raft log, snapshots, feed segments, blob files.
//!
//! Synchronous: a call returns when what it promises is on the disk. Callers that must not wait call from a thread of
//! their own. Nothing here knows the ledger, a step, or a socket.
//!
//! | module | holds | on the disk | promise |
//! | --- | --- | --- | --- |
//! | [`raft_log`] | entries, hard state, snapshots of one Raft member | preallocated segments, or sled; ordinary files for snapshots | what `append` was given survives a power cut once it returns |
//! | [`member`] | who a Raft member is, and what it remembers of others | two text files | a wiped log is found out |
//! | [`feeds`] | the records of all attempts | shared append-only segments | one write and one sync for any number of feeds |
//! | [`audit`] | who changed what, and who was denied | chained lines of JSON | whatever is changed in it is noticed |
//! | [`blobs`] | outputs, inputs, source trees | one file a blob, named by its digest | a name appears only over verified, synced bytes |
//!
//! Damage is found, named by its place and never served; a failed sync is [`DiskError::Sync`], after which nothing is
//! known about the disk and the process has to end.

pub mod error;

mod files;

pub mod space;

pub mod raft_log;

pub mod member;

pub mod feeds;

pub mod blobs;

pub mod audit;

pub use error::DiskError;
pub use space::{Space, space_of};
