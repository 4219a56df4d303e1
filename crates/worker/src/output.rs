//! All that a worker's mind asks its host to do.

use std::fmt;

use blob::Digest;
use contract::link::{Assignment, AttemptPhase, SynchronizeRequest};
use feed::{Batch, HolderId};

use crate::fence::Fence;
use crate::worker::Cluster;

/// One thing to do. Outputs are done in the order given; the slow ones (prepare, collect, read) go on beside the others and are
/// answered by an input. After [`Output::Remove`] of an attempt nothing is owed for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Fetch the attempt's source and inputs. First: the assignment is saved in the attempt's directory, durably, so that the attempt can be
    /// adopted. Asked again after a restart; whatever is there may be used or done anew. Answer: [`Input::Prepared`](crate::Input::Prepared).
    Prepare {
        /// Which.
        fence: Fence,
        /// All there is to know.
        assignment: Box<Assignment>,
    },
    /// Give up preparing; the attempt ends without having run. The answer, if it comes nevertheless, is not heeded.
    Abandon {
        /// Which.
        fence: Fence,
    },
    /// Start the attempt's program. First: a mark that it was launched, with what was prepared and the time, is durable in its directory.
    /// Once the mark is there the program is never started again, whatever happens (I-06). Answer: [`Input::Launched`](crate::Input::Launched),
    /// and in its time [`Input::Ended`](crate::Input::Ended).
    Launch {
        /// Which.
        fence: Fence,
    },
    /// Make the program end; it may have ended already. Answer: [`Input::Ended`](crate::Input::Ended).
    Stop {
        /// Which.
        fence: Fence,
        /// How.
        how: Stop,
    },
    /// Store the attempt's outputs: each one hashed, in the blob store and durable before the answer. May be asked again after a restart, and then
    /// gives the same answer. Answer: [`Input::Collected`](crate::Input::Collected).
    Collect {
        /// Which.
        fence: Fence,
    },
    /// Send these records to a coordinator; it answers with [`Input::FeedStored`](crate::Input::FeedStored) or
    /// [`Input::FeedRefused`](crate::Input::FeedRefused). Nothing has to be durable: the file is read again after a restart.
    Push {
        /// Whose.
        fence: Fence,
        /// To whom.
        holder: HolderId,
        /// The records.
        batch: Batch,
    },
    /// Read whole frames of the attempt's feed file again: those at `offset`. Answer: [`Input::FeedRead`](crate::Input::FeedRead).
    ReadFeed {
        /// Whose.
        fence: Fence,
        /// For whom.
        holder: HolderId,
        /// Number of the record at `offset`.
        first_record: u64,
        /// Bytes from the beginning of the file.
        offset: u64,
        /// Bytes to read at most; at least one frame fits.
        max_bytes: usize,
    },
    /// See to it that a blob is here, whole and durable, and is never given up: fetch it if it is not. May be asked again. Answer:
    /// [`Input::CopyKept`](crate::Input::CopyKept).
    KeepCopy {
        /// Which.
        digest: Digest,
        /// Its size in bytes.
        size_bytes: u64,
        /// Nodes that have it, `host:port`.
        locations: Vec<String>,
    },
    /// Tell the coordinator the whole state. One that has not left when the next is given may be dropped for it.
    Report(Box<SynchronizeRequest>),
    /// The cluster is this from now on: keep it, durably, for [`Config`](crate::Config) after a restart; speak to these coordinators, and keep a way
    /// for feeds open to each of them. One that is not among them any more is told to be down by
    /// [`Input::HolderDisconnected`](crate::Input::HolderDisconnected).
    Cluster(Cluster),
    /// Delete the attempt's directory and forget it; whatever is going on for it is given up. None of its program runs any more. The directory must
    /// vanish as a whole (renamed first), so that no half of it is ever adopted.
    Remove {
        /// Which.
        fence: Fence,
    },
}

/// How to end a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Asked first, killed after the grace of its assignment.
    Graceful,
    /// Killed at once.
    Kill,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stop::Graceful => "gracefully",
            Stop::Kill => "now",
        })
    }
}

/// One line, for transcripts.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Prepare { fence, assignment } => {
                write!(f, "prepare {fence}: {}", assignment.step)
            }
            Output::Abandon { fence } => write!(f, "abandon {fence}"),
            Output::Launch { fence } => write!(f, "launch {fence}"),
            Output::Stop { fence, how } => write!(f, "stop {fence} {how}"),
            Output::Collect { fence } => write!(f, "collect {fence}"),
            Output::Push {
                fence,
                holder,
                batch,
            } => {
                let (from, to) = (batch.first_record, batch.end_record());
                write!(f, "push {fence} {from}..{to} to c{}", holder.0)
            }
            Output::ReadFeed {
                fence,
                holder,
                first_record,
                offset,
                ..
            } => write!(
                f,
                "read {fence} from {first_record} (byte {offset}) for c{}",
                holder.0
            ),
            Output::KeepCopy {
                digest,
                size_bytes,
                locations,
            } => {
                let from = locations.join(", ");
                write!(
                    f,
                    "keep {} ({size_bytes} B) from {from}",
                    short(digest.as_bytes())
                )
            }
            Output::Report(state) => write_report(f, state),
            Output::Cluster(cluster) => {
                f.write_str("cluster:")?;
                for one in &cluster.coordinators {
                    write!(f, " c{} at {}", one.id.0, one.address)?;
                }
                match cluster.stop_after_ms {
                    0 => Ok(()),
                    after_ms => write!(f, ", stop after {after_ms} ms"),
                }
            }
            Output::Remove { fence } => write!(f, "remove {fence}"),
        }
    }
}

/// The first bytes of a digest, enough for a transcript.
fn short(digest: &[u8]) -> String {
    let bytes = digest.iter().take(4);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

fn write_report(f: &mut fmt::Formatter<'_>, state: &SynchronizeRequest) -> fmt::Result {
    let offer = state.offer.clone().unwrap_or_default();
    write!(f, "report {}: {} slots", state.generation, offer.slot_count)?;
    if offer.draining {
        f.write_str(", draining")?;
    }
    if offer.disk_full {
        f.write_str(", disk full")?;
    }
    for report in &state.attempts {
        match report.fence.as_ref().map(Fence::try_from) {
            Some(Ok(fence)) => write!(f, "; {fence} ")?,
            _ => f.write_str("; ? ")?,
        }
        f.write_str(match report.phase() {
            AttemptPhase::Unspecified => "unspecified",
            AttemptPhase::Preparing => "preparing",
            AttemptPhase::Running => "running",
            AttemptPhase::Finishing => "finishing",
            AttemptPhase::Finished => "finished",
        })?;
        if let Some(result) = &report.result {
            let state = result.state().as_str_name().trim_start_matches("STATE_");
            write!(f, " {state}")?;
            let reason = result.reason().as_str_name();
            if result.reason != 0 {
                write!(f, "/{}", reason.trim_start_matches("END_REASON_"))?;
            }
        }
    }
    for copy in &state.copies {
        let how = match (copy.kept, copy.problem.as_str()) {
            (true, _) => "kept",
            (false, "") => "fetching",
            (false, problem) => problem,
        };
        write!(f, "; copy {} {how}", short(&copy.digest))?;
    }
    Ok(())
}
