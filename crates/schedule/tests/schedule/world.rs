//! A ledger and the workers' facts, built by a script.
//!
//! ```text
//! worker NAME SLOTS[+AHEAD PER SLOT] [env=A,B] [silent] [draining] [full] [cpu=N] [mb=N] [gpus=ID:GIB,..] [mounts=A,B]
//! run PROJECT [COUNT] [env=A] [in=PROJECT#N] [cpu=N] [mb=N] [gpus=COUNT[:GIB]] [prio=N] [limit=MIN] [mount=PATH]   in: what that execution made
//! pass MIN                                       time passes
//! finish PROJECT#N SIZE                          completes it with one output of that size
//! place                                          solves and applies; solving again must place nothing
//! explain PROJECT#N
//! ```

use std::fmt::Write as _;

use contract::api::State;
use contract::ledger::{self as pb, Command, Entry, command::Kind};
use contract::link;
use expect_test::Expect;
use ledger::Ledger;
use schedule::{Facts, Placement, Plan, Scheduler, WorkerFact, explain};

pub struct World {
    pub ledger: Ledger,
    pub facts: Facts,
    /// Follows the ledger all along.
    scheduler: Scheduler,
    runs: u64,
    pub now_ms: i64,
}

/// What an execution is.
#[derive(Clone, Default)]
pub struct Run<'a> {
    pub environment: &'a str,
    /// An execution whose outputs are its inputs, `p#1`.
    pub input: Option<&'a str>,
    pub needs: Option<pb::Needs>,
    pub priority: i32,
    pub limit_ms: u64,
    pub mount: Option<&'a str>,
}

/// Runs a script and compares what `place` and `explain` say.
pub fn check(script: &str, expected: Expect) {
    expected.assert_eq(&play(&mut World::new(), script));
}

/// The world after a script.
pub fn build(script: &str) -> World {
    let mut world = World::new();
    play(&mut world, script);
    world
}

fn play(world: &mut World, script: &str) -> String {
    let mut out = String::new();
    for line in script.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let get = |key: &str| {
            words
                .iter()
                .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        };
        match words.as_slice() {
            ["worker", name, room, ..] => {
                let (slots, backlog) = room.split_once('+').unwrap_or((room, "0"));
                let environments = get("env")
                    .map(|list| list.split(',').collect::<Vec<_>>())
                    .unwrap_or_default();
                let number = |key| get(key).map_or(0, |n| n.parse::<u64>().unwrap());
                let gpus = get("gpus").map_or(Vec::new(), |list| list.split(',').collect());
                let gpus = gpus.into_iter().map(|gpu| {
                    let (id, gib) = gpu.split_once(':').unwrap();
                    link::Device {
                        device_id: id.to_owned(),
                        kind: "nvidia.com/gpu".to_owned(),
                        memory_bytes: gib.parse::<u64>().unwrap() << 30,
                        ..link::Device::default()
                    }
                });
                world.offer(
                    name,
                    link::Offer {
                        environments: environments.iter().map(|s| (*s).to_owned()).collect(),
                        cpu_millis: number("cpu") * 1_000,
                        memory_bytes: number("mb") * 1_000_000,
                        devices: gpus.collect(),
                        slot_count: slots.parse().unwrap(),
                        draining: words.contains(&"draining"),
                        disk_full: words.contains(&"full"),
                        grants: get("mounts").map(|mounts| link::Grants {
                            mounts: mounts.split(',').map(str::to_owned).collect(),
                            ..link::Grants::default()
                        }),
                        ..link::Offer::default()
                    },
                    WorkerFact {
                        incarnation: (!words.contains(&"silent")).then_some(1),
                        ahead_per_slot: backlog.parse().unwrap(),
                    },
                );
            }
            ["run", project, rest @ ..] => {
                let count = rest
                    .first()
                    .and_then(|count| count.parse().ok())
                    .unwrap_or(1);
                let number = |key| get(key).map_or(0, |n| n.parse::<u64>().unwrap());
                let devices = get("gpus").map(|gpus| {
                    let (count, gib) = gpus.split_once(':').unwrap_or((gpus, "0"));
                    pb::DeviceNeed {
                        kind: "nvidia.com/gpu".to_owned(),
                        count: count.parse().unwrap(),
                        memory_bytes: gib.parse::<u64>().unwrap() << 30,
                    }
                });
                let needs = pb::Needs {
                    cpu_millis: number("cpu") * 1_000,
                    memory_bytes: number("mb") * 1_000_000,
                    devices: devices.into_iter().collect(),
                    ..pb::Needs::default()
                };
                for _ in 0..count {
                    world.run(
                        project,
                        Run {
                            environment: get("env").unwrap_or_default(),
                            input: get("in"),
                            needs: Some(needs.clone()),
                            priority: get("prio").map_or(0, |n| n.parse().unwrap()),
                            limit_ms: number("limit") * 60_000,
                            mount: get("mount"),
                        },
                    );
                }
            }
            ["pass", minutes] => world.now_ms += minutes.parse::<i64>().unwrap() * 60_000,
            ["finish", execution, size] => world.finish(execution, size.parse().unwrap()),
            ["place"] => {
                let plan = world.place();
                for promise in &plan.promises {
                    writeln!(
                        out,
                        "{}#{} is promised {}",
                        promise.project, promise.execution, promise.worker
                    )
                    .unwrap();
                }
                for placement in plan.placements {
                    let devices = match placement.device_ids.as_slice() {
                        [] => String::new(),
                        ids => format!(" with {}", ids.join(", ")),
                    };
                    writeln!(
                        out,
                        "{}#{} on {}{devices}",
                        placement.project, placement.execution, placement.worker
                    )
                    .unwrap();
                }
                out += "--\n";
            }
            ["explain", execution] => {
                let (project, number) = execution.split_once('#').unwrap();
                let number = number.parse().unwrap();
                let explanation = explain(&world.ledger, &world.facts, project, number);
                writeln!(out, "{}", explanation.expect("it exists")).unwrap();
            }
            [] => {}
            other => panic!("{other:?}"),
        }
    }
    out
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            ledger: Ledger::new(),
            facts: Facts::new(),
            scheduler: Scheduler::default(),
            runs: 0,
            now_ms: 0,
        };
        world.apply(vec![Kind::RaiseFeatureLevel(pb::RaiseFeatureLevel {
            level: ledger::FEATURE_LEVEL,
            version: "test".to_owned(),
        })]);
        world
    }

    pub fn apply(&mut self, kinds: Vec<Kind>) {
        let commands = kinds
            .into_iter()
            .map(|kind| Command { kind: Some(kind) })
            .collect();
        let entry = Entry {
            version: 1,
            leader_time_ms: self.now_ms,
            commands,
        };
        let applied = self.ledger.apply(self.ledger.revision() + 1, &entry);
        for outcome in applied.outcomes {
            outcome.unwrap();
        }
    }

    pub fn offer(&mut self, name: &str, offer: link::Offer, fact: WorkerFact) {
        self.facts.insert(name.to_owned(), fact);
        self.scheduler.see(name, fact);
        self.apply(vec![Kind::RegisterWorker(pb::RegisterWorker {
            name: name.to_owned(),
            incarnation: 1,
            offer: Some(offer),
            instance_id: Default::default(),
        })]);
    }

    pub fn run(&mut self, project: &str, run: Run<'_>) {
        self.runs += 1;
        let uris = run.input.map(|maker| {
            let (project, number) = maker.split_once('#').unwrap();
            let execution = self
                .ledger
                .execution(project, number.parse().unwrap())
                .unwrap();
            execution
                .outputs
                .iter()
                .map(|id| format!("datum://{id}"))
                .collect()
        });
        let inputs = uris.map(|uris| pb::TemplateInput {
            name: "data".to_owned(),
            uris,
            ..pb::TemplateInput::default()
        });
        let mount = run.mount.map(|source| contract::api::Mount {
            source: source.to_owned(),
            destination: "/d".to_owned(),
            read_only: true,
            ..contract::api::Mount::default()
        });
        let mut request_id = [0; 16];
        request_id[..8].copy_from_slice(&self.runs.to_le_bytes());
        self.apply(vec![Kind::CreateExecution(pb::CreateExecution {
            request: Some(pb::RequestKey {
                request_id: request_id.to_vec().into(),
                digest: vec![0; 32].into(),
            }),
            project: project.to_owned(),
            priority: run.priority,
            template: Some(pb::StepTemplate {
                environment: run.environment.to_owned(),
                needs: run.needs,
                inputs: inputs.into_iter().collect(),
                time_limit_ms: run.limit_ms,
                mounts: mount.into_iter().collect(),
                ..pb::StepTemplate::default()
            }),
            ..pb::CreateExecution::default()
        })]);
    }

    pub fn finish(&mut self, name: &str, size_bytes: u64) {
        let (project, number) = name.split_once('#').unwrap();
        let execution = self
            .ledger
            .execution(project, number.parse().unwrap())
            .unwrap();
        let fence = execution.live_fence().unwrap();
        let worker = execution.live_attempt().unwrap().worker.to_string();
        self.apply(vec![Kind::FinishAttempt(pb::FinishAttempt {
            worker,
            fence: Some(fence.into()),
            start_time_us: 1,
            result: Some(link::AttemptResult {
                state: State::Complete.into(),
                outputs: vec![link::OutputFile {
                    file_name: "out".to_owned(),
                    digest: vec![1; 32].into(),
                    size_bytes,
                    ..link::OutputFile::default()
                }],
                ..link::AttemptResult::default()
            }),
            ..pb::FinishAttempt::default()
        })]);
    }

    /// Executions that are with a worker, as `p#1`.
    pub fn live(&self) -> Vec<String> {
        let projects = self.ledger.projects();
        let executions = projects.flat_map(|project| self.ledger.executions(&project.name));
        executions
            .filter(|execution| execution.live_attempt().is_some())
            .map(|execution| format!("{}#{}", execution.project, execution.number))
            .collect()
    }

    /// Drains the worker `wN`, if there is one, or lets it take work again.
    pub fn drain(&mut self, worker: usize, draining: bool) {
        let name = format!("w{worker}");
        if self.ledger.worker(&name).is_some() {
            self.apply(vec![Kind::DrainWorker(pb::DrainWorker {
                request: None,
                name,
                draining,
            })]);
        }
    }

    /// Plans, as one made anew does; applies, and makes sure that nothing is left to decide.
    pub fn place(&mut self) -> Plan {
        let plan = self.scheduler.plan(&self.ledger);
        let anew = Scheduler::new(self.facts.clone()).plan(&self.ledger);
        assert_eq!(plan, anew, "what was decided before decides");
        let assign = |placement: &Placement| {
            Kind::AssignAttempt(pb::AssignAttempt {
                project: placement.project.to_string(),
                execution: placement.execution,
                worker: placement.worker.to_string(),
                device_ids: placement.device_ids.clone(),
            })
        };
        let mut kinds: Vec<Kind> = plan.placements.iter().map(assign).collect();
        kinds.extend(plan.promises.iter().map(|promise| {
            Kind::PromiseStart(pb::PromiseStart {
                environment: promise.environment.to_string(),
                project: promise.project.to_string(),
                execution: promise.execution,
                worker: promise.worker.to_string(),
                start_time_ms: promise.start_time_ms,
            })
        }));
        kinds.extend(plan.withdrawn.iter().map(|environment| {
            Kind::PromiseStart(pb::PromiseStart {
                environment: environment.to_string(),
                ..pb::PromiseStart::default()
            })
        }));
        self.apply(kinds);
        self.ledger.check_invariants().unwrap();
        for worker in self.ledger.workers() {
            let (taken, offer) = (worker.taken(), &worker.offer);
            assert!(taken.cpu_millis <= offer.cpu_millis, "{}", worker.name);
            assert!(taken.memory_bytes <= offer.memory_bytes, "{}", worker.name);
        }
        assert_eq!(
            self.scheduler.plan(&self.ledger),
            Plan::default(),
            "planning twice changes something"
        );
        plan
    }
}
