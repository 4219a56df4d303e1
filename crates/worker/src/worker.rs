//! The mind itself: one function from what happened to what to do.

mod desired;

use std::collections::{BTreeMap, BTreeSet};

use contract::api::EndReason;
use contract::link::{Device, Offer, SynchronizeRequest, Usage};
use feed::{Batch, HolderId, WriterLimits};

use crate::attempt::{Attempt, Keep, Life};
use crate::clock::Clock;
use crate::contact::Contact;
use crate::copies::Copies;
use crate::fence::Fence;
use crate::input::Input;
use crate::output::Output;
use crate::printed::Printed;
use crate::report::{self, METADATA_US, Pace, SOON_US, USAGE_US};

/// How often a stop condition over time alone is looked at.
const CONDITION_US: u64 = 1_000_000;

/// A worker is busy when so many attempts wait for each of its slots.
const BUSY_ROUNDS: usize = 3;

/// Who a worker is and what it offers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Its incarnation; rises with every start of the daemon, durably, before the first input.
    pub incarnation: u64,
    /// What this start of the daemon drew, so that no copy of its data directory is taken for it.
    pub instance_id: [u8; 16],
    /// What it offers. At most `slot_count` of its programs run at once.
    pub offer: Offer,
    /// What it was told of its cluster last; nothing if it never was.
    pub cluster: Cluster,
    /// How much of each feed is kept in memory and on its way.
    pub limits: WriterLimits,
}

/// What a worker is told of its cluster, and keeps over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Its UUID; empty while none was told.
    pub id: String,
    /// The coordinators, which hold feeds. While none is known, nothing counts as stored.
    pub coordinators: Vec<Coordinator>,
    /// Milliseconds without an answer after which programs are stopped; 0 means never.
    pub stop_after_ms: u64,
}

/// A coordinator as a worker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinator {
    /// Its Raft id.
    pub id: HolderId,
    /// `host:port` at which it serves.
    pub address: String,
}

impl Cluster {
    pub(crate) fn holders(&self) -> impl Iterator<Item = HolderId> + '_ {
        self.coordinators.iter().map(|one| one.id)
    }
}

/// A worker's mind. There is no clock, file or socket in it.
///
/// - First [`handle`](Worker::handle) gets [`Input::Adopted`], once; then every input as it comes, with the host's Unix time in microseconds.
///   It answers with what to do, in order; nothing is kept back.
/// - After each call [`poll_wakeup`](Worker::poll_wakeup) says when to come again with [`Input::Tick`] if nothing else happens before.
/// - Getters change nothing.
#[derive(Debug)]
pub struct Worker {
    config: Config,
    clock: Clock,
    is_adopted: bool,
    is_connected: bool,
    attempts: BTreeMap<Fence, Attempt>,
    copies: Copies,
    arrivals: u64,
    /// Of the last report.
    generation: u64,
    /// Of the newest desired state seen. Older ones are not heeded: they may desire what is gone, or lack what is new.
    desired_generation: u64,
    /// How busy the machine is, as it was told last.
    usage: Option<Usage>,
    /// Coordinators that feeds can be pushed to.
    up: BTreeSet<HolderId>,
    contact: Contact,
    pace: Pace,
    next_condition: Option<u64>,
    outputs: Vec<Output>,
}

impl Worker {
    /// A worker that has heard nothing yet.
    pub fn new(config: Config) -> Worker {
        Worker {
            config,
            clock: Clock::default(),
            is_adopted: false,
            is_connected: false,
            attempts: BTreeMap::new(),
            copies: Copies::default(),
            arrivals: 0,
            generation: 0,
            desired_generation: 0,
            usage: None,
            up: BTreeSet::new(),
            contact: Contact::default(),
            pace: Pace::default(),
            next_condition: None,
            outputs: Vec::new(),
        }
    }

    /// `input` happened at `now_us`, Unix time in microseconds. What is to be done about it, in order.
    pub fn handle(&mut self, now_us: u64, input: Input) -> Vec<Output> {
        let now = self.clock.read(now_us);
        self.take(now, input);
        self.watch_conditions(now, now_us);
        self.watch_contact(now);
        self.drain(now, now_us);
        self.fill_slots(now);
        self.push_feeds(now);
        self.tell(now);
        std::mem::take(&mut self.outputs)
    }

    /// When [`Input::Tick`] is due, by the host's clock.
    pub fn poll_wakeup(&self) -> Option<u64> {
        let told = self.pace.wakeup().filter(|_| self.may_tell());
        // Nothing is pushed of one that is over, nor before it is due: to be woken for it would be to be woken at once, again and again.
        let refused = self
            .attempts
            .values()
            .filter(|attempt| !attempt.over)
            .filter_map(|attempt| Some(attempt.printed.wakeup(&self.up)?.max(attempt.push_from)))
            .min();
        let cut_off = self.stop_time().filter(|_| self.has_unstopped());
        let held = self.attempts.values().map(|attempt| attempt.push_from);
        let held = held.filter(|from| *from > self.clock.last_us()).min();
        let next = [told, refused, held, self.next_condition, cut_off]
            .into_iter()
            .flatten()
            .min()?;
        Some(self.clock.as_host_time(next))
    }

    /// How many attempts it has, in whatever phase.
    pub fn attempt_count(&self) -> usize {
        self.attempts.len()
    }

    /// How many programs run or are being started.
    pub fn running_count(&self) -> usize {
        self.attempts.values().filter(|a| a.holds_slot()).count()
    }

    /// Whether it takes no new attempts.
    pub fn is_draining(&self) -> bool {
        self.config.offer.draining
    }

    /// Whether it takes no new attempts because its disk lacks room.
    pub fn is_disk_full(&self) -> bool {
        self.config.offer.disk_full
    }

    /// How many attempts are how far, by the name of every phase.
    pub fn phases(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        Life::PHASES.iter().map(|phase| {
            let there = self.attempts.values();
            let count = there.filter(|attempt| attempt.life.phase() == *phase);
            (*phase, count.count())
        })
    }

    /// How many devices it offers, and how many of them attempts have that are not finished.
    pub fn devices(&self) -> (usize, usize) {
        let live = self.attempts.values();
        let live = live.filter(|attempt| !matches!(attempt.life, Life::Finished { .. }));
        let used = live.map(|attempt| attempt.devices().count()).sum();
        (self.config.offer.devices.len(), used)
    }

    fn take(&mut self, now: u64, input: Input) {
        match input {
            Input::Adopted(found) => self.adopt(now, found),
            Input::Connected => {
                self.is_connected = true;
                self.pace.by(now);
            }
            Input::Disconnected => self.is_connected = false,
            Input::Desired(desired) => self.desired(now, desired),
            Input::Drain(draining) => {
                self.config.offer.draining = draining;
                self.pace.by(now);
            }
            Input::DiskFull(full) => {
                if self.config.offer.disk_full != full {
                    self.config.offer.disk_full = full;
                    self.pace.by(now);
                }
            }
            Input::Devices(devices) => self.found_devices(now, devices),
            Input::Usage(usage) => {
                self.usage = Some(usage);
                self.pace.by(now + USAGE_US);
            }
            Input::Prepared { fence, outcome } => self.with(fence, |attempt, _| {
                attempt.prepared(outcome);
                Keep::Yes
            }),
            Input::Launched { fence, outcome } => {
                self.with(fence, |attempt, out| attempt.launched(now, outcome, out));
                self.next_condition.get_or_insert(now);
                self.pace.by(now + SOON_US);
            }
            Input::OverQuota { fence, used, limit } => {
                self.with(fence, |attempt, out| {
                    attempt.over_quota(used, limit, out);
                    Keep::Yes
                });
            }
            Input::LiveOutputs { fence, outputs } => {
                self.with(fence, |attempt, _| {
                    attempt.live_outputs.extend(outputs);
                    Keep::Yes
                });
                self.pace.by(now);
            }
            Input::Ended { fence, exit } => {
                let together = report::gathered(now, report::PUSHED_US, self.is_busy());
                self.with(fence, |attempt, out| {
                    attempt.push_from = together;
                    attempt.ended(now, exit, out)
                });
                self.pace.by(now + SOON_US);
            }
            Input::Collected { fence, outcome } => self.with(fence, |attempt, _| {
                attempt.collected(outcome);
                Keep::Yes
            }),
            Input::CopyKept { digest, outcome } => {
                if self.copies.came(&digest, outcome) {
                    self.pace.by(now + SOON_US);
                }
            }
            Input::FeedGrew { fence, batch } => self.feed_grew(now, fence, &batch),
            // What was read for a connection that is gone is read again for the next one.
            Input::FeedRead { holder, .. } if !self.up.contains(&holder) => {}
            Input::FeedRead {
                fence,
                holder,
                batch,
            } => self.with(fence, |attempt, out| {
                out.extend(attempt.printed.read(fence, holder, &batch));
                Keep::Yes
            }),
            Input::FeedStored {
                fence,
                holder,
                next_record,
            } => self.with(fence, |attempt, _| {
                attempt.printed.stored(holder, next_record);
                Keep::Yes
            }),
            Input::FeedRefused { fence, holder } => self.with(fence, |attempt, _| {
                attempt.printed.refused(holder, now);
                Keep::Yes
            }),
            Input::HolderConnected(holder) => {
                self.up.insert(holder);
                self.each_feed(|printed| printed.connected(holder));
            }
            Input::HolderDisconnected(holder) => {
                self.up.remove(&holder);
            }
            Input::Tick => {}
        }
    }

    /// What has gone takes the attempts with it that had it.
    fn found_devices(&mut self, now: u64, devices: Vec<Device>) {
        if self.config.offer.devices == devices {
            return;
        }
        let is_there = |id: &str| devices.iter().any(|device| device.device_id == id);
        for attempt in self.attempts.values_mut() {
            if !attempt.devices().all(is_there) {
                attempt.stop(EndReason::DeviceLost, &mut self.outputs);
            }
        }
        self.config.offer.devices = devices;
        self.pace.by(now);
    }

    fn feed_grew(&mut self, now: u64, fence: Fence, batch: &Batch) {
        let mut has_metadata = false;
        let together = report::gathered(now, report::PUSHED_US, self.is_busy());
        self.with(fence, |attempt, out| {
            // One that is as young as this may be at its end.
            if attempt.is_quiet(now) {
                attempt.push_from = together;
            }
            has_metadata = attempt.feed_grew(batch, out);
            Keep::Yes
        });
        if has_metadata {
            self.pace.by(now + METADATA_US);
        }
    }

    /// Does something to an attempt, if it is there; removes it if that was the end of it.
    fn with(&mut self, fence: Fence, change: impl FnOnce(&mut Attempt, &mut Vec<Output>) -> Keep) {
        let Some(attempt) = self.attempts.get_mut(&fence) else {
            return;
        };
        if change(attempt, &mut self.outputs) == Keep::No {
            self.attempts.remove(&fence);
            self.outputs.push(Output::Remove { fence });
        }
    }

    fn each_feed(&mut self, change: impl Fn(&mut Printed)) {
        for attempt in self.attempts.values_mut() {
            change(&mut attempt.printed);
        }
    }

    /// Stop conditions that may come true by time alone.
    fn watch_conditions(&mut self, now: u64, now_us: u64) {
        if self.next_condition.is_none_or(|next| now < next) {
            return;
        }
        let mut is_watching = false;
        for attempt in self.attempts.values_mut() {
            let Some(start) = attempt.start else { continue };
            let runs = matches!(attempt.life, Life::Running) && attempt.stop.is_none();
            if !(runs && attempt.printed.watches_time()) {
                continue;
            }
            let after_us = now_us.saturating_sub(start.time_us);
            if attempt.printed.must_stop(after_us) {
                attempt.stop(EndReason::StopCondition, &mut self.outputs);
            }
            is_watching = true;
        }
        self.next_condition = is_watching.then_some(now + CONDITION_US);
    }

    /// Out of contact for as long as was told: programs are stopped before somebody else is given their attempts.
    fn watch_contact(&mut self, now: u64) {
        if !self.is_cut_off(now) {
            return;
        }
        for attempt in self.attempts.values_mut().filter(|a| a.holds_slot()) {
            attempt.stop(EndReason::Lost, &mut self.outputs);
        }
    }

    /// When programs are stopped unless an answer comes.
    fn stop_time(&self) -> Option<u64> {
        let after_us = self.config.cluster.stop_after_ms.saturating_mul(1_000);
        (after_us != 0).then(|| self.contact.last_us().saturating_add(after_us))
    }

    fn is_cut_off(&self, now: u64) -> bool {
        self.stop_time().is_some_and(|time| time <= now)
    }

    fn has_unstopped(&self) -> bool {
        let mut running = self.attempts.values().filter(|a| a.holds_slot());
        running.any(|attempt| attempt.stop.is_none() && !attempt.over)
    }

    /// Finishes what waits for nothing any more. A finished attempt is what coordinators wait for: it is told at once, or with
    /// others where there is more to do anyway.
    fn drain(&mut self, now: u64, now_us: u64) {
        let told = report::gathered(now, report::TOLD_US, self.is_busy());
        for attempt in self.attempts.values_mut() {
            if attempt.drain(now_us) {
                self.pace.by(told);
            }
        }
    }

    /// Whether there is so much to do that the slots are full for a while, whatever coordinators hear or say.
    fn is_busy(&self) -> bool {
        let ready = self.attempts.values().filter(|a| a.is_ready()).count();
        ready >= BUSY_ROUNDS * self.config.offer.slot_count.max(1) as usize
    }

    /// Starts what is ready, in the order in which it came, while there are slots. Nothing is started that would have to be stopped
    /// at once.
    fn fill_slots(&mut self, now: u64) {
        if self.is_cut_off(now) {
            return;
        }
        let slots = self.config.offer.slot_count as usize;
        let mut free = slots.saturating_sub(self.running_count());
        while free > 0 {
            let ready = self.attempts.values().filter(|a| a.is_ready());
            let startable = ready.filter(|attempt| self.has_devices(attempt));
            let next = startable.min_by_key(|attempt| attempt.arrival);
            let next = next.map(|attempt| attempt.fence);
            let Some(next) = next.and_then(|fence| self.attempts.get_mut(&fence)) else {
                return;
            };
            next.launch(&mut self.outputs);
            free -= 1;
        }
    }

    /// Whether nothing runs that has a device of the attempt (I-15): its program may have outlived what coordinators know of it.
    fn has_devices(&self, attempt: &Attempt) -> bool {
        attempt.devices().all(|id| {
            let mut running = self.attempts.values().filter(|a| a.holds_slot());
            !running.any(|other| other.devices().any(|taken| taken == id))
        })
    }

    fn push_feeds(&mut self, now: u64) {
        let due = |attempt: &&mut Attempt| !attempt.over && attempt.push_from <= now;
        for attempt in self.attempts.values_mut().filter(due) {
            attempt
                .printed
                .push(now, attempt.fence, &self.up, &mut self.outputs);
        }
    }

    fn may_tell(&self) -> bool {
        self.is_adopted && self.is_connected
    }

    /// Tells the whole state, if it is time.
    fn tell(&mut self, now: u64) {
        if !(self.may_tell() && self.pace.is_due(now)) {
            return;
        }
        self.generation += 1;
        let attempts = self.attempts.values();
        let state = SynchronizeRequest {
            worker: self.config.name.clone(),
            incarnation: self.config.incarnation,
            generation: self.generation,
            offer: Some(self.config.offer.clone()),
            attempts: attempts.map(|a| report::of_attempt(a, now)).collect(),
            desired_generation: self.desired_generation,
            coordinator_ids: self.counted(),
            usage: self.usage.clone(),
            instance_id: self.config.instance_id.to_vec().into(),
            copies: self.copies.report(),
        };
        self.outputs.push(Output::Report(Box::new(state)));
        self.contact.told(self.generation, now);
        self.pace.told(now);
        // Those that were too young to be said to run are told of when they no longer are.
        let young = self
            .attempts
            .values()
            .filter(|attempt| !matches!(attempt.life, Life::Finished { .. }))
            .filter_map(|attempt| attempt.start)
            .map(|start| start.quiet_until)
            .filter(|until| *until > now);
        if let Some(next) = young.min() {
            self.pace.by(next);
        }
    }

    /// The coordinators of which a majority has the feeds of what is finished; none while nothing is.
    fn counted(&self) -> Vec<u64> {
        match self.attempts.values().any(Attempt::is_finished) {
            true => self.config.cluster.holders().map(|id| id.0).collect(),
            false => Vec::new(),
        }
    }

    /// Checks what must always hold between two inputs; in words what does not.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check_invariants(&self) -> Result<(), String> {
        if !self.outputs.is_empty() {
            return Err(format!("{} outputs were kept back", self.outputs.len()));
        }
        let slots = self.config.offer.slot_count as usize;
        if self.running_count() < slots
            && !self.is_cut_off(self.clock.last_us())
            && let Some(idle) = self
                .attempts
                .values()
                .find(|a| a.is_ready() && self.has_devices(a))
        {
            return Err(format!("{} waits beside a free slot", idle.fence));
        }
        let mut taken = BTreeSet::new();
        for attempt in self.attempts.values().filter(|a| a.holds_slot()) {
            if let Some(twice) = attempt.devices().find(|id| !taken.insert(id.to_string())) {
                return Err(format!(
                    "I-15: device {twice} is used by {} and another",
                    attempt.fence
                ));
            }
        }
        for attempt in self.attempts.values() {
            let fence = attempt.fence;
            attempt.printed.check_invariants()?;
            let was_started = attempt.start.is_some();
            let is_right = match &attempt.life {
                Life::Found | Life::Preparing | Life::Ready => {
                    attempt.stop.is_none() && !was_started
                }
                Life::Launching => !was_started,
                Life::Running | Life::Collecting { .. } => was_started,
                Life::Draining { .. } => !attempt.printed.is_stored(),
                Life::Finished { .. } => attempt.printed.is_stored(),
            };
            if !is_right || (attempt.over && !attempt.holds_slot()) {
                return Err(format!("{fence} is in no state to be {:?}", attempt.life));
            }
        }
        Ok(())
    }
}
