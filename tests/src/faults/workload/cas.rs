//! Executions are cancelled while they are assigned, run and end; several clients look at and cancel one at the same time.

use std::sync::Arc;
use std::time::Duration;

use check::models::{Life, LifeCall, Phase as Stage};
use check::{Limit, Operation, Verdict, linearizable};
use client::{Client, Error, Kind};
use contract::api;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Context, IMPATIENT, PATIENT, Report, calls};
use crate::faults::{Call, Tally};

const PROJECT: &str = "cas";

const CONFIG: &str = "\
- step: {name: quick, image: busybox, command: 'true'}
- step: {name: slow, image: busybox, command: sleep 0.4}
";

/// Executions that are looked after at once.
const LANES: usize = 6;

type Op = Operation<LifeCall, Stage>;

/// One execution and what was seen of it.
struct Seen {
    id: String,
    step: &'static str,
    name: Option<String>,
    history: Vec<Op>,
    /// A create of unknown outcome.
    open: Option<Call>,
    tally: Tally,
    violations: Vec<String>,
}

pub(super) async fn drive(context: Arc<Context>) -> anyhow::Result<Report> {
    let mut lanes = JoinSet::new();
    for at in 0..LANES {
        lanes.spawn(lane(Arc::clone(&context), at));
    }
    let mut seen = Vec::new();
    while let Some(more) = lanes.join_next().await {
        seen.extend(more?);
    }
    let mut report = Report::default();
    finish(&context, &mut seen, &mut report).await?;
    for one in &seen {
        report.tally.add(&one.tally);
        report.violations.extend(one.violations.iter().cloned());
        judge(one, &mut report);
    }
    report.notes.push(format!("{} executions", seen.len()));
    Ok(report)
}

async fn lane(context: Arc<Context>, at: usize) -> Vec<Seen> {
    let mut chance = ChaCha8Rng::seed_from_u64(context.seed ^ ((at as u64) << 40));
    let clients: Vec<Client> = (0..3)
        .map(|other| context.client(at + other, IMPATIENT))
        .collect();
    let mut all = Vec::new();
    while context.faulty() {
        let mut seen = Seen {
            id: calls::request_id(&mut chance),
            step: if chance.random() { "quick" } else { "slow" },
            name: None,
            history: Vec::new(),
            open: None,
            tally: context.tally(),
            violations: Vec::new(),
        };
        make(&context, &clients[0], &mut seen).await;
        if let Some(name) = seen.name.clone() {
            look_after(&context, &clients, &mut seen, &name, &mut chance).await;
        }
        all.push(seen);
    }
    all
}

async fn make(context: &Context, client: &Client, seen: &mut Seen) {
    let call = seen
        .open
        .take()
        .unwrap_or_else(|| Call::begin(context.clock));
    let request = calls::creation(PROJECT, CONFIG, seen.step, &seen.id);
    let answer = calls::create(client, request).await;
    seen.tally.count(&answer);
    match answer {
        Ok(execution) => {
            let stage = stage(execution.state());
            let operation = call.answered(context.clock, LifeCall::Create, stage);
            seen.history.push(operation);
            seen.name = Some(execution.name);
        }
        Err(error) if error.kind == Kind::Unavailable => seen.open = Some(call),
        Err(error) => seen
            .violations
            .push(format!("a create was refused: {error}")),
    }
}

/// Three clients at once: two look, and one or two cancel, the second with the same request id.
async fn look_after(
    context: &Context,
    clients: &[Client],
    seen: &mut Seen,
    name: &str,
    chance: &mut ChaCha8Rng,
) {
    let mut wait = |most: u64| Duration::from_millis(chance.random_range(0..=most));
    let (before, gaps) = (wait(500), [wait(150), wait(150), wait(150)]);
    let cancels = chance.random_ratio(2, 3);
    let id = calls::request_id(chance);
    let cancel = cancels.then(|| api::CancelExecutionRequest {
        name: name.to_owned(),
        request_id: id,
    });
    let (one, two, three, four) = tokio::join!(
        look(context, &clients[0], name, gaps),
        look(context, &clients[1], name, gaps),
        stop(context, &clients[1], cancel.as_ref(), before),
        stop(context, &clients[2], cancel.as_ref(), before)
    );
    for (history, tally) in [one, two, three, four] {
        seen.history.extend(history);
        seen.tally.add(&tally);
    }
}

/// Looks at an execution, each time after a while.
async fn look(
    context: &Context,
    client: &Client,
    name: &str,
    gaps: [Duration; 3],
) -> (Vec<Op>, Tally) {
    let (mut history, mut tally) = (Vec::new(), context.tally());
    for gap in gaps {
        sleep(gap).await;
        let call = Call::begin(context.clock);
        let answer = read(client, name).await;
        tally.count(&answer);
        let stage = match answer {
            Ok(stage) => stage,
            Err(error) if error.kind == Kind::NotFound => Stage::Absent,
            Err(_) => continue,
        };
        history.push(call.answered(context.clock, LifeCall::Read, stage));
    }
    (history, tally)
}

/// Cancels an execution after a while, if it is to be.
async fn stop(
    context: &Context,
    client: &Client,
    cancel: Option<&api::CancelExecutionRequest>,
    before: Duration,
) -> (Vec<Op>, Tally) {
    let mut tally = context.tally();
    let Some(cancel) = cancel else {
        return (Vec::new(), tally);
    };
    sleep(before).await;
    let call = Call::begin(context.clock);
    let answer = client.cancel_execution(cancel.clone()).await;
    tally.count(&answer);
    let stage = match answer {
        Ok(answer) => stage(answer.execution.unwrap_or_default().state()),
        Err(error) if error.kind == Kind::NotFound => Stage::Absent,
        Err(_) => {
            return (
                vec![Operation::unknown(LifeCall::Cancel, call.start_us)],
                tally,
            );
        }
    };
    let calls = [LifeCall::Cancel, LifeCall::Read];
    let history = calls.map(|one| call.answered(context.clock, one, stage));
    (history.into(), tally)
}

async fn read(client: &Client, name: &str) -> Result<Stage, Error> {
    let request = api::GetExecutionRequest {
        name: name.to_owned(),
        ..Default::default()
    };
    let answer = client.get_execution(request).await?;
    Ok(stage(answer.execution.unwrap_or_default().state()))
}

fn stage(state: api::State) -> Stage {
    match state {
        api::State::Unspecified => Stage::Absent,
        api::State::Created | api::State::Queued | api::State::Started => Stage::Live,
        api::State::Stopping => Stage::Stopping,
        api::State::Stopped => Stage::Stopped,
        api::State::Error => Stage::Error,
        api::State::Complete => Stage::Complete,
    }
}

/// Finds out what became of creates of unknown outcome, and looks at everything once more when it has come to its end.
async fn finish(context: &Context, seen: &mut [Seen], report: &mut Report) -> anyhow::Result<()> {
    let client = context.client(0, PATIENT);
    for one in seen.iter_mut() {
        if one.open.is_some() {
            make(context, &client, one).await;
            if one.open.is_some() {
                report.broken("I-08: all is mended, and a create fails");
            }
        }
    }
    let call = Call::begin(context.clock);
    let there = calls::settle(&client, PROJECT, report).await?;
    for one in seen.iter_mut() {
        let Some(name) = &one.name else { continue };
        let number = crate::faults::fleet::number(name)?;
        let stage = match there.get(&number) {
            Some(execution) => stage(execution.state()),
            None => Stage::Absent,
        };
        let operation = call.answered(context.clock, LifeCall::Read, stage);
        one.history.push(operation);
        if stage == Stage::Absent {
            report.broken(format!("I-01: {name} was acknowledged and is lost"));
        }
    }
    Ok(())
}

fn judge(one: &Seen, report: &mut Report) {
    match linearizable(&Life, &one.history, Limit::default()) {
        Verdict::Linearizable(_) => {}
        Verdict::Undecided => report.broken("I-03: a history could not be judged in time"),
        Verdict::Violation(_) => {
            let mut history = one.history.clone();
            history.sort_by_key(|operation| operation.start);
            report.broken(format!(
                "I-03, I-05, I-10: {:?} cannot have lived so: {history:#?}",
                one.name
            ));
        }
    }
}
