//! P4: scheduling alone, in the mind: how long one decision takes, by how many executions wait and how many workers there are.
//!
//! For each size an attempt ends, an execution is created in its place, and the scheduler decides what starts, round after round; what it decided
//! is applied to the ledger. The floor takes the best of a heap of as many. Nothing is written to a disk or sent.

use std::collections::BinaryHeap;
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use contract::api::State;
use contract::ledger::{self as pb, Command, Entry, command::Kind};
use contract::link::{AttemptResult, Device, Offer};
use ledger::Ledger;
use schedule::{Facts, Plan, Scheduler, WorkerFact};
use serde_json::json;

use crate::args::Scheduling;
use crate::report;

/// Executions that a worker runs at once.
const SLOTS: u32 = 4;
/// Commands of an entry while the queue is filled.
const BATCH: usize = 1_000;
/// Rounds before anything is measured.
const WARM_UP: usize = 500;

/// One size.
struct Size {
    waiting: usize,
    workers: usize,
}

/// What one size took.
struct Taken {
    decisions: usize,
    plan: Duration,
    assign: Duration,
    finish: Duration,
    create: Duration,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Scheduling) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    eprintln!(
        "{:>9} {:>8} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "waiting", "workers", "floor us", "plan us", "assign us", "finish us", "create us"
    );
    for waiting in &arguments.waiting {
        let floor = floor(*waiting, arguments.rounds);
        for workers in &arguments.workers {
            let size = Size {
                waiting: *waiting,
                workers: *workers,
            };
            let taken = measure(&size, arguments.rounds)?;
            let each = |time: Duration| time.as_secs_f64() * 1e6 / taken.decisions as f64;
            let (plan, assign) = (each(taken.plan), each(taken.assign));
            let (finish, create) = (each(taken.finish), each(taken.create));
            let line = json!({
                "row": "P4", "waiting": waiting, "workers": workers, "decisions": taken.decisions, "floor_us": floor,
                "plan_us": plan, "assign_us": assign, "finish_us": finish, "create_us": create,
                "commit": report::commit(), "load": report::load(),
            });
            writeln!(out, "{line}")?;
            eprintln!(
                "{waiting:>9} {workers:>8} {floor:>10.2} {plan:>10.2} {assign:>10.2} {finish:>10.2} {create:>10.2}"
            );
        }
    }
    Ok(())
}

/// Microseconds in which the best of a heap of so many is taken and another is put in.
fn floor(waiting: usize, rounds: usize) -> f64 {
    let mut random = Random(1);
    let mut heap: BinaryHeap<(u64, u64)> = (0..waiting).map(|_| random.pair()).collect();
    let started = Instant::now();
    for _ in 0..rounds {
        black_box(heap.pop());
        heap.push(random.pair());
    }
    started.elapsed().as_secs_f64() * 1e6 / rounds as f64
}

fn measure(size: &Size, rounds: usize) -> anyhow::Result<Taken> {
    let mut world = World::new(size)?;
    for _ in 0..WARM_UP {
        world.round()?;
    }
    world.taken = Taken::nothing();
    for _ in 0..rounds {
        world.round()?;
    }
    ensure!(
        world.ledger.queued_count() >= size.waiting,
        "fewer wait than should"
    );
    ensure!(world.taken.decisions > 0, "nothing was decided");
    Ok(world.taken)
}

impl Taken {
    fn nothing() -> Self {
        Self {
            decisions: 0,
            plan: Duration::ZERO,
            assign: Duration::ZERO,
            finish: Duration::ZERO,
            create: Duration::ZERO,
        }
    }
}

/// A ledger whose workers are full and beside them as many wait as should.
struct World {
    ledger: Ledger,
    /// Somebody reads an older one all the time.
    published: Ledger,
    scheduler: Scheduler,
    /// What runs: project and number.
    live: Vec<(String, i64)>,
    created: u64,
    random: Random,
    taken: Taken,
}

impl World {
    fn new(size: &Size) -> anyhow::Result<Self> {
        let mut world = Self {
            ledger: Ledger::new(),
            published: Ledger::new(),
            scheduler: Scheduler::new(Facts::new()),
            live: Vec::new(),
            created: 0,
            random: Random(7),
            taken: Taken::nothing(),
        };
        world.apply(vec![Kind::RaiseFeatureLevel(pb::RaiseFeatureLevel {
            level: ledger::FEATURE_LEVEL,
            version: "bench".to_owned(),
        })])?;
        let all: Vec<usize> = (0..size.workers).collect();
        for some in all.chunks(BATCH) {
            let registered = some.iter().map(|worker| register(*worker)).collect();
            world.apply(registered)?;
        }
        for worker in 0..size.workers {
            let fact = WorkerFact {
                incarnation: Some(1),
                ahead_per_slot: 0,
            };
            world.scheduler.see(&format!("w{worker:05}"), fact);
        }
        // As long as there is room, what waits goes on; in the end as many are left as should be.
        loop {
            let missing = size.waiting.saturating_sub(world.ledger.queued_count());
            let some: Vec<Kind> = (0..missing.min(BATCH)).map(|_| world.create()).collect();
            if some.is_empty() {
                break;
            }
            world.apply(some)?;
            world.start()?;
        }
        Ok(world)
    }

    /// An attempt ends, an execution is created, and what can starts.
    fn round(&mut self) -> anyhow::Result<()> {
        let at = self.random.below(self.live.len());
        let (project, number) = self.live.swap_remove(at);
        let finish = finish(&self.ledger, &project, number).context("it does not run")?;
        let started = Instant::now();
        self.apply(vec![finish])?;
        self.taken.finish += started.elapsed();
        let create = self.create();
        let started = Instant::now();
        self.apply(vec![create])?;
        self.taken.create += started.elapsed();
        self.start()
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let plan = self.scheduler.plan(&self.ledger);
        self.taken.plan += started.elapsed();
        self.taken.decisions += plan.placements.len();
        for placement in &plan.placements {
            let live = (placement.project.to_string(), placement.execution);
            self.live.push(live);
        }
        let commands = commands(plan);
        let started = Instant::now();
        self.apply(commands)?;
        self.taken.assign += started.elapsed();
        Ok(())
    }

    fn apply(&mut self, kinds: Vec<Kind>) -> anyhow::Result<()> {
        let commands = kinds.into_iter().map(|kind| Command { kind: Some(kind) });
        let entry = Entry {
            version: ledger::ENTRY_VERSION,
            leader_time_ms: self.ledger.revision().cast_signed(),
            commands: commands.collect(),
        };
        let index = self.ledger.revision() + 1;
        let applied = self.ledger.apply(index, &entry);
        self.published = self.ledger.clone();
        for outcome in applied.outcomes {
            outcome?;
        }
        Ok(())
    }

    /// One of sixteen projects and thirty kinds of needs.
    fn create(&mut self) -> Kind {
        self.created += 1;
        let mut request_id = [0; 16];
        request_id[..8].copy_from_slice(&self.created.to_le_bytes());
        let random = &mut self.random;
        let devices = [0, 0, 1, 1, 2, 8][random.below(6)];
        let needs = pb::Needs {
            cpu_millis: [0, 1_000, 4_000][random.below(3)],
            memory_bytes: [0, 2 << 30, 16 << 30][random.below(3)],
            devices: (devices > 0)
                .then(|| pb::DeviceNeed {
                    kind: "nvidia.com/gpu".to_owned(),
                    count: devices,
                    memory_bytes: 0,
                })
                .into_iter()
                .collect(),
            ..pb::Needs::default()
        };
        let environment = match devices {
            0 => ["", "cpu"][random.below(2)],
            _ => "gpu",
        };
        Kind::CreateExecution(pb::CreateExecution {
            request: Some(pb::RequestKey {
                request_id: request_id.to_vec().into(),
                digest: vec![0; 32].into(),
            }),
            project: format!("p{}", random.below(16)),
            priority: random.below(3) as i32,
            template: Some(pb::StepTemplate {
                step: "train".to_owned(),
                commands: vec!["python train.py".to_owned()],
                environment: environment.to_owned(),
                needs: Some(needs),
                time_limit_ms: [0, 3_600_000][random.below(2)],
                ..pb::StepTemplate::default()
            }),
            ..pb::CreateExecution::default()
        })
    }
}

/// One of four kinds of machines, each with its own amount of memory.
fn register(worker: usize) -> Kind {
    let gpus = [0, 1, 2, 8][worker % 4];
    let devices = (0..gpus).map(|gpu| Device {
        device_id: format!("GPU-{worker}-{gpu}"),
        kind: "nvidia.com/gpu".to_owned(),
        name: "NVIDIA A100-SXM4-80GB".to_owned(),
        memory_bytes: 80 << 30,
        ..Device::default()
    });
    let environments = match gpus {
        0 => vec!["cpu".to_owned()],
        _ => vec!["cpu".to_owned(), "gpu".to_owned()],
    };
    Kind::RegisterWorker(pb::RegisterWorker {
        name: format!("w{worker:05}"),
        incarnation: 1,
        instance_id: Default::default(),
        offer: Some(Offer {
            environments,
            slot_count: SLOTS,
            cpu_millis: 16_000,
            memory_bytes: (64 << 30) + worker as u64 * 4_096,
            devices: devices.collect(),
            ..Offer::default()
        }),
    })
}

fn finish(ledger: &Ledger, project: &str, number: i64) -> Option<Kind> {
    let execution = ledger.execution(project, number)?;
    let attempt = execution.live_attempt()?;
    Some(Kind::FinishAttempt(pb::FinishAttempt {
        worker: attempt.worker.to_string(),
        fence: Some(execution.fence(attempt).into()),
        start_time_us: 1,
        result: Some(AttemptResult {
            state: State::Complete.into(),
            ..AttemptResult::default()
        }),
        ..pb::FinishAttempt::default()
    }))
}

fn commands(plan: Plan) -> Vec<Kind> {
    let placements = plan.placements.into_iter().map(|placement| {
        Kind::AssignAttempt(pb::AssignAttempt {
            project: placement.project.to_string(),
            execution: placement.execution,
            worker: placement.worker.to_string(),
            device_ids: placement.device_ids,
        })
    });
    let promises = plan.promises.into_iter().map(|promise| {
        Kind::PromiseStart(pb::PromiseStart {
            environment: promise.environment.to_string(),
            project: promise.project.to_string(),
            execution: promise.execution,
            worker: promise.worker.to_string(),
            start_time_ms: promise.start_time_ms,
        })
    });
    let withdrawn = plan.withdrawn.into_iter().map(|environment| {
        Kind::PromiseStart(pb::PromiseStart {
            environment: environment.to_string(),
            ..pb::PromiseStart::default()
        })
    });
    placements.chain(promises).chain(withdrawn).collect()
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, count: usize) -> usize {
        self.next() as usize % count.max(1)
    }

    fn pair(&mut self) -> (u64, u64) {
        (self.next(), self.next())
    }
}
