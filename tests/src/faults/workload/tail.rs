//! Logs are read while they are written, by many, who break off and go on somewhere else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::{Client, Fixed, LogEvent, LogStart, Options, StreamExt as _};
use contract::api;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Context, IMPATIENT, PATIENT, Report, calls};
use crate::faults::Tally;

const PROJECT: &str = "tail";

/// Subscribers at once.
const SUBSCRIBERS: usize = 50;

/// Executions that print at once.
const PRINTERS: usize = 3;

/// Lines that each prints.
const LINES: usize = 150;

fn config() -> String {
    format!(
        "- step:\n    name: print\n    image: busybox\n    command: 'for i in $(seq 1 {LINES}); do echo line $i; sleep 0.02; done'\n"
    )
}

/// A record as every subscriber must see it.
type Record = (i32, Vec<u8>);

/// What is known of logs, by attempt: the records by number.
#[derive(Default)]
struct Known {
    logs: BTreeMap<(String, i32), BTreeMap<i64, Record>>,
    names: Vec<String>,
    seals: BTreeMap<(String, i32), (i64, Vec<u8>)>,
    violations: Vec<String>,
    delivered: u64,
}

type Shared = Arc<Mutex<Known>>;

fn lock(known: &Shared) -> std::sync::MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) async fn drive(context: Arc<Context>) -> anyhow::Result<Report> {
    let known = Shared::default();
    let mut tasks = JoinSet::new();
    for at in 0..PRINTERS {
        tasks.spawn(printer(Arc::clone(&context), at, Arc::clone(&known)));
    }
    for at in 0..SUBSCRIBERS {
        tasks.spawn(subscriber(Arc::clone(&context), at, Arc::clone(&known)));
    }
    let mut report = Report::default();
    while let Some(tally) = tasks.join_next().await {
        report.tally.add(&tally?);
    }
    finish(&context, &known, &mut report).await?;
    let known = lock(&known);
    report.violations.extend(known.violations.iter().cloned());
    report.notes.push(format!(
        "{} logs, {} records delivered",
        known.logs.len(),
        known.delivered
    ));
    Ok(report)
}

/// Makes executions one after the other.
async fn printer(context: Arc<Context>, at: usize, known: Shared) -> Tally {
    let mut chance = ChaCha8Rng::seed_from_u64(context.seed ^ ((at as u64) << 36));
    let client = context.client(at, IMPATIENT);
    let mut tally = context.tally();
    let mut running: Option<String> = None;
    while context.faulty() {
        if let Some(name) = running.clone() {
            let answer = client
                .get_execution(api::GetExecutionRequest {
                    name,
                    ..Default::default()
                })
                .await;
            tally.count(&answer);
            if answer
                .is_ok_and(|answer| calls::is_final(answer.execution.unwrap_or_default().state()))
            {
                running = None;
            }
            sleep(Duration::from_millis(200)).await;
            continue;
        }
        let id = calls::request_id(&mut chance);
        let request = calls::creation(PROJECT, &config(), "print", &id);
        let answer = calls::create(&client, request).await;
        tally.count(&answer);
        if let Ok(execution) = answer {
            lock(&known).names.push(execution.name.clone());
            running = Some(execution.name);
        }
    }
    tally
}

/// Reads logs, breaks off, and goes on with the next record at another coordinator.
async fn subscriber(context: Arc<Context>, at: usize, known: Shared) -> Tally {
    let mut chance = ChaCha8Rng::seed_from_u64(context.seed ^ ((at as u64) << 20) ^ 0xFEED);
    let mut tally = context.tally();
    while context.faulty() {
        let name = {
            let known = lock(&known);
            let recent = known.names.len().saturating_sub(2 * PRINTERS);
            known.names[recent..].choose(&mut chance).cloned()
        };
        let Some(name) = name else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        read_through(&context, &name, &mut chance, &known, &mut tally).await;
    }
    tally
}

/// Reads one log to its end, across several clients.
async fn read_through(
    context: &Context,
    name: &str,
    chance: &mut ChaCha8Rng,
    known: &Shared,
    tally: &mut Tally,
) {
    // Which attempt, and the record that comes next.
    let mut place: Option<(i32, i64)> = None;
    while context.faulty() {
        let client = context.client(chance.random_range(0..8), IMPATIENT);
        let (asked, start) = match place {
            None => (name.to_owned(), 0),
            Some((attempt, next)) => (format!("{name}/attempts/{attempt}"), next),
        };
        let mut patience = chance.random_range(1..120);
        let mut stream = client.read_log(&asked, LogStart::Record(start), true);
        let mut heard = false;
        loop {
            let Ok(Some(event)) = timeout(Duration::from_secs(5), stream.next()).await else {
                break;
            };
            let Ok(event) = event else {
                tally.unknown += 1;
                break;
            };
            if !std::mem::replace(&mut heard, true) {
                tally.succeeded();
            }
            if let LogEvent::Sealed { .. } = event {
                note(known, name, event, &mut place);
                return;
            }
            note(known, name, event, &mut place);
            patience -= 1;
            if patience == 0 || !context.faulty() {
                break;
            }
        }
    }
}

/// Compares what came with what is known, and remembers it.
fn note(known: &Shared, name: &str, event: LogEvent, place: &mut Option<(i32, i64)>) {
    let mut known = lock(known);
    match event {
        LogEvent::Records { attempt, records } => {
            for record in records {
                let expected = match *place {
                    Some((current, next)) if current == attempt => Some(next),
                    Some((current, _)) if attempt > current => Some(0),
                    Some(_) => None,
                    None => Some(0),
                };
                if expected != Some(record.number) {
                    known.violations.push(format!(
                        "I-21: {name}, attempt {attempt}: record {} came where {expected:?} was due",
                        record.number
                    ));
                }
                *place = Some((attempt, record.number + 1));
                known.delivered += 1;
                let is = (record.stream, record.data.to_vec());
                let log = known.logs.entry((name.to_owned(), attempt)).or_default();
                let first = log.entry(record.number).or_insert_with(|| is.clone());
                if *first != is {
                    let what = format!(
                        "I-21: {name}, attempt {attempt}: record {} differs from what another saw",
                        record.number
                    );
                    known.violations.push(what);
                }
            }
        }
        LogEvent::Gap {
            attempt,
            start_record,
            end_record,
            reason,
            ..
        } => known.violations.push(format!(
            "I-21: {name}, attempt {attempt}: records {start_record}..{end_record} are missing: {reason}"
        )),
        LogEvent::InSync { .. } => {}
        LogEvent::Sealed {
            attempt,
            record_count,
            digest,
        } => {
            if let Some((current, next)) = *place
                && current == attempt
                && next != record_count
            {
                known.violations.push(format!(
                    "I-21: {name}, attempt {attempt}: sealed with {record_count} records after {next}"
                ));
            }
            let seal = (record_count, digest);
            let key = (name.to_owned(), attempt);
            let first = known.seals.entry(key).or_insert_with(|| seal.clone());
            if *first != seal {
                let what = format!("I-21: {name}, attempt {attempt} has two seals");
                known.violations.push(what);
            }
        }
    }
}

/// Reads every log from every coordinator once more.
async fn finish(context: &Context, known: &Shared, report: &mut Report) -> anyhow::Result<()> {
    let client = context.client(0, PATIENT);
    let there = calls::settle(&client, PROJECT, report).await?;
    for execution in there.values() {
        for attempt in &execution.attempts {
            if execution.attempts.len() > 1 && !context.may_cost_attempts {
                report.broken(format!("I-12: {} was begun again", execution.name));
            }
            for address in &context.direct {
                let options = Options {
                    deadline: PATIENT,
                    patience: PATIENT,
                    ..Options::default()
                };
                let client = Client::with_options(Fixed::one(address.clone()), options);
                let name = format!("{}/attempts/{}", execution.name, attempt.number);
                read_once(&client, execution, attempt, &name, known, report).await;
            }
        }
    }
    Ok(())
}

async fn read_once(
    client: &Client,
    execution: &api::Execution,
    attempt: &api::Attempt,
    name: &str,
    known: &Shared,
    report: &mut Report,
) {
    let mut place = None;
    let mut sealed = None;
    // A coordinator that missed some gets them from the others: it may take a while until it has the end.
    let is_complete = attempt.state() == api::State::Complete;
    let mut stream = client.read_log(name, LogStart::Record(0), is_complete);
    loop {
        let event = match timeout(PATIENT, stream.next()).await {
            Ok(Some(Ok(event))) => event,
            Ok(Some(Err(error))) => {
                return report.broken(format!("I-21: {name} cannot be read: {error}"));
            }
            Ok(None) => break,
            Err(_) => return report.broken(format!("I-21: {name} does not come to its end")),
        };
        if let LogEvent::Sealed {
            record_count,
            digest,
            ..
        } = &event
        {
            sealed = Some((*record_count, digest.clone()));
        }
        note(known, &execution.name, event, &mut place);
    }
    if is_complete && sealed != Some((attempt.log_record_count, attempt.log_digest.to_vec())) {
        report.broken(format!(
            "I-21: {name} is sealed with {sealed:?}, recorded are {} records",
            attempt.log_record_count
        ));
    }
    if !is_complete {
        return;
    }
    let known = lock(known);
    let records = known
        .logs
        .get(&(execution.name.clone(), attempt.number))
        .into_iter()
        .flat_map(BTreeMap::values);
    let printed: Vec<String> = records
        .filter(|(stream, _)| *stream == api::LogStream::Stdout as i32)
        .map(|(_, data)| String::from_utf8_lossy(data).trim_end().to_owned())
        .collect();
    let expected: Vec<String> = (1..=LINES).map(|line| format!("line {line}")).collect();
    if printed != expected {
        report.broken(format!(
            "I-21: {name} has {} of the {LINES} lines that its program printed",
            printed.len()
        ));
    }
}
