//! The attempts a worker has, as they lie on its disk.
//!
//! Beside what the runtime keeps in an attempt's directory stand two files of ours:
//!
//! ```text
//!   assignment   what is to be run and under which fence; written before anything else
//!   launched     what was put in place and when the program started; written before it does
//! ```
//!
//! Both carry their length and their fence, so that what an earlier attempt left in the directory is told apart. They must survive the daemon, not the machine: when the machine goes down, so does every
//! program on it. So neither is synced.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use contract::link::{Assignment, AttemptReport, DesiredAttempt, OutputFile};
use feed::Batch;
use prost::Message;
use runtime::docker::Container;
use runtime::outputs::LiveScan;
use runtime::{
    AttemptDir, AttemptState, Attempts as Directories, EndReason, FeedTail, Folder, Kept, Launched,
    Program, Runtime, Told,
};
use worker::{Adopted, Exit, ExitReason, Fence, Found, Prepared, Stop};

use crate::Fault;

const ASSIGNMENT: &str = "assignment";
const LAUNCHED: &str = "launched";
/// The files of a program's configuration. Every attempt has all of them.
pub(super) const CONFIG_FILES: [&str; 10] = [
    "api.json",
    "api.yaml",
    "execution.json",
    "execution.yaml",
    "inputs.json",
    "inputs.yaml",
    "parameters.json",
    "parameters.yaml",
    "runtime.json",
    "runtime.yaml",
];
/// How much of a feed is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;

/// One attempt, shared between the loop and the hands that work for it.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) fence: Fence,
    pub(super) dir: AttemptDir,
    pub(super) assignment: Assignment,
    abandoned: AtomicBool,
    state: Mutex<State>,
    scan: Mutex<Option<LiveScan>>,
}

/// What the hands leave for the loop.
#[derive(Debug, Default)]
struct State {
    ready: Option<Ready>,
    mark: AttemptReport,
    looking: bool,
}

/// A prepared attempt: what to launch, and what was put in place for it.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) program: Program,
    /// What its container is made of; none for a plain process.
    pub(super) container: Option<Container>,
    pub(super) prepared: Prepared,
}

impl Attempt {
    fn new(fence: Fence, dir: AttemptDir, assignment: Assignment) -> Self {
        Self {
            fence,
            dir,
            assignment,
            abandoned: AtomicBool::new(false),
            state: Mutex::default(),
            scan: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single assignment, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scan for live outputs, made at the first look.
    pub(super) fn scan(&self) -> MutexGuard<'_, Option<LiveScan>> {
        self.scan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether work for it is of no use any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Leaves what the launch needs.
    pub(super) fn set_ready(&self, ready: Ready) {
        self.state().ready = Some(ready);
    }

    /// Notes outputs that were stored while the program runs, on the disk before they are taken from the program's directory.
    pub(super) fn add_live_outputs(&self, outputs: &[OutputFile]) -> io::Result<()> {
        let mut state = self.state();
        let mut mark = state.mark.clone();
        mark.live_outputs.extend_from_slice(outputs);
        write_message(&self.dir.path().join(LAUNCHED), &mark)?;
        state.mark = mark;
        Ok(())
    }

    /// Names of the outputs that were stored while the program ran.
    pub(super) fn live_names(&self) -> BTreeSet<String> {
        self.state()
            .mark
            .live_outputs
            .iter()
            .map(|output| output.file_name.clone())
            .collect()
    }

    /// Takes the right to look for live outputs; false while another look goes on.
    pub(super) fn begin_look(&self) -> bool {
        !std::mem::replace(&mut self.state().looking, true)
    }

    /// Gives that right back.
    pub(super) fn end_look(&self) {
        self.state().looking = false;
    }
}

/// What a look at a running attempt found.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) batches: Vec<Batch>,
    pub(super) ended: Option<Exit>,
}

struct Entry {
    shared: Arc<Attempt>,
    tail: FeedTail,
    launched: bool,
    ended: bool,
}

/// All attempts of a worker.
pub(super) struct Attempts {
    directories: Arc<Directories>,
    runtime: Arc<dyn Runtime>,
    entries: HashMap<Fence, Entry>,
}

impl Attempts {
    /// The attempts under a directory, which is made if it is missing.
    pub(super) fn open(directory: &Path, runtime: Arc<dyn Runtime>) -> io::Result<Self> {
        let kept = Kept {
            beside: &[ASSIGNMENT, LAUNCHED],
            config: &CONFIG_FILES,
        };
        let directories = Arc::new(Directories::open_keeping(directory, kept)?);
        Ok(Self {
            directories,
            runtime,
            entries: HashMap::new(),
        })
    }

    /// What runs the programs.
    pub(super) fn runtime(&self) -> Arc<dyn Runtime> {
        self.runtime.clone()
    }

    /// The directories themselves, for those who remove them.
    pub(super) fn directories(&self) -> Arc<Directories> {
        self.directories.clone()
    }

    /// Takes over what earlier incarnations left. What cannot be read was torn before it was begun, and is removed.
    pub(super) fn adopt(&mut self) -> Result<Vec<Adopted>, Fault> {
        let mut adopted = Vec::new();
        for found in self.directories.scan()? {
            let path = found.dir.path().to_path_buf();
            let desired = read_message::<DesiredAttempt>(&path.join(ASSIGNMENT))?;
            let known = desired.and_then(|desired| {
                Some((
                    Fence::try_from(desired.fence.as_ref()?).ok()?,
                    desired.assignment?,
                ))
            });
            // A directory that is used again holds the files of the attempt before it until they are written anew.
            let known = known.filter(|(fence, _)| *directory_name(*fence) == *found.name);
            let Some((fence, assignment)) = known else {
                self.directories.retire(&found.dir)?;
                continue;
            };
            let mark = read_message::<AttemptReport>(&path.join(LAUNCHED))?
                .filter(|mark| mark.fence == Some(fence.into()));
            let shared = Arc::new(Attempt::new(fence, found.dir.clone(), assignment.clone()));
            let launched = mark.is_some() && found.dir.was_given();
            let how = match mark {
                Some(mark) if launched => {
                    shared.state().mark = mark.clone();
                    Found::Launched {
                        prepared: Prepared {
                            time_us: mark.prepare_time_us as u64,
                            inputs: mark.inputs,
                            image_digest: mark.image_digest,
                        },
                        start_time_us: mark.start_time_us as u64,
                        live_outputs: mark.live_outputs,
                    }
                }
                // The mark without a shim's trace: the daemon ended between the two, nothing ever ran.
                _ => Found::NotLaunched,
            };
            let tail = FeedTail::new(&found.dir, 0, 0);
            self.entries.insert(
                fence,
                Entry {
                    shared,
                    tail,
                    launched,
                    ended: false,
                },
            );
            adopted.push(Adopted {
                fence,
                assignment,
                found: how,
            });
        }
        let launched = self.entries.values().filter(|entry| entry.launched);
        let kept: Vec<AttemptDir> = launched.map(|entry| entry.shared.dir.clone()).collect();
        self.runtime.adopt(&kept)?;
        Ok(adopted)
    }

    /// Every attempt that was launched and is not known to have ended.
    pub(super) fn launched(&self) -> Vec<Fence> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.launched && !entry.ended)
            .map(|(fence, _)| *fence)
            .collect()
    }

    pub(super) fn by_name(&self, name: &OsStr) -> Option<Fence> {
        self.entries
            .iter()
            .find(|(_, entry)| entry.shared.dir.name() == name)
            .map(|(fence, _)| *fence)
    }

    pub(super) fn shared(&self, fence: Fence) -> Option<Arc<Attempt>> {
        self.entries.get(&fence).map(|entry| entry.shared.clone())
    }

    /// Begins an attempt afresh: an empty directory with its assignment. One that does not fit on the disk leaves nothing.
    pub(super) fn begin(
        &mut self,
        fence: Fence,
        assignment: &Assignment,
    ) -> io::Result<Arc<Attempt>> {
        let name = directory_name(fence);
        let before = self.directories.get(&name);
        if before.path().exists() {
            self.directories.retire(&before)?;
        }
        let dir = self.directories.create(&name)?;
        let desired = DesiredAttempt {
            fence: Some(fence.into()),
            assignment: Some(assignment.clone()),
            ..DesiredAttempt::default()
        };
        let bytes = desired.encode_length_delimited_to_vec();
        // What is written over means nothing any more.
        let written =
            Folder::open(dir.path()).and_then(|folder| folder.overwrite(ASSIGNMENT, &bytes, 0o600));
        if let Err(error) = written {
            self.directories.retire(&dir)?;
            return Err(error);
        }
        let shared = Arc::new(Attempt::new(fence, dir.clone(), assignment.clone()));
        let tail = FeedTail::new(&dir, 0, 0);
        self.entries.insert(
            fence,
            Entry {
                shared: shared.clone(),
                tail,
                launched: false,
                ended: false,
            },
        );
        Ok(shared)
    }

    /// Tells the hands that work for this attempt is of no use any more.
    pub(super) fn abandon(&mut self, fence: Fence) {
        if let Some(entry) = self.entries.get(&fence) {
            entry.shared.abandoned.store(true, Ordering::Relaxed);
        }
    }

    /// Marks the attempt as launched, then starts its program. Answers with words for people where that failed at once; where it takes a
    /// while, `told` hears of it, and [`confirm`](Self::confirm) is to hear that it was done.
    pub(super) fn launch(
        &mut self,
        fence: Fence,
        now_us: u64,
        told: Told,
    ) -> Result<Launched, String> {
        let entry = self
            .entries
            .get_mut(&fence)
            .ok_or("the attempt is not there")?;
        let ready = entry
            .shared
            .state()
            .ready
            .clone()
            .ok_or("the attempt is not prepared")?;
        let mark = AttemptReport {
            fence: Some(fence.into()),
            prepare_time_us: ready.prepared.time_us as i64,
            start_time_us: now_us as i64,
            inputs: ready.prepared.inputs,
            image_digest: ready.prepared.image_digest,
            ..AttemptReport::default()
        };
        let bytes = mark.encode_length_delimited_to_vec();
        Folder::open(entry.shared.dir.path())
            .and_then(|folder| folder.overwrite(LAUNCHED, &bytes, 0o600))
            .map_err(|error| error.to_string())?;
        entry.shared.state().mark = mark;
        let dir = &entry.shared.dir;
        let launched = self
            .runtime
            .launch(dir, &ready.program, ready.container, told);
        entry.launched = matches!(launched, Launched::Now(Ok(())));
        Ok(launched)
    }

    /// The program of an attempt was started, or may have been.
    pub(super) fn confirm(&mut self, fence: Fence) {
        if let Some(entry) = self.entries.get_mut(&fence) {
            entry.launched = true;
        }
    }

    pub(super) fn stop(&self, fence: Fence, how: Stop) -> Result<(), Fault> {
        let Some(entry) = self.entries.get(&fence) else {
            return Ok(());
        };
        let how = match how {
            Stop::Graceful => runtime::Stop::Graceful,
            Stop::Kill => runtime::Stop::Kill,
        };
        self.runtime.stop(&entry.shared.dir, how)?;
        Ok(())
    }

    /// Reads what is new of a launched attempt. Nothing once its end was told.
    pub(super) fn look(&mut self, fence: Fence) -> Result<Option<Seen>, Fault> {
        let Some(entry) = self
            .entries
            .get_mut(&fence)
            .filter(|entry| entry.launched && !entry.ended)
        else {
            return Ok(None);
        };
        // The state first: what has ended writes no more, so the feed that is read afterwards is whole.
        let exit = match self.runtime.look(&entry.shared.dir)? {
            AttemptState::Ended(exit) => Some(exit),
            _ => None,
        };
        let mut batches = Vec::new();
        loop {
            let batch = entry.tail.read(READ_BYTES)?;
            if batch.is_empty() {
                break;
            }
            batches.push(batch);
        }
        entry.ended = exit.is_some();
        Ok(Some(Seen {
            batches,
            ended: exit.map(told),
        }))
    }

    /// Reads whole frames of a feed again. Empty when the attempt is gone.
    pub(super) fn read_feed(
        &self,
        fence: Fence,
        first_record: u64,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Batch, Fault> {
        match self.entries.get(&fence) {
            Some(entry) => {
                Ok(FeedTail::new(&entry.shared.dir, offset, first_record).read(max_bytes)?)
            }
            None => Ok(Batch {
                first_record,
                count: 0,
                frames: Bytes::new(),
            }),
        }
    }

    /// Forgets an attempt. Its assignment goes first, so that no half of it is ever adopted; the rest is slow and for the
    /// hands.
    pub(super) fn remove(&mut self, fence: Fence) -> Result<Option<AttemptDir>, Fault> {
        let Some(entry) = self.entries.remove(&fence) else {
            return Ok(None);
        };
        entry.shared.abandoned.store(true, Ordering::Relaxed);
        // An assignment of no length names no attempt.
        let assignment = entry.shared.dir.path().join(ASSIGNMENT);
        OpenOptions::new()
            .write(true)
            .open(assignment)?
            .write_all(&[0])?;
        Ok(Some(entry.shared.dir.clone()))
    }
}

/// The name of an attempt's directory.
fn directory_name(fence: Fence) -> String {
    format!(
        "{}.{}.{}",
        fence.execution_uuid(),
        fence.attempt,
        fence.index
    )
}

/// How a program ended, in the mind's words.
fn told(exit: runtime::Exit) -> Exit {
    Exit {
        reason: match exit.reason {
            EndReason::Exited => ExitReason::Exited,
            EndReason::Signaled => ExitReason::Signaled,
            EndReason::TimeLimit => ExitReason::TimeLimit,
            EndReason::NoOutput => ExitReason::NoOutput,
            EndReason::Stopped => ExitReason::Stopped,
            EndReason::StartFailed { message } => ExitReason::StartFailed(message),
            EndReason::DiskFull => ExitReason::DiskFull,
            EndReason::OomKilled => ExitReason::OutOfMemory,
            EndReason::EngineStopped => ExitReason::EngineStopped,
            EndReason::Gone => ExitReason::Gone,
        },
        start_time_us: exit.started_us,
        code: exit.code,
        signal: exit.signal.unwrap_or(0),
        time_us: exit.ended_us,
        record_count: exit.record_count,
    }
}

/// Replaces a message so that a reader finds the old one or the new one.
fn write_message(path: &Path, message: &impl Message) -> io::Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, message.encode_length_delimited_to_vec())?;
    fs::rename(&partial, path)
}

/// Reads a message; none when it is missing or torn.
fn read_message<M: Message + Default>(path: &Path) -> io::Result<Option<M>> {
    match fs::read(path) {
        Ok(bytes) => Ok(M::decode_length_delimited(bytes.as_slice()).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
