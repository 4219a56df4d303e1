//! Pipelines: a diamond with a tail, and now and then one whose middle fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Kind};
use contract::api;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::fence::quoted;
use super::witness::{self, Witness};
use super::{Context, IMPATIENT, PATIENT, Report, calls};
use crate::faults::Tally;

const PROJECT: &str = "dag";

/// Clients at once.
const CLIENTS: usize = 3;

/// Who waits for whom.
const EDGES: [(&str, &str); 5] = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "e")];

/// The node that fails in the pipelines that do, and those that then must not start.
const FAILING: (&str, [&str; 2]) = ("c", ["d", "e"]);

fn config(witness: &Witness) -> String {
    let step = |name: &str, inputs: &[&str], last: &str| {
        let mut text = format!("- step:\n    name: {name}\n    image: busybox\n    command:\n");
        let lines = [
            witness.begins(),
            "echo out > \"$VH_OUTPUTS_DIR/out.txt\"".to_owned(),
            witness.ends(),
            last.to_owned(),
        ];
        for line in lines {
            text += &format!("      - {}\n", quoted(&line));
        }
        if !inputs.is_empty() {
            text += "    inputs:\n";
        }
        for input in inputs {
            text += &format!("      - name: {input}\n");
        }
        text
    };
    let mut text = step("source", &[], "true")
        + &step("middle", &["one"], "true")
        + &step("fails", &["one"], "exit 3")
        + &step("join", &["one", "two"], "true");
    for (pipeline, c) in [("good", "middle"), ("bad", "fails")] {
        text += &format!("- pipeline:\n    name: {pipeline}\n    nodes:\n");
        for (node, step) in [
            ("a", "source"),
            ("b", "middle"),
            ("c", c),
            ("d", "join"),
            ("e", "middle"),
        ] {
            text += &format!("      - {{name: {node}, type: execution, step: {step}}}\n");
        }
        text += "    edges:\n";
        for (from, to) in EDGES {
            let input = if from == "c" { "two" } else { "one" };
            text += &format!("      - [{from}.output.out.txt, {to}.input.{input}]\n");
        }
    }
    text
}

/// A pipeline that was asked for.
#[derive(Clone)]
struct Asked {
    id: String,
    blueprint: &'static str,
    made: bool,
}

pub(super) async fn drive(context: Arc<Context>) -> anyhow::Result<Report> {
    let witness = Witness::new(&context.place, "dag.witness");
    let config = config(&witness);
    let mut clients = JoinSet::new();
    for at in 0..CLIENTS {
        clients.spawn(client(Arc::clone(&context), at, config.clone()));
    }
    let mut report = Report::default();
    let mut asked = Vec::new();
    while let Some(ended) = clients.join_next().await {
        let (tally, more) = ended?;
        report.tally.add(&tally);
        asked.extend(more);
    }
    let patient = context.client(0, PATIENT);
    for one in asked.iter_mut().filter(|one| !one.made) {
        match create(&patient, &config, one).await {
            Ok(_) => one.made = true,
            Err(error) => {
                report.broken(format!("I-08: all is mended, and a create fails: {error}"));
            }
        }
    }
    let executions = calls::settle(&patient, PROJECT, &mut report).await?;
    let pipelines = pipelines(&patient).await?;
    judge(
        &context,
        &witness,
        &asked,
        &pipelines,
        executions.values(),
        &mut report,
    );
    Ok(report)
}

async fn create(
    client: &Client,
    config: &str,
    asked: &Asked,
) -> Result<api::Pipeline, client::Error> {
    let request = api::CreatePipelineRequest {
        parent: format!("projects/{PROJECT}"),
        config: config.as_bytes().to_vec().into(),
        blueprint: asked.blueprint.to_owned(),
        title: asked.id.clone(),
        request_id: asked.id.clone(),
        ..Default::default()
    };
    let answer = client.create_pipeline(request).await?;
    Ok(answer.pipeline.unwrap_or_default())
}

async fn client(context: Arc<Context>, at: usize, config: String) -> (Tally, Vec<Asked>) {
    let mut chance = ChaCha8Rng::seed_from_u64(context.seed ^ ((at as u64) << 52));
    let client = context.client(at, IMPATIENT);
    let (mut tally, mut all) = (context.tally(), Vec::new());
    while context.faulty() {
        let mut asked = Asked {
            id: calls::request_id(&mut chance),
            blueprint: if chance.random_ratio(1, 6) {
                "bad"
            } else {
                "good"
            },
            made: false,
        };
        let answer = create(&client, &config, &asked).await;
        tally.count(&answer);
        asked.made = answer.is_ok();
        all.push(asked);
        let Ok(pipeline) = answer else { continue };
        while context.faulty() {
            let name = pipeline.name.clone();
            let answer = client
                .get_pipeline(api::GetPipelineRequest {
                    name,
                    ..Default::default()
                })
                .await;
            tally.count(&answer);
            match answer {
                Ok(answer)
                    if answer
                        .pipeline
                        .as_ref()
                        .is_some_and(|one| calls::is_final(one.state())) =>
                {
                    break;
                }
                // Whether it is lost is looked at in the end.
                Err(error) if error.kind == Kind::NotFound => break,
                _ => sleep(Duration::from_millis(30)).await,
            }
        }
    }
    (tally, all)
}

async fn pipelines(client: &Client) -> anyhow::Result<Vec<api::Pipeline>> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let answer = client
            .list_pipelines(api::ListPipelinesRequest {
                parent: format!("projects/{PROJECT}"),
                page_size: 1_000,
                page_token,
                ..Default::default()
            })
            .await?;
        all.extend(answer.pipelines);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

fn judge<'a>(
    context: &Context,
    witness: &Witness,
    asked: &[Asked],
    pipelines: &[api::Pipeline],
    executions: impl Iterator<Item = &'a api::Execution>,
    report: &mut Report,
) {
    let spans = witness.read(report);
    let mut by_node: BTreeMap<(&str, &str), &api::Execution> = BTreeMap::new();
    let mut accepted: BTreeMap<&str, witness::Span> = BTreeMap::new();
    for execution in executions {
        let span = witness::audit(execution, &spans, context.may_cost_attempts, report);
        accepted.extend(span.map(|span| (execution.name.as_str(), span)));
        let key = (execution.pipeline.as_str(), execution.node.as_str());
        if by_node.insert(key, execution).is_some() {
            report.broken(format!("I-02: {key:?} has two executions"));
        }
    }
    let titles: BTreeSet<&str> = pipelines.iter().map(|one| one.title.as_str()).collect();
    for lost in asked
        .iter()
        .filter(|one| one.made && !titles.contains(&*one.id))
    {
        report.broken(format!(
            "I-01: pipeline {} was acknowledged and is lost",
            lost.id
        ));
    }
    if titles.len() != pipelines.len() {
        report.broken("I-02: two pipelines are of one request");
    }
    for pipeline in pipelines {
        let good = pipeline.blueprint == "good";
        let expected = if good {
            api::State::Complete
        } else {
            api::State::Error
        };
        if pipeline.state() != expected {
            report.broken(format!(
                "I-08: {} ended as {:?}: {}",
                pipeline.name,
                pipeline.state(),
                pipeline.message
            ));
        }
        let node = |node: &str| by_node.get(&(pipeline.name.as_str(), node)).copied();
        for (from, to) in EDGES {
            let Some(later) = node(to) else { continue };
            let first = spans_of(later, &spans).filter_map(|span| span.begin).min();
            let Some(first) = first else { continue };
            let before = node(from)
                .and_then(|execution| accepted.get(execution.name.as_str()))
                .and_then(|span| span.end);
            if before.is_none_or(|before| before > first) {
                report.broken(format!(
                    "I-09: {to} of {} began before {from} was complete",
                    pipeline.name
                ));
            }
        }
        if !good {
            for after in FAILING.1 {
                if node(after).is_some_and(|one| spans_of(one, &spans).next().is_some()) {
                    report.broken(format!(
                        "I-09: {after} of {} began, though {} failed",
                        pipeline.name, FAILING.0
                    ));
                }
            }
        }
    }
    report.notes.push(format!(
        "{} pipelines, {} executions",
        pipelines.len(),
        by_node.len()
    ));
}

fn spans_of<'a>(
    execution: &'a api::Execution,
    spans: &'a BTreeMap<witness::Token, witness::Span>,
) -> impl Iterator<Item = witness::Span> + 'a {
    execution
        .attempts
        .iter()
        .filter_map(|attempt| spans.get(&witness::token(execution, attempt)).copied())
}
