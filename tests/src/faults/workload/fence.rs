//! Steps leave their tokens in a file outside: whatever ran, one whole attempt of each execution counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::Kind;
use contract::api;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::witness::{self, Witness};
use super::{Context, IMPATIENT, PATIENT, Report, calls};
use crate::faults::Tally;

const PROJECT: &str = "fence";

/// Clients at once.
const CLIENTS: usize = 4;

/// Executions that each waits for before it makes more.
const AHEAD: usize = 6;

pub(super) async fn drive(context: Arc<Context>) -> anyhow::Result<Report> {
    let witness = Witness::new(&context.place, "fence.witness");
    let config = format!(
        "- step:\n    name: work\n    image: busybox\n    command:\n      - {}\n      - sleep 0.2\n      - {}\n",
        quoted(&witness.begins()),
        quoted(&witness.ends())
    );
    let mut clients = JoinSet::new();
    for at in 0..CLIENTS {
        clients.spawn(client(Arc::clone(&context), at, config.clone()));
    }
    let mut report = Report::default();
    let (mut made, mut open) = (BTreeSet::new(), Vec::new());
    while let Some(ended) = clients.join_next().await {
        let (tally, more, unknown) = ended?;
        report.tally.add(&tally);
        made.extend(more);
        open.extend(unknown);
    }
    let patient = context.client(0, PATIENT);
    for id in open {
        let answer = calls::create(&patient, calls::creation(PROJECT, &config, "work", &id)).await;
        match answer {
            Ok(_) => made.insert(id),
            Err(error) => {
                report.broken(format!("I-08: all is mended, and a create fails: {error}"));
                false
            }
        };
    }
    let there = calls::settle(&patient, PROJECT, &mut report).await?;
    judge(&context, &witness, &made, there.values(), &mut report);
    Ok(report)
}

/// A shell line as a YAML string.
pub(super) fn quoted(line: &str) -> String {
    format!("'{}'", line.replace('\'', "''"))
}

async fn client(
    context: Arc<Context>,
    at: usize,
    config: String,
) -> (Tally, BTreeSet<String>, Vec<String>) {
    let mut chance = ChaCha8Rng::seed_from_u64(context.seed ^ ((at as u64) << 48));
    let client = context.client(at, IMPATIENT);
    let (mut tally, mut made, mut open) = (context.tally(), BTreeSet::new(), Vec::new());
    let mut running: Vec<String> = Vec::new();
    while context.faulty() {
        if running.len() < AHEAD {
            let id = calls::request_id(&mut chance);
            let request = calls::creation(PROJECT, &config, "work", &id);
            let answer = calls::create(&client, request).await;
            tally.count(&answer);
            match answer {
                Ok(execution) => {
                    made.insert(id);
                    running.push(execution.name);
                }
                Err(_) => open.push(id),
            }
            continue;
        }
        let one = chance.random_range(0..running.len());
        let name = running[one].clone();
        let answer = client
            .get_execution(api::GetExecutionRequest {
                name,
                ..Default::default()
            })
            .await;
        tally.count(&answer);
        match answer {
            Ok(answer)
                if answer
                    .execution
                    .as_ref()
                    .is_some_and(|one| calls::is_final(one.state())) =>
            {
                running.swap_remove(one);
            }
            // Whether it is lost is looked at in the end.
            Err(error) if error.kind == Kind::NotFound => {
                running.swap_remove(one);
            }
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
    (tally, made, open)
}

fn judge<'a>(
    context: &Context,
    witness: &Witness,
    made: &BTreeSet<String>,
    there: impl Iterator<Item = &'a api::Execution>,
    report: &mut Report,
) {
    let spans = witness.read(report);
    let (mut titles, mut tokens) = (BTreeSet::new(), BTreeSet::new());
    let (mut attempts, mut overlaps) = (0, 0);
    for execution in there {
        if !titles.insert(execution.title.clone()) {
            report.broken(format!("I-02: two executions of {}", execution.title));
        }
        if execution.state() != api::State::Complete {
            report.broken(format!(
                "I-08: {} ended as {:?}: {}",
                execution.name,
                execution.state(),
                execution.message
            ));
        }
        witness::audit(execution, &spans, context.may_cost_attempts, report);
        attempts += execution.attempts.len();
        let own: Vec<_> = execution
            .attempts
            .iter()
            .map(|attempt| witness::token(execution, attempt))
            .collect();
        // A copy that could not be reached may run beside its successor; only its result is refused.
        overlaps += own
            .windows(2)
            .filter(|pair| {
                let ends = |token: &String| spans.get(token).and_then(|span| span.end);
                let begins = |token: &String| spans.get(token).and_then(|span| span.begin);
                matches!((ends(&pair[0]), begins(&pair[1])), (Some(end), Some(begin)) if end > begin)
            })
            .count();
        tokens.extend(own);
    }
    for lost in made.difference(&titles) {
        report.broken(format!("I-01: {lost} was acknowledged and is lost"));
    }
    for stranger in spans.keys().filter(|token| !tokens.contains(*token)) {
        report.broken(format!("I-06: {stranger} ran, and nobody knows of it"));
    }
    report.notes.push(format!(
        "{} executions, {attempts} attempts, {overlaps} overlaps",
        titles.len()
    ));
}
