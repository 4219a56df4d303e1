//! The worker's loop: one thread that owns the mind. Programs, files and links talk to it through one channel; what takes
//! long goes to the hands and comes back as an input.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use contract::link::{Assignment, Fence as WireFence, PushFeedRequest};
use feed::HolderId;
use net::FeedLinkEvent;
use runtime::{LaunchError, Launched};
use worker::{Fence, Input, Output, PrepareError, Worker};

use super::attempts::Attempts;
use super::hands::Hands;
use super::prepare::is_full;
use super::standing::Standing;
use super::uplink::Uplink;
use crate::Fault;
use crate::metrics::{Phase, WorkerMetrics};

/// How often attempts are looked at although nothing was heard of them: a notification can be lost with its sender.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How many events are taken in before one decision.
const BATCH: usize = 1_024;

/// What comes to the loop.
pub(super) enum Event {
    /// Something for the mind.
    Input(Input),
    /// The shim of the attempt in this directory has something to say.
    Notified(OsString),
    /// A launch that takes a while came to this, in words for people.
    Launched(Fence, u64, Result<(), String>),
    /// Something happened on a way for feeds.
    FeedLink(HolderId, u64, FeedLinkEvent),
    /// End the loop; programs go on.
    Stop,
}

/// A handle to the loop; clones are cheap.
#[derive(Clone)]
pub(crate) struct Engine {
    events: mpsc::Sender<Event>,
}

impl Engine {
    /// The sending end for those who report to the loop.
    pub(super) fn channel() -> (Self, mpsc::Receiver<Event>) {
        let (events, inbox) = mpsc::channel();
        (Self { events }, inbox)
    }

    /// Hands an input to the loop.
    pub(super) fn input(&self, input: Input) {
        // The loop is gone only when the daemon ends; what is said then is found again at the next start.
        drop(self.events.send(Event::Input(input)));
    }

    /// Says that a shim notified; false when the loop is gone.
    pub(super) fn notified(&self, name: OsString) -> bool {
        self.events.send(Event::Notified(name)).is_ok()
    }

    /// Says what happened on the way for feeds of that number; false when the loop is gone.
    pub(super) fn feed_link(&self, holder: HolderId, number: u64, event: FeedLinkEvent) -> bool {
        let event = Event::FeedLink(holder, number, event);
        self.events.send(event).is_ok()
    }

    /// Says what a launch came to.
    fn launched(&self, fence: Fence, time_us: u64, outcome: Result<(), String>) {
        drop(self.events.send(Event::Launched(fence, time_us, outcome)));
    }

    /// Asks the loop to end.
    pub(crate) fn stop(&self) {
        drop(self.events.send(Event::Stop));
    }
}

/// What the loop owns and works with.
pub(super) struct Parts {
    /// Decides.
    pub(super) mind: Worker,
    /// Attempts on the disk.
    pub(super) attempts: Attempts,
    /// Do what takes long.
    pub(super) hands: Hands,
    /// The ways to the coordinators.
    pub(super) uplink: Uplink,
    /// What is kept of the cluster.
    pub(super) standing: Standing,
    /// Counts.
    pub(super) metrics: WorkerMetrics,
}

/// Starts the loop. `on_fault` is told what ended it, if something did.
pub(super) fn start(
    parts: Parts,
    inbox: mpsc::Receiver<Event>,
    on_fault: impl Fn(Fault) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let mut running = Running {
        mind: parts.mind,
        attempts: parts.attempts,
        hands: parts.hands,
        uplink: parts.uplink,
        standing: parts.standing,
        metrics: parts.metrics,
        coming: VecDeque::new(),
        phases: HashMap::new(),
        next_look: HashMap::new(),
    };
    running.metrics.look(&running.mind);
    std::thread::Builder::new()
        .name("worker".into())
        .spawn(move || {
            if let Err(fault) = running.run(&inbox) {
                on_fault(fault);
            }
        })
}

struct Running {
    mind: Worker,
    attempts: Attempts,
    hands: Hands,
    uplink: Uplink,
    standing: Standing,
    metrics: WorkerMetrics,
    /// What is to be prepared, one between two looks at the inbox: a slot whose step has ended does not wait for all of it.
    coming: VecDeque<(Fence, Box<Assignment>)>,
    /// What is being done for attempts, and since when.
    phases: HashMap<Fence, (Phase, Instant)>,
    /// When to look at a running attempt although nothing is heard of it.
    next_look: HashMap<Fence, Instant>,
}

impl Running {
    fn run(&mut self, inbox: &mpsc::Receiver<Event>) -> Result<(), Fault> {
        self.adopt()?;
        loop {
            let event = match self.wait() {
                _ if !self.coming.is_empty() => inbox.try_recv().ok(),
                Some(wait) => match inbox.recv_timeout(wait) {
                    Ok(event) => Some(event),
                    Err(mpsc::RecvTimeoutError::Timeout) => None,
                    Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
                },
                None => inbox.recv().ok(),
            };
            let nothing_came = event.is_none() && self.coming.is_empty();
            for event in event.into_iter().chain(inbox.try_iter().take(BATCH)) {
                match event {
                    Event::Input(input) => self.feed_mind(input)?,
                    Event::Notified(name) => self.look_by_name(&name)?,
                    Event::Launched(fence, time_us, outcome) => {
                        // Whatever it had to say by now nobody listened to.
                        self.launched(fence, outcome.map(|()| time_us), Duration::ZERO)?;
                    }
                    Event::FeedLink(holder, number, event) => {
                        if let Some(input) = self.uplink.heard(holder, number, event) {
                            self.feed_mind(input)?;
                        }
                    }
                    Event::Stop => return Ok(()),
                }
            }
            self.look_at_silent()?;
            // Every input tells the mind the time; without one it would not see that the clock was set.
            let is_due = self.mind.poll_wakeup().is_some_and(|at| at <= now_us());
            if is_due || nothing_came {
                self.feed_mind(Input::Tick)?;
            }
            if let Some((fence, assignment)) = self.coming.pop_front() {
                self.prepare(fence, &assignment)?;
            }
        }
    }

    /// What earlier incarnations left: told to the mind before anything else, then looked at one by one.
    fn adopt(&mut self) -> Result<(), Fault> {
        let adopted = self.attempts.adopt()?;
        self.feed_mind(Input::Adopted(adopted))?;
        for fence in self.attempts.launched() {
            self.next_look.insert(fence, Instant::now());
        }
        self.look_at_silent()
    }

    /// How long nothing needs to be done unless something happens.
    fn wait(&self) -> Option<Duration> {
        let wake = self
            .mind
            .poll_wakeup()
            .map(|at| Duration::from_micros(at.saturating_sub(now_us())));
        let look = self
            .next_look
            .values()
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()));
        wake.into_iter().chain(look).min()
    }

    fn feed_mind(&mut self, input: Input) -> Result<(), Fault> {
        self.count(&input);
        for output in self.mind.handle(now_us(), input) {
            self.perform(output)?;
        }
        Ok(())
    }

    /// Counts what has come to an end, and whether a coordinator hears this worker.
    fn count(&mut self, input: &Input) {
        let fence = match input {
            Input::Desired(_) => return self.metrics.heard(true),
            Input::Disconnected => return self.metrics.heard(false),
            Input::Prepared { fence, .. } | Input::Collected { fence, .. } => fence,
            Input::Launched { fence, outcome } => {
                if outcome.is_ok() {
                    self.metrics.started();
                }
                fence
            }
            _ => return,
        };
        if let Some((phase, since)) = self.phases.remove(fence) {
            self.metrics.took(phase, since);
        }
    }

    /// Something is begun for an attempt.
    fn begin(&mut self, fence: Fence, phase: Phase) {
        self.phases.insert(fence, (phase, Instant::now()));
    }

    fn look_by_name(&mut self, name: &std::ffi::OsStr) -> Result<(), Fault> {
        match self.attempts.by_name(name) {
            Some(fence) => self.look(fence),
            None => Ok(()),
        }
    }

    fn look_at_silent(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        let due: Vec<Fence> = self
            .next_look
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(fence, _)| *fence)
            .collect();
        due.into_iter().try_for_each(|fence| self.look(fence))
    }

    /// Reads what is new of a running attempt: its feed, then whether it has ended.
    fn look(&mut self, fence: Fence) -> Result<(), Fault> {
        let Some(seen) = self.attempts.look(fence)? else {
            self.next_look.remove(&fence);
            return Ok(());
        };
        for batch in seen.batches {
            self.feed_mind(Input::FeedGrew { fence, batch })?;
        }
        match seen.ended {
            Some(exit) => {
                self.next_look.remove(&fence);
                self.feed_mind(Input::Ended { fence, exit })
            }
            None => {
                self.next_look.insert(fence, Instant::now() + LOOK_AGAIN);
                self.hands
                    .look_for_live_outputs(fence, self.attempts.shared(fence));
                Ok(())
            }
        }
    }

    /// A launch is done, or has failed; the program is looked at after a while, whether or not anything is heard of it.
    fn launched(
        &mut self,
        fence: Fence,
        outcome: Result<u64, String>,
        look_after: Duration,
    ) -> Result<(), Fault> {
        if outcome.is_ok() {
            self.attempts.confirm(fence);
            self.next_look.insert(fence, Instant::now() + look_after);
        }
        self.feed_mind(Input::Launched { fence, outcome })
    }

    /// Work that is answered at once, if it takes no time.
    fn answered(&mut self, work: impl FnOnce(&Hands) -> Option<Input>) -> Result<(), Fault> {
        match work(&self.hands) {
            Some(answer) => self.feed_mind(answer),
            None => Ok(()),
        }
    }

    fn prepare(&mut self, fence: Fence, assignment: &Assignment) -> Result<(), Fault> {
        self.begin(fence, Phase::Prepare);
        match self.attempts.begin(fence, assignment) {
            Ok(attempt) => self.answered(|hands| hands.prepare(fence, attempt)),
            // A full disk is the trouble of one attempt: what others leave when they end makes room.
            Err(error) if is_full(&error) => {
                let outcome = Err(PrepareError::DiskFull(format!(
                    "the worker's disk is full: {error}"
                )));
                self.feed_mind(Input::Prepared { fence, outcome })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Nobody wants it prepared any more.
    fn is_not_coming(&mut self, fence: Fence) {
        self.coming.retain(|(other, _)| *other != fence);
    }

    fn perform(&mut self, output: Output) -> Result<(), Fault> {
        match output {
            Output::Prepare { fence, assignment } => self.coming.push_back((fence, assignment)),
            Output::Abandon { fence } => {
                self.is_not_coming(fence);
                self.attempts.abandon(fence);
            }
            Output::Launch { fence } => {
                self.begin(fence, Phase::Launch);
                let (time_us, own) = (now_us(), self.hands.engine());
                let told = Box::new(move |outcome: Result<(), LaunchError>| {
                    own.launched(fence, time_us, outcome.map_err(|error| error.to_string()));
                });
                match self.attempts.launch(fence, time_us, told) {
                    Ok(Launched::Later) => {}
                    Ok(Launched::Now(outcome)) => {
                        let outcome = outcome.map_err(|error| error.to_string());
                        self.launched(fence, outcome.map(|()| time_us), LOOK_AGAIN)?;
                    }
                    Err(message) => self.launched(fence, Err(message), LOOK_AGAIN)?,
                }
            }
            Output::Stop { fence, how } => self.attempts.stop(fence, how)?,
            Output::Collect { fence } => {
                self.begin(fence, Phase::Collect);
                if let Some(attempt) = self.attempts.shared(fence) {
                    self.answered(|hands| hands.collect(fence, attempt))?;
                }
            }
            Output::Push {
                fence,
                holder,
                batch,
            } => {
                let push = PushFeedRequest {
                    fence: Some(WireFence::from(fence)),
                    first_record: batch.first_record,
                    record_count: batch.count,
                    frames: batch.frames,
                };
                self.uplink.push(holder, push);
            }
            Output::ReadFeed {
                fence,
                holder,
                first_record,
                offset,
                max_bytes,
            } => {
                let batch = self
                    .attempts
                    .read_feed(fence, first_record, offset, max_bytes)?;
                self.feed_mind(Input::FeedRead {
                    fence,
                    holder,
                    batch,
                })?;
            }
            Output::KeepCopy {
                digest,
                size_bytes,
                locations,
            } => self.hands.keep_copy(digest, size_bytes, locations),
            Output::Report(state) => {
                // All that is worth a report is worth a look.
                self.metrics.look(&self.mind);
                self.uplink.link.report(*state);
            }
            Output::Cluster(cluster) => {
                self.standing.keep(&cluster)?;
                self.hands.belong_to(&cluster.id);
                for holder in self.uplink.follow(&cluster) {
                    self.feed_mind(Input::HolderDisconnected(holder))?;
                }
            }
            Output::Remove { fence } => {
                self.is_not_coming(fence);
                self.phases.remove(&fence);
                self.next_look.remove(&fence);
                if let Some(attempt) = self.attempts.remove(fence)? {
                    self.hands.remove(attempt);
                }
            }
        }
        Ok(())
    }
}

/// Unix time in microseconds.
pub(super) fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}
