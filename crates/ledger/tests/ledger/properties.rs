//! Random histories: whatever is proposed in whatever order, what was promised holds after every entry.
//!
//! `check_invariants` (called by [`World::apply`]) holds all that one ledger can show: I-06 one live attempt, attempts rise
//! by one, one accepted result; I-08 each execution in exactly one of queued, assigned, ended; I-18 outputs are data.
//! [`Witness`] holds what only a history shows.

use std::collections::BTreeMap;

use contract::api::State;
use contract::ledger as pb;
use contract::ledger::command::Kind;
use ledger::{Execution, Fence, Outcome, Pipeline, Refused};
use proptest::prelude::*;

use crate::build::{self, PROJECT};
use crate::world::World;

/// What somebody might propose. Numbers are taken modulo what there is, so that most proposals make sense.
#[derive(Clone, Debug)]
enum Step {
    Run {
        label: u8,
        input: bool,
    },
    Pipeline {
        label: u8,
        shape: u8,
    },
    Cancel {
        label: u8,
        execution: u8,
    },
    CancelPipeline {
        label: u8,
        pipeline: u8,
    },
    Worker {
        worker: u8,
        incarnation: u8,
    },
    LoseWorker {
        worker: u8,
        incarnation: u8,
    },
    Assign {
        execution: u8,
        worker: u8,
    },
    Start(Target),
    Finish {
        target: Target,
        state: u8,
        retryable: bool,
        outputs: u8,
    },
    Publish {
        target: Target,
        output: u8,
    },
    Lose(Target),
    Release(Target),
    Copies {
        worker: u8,
        incarnation: u8,
        outputs: u8,
    },
    Drain {
        worker: u8,
        draining: bool,
    },
    /// Through a snapshot and back.
    Restore,
    Raise {
        level: u8,
    },
}

/// An attempt: of which execution, how many before the last, said by whom.
#[derive(Clone, Debug)]
struct Target {
    execution: u8,
    back: u8,
    by_another: bool,
}

fn target() -> impl Strategy<Value = Target> {
    let back = prop_oneof![5 => Just(0), 1 => 1..4_u8];
    (any::<u8>(), back, prop::bool::weighted(0.05)).prop_map(|(execution, back, by_another)| {
        Target {
            execution,
            back,
            by_another,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..12_u8, any::<bool>()).prop_map(|(label, input)| Step::Run { label, input }),
        3 => (0..8_u8, any::<u8>()).prop_map(|(label, shape)| Step::Pipeline { label, shape }),
        1 => (20..40_u8, any::<u8>()).prop_map(|(label, execution)| Step::Cancel { label, execution }),
        1 => (40..60_u8, any::<u8>()).prop_map(|(label, pipeline)| Step::CancelPipeline { label, pipeline }),
        2 => (0..3_u8, 0..4_u8).prop_map(|(worker, incarnation)| Step::Worker { worker, incarnation }),
        1 => (0..3_u8, 0..4_u8).prop_map(|(worker, incarnation)| Step::LoseWorker { worker, incarnation }),
        12 => (any::<u8>(), 0..3_u8).prop_map(|(execution, worker)| Step::Assign { execution, worker }),
        4 => target().prop_map(Step::Start),
        8 => (target(), 0..6_u8, prop::bool::weighted(0.3), 0..4_u8)
            .prop_map(|(target, state, retryable, outputs)| Step::Finish { target, state, retryable, outputs }),
        1 => (target(), any::<u8>()).prop_map(|(target, output)| Step::Publish { target, output }),
        2 => target().prop_map(Step::Lose),
        2 => target().prop_map(Step::Release),
        2 => (0..3_u8, 0..4_u8, 0..4_u8).prop_map(|(worker, incarnation, outputs)| Step::Copies { worker, incarnation, outputs }),
        1 => (0..3_u8, any::<bool>()).prop_map(|(worker, draining)| Step::Drain { worker, draining }),
        1 => Just(Step::Restore),
        1 => (0..4_u8).prop_map(|level| Step::Raise { level }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_in_every_history(steps in prop::collection::vec(step(), 1..120), at in any::<prop::sample::Index>()) {
        let mut world = World::new();
        world.apply(vec![build::gpu_worker("w0", 1, &["x", "y"]), build::gpu_worker("w1", 1, &["x", "y"])]);
        let mut witness = Witness::default();
        for step in &steps {
            let Some(kind) = kind(&world, step) else {
                let restored = ledger::Ledger::restore(world.ledger.snapshot()).unwrap();
                prop_assert_eq!(restored.state_hash(), world.ledger.state_hash());
                world.ledger = restored;
                continue;
            };
            let outcome = world.one(kind.clone());
            witness.see(&world, &kind, &outcome);
        }
        world.check_replay(at.index(world.entries.len()));
        drain(&mut world, &mut witness);
    }
}

/// The command that a step means now.
fn kind(world: &World, step: &Step) -> Option<Kind> {
    let executions = world.ledger.executions(PROJECT).count() as i64;
    let execution = |index: u8| i64::from(index) % (executions + 1).max(1) + i64::from(index > 250);
    let worker = |index: u8| format!("w{index}");
    let label = |label: u8| format!("request {label}");
    Some(match step {
        Step::Run {
            label: request,
            input,
        } => {
            // Every third needs a GPU.
            let mut template = match request % 3 {
                0 => build::gpu_template("a", 1),
                _ => build::template("a"),
            };
            template.inputs.extend(input.then(|| {
                pb::TemplateInput {
                    name: "data".to_owned(),
                    uris: world
                        .ledger
                        .data(PROJECT)
                        .next()
                        .map(|datum| datum.uri())
                        .into_iter()
                        .collect(),
                    ..pb::TemplateInput::default()
                }
            }));
            build::create_execution(&label(*request), template)
        }
        Step::Pipeline {
            label: request,
            shape,
        } => build::create_pipeline(&label(*request), plan(*shape)),
        Step::Cancel {
            label: request,
            execution: index,
        } => build::cancel_execution(&label(*request), execution(*index)),
        Step::CancelPipeline {
            label: request,
            pipeline,
        } => {
            let pipelines = world.ledger.pipelines(PROJECT).count() as i64;
            build::cancel_pipeline(&label(*request), i64::from(*pipeline) % (pipelines + 1))
        }
        Step::Worker {
            worker: index,
            incarnation,
        } => build::gpu_worker(&worker(*index), (*incarnation).into(), &["x", "y"]),
        Step::LoseWorker {
            worker: index,
            incarnation,
        } => build::lose_worker(&worker(*index), (*incarnation).into()),
        Step::Assign {
            execution: index,
            worker: at,
        } => {
            // Mostly what waits; sometimes anything at all.
            let waiting: Vec<i64> = world
                .ledger
                .queued()
                .map(|execution| execution.number)
                .collect();
            let number = match waiting.is_empty() || *index > 230 {
                true => execution(*index),
                false => waiting[usize::from(*index) % waiting.len()],
            };
            assignment(world, number, &worker(*at), *index > 240)
        }
        Step::Start(target) => {
            let (worker, fence) = attempt(world, target);
            build::start(&worker, fence)
        }
        Step::Release(target) => {
            let (worker, fence) = attempt(world, target);
            let known = world.ledger.worker(&worker);
            build::release(
                &worker,
                known.map_or(1, |known| known.incarnation),
                &[fence],
            )
        }
        Step::Lose(target) => build::lose(attempt(world, target).1, "gone"),
        Step::Publish { target, output } => {
            let (worker, fence) = attempt(world, target);
            build::publish(
                &worker,
                fence,
                vec![build::output(&format!("live-{output}"))],
            )
        }
        Step::Finish {
            target,
            state,
            retryable,
            outputs,
        } => {
            let (worker, fence) = attempt(world, target);
            let mut result = build::result(match state {
                0 => State::Error,
                1 => State::Stopped,
                2 if *outputs == 3 => State::Queued,
                _ => State::Complete,
            });
            result.retryable = *retryable;
            result.outputs = (0..*outputs)
                .map(|output| build::output(&format!("{output}.txt")))
                .collect();
            result.metadata_json = format!("{{\"outputs\":{outputs}}}");
            build::finish(&worker, fence, result)
        }
        Step::Copies {
            worker: index,
            incarnation,
            outputs,
        } => {
            // Mostly what it says of itself.
            let name = worker(*index);
            let known = world.ledger.worker(&name).map(|known| known.incarnation);
            let incarnation = match (incarnation, known) {
                (1.., Some(known)) => known,
                _ => u64::from(*incarnation),
            };
            let names: Vec<String> = (0..=*outputs).map(|at| format!("{at}.txt")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            build::copies(&name, incarnation, &names)
        }
        Step::Drain {
            worker: index,
            draining,
        } => build::drain(None, &worker(*index), *draining),
        Step::Restore => return None,
        Step::Raise { level } => build::raise(u32::from(*level)),
    })
}

/// The assignment of an execution to a worker with devices as a scheduler would choose them, or with one that may be another's.
fn assignment(world: &World, number: i64, worker: &str, any_device: bool) -> Kind {
    let needs = world
        .ledger
        .execution(PROJECT, number)
        .map(|execution| execution.recipe.needs.clone())
        .unwrap_or_default();
    let free: Vec<_> = world
        .ledger
        .worker(worker)
        .map(|worker| worker.free_devices().collect())
        .unwrap_or_default();
    let chosen = needs.choose(&free).unwrap_or_default();
    let ids: Vec<&str> = match any_device {
        true => vec!["x"],
        false => chosen.iter().map(|d| d.device_id.as_str()).collect(),
    };
    build::assign_with(number, worker, &ids)
}

/// The attempt a target means: mostly a live one.
fn attempt(world: &World, target: &Target) -> (String, Fence) {
    let all: Vec<&Execution> = world.ledger.executions(PROJECT).collect();
    let live: Vec<&Execution> = all
        .iter()
        .copied()
        .filter(|execution| execution.live_fence().is_some())
        .collect();
    let among = if live.is_empty() || target.execution > 220 {
        all
    } else {
        live
    };
    let nobody = Fence {
        execution_id: ledger::Uuid::from_bytes([1; 16]),
        attempt: 1,
        index: 1,
    };
    if among.is_empty() {
        return ("w0".to_owned(), nobody);
    }
    let execution = among[usize::from(target.execution) % among.len()];
    let Some(attempt) = execution.attempts.iter().rev().nth(target.back.into()) else {
        return (
            "w0".to_owned(),
            Fence {
                execution_id: execution.execution_id,
                ..nobody
            },
        );
    };
    let worker = if target.by_another {
        "w9".to_owned()
    } else {
        attempt.worker.to_string()
    };
    (worker, execution.fence(attempt))
}

/// Plans of several shapes, each node with one of the ways to take an error.
fn plan(shape: u8) -> pb::Plan {
    let edges: &[(usize, usize)] = match shape % 4 {
        0 => &[(0, 1), (1, 2), (2, 3)],
        1 => &[(0, 1), (0, 2), (1, 3), (2, 3)],
        2 => &[(0, 3), (1, 3), (2, 3)],
        _ => &[],
    };
    let nodes = (0..4_u8).map(|node| {
        let on_error = [
            pb::OnError::StopAll,
            pb::OnError::StopNext,
            pb::OnError::Continue,
            pb::OnError::Retry,
        ][usize::from(shape / 4 + node) % 4];
        let mut template = build::template("step");
        template.inputs = vec![pb::TemplateInput {
            name: "data".to_owned(),
            uris: vec!["file:///x".to_owned()],
            optional: shape.is_multiple_of(3),
            ..pb::TemplateInput::default()
        }];
        let then = if shape.is_multiple_of(2) {
            "stop-pipeline"
        } else {
            "error-pipeline"
        };
        let action = match shape.wrapping_add(node) % 3 {
            0 => pb::PlanAction {
                when: vec!["node-starting".to_owned()],
                conditions: Vec::new(),
                then: vec![then.to_owned()],
            },
            _ => pb::PlanAction {
                when: vec!["node-complete".to_owned()],
                conditions: vec!["metadata.outputs > 2".to_owned()],
                then: vec![then.to_owned()],
            },
        };
        pb::PlanNode {
            name: format!("n{node}"),
            template: Some(template),
            on_error: on_error.into(),
            edge_append: shape.is_multiple_of(5),
            actions: if shape.is_multiple_of(7) {
                vec![action]
            } else {
                Vec::new()
            },
        }
    });
    let edge = |(source, target): &(usize, usize)| contract::api::Edge {
        source_node: format!("n{source}"),
        source_type: "output".to_owned(),
        source_key: "*.txt".to_owned(),
        target_node: format!("n{target}"),
        target_type: "input".to_owned(),
        target_key: "data".to_owned(),
    };
    pb::Plan {
        name: "plan".to_owned(),
        nodes: nodes.collect(),
        edges: edges.iter().map(edge).collect(),
        parameters: Vec::new(),
    }
}

/// Remembers what was seen and compares what comes with it.
#[derive(Default)]
struct Witness {
    /// Executions as they ended.
    ended: BTreeMap<i64, Execution>,
    /// States of pipelines as they ended.
    ended_pipelines: BTreeMap<i64, (State, contract::api::EndReason, usize)>,
    /// What requests were answered, by id and digest.
    answered: BTreeMap<(Vec<u8>, Vec<u8>), Outcome>,
    /// How many attempts an execution had when its cancel was answered.
    cancelled: BTreeMap<i64, usize>,
    /// The feature level, which never falls (I-12).
    level: u32,
    /// Results that were accepted, by execution.
    accepted: BTreeMap<i64, usize>,
}

impl Witness {
    fn see(&mut self, world: &World, kind: &Kind, outcome: &Result<Outcome, Refused>) {
        let level = world.ledger.feature_level();
        let raised = match (kind, outcome) {
            (Kind::RaiseFeatureLevel(raise), Ok(_)) => raise.level.max(self.level),
            _ => self.level,
        };
        assert_eq!(
            level, raised,
            "I-12: it rises by a command that says so, and never falls"
        );
        self.level = level;
        self.requests(kind, outcome);
        self.fences(world, kind, outcome);
        if let (Kind::CancelExecution(cancel), Ok(_)) = (kind, outcome) {
            let attempts = world.execution(cancel.number).attempts.len();
            self.cancelled.entry(cancel.number).or_insert(attempts);
        }
        for execution in world.ledger.executions(PROJECT) {
            self.execution(execution);
        }
        for pipeline in world.ledger.pipelines(PROJECT) {
            self.pipeline(world, pipeline);
        }
    }

    /// I-02: one request, one answer.
    fn requests(&mut self, kind: &Kind, outcome: &Result<Outcome, Refused>) {
        let key = match kind {
            Kind::CreateExecution(command) => command.request.as_ref(),
            Kind::CreatePipeline(command) => command.request.as_ref(),
            Kind::CancelExecution(command) => command.request.as_ref(),
            Kind::CancelPipeline(command) => command.request.as_ref(),
            _ => None,
        };
        let Some(key) = key else { return };
        let id = (key.request_id.to_vec(), key.digest.to_vec());
        let other_body = self
            .answered
            .keys()
            .any(|(other, digest)| *other == id.0 && *digest != id.1);
        match outcome {
            Ok(outcome) => {
                assert!(!other_body, "I-02: a request id was taken twice");
                let first = self.answered.entry(id).or_insert_with(|| outcome.clone());
                assert_eq!(first, outcome, "I-02: a repeat was answered otherwise");
            }
            Err(Refused::RequestIdReused { .. }) => {
                assert!(other_body, "I-02: a new request id was refused")
            }
            Err(refused) => assert!(
                !self.answered.contains_key(&id),
                "I-02: a repeat was refused: {refused}"
            ),
        }
    }

    /// I-06 and I-07: only a live fence, by its own worker, and only one result of it.
    fn fences(&mut self, world: &World, kind: &Kind, outcome: &Result<Outcome, Refused>) {
        if let (Kind::FinishAttempt(_), Ok(Outcome::Attempt(fence))) = (kind, outcome) {
            let execution = world.ledger.execution_by_id(&fence.execution_id).unwrap();
            assert_ne!(
                execution.live_fence(),
                Some(*fence),
                "I-07: a fence lives after its result"
            );
            if execution.is_final() {
                let accepted = self.accepted.entry(execution.number).or_default();
                *accepted += 1;
                assert_eq!(
                    *accepted, 1,
                    "I-06: execution {} has two results",
                    execution.number
                );
            }
        }
    }

    fn execution(&mut self, execution: &Execution) {
        if let Some(ended) = self.ended.get(&execution.number) {
            assert_eq!(
                ended, execution,
                "I-05: execution {} changed after its end",
                execution.number
            );
        } else if execution.is_final() {
            assert!(execution.end_time_ms > 0, "it ended without a time");
            self.ended.insert(execution.number, execution.clone());
        }
        if let Some(attempts) = self.cancelled.get(&execution.number) {
            assert_eq!(
                execution.attempts.len(),
                *attempts,
                "I-10: an attempt after the cancel was answered"
            );
            assert_ne!(
                execution.state(),
                State::Queued,
                "I-10: a cancelled execution waits"
            );
        }
    }

    fn pipeline(&mut self, world: &World, pipeline: &Pipeline) {
        if pipeline.is_final() {
            assert!(pipeline.end_time_ms > 0, "it ended without a time");
            let end = (pipeline.state, pipeline.end_reason, pipeline.nodes.len());
            let first = self.ended_pipelines.entry(pipeline.number).or_insert(end);
            assert_eq!(
                *first, end,
                "I-05: pipeline {} changed after its end",
                pipeline.number
            );
        }
        for (at, node) in pipeline.nodes.iter().enumerate() {
            let Some(execution) = world.ledger.execution(PROJECT, node.execution) else {
                continue;
            };
            let planned = &pipeline.blueprint.nodes[at];
            for edge in pipeline
                .blueprint
                .edges
                .iter()
                .filter(|edge| edge.target_node == *planned.name)
            {
                let source = pipeline.blueprint.position(&edge.source_node).unwrap();
                let went_well = match pipeline.nodes[source].state {
                    State::Complete => true,
                    State::Error => {
                        pipeline.blueprint.nodes[source].on_error == pb::OnError::Continue
                    }
                    _ => false,
                };
                assert!(
                    went_well,
                    "I-09: {}#{} started after a failure",
                    execution.project, execution.number
                );
            }
        }
    }
}

/// I-08: with one worker up, everything comes to an end.
fn drain(world: &mut World, witness: &mut Witness) {
    world.apply(vec![build::gpu_worker("w0", 9, &["x", "y"])]);
    let held = world.ledger.worker("w0").unwrap().holds().values();
    let over: Vec<Fence> = held.copied().collect();
    world.one(build::release("w0", 9, &over)).unwrap();
    for _ in 0..1_000 {
        let waiting = world
            .ledger
            .queued()
            .next()
            .map(|execution| execution.number);
        let mut live = world.ledger.executions(PROJECT).filter_map(|execution| {
            Some((
                execution.live_attempt()?.worker.to_string(),
                execution.live_fence()?,
            ))
        });
        let next = match (live.next(), waiting) {
            (Some((worker, fence)), _) => {
                build::finish(&worker, fence, build::result(State::Complete))
            }
            (None, Some(number)) => assignment(world, number, "w0", false),
            (None, None) => break,
        };
        drop(live);
        let outcome = world.one(next.clone());
        assert!(outcome.is_ok(), "I-08: {outcome:?}");
        witness.see(world, &next, &outcome);
    }
    let open = world
        .ledger
        .executions(PROJECT)
        .filter(|execution| !execution.is_final())
        .count();
    let open_pipelines = world
        .ledger
        .pipelines(PROJECT)
        .filter(|pipeline| !pipeline.is_final())
        .count();
    assert_eq!((open, open_pipelines), (0, 0), "I-08: something is stuck");
}
