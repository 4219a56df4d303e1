//! A ledger and the workers' facts, built by a script.
//!
//! ```text
//! worker NAME SLOTS[+BACKLOG] [env=A,B] [silent] [draining] [full] [cpu=N] [mb=N] [gpus=ID:GIB,..]
//! run PROJECT [COUNT] [env=A] [in=PROJECT#N] [cpu=N] [mb=N] [gpus=COUNT[:GIB]]     input: what that execution made
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
use schedule::{Facts, Placement, Problem, WorkerFact, explain, solve};

#[derive(Default)]
pub struct World {
    pub ledger: Ledger,
    pub facts: Facts,
    runs: u64,
}

/// Runs a script and compares what `place` and `explain` say.
pub fn check(script: &str, expected: Expect) {
    expected.assert_eq(&play(&mut World::default(), script));
}

/// The world after a script.
pub fn build(script: &str) -> World {
    let mut world = World::default();
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
                        ..link::Offer::default()
                    },
                    WorkerFact {
                        name: (*name).to_owned(),
                        connected: !words.contains(&"silent"),
                        slots: slots.parse().unwrap(),
                        backlog: backlog.parse().unwrap(),
                        draining: words.contains(&"draining"),
                        disk_full: words.contains(&"full"),
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
                    let environment = get("env").unwrap_or_default();
                    world.run_with(project, environment, get("in"), Some(needs.clone()));
                }
            }
            ["finish", execution, size] => world.finish(execution, size.parse().unwrap()),
            ["place"] => {
                for placement in world.place() {
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
                let problem = Problem::reduce(&world.ledger, &world.facts);
                let explanation = explain(&problem, project, number.parse().unwrap());
                writeln!(out, "{}", explanation.expect("it exists")).unwrap();
            }
            [] => {}
            other => panic!("{other:?}"),
        }
    }
    out
}

impl World {
    fn apply(&mut self, kinds: Vec<Kind>) {
        let commands = kinds
            .into_iter()
            .map(|kind| Command { kind: Some(kind) })
            .collect();
        let entry = Entry {
            version: 1,
            leader_time_ms: 0,
            commands,
        };
        let applied = self.ledger.apply(self.ledger.revision() + 1, &entry);
        for outcome in applied.outcomes {
            outcome.unwrap();
        }
    }

    pub fn worker(&mut self, name: &str, environments: &[&str], fact: WorkerFact) {
        let offer = link::Offer {
            environments: environments.iter().map(|slug| (*slug).to_owned()).collect(),
            ..link::Offer::default()
        };
        self.offer(name, offer, fact);
    }

    pub fn offer(&mut self, name: &str, offer: link::Offer, fact: WorkerFact) {
        self.facts.workers.push(fact);
        self.apply(vec![Kind::RegisterWorker(pb::RegisterWorker {
            name: name.to_owned(),
            incarnation: 1,
            offer: Some(offer),
        })]);
    }

    pub fn run(&mut self, project: &str, environment: &str, input: Option<&str>) {
        self.run_with(project, environment, input, None);
    }

    pub fn run_with(
        &mut self,
        project: &str,
        environment: &str,
        input: Option<&str>,
        needs: Option<pb::Needs>,
    ) {
        self.runs += 1;
        let uris = input.map(|maker| {
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
        let mut request_id = [0; 16];
        request_id[..8].copy_from_slice(&self.runs.to_le_bytes());
        self.apply(vec![Kind::CreateExecution(pb::CreateExecution {
            request: Some(pb::RequestKey {
                request_id: request_id.to_vec().into(),
                digest: vec![0; 32].into(),
            }),
            project: project.to_owned(),
            template: Some(pb::StepTemplate {
                environment: environment.to_owned(),
                needs,
                inputs: inputs.into_iter().collect(),
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

    /// Solves, applies, and makes sure that nothing is left to place.
    pub fn place(&mut self) -> Vec<Placement> {
        let placements = solve(&Problem::reduce(&self.ledger, &self.facts));
        let assign = |placement: &Placement| {
            Kind::AssignAttempt(pb::AssignAttempt {
                project: placement.project.to_string(),
                execution: placement.execution,
                worker: placement.worker.to_string(),
                device_ids: placement.device_ids.clone(),
            })
        };
        self.apply(placements.iter().map(assign).collect());
        self.ledger.check_invariants().unwrap();
        assert_eq!(
            solve(&Problem::reduce(&self.ledger, &self.facts)),
            [],
            "solving twice changes something"
        );
        placements
    }
}
