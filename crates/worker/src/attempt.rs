//! The life of one attempt.
//!
//! ```text
//!  Found ─> Preparing ─> Ready ─> Launching ─> Running ─> Collecting ─> Draining ─> Finished
//!    └───────────┴─────────┴── stopped or failed ──┴────────────────────────^
//! ```
//!
//! `Found` is only for what an earlier incarnation left. From `Launching` to the end of `Running` it holds a slot. An attempt that is
//! *over* (no longer desired) leaves at once when nothing of it runs, and otherwise when its program is dead.

use contract::api::EndReason;
use contract::link::{Assignment, AttemptResult, OutputFile};
use feed::{Batch, HolderId};

use crate::fence::Fence;
use crate::input::{CollectError, Exit, ExitReason, PrepareError, Prepared};
use crate::output::{Output, Stop};
use crate::printed::Printed;
use crate::verdict;

/// For how long after its start a program is not yet said to run: short steps are told of once, when they are finished.
pub(crate) const QUIET_US: u64 = 20_000;

/// One attempt that this worker has.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) fence: Fence,
    pub(crate) assignment: Assignment,
    /// The order in which attempts came, and in which their programs start.
    pub(crate) arrival: u64,
    pub(crate) life: Life,
    /// Why it should stop, once it should.
    pub(crate) stop: Option<EndReason>,
    /// It is no longer desired; its program is being killed.
    pub(crate) over: bool,
    pub(crate) prepared: Option<Prepared>,
    pub(crate) start: Option<Start>,
    pub(crate) live_outputs: Vec<OutputFile>,
    /// Bytes that it had written when it was stopped for that, and how many it may.
    pub(crate) quota: Option<(u64, u64)>,
    pub(crate) printed: Printed,
    /// By the worker's own clock: what it printed is not pushed before.
    pub(crate) push_from: u64,
}

/// When its program started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Unix time in microseconds.
    pub(crate) time_us: u64,
    /// By the worker's own clock: it is not said to run before.
    pub(crate) quiet_until: u64,
}

/// How far it is.
#[derive(Debug)]
pub(crate) enum Life {
    /// On the disk since an earlier incarnation, its program never started. Nothing is done for it until a coordinator desires it in this
    /// incarnation: what the earlier one was told last may have been to stop.
    Found,
    /// Its inputs are being fetched.
    Preparing,
    /// All is in place; it waits for a slot.
    Ready,
    /// Its program is being started.
    Launching,
    /// Its program runs.
    Running,
    /// Its program has ended; its outputs are being stored.
    Collecting {
        /// How it ended.
        exit: Exit,
    },
    /// Its outputs are stored; the rest of its feed is on its way to the coordinators.
    Draining {
        /// All of the result but the seal.
        result: Box<AttemptResult>,
    },
    /// All is stored; the result is final and told until the attempt is no longer desired.
    Finished {
        /// The result.
        result: Box<AttemptResult>,
    },
}

impl Life {
    /// Every phase, in the order of an attempt's life.
    pub(crate) const PHASES: [&'static str; 8] = [
        "found",
        "preparing",
        "ready",
        "launching",
        "running",
        "collecting",
        "draining",
        "finished",
    ];

    /// Its name for people.
    pub(crate) fn phase(&self) -> &'static str {
        let at = match self {
            Life::Found => 0,
            Life::Preparing => 1,
            Life::Ready => 2,
            Life::Launching => 3,
            Life::Running => 4,
            Life::Collecting { .. } => 5,
            Life::Draining { .. } => 6,
            Life::Finished { .. } => 7,
        };
        Self::PHASES[at]
    }
}

/// Whether the worker keeps an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Keep {
    Yes,
    /// Nothing of it runs and nobody wants it: its directory is to go.
    No,
}

impl Attempt {
    /// Whether its program runs, or may run at any moment.
    pub(crate) fn holds_slot(&self) -> bool {
        matches!(self.life, Life::Launching | Life::Running)
    }

    /// Whether it has not run for long enough to be said to run.
    pub(crate) fn is_quiet(&self, now: u64) -> bool {
        self.start.is_none_or(|start| now < start.quiet_until)
    }

    /// Ids of the devices that it has for itself.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &str> {
        self.assignment
            .devices
            .iter()
            .map(|device| device.device_id.as_str())
    }

    /// Whether it waits for nothing but a slot, and its devices.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.life, Life::Ready)
    }

    /// A coordinator desires it. Whether that is news.
    pub(crate) fn confirm(&mut self, outputs: &mut Vec<Output>) -> bool {
        let is_news = matches!(self.life, Life::Found);
        if is_news {
            self.prepare(outputs);
        }
        is_news
    }

    fn prepare(&mut self, outputs: &mut Vec<Output>) {
        self.life = Life::Preparing;
        outputs.push(Output::Prepare {
            fence: self.fence,
            assignment: Box::new(self.assignment.clone()),
        });
    }

    /// It should stop. The first reason counts. Whether that is news.
    pub(crate) fn stop(&mut self, reason: EndReason, outputs: &mut Vec<Output>) -> bool {
        if self.stop.is_some() || self.over {
            return false;
        }
        self.stop = Some(reason);
        match self.life {
            Life::Found | Life::Ready => self.finish(verdict::of_stop_before_start(reason)),
            Life::Preparing => {
                outputs.push(Output::Abandon { fence: self.fence });
                self.finish(verdict::of_stop_before_start(reason));
            }
            Life::Running => outputs.push(self.kill(Stop::Graceful)),
            // It is stopped as soon as it is known to run.
            Life::Launching => {}
            // Its program has ended by itself.
            Life::Collecting { .. } | Life::Draining { .. } | Life::Finished { .. } => {}
        }
        true
    }

    /// It wrote more than it may.
    pub(crate) fn over_quota(&mut self, used: u64, limit: u64, outputs: &mut Vec<Output>) {
        if matches!(self.life, Life::Running) && self.stop.is_none() && !self.over {
            self.stop = Some(EndReason::DiskQuota);
            self.quota = Some((used, limit));
            // It would use its grace to write on.
            outputs.push(self.kill(Stop::Kill));
        }
    }

    /// It is no longer desired.
    pub(crate) fn give_up(&mut self, outputs: &mut Vec<Output>) -> Keep {
        match self.life {
            Life::Launching => {
                self.over = true;
                Keep::Yes
            }
            Life::Running => {
                if !self.over {
                    self.over = true;
                    outputs.push(self.kill(Stop::Kill));
                }
                Keep::Yes
            }
            _ => Keep::No,
        }
    }

    /// More of its feed was read; nothing is after its end. Whether there is new metadata.
    pub(crate) fn feed_grew(&mut self, batch: &Batch, outputs: &mut Vec<Output>) -> bool {
        if !self.holds_slot() {
            return false;
        }
        let grown = self.printed.grow(batch, self.start.map(|s| s.time_us));
        if grown.must_stop {
            self.stop(EndReason::StopCondition, outputs);
        }
        grown.metadata
    }

    pub(crate) fn prepared(&mut self, outcome: Result<Prepared, PrepareError>) {
        if !matches!(self.life, Life::Preparing) {
            return;
        }
        match outcome {
            Ok(prepared) => {
                self.prepared = Some(prepared);
                self.life = Life::Ready;
            }
            Err(error) => self.finish(verdict::of_prepare_error(&error)),
        }
    }

    pub(crate) fn launch(&mut self, outputs: &mut Vec<Output>) {
        self.life = Life::Launching;
        outputs.push(Output::Launch { fence: self.fence });
    }

    pub(crate) fn launched(
        &mut self,
        now: u64,
        outcome: Result<u64, String>,
        outputs: &mut Vec<Output>,
    ) -> Keep {
        if !matches!(self.life, Life::Launching) {
            return Keep::Yes;
        }
        match outcome {
            Ok(time_us) => {
                self.start = Some(Start {
                    time_us,
                    quiet_until: now + QUIET_US,
                });
                self.life = Life::Running;
                if self.over {
                    outputs.push(self.kill(Stop::Kill));
                } else if self.stop.is_some() {
                    outputs.push(self.kill(Stop::Graceful));
                }
            }
            Err(_) if self.over => return Keep::No,
            Err(message) => self.finish(match self.stop {
                Some(reason) => verdict::of_stop_before_start(reason),
                None => verdict::of_launch_error(&message),
            }),
        }
        Keep::Yes
    }

    /// Its program has ended. The news of a short one may overtake that it was launched.
    pub(crate) fn ended(&mut self, now: u64, exit: Exit, outputs: &mut Vec<Output>) -> Keep {
        if !self.holds_slot() {
            return Keep::Yes;
        }
        if self.over {
            return Keep::No;
        }
        self.printed.end();
        self.start = match exit.reason {
            ExitReason::StartFailed(_) => None,
            _ => self.start.or(Some(Start {
                time_us: exit.start_time_us,
                quiet_until: now + QUIET_US,
            })),
        };
        // There is no room for what it wrote too much of.
        let is_over_quota = self.quota.is_some() && exit.reason == ExitReason::Stopped;
        if verdict::leaves_outputs(&exit) && !is_over_quota {
            outputs.push(Output::Collect { fence: self.fence });
            self.life = Life::Collecting { exit };
        } else {
            self.finish(self.result_of(&exit));
        }
        Keep::Yes
    }

    pub(crate) fn collected(&mut self, outcome: Result<Vec<OutputFile>, CollectError>) {
        let Life::Collecting { exit } = &self.life else {
            return;
        };
        let result = self.result_of(exit);
        self.finish(match outcome {
            Ok(outputs) => AttemptResult { outputs, ..result },
            Err(error) => verdict::without_outputs(result, &error),
        });
    }

    /// Its feed is stored or not: the last thing that a result waits for. Whether it is finished by that.
    pub(crate) fn drain(&mut self, time_us: u64) -> bool {
        let Life::Draining { result } = &mut self.life else {
            return false;
        };
        if !self.printed.is_stored() {
            return false;
        }
        let seal = self.printed.seal();
        let mut result = std::mem::take(result);
        if result.finish_time_us == 0 {
            result.finish_time_us = verdict::signed(time_us);
        }
        result.metadata_json = self.printed.metadata_json();
        result.record_count = seal.record_count;
        result.feed_digest = seal.digest.to_vec().into();
        self.life = Life::Finished { result };
        true
    }

    /// Whether its result waits for nothing more.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.life, Life::Finished { .. })
    }

    /// The coordinators are others. Those that have its feed may be too few of them: then the result, told or not, waits for the feed again.
    pub(crate) fn set_holders(&mut self, holders: &[HolderId]) {
        self.printed.set_holders(holders);
        if let Life::Finished { result } = &mut self.life
            && !self.printed.is_stored()
        {
            let result = std::mem::take(result);
            self.life = Life::Draining { result };
        }
    }

    fn result_of(&self, exit: &Exit) -> AttemptResult {
        let result = match self.quota.filter(|_| exit.reason == ExitReason::Stopped) {
            Some((used, limit)) => verdict::of_quota(exit, used, limit),
            None => verdict::of_exit(exit, self.stop, &self.assignment),
        };
        match exit
            .record_count
            .saturating_sub(self.printed.seal().record_count)
        {
            0 => result,
            lost => verdict::with_lost_records(result, lost),
        }
    }

    /// The result is known but for the seal.
    fn finish(&mut self, result: AttemptResult) {
        self.life = Life::Draining {
            result: Box::new(result),
        };
    }

    fn kill(&self, how: Stop) -> Output {
        Output::Stop {
            fence: self.fence,
            how,
        }
    }
}
