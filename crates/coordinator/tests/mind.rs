//! The coordinator's mind, driven by scripts: what goes in, and what it asks for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;

use contract::api::{self, State};
use contract::link::{
    AttemptPhase, AttemptReport, AttemptResult, Fence, Offer, OutputFile, SynchronizeRequest,
};
use coordinator::{
    Answer, Config, Coordinator, Input, Now, OnDisconnect, Output, Recovered, Refusal, Request,
    SessionId, Token,
};
use expect_test::{Expect, expect};
use ledger::{Knows, Ledger};
use prost::Message as _;

const YAML: &[u8] = b"
- step:
    name: greet
    image: busybox
    command: echo {parameters}
    parameters:
      - name: who
        default: you
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
struct World {
    mind: Coordinator,
    disk: Recovered,
    snapshot: Option<Vec<u8>>,
    now: Now,
    stores: bool,
    held: Vec<u64>,
    transcript: String,
    desired: Vec<contract::link::DesiredAttempt>,
    answers: Vec<(u64, Result<Answer, Refusal>)>,
    generation: u64,
}

fn config() -> Config {
    Config {
        member_id: 1,
        cluster_id: "00000000-0000-4000-8000-000000000001".into(),
        address: "c1:1".into(),
        knows: Knows {
            level: 0,
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
    fn new() -> Self {
        let disk = Recovered::founding(&[1]);
        let mut world = Self {
            mind: Coordinator::new(config(), disk.clone(), Ledger::new()).unwrap(),
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
            answers: Vec::new(),
            generation: 0,
        };
        world.settle();
        assert!(world.mind.is_ready());
        world
    }

    /// Starts again from what the disk has.
    fn restart(&mut self) {
        let ledger = match &self.snapshot {
            Some(bytes) => {
                Ledger::restore(contract::ledger::Snapshot::decode(bytes.as_slice()).unwrap())
                    .unwrap()
            }
            None => Ledger::new(),
        };
        self.mind = Coordinator::new(config(), self.disk.clone(), ledger).unwrap();
        self.settle();
    }

    fn handle(&mut self, input: Input) {
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
            Output::Desired { desired, .. } => self.desired = desired.attempts,
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
    fn ask(&mut self, token: u64, request: Request) -> Option<Result<Answer, Refusal>> {
        self.handle(Input::Request {
            token: Token(token),
            request: Box::new(request),
        });
        self.answers
            .iter()
            .find(|(known, _)| *known == token)
            .map(|(_, answer)| answer.clone())
    }

    fn run_step(&mut self, token: u64, step: &str) -> Option<Result<Answer, Refusal>> {
        self.ask(
            token,
            Request::CreateExecution(execution(token.into(), step)),
        )
    }

    /// A worker says what it has.
    fn report(&mut self, session: u64, incarnation: u64, attempts: Vec<AttemptReport>) {
        self.report_as(session, (incarnation, ""), attempts);
    }

    /// One start of a worker's daemon says what it has.
    fn report_as(
        &mut self,
        session: u64,
        (incarnation, instance): (u64, &'static str),
        attempts: Vec<AttemptReport>,
    ) {
        self.generation += 1;
        let state = SynchronizeRequest {
            worker: "w1".into(),
            incarnation,
            generation: self.generation,
            offer: Some(Offer {
                address: "w1:1".into(),
                slot_count: 1,
                ..Offer::default()
            }),
            attempts,
            desired_generation: u64::MAX,
            instance_id: instance.into(),
            ..SynchronizeRequest::default()
        };
        self.handle(Input::WorkerState {
            session: SessionId(session),
            state: Box::new(state),
        });
    }

    /// What was said since the last look, ids left out.
    fn check(&mut self, expected: Expect) {
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

    fn state(&self, number: i64) -> State {
        self.mind.ledger().execution("p", number).unwrap().state()
    }

    /// The fence of what the worker was told to run last.
    fn fence(&self) -> Fence {
        self.desired
            .first()
            .and_then(|attempt| attempt.fence.clone())
            .expect("the worker was told of an attempt")
    }
}

fn uuid(id: u128) -> String {
    ledger::Uuid::from_u128(id).to_string()
}

fn execution(id: u128, step: &str) -> api::CreateExecutionRequest {
    api::CreateExecutionRequest {
        parent: "projects/p".into(),
        request_id: uuid(id),
        config: YAML.into(),
        step: step.into(),
        ..api::CreateExecutionRequest::default()
    }
}

fn running(fence: &Fence) -> AttemptReport {
    AttemptReport {
        fence: Some(fence.clone()),
        phase: AttemptPhase::Running.into(),
        prepare_time_us: 5,
        start_time_us: 6,
        ..AttemptReport::default()
    }
}

fn finished(fence: &Fence) -> AttemptReport {
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

#[test]
fn nothing_is_answered_before_it_is_stored() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.stores = false;
    world.transcript.clear();
    assert_eq!(world.run_step(7, "greet"), None);
    world.check(expect![[r#"
        persist 7 (2 entries)
    "#]]);
    let number = *world.held.last().unwrap();
    world.handle(Input::Persisted { number });
    world.check(expect![[r#"
        publish 6
        reply 7: Execution { project: "p", number: 1, warnings: [] }
        desired 1: ID.1
    "#]]);
}

#[test]
fn submitting_and_assigning_cost_one_sync_and_finishing_starts_what_is_next() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.transcript.clear();
    let chain = api::CreatePipelineRequest {
        parent: "projects/p".into(),
        request_id: uuid(1),
        config: YAML.into(),
        blueprint: "CHAI".into(),
        ..api::CreatePipelineRequest::default()
    };
    world
        .ask(1, Request::CreatePipeline(chain))
        .unwrap()
        .unwrap();
    world.check(expect![[r#"
        persist 7 (2 entries)
        publish 6
        reply 1: Pipeline { project: "p", number: 1, warnings: [] }
        desired 1: ID.1
    "#]]);
    let first = world.fence();
    world.report(1, 1, vec![running(&first)]);
    assert_eq!(world.state(1), State::Started);
    world.transcript.clear();
    world.report(1, 1, vec![finished(&first)]);
    world.check(expect![[r#"
        persist 11 (2 entries)
        publish 9
        seal ID.1 at 2
        desired 1: ID.1
    "#]]);
    assert_eq!(
        (world.state(1), world.state(2)),
        (State::Complete, State::Queued)
    );
    let second = world.fence();
    assert_ne!(first, second);
    let assignment = world.desired[0].assignment.clone().unwrap();
    assert_eq!(assignment.inputs[0].files[0].locations, ["w1:1"]);
    world.report(1, 1, vec![finished(&second)]);
    assert_eq!(
        world.mind.ledger().pipeline("p", 1).unwrap().state,
        State::Complete
    );
}

#[test]
fn whatever_is_repeated_changes_nothing() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    let first = world.run_step(1, "greet").unwrap().unwrap();
    let again = world
        .ask(2, Request::CreateExecution(execution(1, "greet")))
        .unwrap()
        .unwrap();
    assert_eq!(again, first, "I-02: the same execution again");
    let mut other = execution(1, "greet");
    other.title = "another".into();
    let reused = world
        .ask(3, Request::CreateExecution(other))
        .unwrap()
        .unwrap_err();
    assert_eq!(reused.reason, api::ErrorReason::RequestIdReused);
    let fence = world.fence();
    world.report(1, 1, vec![finished(&fence)]);
    let hash = world.mind.ledger().state_hash();
    for _ in 0..3 {
        world.report(1, 1, vec![finished(&fence)]);
    }
    assert_eq!(
        world.mind.ledger().state_hash(),
        hash,
        "I-06, I-07: a result is accepted once"
    );
    assert_eq!(
        world.mind.ledger().execution("p", 1).unwrap().outputs.len(),
        1
    );
}

#[test]
fn a_restart_goes_on_where_it_stood() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let fence = world.fence();
    let hash = world.mind.ledger().state_hash();
    world.restart();
    assert_eq!(
        world.mind.ledger().state_hash(),
        hash,
        "I-01: what was acknowledged is there"
    );
    // The worker's daemon has started again too, and has taken its attempt back.
    world.report(2, 2, vec![running(&fence)]);
    world.report(2, 2, vec![finished(&fence)]);
    let execution = world.mind.ledger().execution("p", 1).unwrap();
    assert_eq!(
        (execution.state(), execution.attempts.len()),
        (State::Complete, 1)
    );
}

#[test]
fn what_a_machine_forgot_is_run_again_under_a_new_fence() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let before = world.fence();
    world.report(1, 1, vec![running(&before)]);
    // A power cut: the daemon comes back, and its disk knows nothing of the attempt.
    world.report(2, 2, vec![]);
    let after = world.fence();
    assert_eq!(
        (before.attempt, after.attempt),
        (1, 2),
        "I-06: no second program under one fence"
    );
    // What was assigned but had not started is simply sent again.
    world.report(3, 3, vec![]);
    assert_eq!(world.fence(), after);
}

#[test]
fn an_older_incarnation_is_sent_away() {
    let mut world = World::new();
    world.report(1, 5, vec![]);
    world.transcript.clear();
    world.report(2, 4, vec![]);
    world.check(expect![[r#"
        end session 2: STALE_INCARNATION: worker w1 has started again since; this daemon must stop
    "#]]);
}

/// I-16: what runs at the original is not lost to a copy of its directory, whatever the copy counts to.
#[test]
fn a_daemon_over_a_copied_directory_is_sent_away_while_the_original_lives() {
    let mut world = World::new();
    world.report_as(1, (5, "original"), vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let fence = world.fence();
    world.report_as(1, (5, "original"), vec![running(&fence)]);
    world.transcript.clear();
    world.report_as(2, (5, "copy"), vec![]);
    world.check(expect![[r#"
        end session 2: STALE_INCARNATION: worker w1 is another daemon, with the same name or a copy of this one's data directory; this daemon must stop
    "#]]);
    world.report_as(3, (6, "copy"), vec![]);
    world.check(expect![[r#"
        end session 3: DUPLICATE_WORKER: another daemon is in contact as worker w1: two have the same name, or copies of one data directory; stop one of them, or give it a name and a data directory of its own
    "#]]);
    // Nor by patience: the original speaks on.
    for _ in 0..4 {
        world.now.monotonic_us += 5_000_000;
        world.report_as(1, (5, "original"), vec![running(&fence)]);
        world.report_as(4, (7, "copy"), vec![]);
    }
    assert_eq!(world.state(1), State::Started);
    assert_eq!(world.fence(), fence, "I-06: no other attempt");
    let known = world.mind.ledger().worker("w1").unwrap();
    assert_eq!(
        (known.incarnation, &*known.instance_id),
        (5, b"original".as_slice())
    );
}

/// The machine may be gone whose connection stands.
#[test]
fn a_daemon_that_was_started_again_takes_the_place_of_one_that_is_gone_or_silent() {
    let mut world = World::new();
    world.report_as(1, (1, "first"), vec![]);
    world.handle(Input::WorkerGone {
        session: SessionId(1),
    });
    world.report_as(2, (2, "second"), vec![]);
    assert_eq!(world.mind.ledger().worker("w1").unwrap().incarnation, 2);
    // Its connection stands, and it says nothing: a power cut.
    world.now.monotonic_us += 10_000_001;
    world.report_as(3, (3, "third"), vec![]);
    assert_eq!(world.mind.ledger().worker("w1").unwrap().incarnation, 3);
    world.transcript.clear();
    // The same daemon on another connection, before the first one is seen to have ended.
    world.report_as(4, (3, "third"), vec![]);
    world.check(expect![[r#"
        desired 4:
    "#]]);
}

/// Equal counts are told apart also where the original is away for a moment.
#[test]
fn a_copy_does_not_slip_in_while_the_original_is_away() {
    let mut world = World::new();
    world.report_as(1, (5, "original"), vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let fence = world.fence();
    world.report_as(1, (5, "original"), vec![running(&fence)]);
    world.handle(Input::WorkerGone {
        session: SessionId(1),
    });
    world.restart();
    world.handle(Input::Tick);
    world.desired.clear();
    world.report_as(2, (5, "copy"), vec![]);
    assert!(
        world.desired.is_empty(),
        "I-06: the copy is told to run nothing"
    );
    world.report_as(3, (5, "original"), vec![running(&fence)]);
    assert_eq!((world.fence(), world.state(1)), (fence, State::Started));
}

#[test]
fn a_worker_that_stays_away_loses_its_attempts_and_its_late_result_is_refused() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let lost = world.fence();
    world.handle(Input::WorkerGone {
        session: SessionId(1),
    });
    world.now.monotonic_us += 59_000_000;
    world.handle(Input::Tick);
    assert!(
        world
            .mind
            .ledger()
            .execution("p", 1)
            .unwrap()
            .live_attempt()
            .is_some(),
        "not yet"
    );
    world.now.monotonic_us += 2_000_000;
    world.handle(Input::Tick);
    assert!(world.mind.ledger().execution("p", 1).unwrap().is_waiting());
    world.report(2, 2, vec![running(&lost)]);
    assert_eq!(
        (world.fence().attempt, world.desired.len()),
        (2, 1),
        "I-07: the old attempt is not desired any more"
    );
    let hash = world.mind.ledger().state_hash();
    world.report(2, 2, vec![finished(&lost)]);
    assert_eq!(
        world.mind.ledger().state_hash(),
        hash,
        "I-07: its late result is refused"
    );
}

/// RELIABILITY (e): replaced after `lost_after` and five seconds at most, also if its connection stands.
#[test]
fn a_worker_that_sleeps_is_lost_though_its_connection_stands() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let lost = world.fence();
    for _ in 0..30 {
        // It speaks every five seconds, and lives.
        world.now.monotonic_us += 5_000_000;
        world.handle(Input::Tick);
        world.report(1, 1, vec![running(&lost)]);
    }
    world.now.monotonic_us += 64_900_000;
    world.handle(Input::Tick);
    let waits = |world: &World| world.mind.ledger().execution("p", 1).unwrap().is_waiting();
    assert!(!waits(&world), "not yet");
    world.now.monotonic_us += 200_000;
    world.handle(Input::Tick);
    assert!(waits(&world));
    // It wakes, on the same connection, and is told to stop what it has; then it takes the work up again, as a new attempt.
    world.report(1, 1, vec![running(&lost)]);
    assert_eq!((world.fence().attempt, world.desired.len()), (2, 1), "I-07");
    let hash = world.mind.ledger().state_hash();
    world.report(1, 1, vec![finished(&lost)]);
    assert_eq!(world.mind.ledger().state_hash(), hash, "I-07");
}

/// A connection that ends long after its worker fell silent gives it no more time.
#[test]
fn the_end_of_a_connection_is_no_sign_of_life() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    world.now.monotonic_us += 30_000_000;
    world.handle(Input::WorkerGone {
        session: SessionId(1),
    });
    let waits = |world: &World| world.mind.ledger().execution("p", 1).unwrap().is_waiting();
    world.now.monotonic_us += 34_900_000;
    world.handle(Input::Tick);
    assert!(!waits(&world), "not yet");
    world.now.monotonic_us += 200_000;
    world.handle(Input::Tick);
    assert!(waits(&world));
}

#[test]
fn what_is_cancelled_is_stopped_and_what_waits_never_starts() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    world.run_step(2, "greet").unwrap().unwrap();
    let fence = world.fence();
    world.report(1, 1, vec![running(&fence)]);
    for number in [1_u64, 2] {
        let name = format!("projects/p/executions/{number}");
        let cancel = api::CancelExecutionRequest {
            name,
            request_id: uuid(100 + u128::from(number)),
        };
        world
            .ask(100 + number, Request::CancelExecution(cancel))
            .unwrap()
            .unwrap();
    }
    assert_eq!(
        (world.state(1), world.state(2)),
        (State::Stopping, State::Stopped)
    );
    assert!(world.desired[0].stop, "I-10: the worker is told to stop it");
    let mut stopped = finished(&fence);
    if let Some(result) = &mut stopped.result {
        result.state = State::Stopped.into();
    }
    world.report(1, 1, vec![stopped]);
    assert_eq!(world.state(1), State::Stopped);
}

#[test]
fn snapshots_bound_the_log_and_are_enough_to_start_from() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    for number in 1..=600 {
        world.run_step(number, "greet").unwrap().unwrap();
        let fence = world.fence();
        world.report(1, 1, vec![finished(&fence)]);
    }
    assert!(world.snapshot.is_some());
    assert!(
        world.disk.entries.len() <= 1_002,
        "{} entries are kept",
        world.disk.entries.len()
    );
    let hash = world.mind.ledger().state_hash();
    world.restart();
    assert_eq!(world.mind.ledger().state_hash(), hash);
}

#[test]
fn mistakes_in_the_file_are_refused_with_their_places_all_at_once() {
    let mut world = World::new();
    let mut request = execution(1, "greet");
    request.config = b"- step:\n    name: a\n    imge: x\n".to_vec().into();
    let refusal = world
        .ask(1, Request::CreateExecution(request))
        .unwrap()
        .unwrap_err();
    assert_eq!(refusal.reason, api::ErrorReason::InvalidConfig);
    assert!(
        refusal
            .violations
            .iter()
            .any(|violation| violation.field == "config:3:5"),
        "{refusal:?}"
    );
    assert!(refusal.violations.len() >= 2, "{refusal:?}");
    let unknown = world.run_step(2, "gret").unwrap().unwrap_err();
    assert!(unknown.message.contains("greet"), "{unknown}");
}
