//! A coordinator with a disk, and the words of those that speak to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use contract::api::{self, State};
use contract::link::{
    AttemptPhase, AttemptReport, AttemptResult, Fence, Offer, OutputFile, SynchronizeRequest,
    WantedCopy,
};
use coordinator::{
    Answer, Config, Coordinator, Input, Now, OnDisconnect, Output, Recovered, Refusal, Request,
    SessionId, Token,
};
use expect_test::Expect;
use ledger::{Knows, Ledger};
use prost::Message as _;

pub const YAML: &[u8] = b"
- step:
    name: greet
    image: busybox
    command: echo {parameters}
    parameters:
      - name: who
        default: you
- step:
    name: train
    image: busybox
    command: train
    resources:
      devices:
        nvidia.com/gpu: 1
- step:
    name: after
    image: busybox
    command: cat $VH_INPUTS_DIR/notes/*
    inputs:
      - name: notes
- pipeline:
    name: chain
    nodes:
      - name: first
        type: execution
        step: greet
      - name: second
        type: execution
        step: after
    edges:
      - [first.output.*, second.input.notes]
";

/// A coordinator with its disk, and what it was last heard to say.
pub struct World {
    pub mind: Coordinator,
    pub disk: Recovered,
    pub snapshot: Option<Vec<u8>>,
    pub now: Now,
    pub stores: bool,
    pub held: Vec<u64>,
    pub transcript: String,
    pub desired: Vec<contract::link::DesiredAttempt>,
    pub desired_generation: u64,
    pub answers: Vec<(u64, Result<Answer, Refusal>)>,
    pub generation: u64,
    /// Copies that each connection was told to keep last.
    pub copies: BTreeMap<u64, Vec<WantedCopy>>,
    level: u32,
}

fn config(level: u32) -> Config {
    Config {
        member_id: 1,
        cluster_id: "00000000-0000-4000-8000-000000000001".into(),
        address: "c1:1".into(),
        knows: Knows {
            level,
            version: "0.1.0".into(),
        },
        seed: 1,
        snapshot_entries: 1_000,
        lost_after_us: 60_000_000,
        stop_grace_ms: 10_000,
        on_disconnect: OnDisconnect::KeepRunning,
    }
}

impl World {
    pub fn new() -> Self {
        Self::knowing(0)
    }

    /// One that knows feature levels up to this one.
    pub fn knowing(level: u32) -> Self {
        let disk = Recovered::founding(&[1]);
        let mut world = Self {
            mind: Coordinator::new(config(level), disk.clone(), Ledger::new()).unwrap(),
            disk,
            snapshot: None,
            now: Now {
                unix_ms: 1_000,
                monotonic_us: 0,
            },
            stores: true,
            held: Vec::new(),
            transcript: String::new(),
            desired: Vec::new(),
            desired_generation: 0,
            answers: Vec::new(),
            generation: 0,
            copies: BTreeMap::new(),
            level,
        };
        world.settle();
        assert!(world.mind.is_ready());
        world
    }

    /// Starts again from what the disk has.
    pub fn restart(&mut self) {
        let ledger = match &self.snapshot {
            Some(bytes) => {
                Ledger::restore(contract::ledger::Snapshot::decode(bytes.as_slice()).unwrap())
                    .unwrap()
            }
            None => Ledger::new(),
        };
        self.mind = Coordinator::new(config(self.level), self.disk.clone(), ledger).unwrap();
        self.settle();
    }

    pub fn handle(&mut self, input: Input) {
        self.mind.handle(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let outputs = self.mind.poll(self.now);
            if outputs.is_empty() {
                return self.mind.ledger().check_invariants().unwrap();
            }
            for output in outputs {
                self.perform(output);
            }
        }
    }

    fn perform(&mut self, output: Output) {
        writeln!(self.transcript, "{output}").unwrap();
        match output {
            Output::Persist(batch) if !self.stores => self.held.push(batch.number),
            Output::Persist(batch) => {
                if let Some(first) = batch.entries.first() {
                    self.disk.entries.retain(|entry| entry.index < first.index);
                }
                self.disk.entries.extend(batch.entries);
                self.disk.hard_state = batch.hard_state.unwrap_or_default();
                self.mind.handle(
                    self.now,
                    Input::Persisted {
                        number: batch.number,
                    },
                );
            }
            Output::Reply { token, result } => self.answers.push((token.0, result)),
            Output::Desired { session, desired } => {
                self.copies.insert(session.0, desired.copies);
                self.desired = desired.attempts;
                self.desired_generation = desired.generation;
            }
            Output::StoreSnapshot {
                index,
                term,
                members,
                ledger,
            } => {
                self.snapshot = Some(ledger.snapshot().encode_to_vec());
                self.disk.base = coordinator::Base {
                    index,
                    term,
                    members,
                };
                self.mind.handle(self.now, Input::SnapshotStored { index });
            }
            Output::CompactLog { index } => self.disk.entries.retain(|entry| entry.index > index),
            Output::Send(_)
            | Output::SendSnapshot { .. }
            | Output::Fresh { .. }
            | Output::Members(_)
            | Output::PeerRefused { .. }
            | Output::CallPool(_)
            | Output::Halt { .. }
            | Output::Publish(_)
            | Output::EndSession { .. }
            | Output::SealFeed { .. } => {}
        }
    }

    /// Asks for something; the answer, if it has come.
    pub fn ask(&mut self, token: u64, request: Request) -> Option<Result<Answer, Refusal>> {
        self.handle(Input::Request {
            token: Token(token),
            request: Box::new(request),
        });
        self.answers
            .iter()
            .find(|(known, _)| *known == token)
            .map(|(_, answer)| answer.clone())
    }

    pub fn run_step(&mut self, token: u64, step: &str) -> Option<Result<Answer, Refusal>> {
        self.ask(
            token,
            Request::CreateExecution(execution(token.into(), step)),
        )
    }

    /// A worker says what it has.
    pub fn report(&mut self, session: u64, incarnation: u64, attempts: Vec<AttemptReport>) {
        self.report_as(session, (incarnation, ""), attempts);
    }

    /// One start of a worker's daemon says what it has.
    pub fn report_as(
        &mut self,
        session: u64,
        (incarnation, instance): (u64, &'static str),
        attempts: Vec<AttemptReport>,
    ) {
        let offer = Offer {
            address: "w1:1".into(),
            slot_count: 1,
            ..Offer::default()
        };
        self.say(
            session,
            SynchronizeRequest {
                incarnation,
                offer: Some(offer),
                attempts,
                desired_generation: u64::MAX,
                instance_id: instance.into(),
                ..SynchronizeRequest::default()
            },
        );
    }

    /// The worker says this, as its next state.
    pub fn say(&mut self, session: u64, state: SynchronizeRequest) {
        self.say_as(session, "w1", state);
    }

    /// A worker says this, as its next state.
    pub fn say_as(&mut self, session: u64, worker: &str, state: SynchronizeRequest) {
        self.generation += 1;
        let state = SynchronizeRequest {
            worker: worker.into(),
            generation: self.generation,
            ..state
        };
        self.handle(Input::WorkerState {
            session: SessionId(session),
            state: Box::new(state),
        });
    }

    /// A connection ends.
    pub fn gone(&mut self, session: u64) {
        self.copies.remove(&session);
        self.handle(Input::WorkerGone {
            session: SessionId(session),
        });
    }

    /// Time passes, tick by tick.
    pub fn pass(&mut self, us: u64) {
        let until = self.now.monotonic_us + us;
        while self.now.monotonic_us < until {
            self.now.monotonic_us += coordinator::TICK_MS * 1_000;
            self.handle(Input::Tick);
        }
    }

    /// What was said since the last look, ids left out.
    pub fn check(&mut self, expected: Expect) {
        let id = |word: &str| match word.split_once('.') {
            Some((id, rest))
                if id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                format!("ID.{rest}")
            }
            _ => word.to_owned(),
        };
        let said = std::mem::take(&mut self.transcript);
        let said: String = said
            .lines()
            .map(|line| line.split(' ').map(id).collect::<Vec<_>>().join(" ") + "\n")
            .collect();
        expected.assert_eq(&said);
    }

    pub fn state(&self, number: i64) -> State {
        self.mind.ledger().execution("p", number).unwrap().state()
    }

    /// The fence of what the worker was told to run last.
    pub fn fence(&self) -> Fence {
        self.desired
            .first()
            .and_then(|attempt| attempt.fence.clone())
            .expect("the worker was told of an attempt")
    }
}

pub fn uuid(id: u128) -> String {
    ledger::Uuid::from_u128(id).to_string()
}

pub fn execution(id: u128, step: &str) -> api::CreateExecutionRequest {
    api::CreateExecutionRequest {
        parent: "projects/p".into(),
        request_id: uuid(id),
        config: YAML.into(),
        step: step.into(),
        ..api::CreateExecutionRequest::default()
    }
}

pub fn running(fence: &Fence) -> AttemptReport {
    AttemptReport {
        fence: Some(fence.clone()),
        phase: AttemptPhase::Running.into(),
        prepare_time_us: 5,
        start_time_us: 6,
        ..AttemptReport::default()
    }
}

pub fn finished(fence: &Fence) -> AttemptReport {
    let output = OutputFile {
        file_name: "note.txt".into(),
        digest: vec![7; 32].into(),
        size_bytes: 3,
        properties_json: String::new(),
    };
    let result = AttemptResult {
        state: State::Complete.into(),
        exit_code: Some(0),
        exit_time_us: 300_009,
        finish_time_us: 300_010,
        outputs: vec![output],
        record_count: 2,
        feed_digest: vec![9; 32].into(),
        ..AttemptResult::default()
    };
    AttemptReport {
        phase: AttemptPhase::Finished.into(),
        result: Some(result),
        ..running(fence)
    }
}
