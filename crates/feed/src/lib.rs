//! How records flow: numbering, acks, seals, cursors.
//!
//! A *feed* is what one attempt printed: an append-only row of records, numbered 0, 1, 2 … by position, written by a
//! single writer and closed by a seal. The program's bytes become records once ([`Splitter`]), records become frames
//! once ([`encode`]), and from then on only frames travel ([`Batch`]): worker to coordinator, coordinator to subscriber.
//!
//! ```text
//!  shim              worker                coordinator            subscriber
//!  Splitter, encode  Writer                Holder, SealHasher     Cursor
//!  bytes -> frames   stored <= sent        stored <= accepted     next, next+1, …
//!                         <= produced           <= writer's sent
//! ```
//!
//! Everything here is a pure value: no clock, no files, no sockets. Times are microseconds since the Unix epoch, given
//! by the caller.

mod record;

mod frame;

mod batch;

mod splitter;

mod lines;

mod metadata;

mod latest;

mod seal;

mod writer;

mod holder;

mod cursor;

mod retention;

mod sample;

pub use batch::{Batch, BatchError, BatchRecords};
pub use cursor::{Cursor, CursorError, Start};
pub use frame::{
    FRAME_HEADER_LEN, Frame, FrameError, FrameFault, Frames, MAX_FRAME_LEN, encode, encode_parts,
    frames,
};
pub use holder::{Accept, Holder, SealConflict};
pub use latest::{Latest, Observed};
pub use lines::{Line, LineAssembler, MAX_LINE_LEN};
pub use metadata::parse_metadata;
pub use record::{Fence, MAX_RECORD_LEN, Record, Stream};
pub use retention::{Ended, Retention, parse_bytes};
pub use sample::{Reading, Sample, span_us};
pub use seal::{Seal, SealHasher};
pub use splitter::Splitter;
pub use writer::{HolderId, Push, UnknownHolder, Writer, WriterLimits};
