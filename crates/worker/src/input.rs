//! All that can happen to a worker.

use blob::Digest;
use contract::link::{Assignment, Device, OutputFile, ResolvedInput, SynchronizeResponse, Usage};
use feed::{Batch, HolderId};

use crate::fence::Fence;

/// One thing that happened. Inputs about an attempt that the worker does not have, or that has gone on since, change
/// nothing: the host never has to know how far an attempt is.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// What the disk holds of attempts of earlier incarnations. The first input, once, empty when there is nothing: no
    /// state is reported, so no capacity offered, before it.
    Adopted(Vec<Adopted>),

    /// The link to the coordinator is up.
    Connected,
    /// It is down. Everything goes on.
    Disconnected,
    /// What this worker should have.
    Desired(SynchronizeResponse),
    /// The worker takes no new attempts any more (`true`), or takes them again.
    Drain(bool),
    /// The disk has less room than is kept in reserve (`true`), or has it again.
    DiskFull(bool),
    /// The devices that attempts can have, all of them, in the order in which they are given out.
    Devices(Vec<Device>),
    /// How busy the machine is. Passed on for people to see; nothing depends on it.
    Usage(Usage),

    /// An attempt's inputs and source are in place, or cannot be.
    Prepared {
        /// Which.
        fence: Fence,
        /// What was put in place, or what was in the way.
        outcome: Result<Prepared, PrepareError>,
    },
    /// Its program runs under its shim, or the shim could not be started (in words for people): then nothing of it runs.
    /// That the *program* could not be started comes as [`Input::Ended`].
    Launched {
        /// Which.
        fence: Fence,
        /// Unix time in microseconds at which it was started.
        outcome: Result<u64, String>,
    },
    /// Its program has written more than this worker grants. May be told again.
    OverQuota {
        /// Which.
        fence: Fence,
        /// Bytes that it has written.
        used: u64,
        /// Bytes that it may write.
        limit: u64,
    },
    /// Outputs that its program made read-only were stored and taken from its directory while it runs.
    LiveOutputs {
        /// Which.
        fence: Fence,
        /// The new ones.
        outputs: Vec<OutputFile>,
    },
    /// Its program has ended, nothing of it runs any more, and all of its feed's file was given in [`Input::FeedGrew`] before.
    Ended {
        /// Which.
        fence: Fence,
        /// How.
        exit: Exit,
    },
    /// Its outputs are stored, durably, or not one of them is to be published.
    Collected {
        /// Which.
        fence: Fence,
        /// Every output, or what was in the way.
        outcome: Result<Vec<OutputFile>, CollectError>,
    },

    /// What [`Output::KeepCopy`](crate::Output::KeepCopy) came to: the blob is here and stays, or what was in the way, in words for people.
    CopyKept {
        /// Which.
        digest: Digest,
        /// Whether it is kept.
        outcome: Result<(), String>,
    },

    /// More whole frames of an attempt's feed were read from its file: from the beginning after a start of the daemon, and
    /// each once. Records that came before are cut off; a batch that leaves some out changes nothing.
    FeedGrew {
        /// Whose.
        fence: Fence,
        /// The frames.
        batch: Batch,
    },
    /// What [`Output::ReadFeed`](crate::Output::ReadFeed) asked for; it is sent on as a push.
    FeedRead {
        /// Whose.
        fence: Fence,
        /// For whom it was read.
        holder: HolderId,
        /// The frames, beginning with the record that was asked for. An empty one gives up until the holder answers or comes back.
        batch: Batch,
    },
    /// A coordinator's answer to a push: it has all records before `next_record` on its disk and none after. Answers to pushes of
    /// an earlier connection must not be passed on.
    FeedStored {
        /// Whose.
        fence: Fence,
        /// Who.
        holder: HolderId,
        /// The record to go on with.
        next_record: u64,
    },
    /// A coordinator's answer to a push: it does not take this feed, at least not now.
    FeedRefused {
        /// Whose.
        fence: Fence,
        /// Who.
        holder: HolderId,
    },
    /// Feeds can be pushed to this coordinator, by a new connection.
    HolderConnected(HolderId),
    /// They cannot any more; what was on its way may not have come.
    HolderDisconnected(HolderId),

    /// Nothing but time has passed.
    Tick,
}

/// An attempt of an earlier incarnation, as the disk tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopted {
    /// Which.
    pub fence: Fence,
    /// As it was saved by [`Output::Prepare`](crate::Output::Prepare).
    pub assignment: Assignment,
    /// How far it came.
    pub found: Found,
}

/// How far an adopted attempt came.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The mark of [`Output::Launch`](crate::Output::Launch) is not there: its program never started.
    NotLaunched,
    /// The mark is there. Its feed is given again from the beginning, and its [`Input::Ended`] comes in its time: at once when it
    /// has ended meanwhile, as [`ExitReason::Gone`] when it left no trace of its end.
    Launched {
        /// What had been put in place for it.
        prepared: Prepared,
        /// Unix time in microseconds at which it was started.
        start_time_us: u64,
        /// Live outputs that were stored so far.
        live_outputs: Vec<OutputFile>,
    },
}

/// What was put in place for an attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prepared {
    /// Unix time in microseconds at which it was in place.
    pub time_us: u64,
    /// The inputs as they were resolved, digests included.
    pub inputs: Vec<ResolvedInput>,
    /// Digest of the image that its container is made of; empty where it runs in none.
    pub image_digest: String,
}

/// Why an attempt could not be prepared; in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrepareError {
    /// An input or the source could not be fetched.
    Fetch {
        /// Which and why.
        message: String,
        /// Whether another attempt makes sense: the fault lies with the machine or the way to the bytes, not with the address.
        retryable: bool,
    },
    /// The disk is full.
    DiskFull(String),
    /// Its image could not be had.
    Image {
        /// Why, with what can be done about it.
        message: String,
        /// Whether another attempt makes sense.
        retryable: bool,
    },
    /// This worker does not grant what it asks for: what, and which rule says so.
    Refused(String),
}

/// Why an attempt's outputs are not stored; in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectError {
    /// An output has a name or a kind that cannot be stored: which and why.
    Invalid(String),
    /// The disk is full.
    DiskFull(String),
    /// Anything else: a fault of the machine.
    Failed(String),
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Why.
    pub reason: ExitReason,
    /// Exit code of the main shell, if it exited, whatever the reason.
    pub code: Option<i32>,
    /// Number of the signal that ended it; 0 means none.
    pub signal: i32,
    /// Unix time in microseconds at which it was started; 0 when it never was.
    pub start_time_us: u64,
    /// Unix time in microseconds at which the last of it was gone; 0 when that is not known or it never started.
    pub time_us: u64,
    /// Records that the shim wrote to the feed; 0 when that is not known.
    pub record_count: u64,
}

/// Why a program ended, as its shim tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// The main shell exited; see [`Exit::code`].
    Exited,
    /// A signal that was not Shoal's ended it; see [`Exit::signal`].
    Signaled,
    /// It ran longer than its time limit.
    TimeLimit,
    /// It printed nothing for too long.
    NoOutput,
    /// It was asked to stop.
    Stopped,
    /// It never ran; in words for people.
    StartFailed(String),
    /// Its feed could not be written.
    DiskFull,
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// The container engine went down and took it along.
    EngineStopped,
    /// The shim was lost with it; how it would have ended is not known.
    Gone,
}
