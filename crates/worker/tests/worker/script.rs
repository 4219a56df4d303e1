//! A small language for what happens to a worker, and the transcript of what it does.
//!
//! One event a line; `1.2` is the second attempt at execution 1. Beside each event comes what the worker asked for:
//!
//! ```text
//! adopted [1.1 | 1.1=launched …]      connect | disconnect | drain | full | room     devices [a b …]
//! desired [1.1 | 1.1=stop | 1.1=on:a …]   with its device; the next generation; `desired@3 …` says which
//! known [1.1 …]                       the same, without the assignments
//! prepared 1.1 | unprepared 1.1       launched 1.1 | unlaunched 1.1
//! print 1.1 TEXT                      exit 1.1 CODE | end 1.1 stopped|time-limit|gone|…
//! collected 1.1 [NAME …] | invalid 1.1
//! cluster [c1 c2 30s] …              the next generation, with the same attempts, names the coordinators and how long to go on alone
//! up c1 | down c1                     stored 1.1 c1 2 | refused 1.1 c1 | read 1.1 c1 FROM TO
//! copies [a b …]                      the next generation, with the same attempts, asks for copies
//! kept a | lost a TEXT                what became of a copy
//! wait 20ms                           time passes, with a tick at every wake-up
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use blob::Digest;
use contract::api::EndReason;
use contract::link::{
    self, Assignment, DesiredAttempt, Device, Offer, OutputFile, SynchronizeRequest,
    SynchronizeResponse,
};
use feed::{Batch, HolderId, Record, Stream, WriterLimits};
use worker::{
    Adopted, Cluster, CollectError, Config, Coordinator, Exit, ExitReason, Fence, Found, Input,
    Output, PrepareError, Prepared, Worker,
};

/// When every script begins: Unix time in microseconds.
pub(crate) const BEGIN: u64 = 1_000_000_000;

/// A worker with the events that came to it.
pub(crate) struct Script {
    pub(crate) worker: Worker,
    /// The last state that it told.
    pub(crate) told: Option<SynchronizeRequest>,
    now: u64,
    generation: u64,
    /// Those that were desired last.
    attempts: String,
    feeds: BTreeMap<Fence, Vec<u8>>,
    counts: BTreeMap<Fence, u64>,
    assignment: Assignment,
    transcript: String,
}

/// Runs a script on a worker with two slots and one coordinator; gives the transcript.
pub(crate) fn run(script: &str) -> String {
    let mut run = Script::new(2, 1, Assignment::default());
    run.lines(script);
    run.transcript
}

impl Script {
    pub(crate) fn new(slots: u32, holders: u64, assignment: Assignment) -> Script {
        Script {
            worker: Worker::new(config(slots, holders)),
            told: None,
            now: BEGIN,
            generation: 0,
            attempts: String::new(),
            feeds: BTreeMap::new(),
            counts: BTreeMap::new(),
            assignment: Assignment {
                step: "train".to_owned(),
                ..assignment
            },
            transcript: String::new(),
        }
    }

    /// Runs the lines; what they gave is added to the transcript.
    pub(crate) fn lines(&mut self, script: &str) {
        for line in script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let _ = writeln!(self.transcript, "{line}");
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["wait", time] = words[..] {
                self.wait(time);
            } else {
                let input = self.input(line, &words);
                self.handle(input);
            }
        }
    }

    pub(crate) fn transcript(&self) -> &str {
        &self.transcript
    }

    fn handle(&mut self, input: Input) {
        let outputs = self.worker.handle(self.now, input);
        for output in outputs {
            let _ = writeln!(self.transcript, "    {output}");
            if let Output::Report(state) = output {
                self.told = Some(*state);
            }
        }
        self.worker.check_invariants().unwrap();
    }

    fn wait(&mut self, time: &str) {
        let us = match time.strip_suffix("ms") {
            Some(ms) => ms.parse::<u64>().unwrap() * 1000,
            None => time.strip_suffix('s').unwrap().parse::<u64>().unwrap() * 1_000_000,
        };
        let until = self.now + us;
        while let Some(wakeup) = self.worker.poll_wakeup().filter(|at| *at <= until) {
            self.now = wakeup.max(self.now);
            self.handle(Input::Tick);
            assert!(
                self.worker.poll_wakeup().is_none_or(|next| next > self.now),
                "a wake-up that was answered is over"
            );
        }
        self.now = until;
    }

    fn input(&mut self, line: &str, words: &[&str]) -> Input {
        if let Some(desired) = line.strip_prefix("desired@") {
            let (generation, attempts) = desired.split_once(' ').unwrap_or((desired, ""));
            return self.desired(generation.parse().unwrap(), attempts, true);
        }
        let (&event, rest) = words.split_first().unwrap();
        let text = line[event.len()..].trim();
        match event {
            "adopted" => Input::Adopted(rest.iter().map(|one| self.adopted(one)).collect()),
            "connect" => Input::Connected,
            "disconnect" => Input::Disconnected,
            "drain" => Input::Drain(true),
            "full" => Input::DiskFull(true),
            "room" => Input::DiskFull(false),
            "devices" => Input::Devices(rest.iter().map(|id| device(id)).collect()),
            "desired" | "known" => {
                let next = self.generation + 1;
                self.desired(next, text, event == "desired")
            }
            "up" => Input::HolderConnected(holder(rest[0])),
            "down" => Input::HolderDisconnected(holder(rest[0])),
            "cluster" => self.cluster(rest),
            "copies" => self.copies(rest),
            "kept" => Input::CopyKept {
                digest: digest(rest[0]),
                outcome: Ok(()),
            },
            "lost" => Input::CopyKept {
                digest: digest(rest[0]),
                outcome: Err(rest[1..].join(" ")),
            },
            _ => self.of_attempt(
                event,
                fence(rest[0]),
                text.split_once(' ').map_or("", |(_, rest)| rest),
            ),
        }
    }

    fn of_attempt(&mut self, event: &str, fence: Fence, text: &str) -> Input {
        let words: Vec<&str> = text.split_whitespace().collect();
        match event {
            "prepared" => {
                let outcome = Ok(Prepared {
                    time_us: self.now,
                    ..Prepared::default()
                });
                Input::Prepared { fence, outcome }
            }
            "unprepared" => {
                let error = PrepareError::Fetch {
                    message: "404".to_owned(),
                    retryable: false,
                };
                Input::Prepared {
                    fence,
                    outcome: Err(error),
                }
            }
            "launched" => Input::Launched {
                fence,
                outcome: Ok(self.now),
            },
            "unlaunched" => Input::Launched {
                fence,
                outcome: Err("cannot fork".to_owned()),
            },
            "print" => Input::FeedGrew {
                fence,
                batch: self.print(fence, text),
            },
            "exit" => Input::Ended {
                fence,
                exit: self.exit(ExitReason::Exited, text.parse().ok()),
            },
            "end" => Input::Ended {
                fence,
                exit: self.exit(reason(text), None),
            },
            "collected" => Input::Collected {
                fence,
                outcome: Ok(words.iter().map(|name| output(name)).collect()),
            },
            "invalid" => Input::Collected {
                fence,
                outcome: Err(CollectError::Invalid("`..`".to_owned())),
            },
            "over-quota" => Input::OverQuota {
                fence,
                used: 9 << 20,
                limit: 8 << 20,
            },
            "live" => Input::LiveOutputs {
                fence,
                outputs: words.iter().map(|name| output(name)).collect(),
            },
            "stored" => Input::FeedStored {
                fence,
                holder: holder(words[0]),
                next_record: words[1].parse().unwrap(),
            },
            "refused" => Input::FeedRefused {
                fence,
                holder: holder(words[0]),
            },
            "read" => {
                let whole = Batch::of_frames(0, self.feeds[&fence].clone().into()).unwrap();
                let (from, to) = (words[1].parse().unwrap(), words[2].parse().unwrap());
                let batch = whole.from_record(from).unwrap().before_record(to).unwrap();
                Input::FeedRead {
                    fence,
                    holder: holder(words[0]),
                    batch,
                }
            }
            other => panic!("no event {other:?}"),
        }
    }

    fn adopted(&self, word: &str) -> Adopted {
        let (name, how) = word.split_once('=').unwrap_or((word, ""));
        let found = match how {
            "launched" => Found::Launched {
                prepared: Prepared {
                    time_us: self.now,
                    ..Prepared::default()
                },
                start_time_us: self.now,
                live_outputs: Vec::new(),
            },
            _ => Found::NotLaunched,
        };
        Adopted {
            fence: fence(name),
            assignment: self.assignment.clone(),
            found,
        }
    }

    /// The same attempts again, with a word about the cluster.
    fn cluster(&mut self, words: &[&str]) -> Input {
        let again = self.attempts.clone();
        let Input::Desired(desired) = self.desired(self.generation + 1, &again, false) else {
            panic!("desired attempts are desired")
        };
        let seconds = words.iter().filter_map(|word| word.strip_suffix('s'));
        let cluster = cluster(
            words
                .iter()
                .filter(|word| word.starts_with('c'))
                .map(|one| holder(one)),
            seconds.map(|s| s.parse::<u64>().unwrap() * 1000).sum(),
        );
        let coordinators = cluster.coordinators.iter().map(|one| link::Coordinator {
            member_id: one.id.0,
            address: one.address.clone(),
        });
        Input::Desired(SynchronizeResponse {
            coordinators: coordinators.collect(),
            stop_after_ms: cluster.stop_after_ms,
            ..desired
        })
    }

    /// The same attempts again, with copies to keep.
    fn copies(&mut self, words: &[&str]) -> Input {
        let again = self.attempts.clone();
        let Input::Desired(desired) = self.desired(self.generation + 1, &again, false) else {
            panic!("desired attempts are desired")
        };
        let copies = words.iter().map(|name| link::WantedCopy {
            digest: digest(name).as_bytes().to_vec().into(),
            size_bytes: 5,
            locations: vec!["w2:1".to_owned()],
        });
        Input::Desired(SynchronizeResponse {
            copies: copies.collect(),
            ..desired
        })
    }

    fn desired(&mut self, generation: u64, text: &str, assign: bool) -> Input {
        self.generation = self.generation.max(generation);
        self.attempts = text.to_owned();
        let attempts = text.split_whitespace().map(|word| {
            let (name, how) = word.split_once('=').unwrap_or((word, ""));
            DesiredAttempt {
                fence: Some(fence(name).into()),
                assignment: assign.then(|| Assignment {
                    devices: how.strip_prefix("on:").map(device).into_iter().collect(),
                    ..self.assignment.clone()
                }),
                stop: how == "stop",
                stop_reason: EndReason::Cancelled.into(),
            }
        });
        Input::Desired(SynchronizeResponse {
            generation,
            attempts: attempts.collect(),
            worker_generation: self.told.as_ref().map_or(0, |told| told.generation),
            ..SynchronizeResponse::default()
        })
    }

    fn print(&mut self, fence: Fence, text: &str) -> Batch {
        let record = Record {
            time_us: self.now,
            stream: Stream::Stdout,
            partial: false,
            data: format!("{text}\n").into(),
        };
        let mut frame = Vec::new();
        feed::encode(&record, &mut frame);
        self.feeds
            .entry(fence)
            .or_default()
            .extend_from_slice(&frame);
        let count = self.counts.entry(fence).or_default();
        *count += 1;
        Batch::of_frames(*count - 1, frame.into()).unwrap()
    }

    fn exit(&self, reason: ExitReason, code: Option<i32>) -> Exit {
        Exit {
            reason,
            code,
            signal: 0,
            start_time_us: self.now,
            time_us: self.now,
            record_count: 0,
        }
    }

    /// The bytes of a feed so far.
    pub(crate) fn feed(&self, name: &str) -> &[u8] {
        &self.feeds[&fence(name)]
    }
}

/// A digest that begins as the name does.
fn digest(name: &str) -> Digest {
    let mut digest = [0; 32];
    digest[..name.len()].copy_from_slice(name.as_bytes());
    Digest(digest)
}

fn device(id: &str) -> Device {
    Device {
        device_id: id.to_owned(),
        ..Device::default()
    }
}

pub(crate) fn config(slots: u32, holders: u64) -> Config {
    Config {
        name: "w1".to_owned(),
        incarnation: 1,
        instance_id: [1; 16],
        offer: Offer {
            slot_count: slots,
            ..Offer::default()
        },
        cluster: cluster((1..=holders).map(HolderId), 0),
        // So little that holders that fall behind are served from the file.
        limits: WriterLimits {
            recent_bytes: 1,
            ..WriterLimits::default()
        },
    }
}

fn cluster(holders: impl Iterator<Item = HolderId>, stop_after_ms: u64) -> Cluster {
    Cluster {
        id: String::new(),
        coordinators: holders
            .map(|id| Coordinator {
                id,
                address: format!("c{}", id.0),
            })
            .collect(),
        stop_after_ms,
    }
}

/// `1.2`: the second attempt at execution 1, assigned at index 12.
pub(crate) fn fence(name: &str) -> Fence {
    let (execution, attempt) = name.split_once('.').unwrap();
    let (execution, attempt): (u8, u32) = (execution.parse().unwrap(), attempt.parse().unwrap());
    Fence {
        execution_id: [execution; 16],
        attempt,
        index: u64::from(execution) * 10 + u64::from(attempt),
    }
}

fn holder(name: &str) -> HolderId {
    HolderId(name.strip_prefix('c').unwrap().parse().unwrap())
}

fn output(name: &str) -> OutputFile {
    OutputFile {
        file_name: name.to_owned(),
        ..OutputFile::default()
    }
}

fn reason(word: &str) -> ExitReason {
    match word {
        "stopped" => ExitReason::Stopped,
        "time-limit" => ExitReason::TimeLimit,
        "gone" => ExitReason::Gone,
        "not-started" => ExitReason::StartFailed("no interpreter".to_owned()),
        other => panic!("no end {other:?}"),
    }
}
