//! Executions are made and looked for by many at once. No worker serves them, so they only wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use check::Operation;
use check::models::{Misplaced, NumberAnswer, NumberCall, in_order};
use client::{Client, Kind};
use contract::api;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use super::{Context, IMPATIENT, PATIENT, Report, calls};
use crate::faults::fleet::number;
use crate::faults::{Call, Tally};

const PROJECT: &str = "register";

const CONFIG: &str =
    "- step:\n    name: idle\n    image: busybox\n    environment: nowhere\n    command: 'true'\n";

/// Clients at once.
const CLIENTS: usize = 8;

type Op = Operation<NumberCall, NumberAnswer>;

/// What one client remembers.
#[derive(Default)]
struct Memory {
    tally: Tally,
    history: Vec<Op>,
    /// What was made, by request id.
    made: BTreeMap<String, u64>,
    /// Creates of unknown outcome.
    open: Vec<(String, Call)>,
    violations: Vec<String>,
}

pub(super) async fn drive(context: Arc<Context>) -> anyhow::Result<Report> {
    let newest = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for at in 0..CLIENTS {
        clients.spawn(client(Arc::clone(&context), at, Arc::clone(&newest)));
    }
    let mut all = Memory::default();
    while let Some(memory) = clients.join_next().await {
        let memory = memory?;
        all.tally.add(&memory.tally);
        all.history.extend(memory.history);
        all.made.extend(memory.made);
        all.open.extend(memory.open);
        all.violations.extend(memory.violations);
    }
    let mut report = Report {
        violations: std::mem::take(&mut all.violations),
        ..Report::default()
    };
    finish(&context, &mut all, &mut report).await?;
    report.tally = all.tally.clone();
    judge(&all, &mut report);
    Ok(report)
}

async fn client(context: Arc<Context>, at: usize, newest: Arc<AtomicU64>) -> Memory {
    let mut chance = ChaCha8Rng::seed_from_u64(context.seed ^ ((at as u64) << 32));
    let mine = context.client(at, IMPATIENT);
    let other = context.client(at + 1, IMPATIENT);
    let mut memory = Memory {
        tally: context.tally(),
        ..Memory::default()
    };
    while context.faulty() {
        match chance.random_range(0..10) {
            0..5 => {
                let id = calls::request_id(&mut chance);
                let twin = chance.random_ratio(1, 5).then_some(&other);
                make(&context, &mut memory, [Some(&mine), twin], &id, &newest).await;
            }
            5..8 => read_newest(&context, &mut memory, &mine).await,
            _ => {
                let known = newest.load(Ordering::Relaxed);
                let number = known.saturating_sub(3) + chance.random_range(1..7);
                look_for(&context, &mut memory, &mine, number).await;
            }
        }
    }
    memory
}

/// Makes one execution, by two clients at once if there is a second one.
async fn make(
    context: &Context,
    memory: &mut Memory,
    [mine, twin]: [Option<&Client>; 2],
    id: &str,
    newest: &AtomicU64,
) {
    let request = calls::creation(PROJECT, CONFIG, "idle", id);
    let call = Call::begin(context.clock);
    let answers: [Option<Result<api::Execution, client::Error>>; 2] =
        tokio::join!(ask(mine, &request), ask(twin, &request)).into();
    let mut known = None;
    for answer in answers.into_iter().flatten() {
        memory.tally.count(&answer);
        match answer {
            Ok(execution) => {
                let Ok(made) = number(&execution.name) else {
                    memory.violations.push(format!("{id} has no number"));
                    continue;
                };
                if known.is_some_and(|known| known != made) {
                    memory.violations.push(format!(
                        "I-02: one request id was given #{made} and another number"
                    ));
                }
                known = Some(made);
            }
            Err(error) if error.kind == Kind::Unavailable => {}
            Err(error) => memory
                .violations
                .push(format!("a create was refused: {error}")),
        }
    }
    match known {
        Some(made) => {
            newest.fetch_max(made, Ordering::Relaxed);
            memory.made.insert(id.to_owned(), made);
            let answer = NumberAnswer::Number(made);
            let operation = call.answered(context.clock, NumberCall::Create, answer);
            memory.history.push(operation);
        }
        None => memory.open.push((id.to_owned(), call)),
    }
}

async fn ask(
    client: Option<&Client>,
    request: &api::CreateExecutionRequest,
) -> Option<Result<api::Execution, client::Error>> {
    Some(calls::create(client?, request.clone()).await)
}

async fn read_newest(context: &Context, memory: &mut Memory, client: &Client) {
    let call = Call::begin(context.clock);
    let request = api::ListExecutionsRequest {
        parent: format!("projects/{PROJECT}"),
        page_size: 1,
        ..Default::default()
    };
    let answer = client.list_executions(request).await;
    let newest = match &answer {
        Ok(answer) => match answer.executions.first() {
            Some(execution) => number(&execution.name).ok(),
            None => Some(0),
        },
        // A project is there with its first execution.
        Err(error) if error.kind == Kind::NotFound => Some(0),
        Err(_) => None,
    };
    memory.tally.count(&answer);
    if let Some(newest) = newest {
        let answer = NumberAnswer::Number(newest);
        let operation = call.answered(context.clock, NumberCall::Newest, answer);
        memory.history.push(operation);
    }
}

async fn look_for(context: &Context, memory: &mut Memory, client: &Client, number: u64) {
    let call = Call::begin(context.clock);
    let request = api::GetExecutionRequest {
        name: format!("projects/{PROJECT}/executions/{number}"),
        ..Default::default()
    };
    let exists = match client.get_execution(request).await {
        Ok(_) => true,
        Err(error) if error.kind == Kind::NotFound => false,
        failed => return memory.tally.count(&failed),
    };
    memory.tally.succeeded();
    let answer = NumberAnswer::Exists(exists);
    let operation = call.answered(context.clock, NumberCall::Exists(number), answer);
    memory.history.push(operation);
}

/// Finds out what became of creates of unknown outcome, and whether what was made is there.
async fn finish(context: &Context, all: &mut Memory, report: &mut Report) -> anyhow::Result<()> {
    let client = context.client(0, PATIENT);
    for (id, call) in std::mem::take(&mut all.open) {
        let request = calls::creation(PROJECT, CONFIG, "idle", &id);
        match calls::create(&client, request).await {
            Ok(execution) => {
                let made = number(&execution.name)?;
                let answer = NumberAnswer::Number(made);
                let operation = call.answered(context.clock, NumberCall::Create, answer);
                all.history.push(operation);
                all.made.insert(id, made);
            }
            Err(error) => {
                report.broken(format!("I-08: all is mended, and a create fails: {error}"));
                all.history
                    .push(Operation::unknown(NumberCall::Create, call.start_us));
            }
        }
    }
    let there = calls::list(&client, PROJECT).await?;
    for (id, number) in &all.made {
        match there.get(number) {
            Some(execution) if execution.title == *id => {}
            Some(execution) => report.broken(format!(
                "I-02: #{number} was given to {id}, and is {}",
                execution.title
            )),
            None => report.broken(format!("I-01: #{number} was acknowledged and is lost")),
        }
    }
    let mut by_id: BTreeMap<&str, u64> = BTreeMap::new();
    for (number, execution) in &there {
        if let Some(first) = by_id.insert(&execution.title, *number) {
            report.broken(format!("I-02: #{first} and #{number} are of one request"));
        }
    }
    report.notes.push(format!("{} executions", there.len()));
    Ok(())
}

fn judge(all: &Memory, report: &mut Report) {
    let history = &all.history;
    let Err(misplaced) = in_order(history) else {
        return;
    };
    let places: &[usize] = match &misplaced {
        Misplaced::NeverMade(_) => &[],
        Misplaced::MadeTwice(_, places) | Misplaced::NoTime(_, places) => places,
        Misplaced::Impossible(at) => std::slice::from_ref(at),
    };
    let operations: Vec<_> = places.iter().map(|at| &history[*at]).collect();
    report.broken(format!("I-03: {misplaced}: {operations:#?}"));
}
