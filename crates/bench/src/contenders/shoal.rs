//! Shoal, through its client as any program would use it.

use std::time::{Instant, SystemTime};

use anyhow::{Context as _, bail, ensure};
use client::{Client, ExecutionEvent, Fixed, PipelineEvent, Stream, StreamExt as _};
use contract::api;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::Contender;
use super::cluster::Cluster;
use crate::args;
use crate::report;
use crate::work::{Script, Work};

/// Requests in flight while many executions are submitted.
const IN_FLIGHT: usize = 64;

/// The steps and, for a chain, the blueprint.
const STEPS: &str = r#"
- step:
    name: "true"
    image: busybox
    command: "true"
- step:
    name: /bin/true
    image: busybox
    command: /bin/true
- step:
    name: first
    image: busybox
    command: echo 0 > "$VH_OUTPUTS_DIR/line.txt"
- step:
    name: next
    image: busybox
    command: read -r line < "$VH_INPUTS_DIR/before/line.txt"; echo "$line" > "$VH_OUTPUTS_DIR/line.txt"
    inputs:
      - name: before
"#;

/// The step of a container: a line of log, and an output.
const IN_CONTAINER: &str = r#"
- step:
    name: note
    image: IMAGE
    command: echo a line; echo result > $VH_OUTPUTS_DIR/result
"#;

/// What is submitted.
#[derive(Clone)]
struct Order {
    config: String,
    step: String,
}

impl Order {
    fn of(script: Script) -> Self {
        Self {
            config: STEPS.to_owned(),
            step: script.text().to_owned(),
        }
    }
}

/// A client and the cluster it speaks to.
pub(crate) struct Shoal {
    name: String,
    /// What is submitted instead of what the work says.
    order: Option<Order>,
    client: Client,
    runtime: Runtime,
    project: String,
    /// The cluster, if it is our own; it ends with us.
    cluster: Option<Cluster>,
    /// Executions of the last round that ran one at a time.
    last: Vec<Moments>,
    /// Processor time of a step of the last round that ran many, in milliseconds, by who used it.
    processor: Vec<(&'static str, f64)>,
}

/// When what happened to one execution; the clock is the machine's for all who tell.
struct Moments {
    submitted: SystemTime,
    answered: SystemTime,
    prepared: SystemTime,
    started: SystemTime,
    exited: SystemTime,
    seen: SystemTime,
}

impl Shoal {
    /// Starts a cluster whose worker has so many slots, and runs one execution on it.
    pub(crate) fn start(common: &args::Common, slots: usize) -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let cluster = runtime.block_on(Cluster::start(common, slots, &[]))?;
        let mut shoal = Self::of(runtime, cluster.address());
        shoal.cluster = Some(cluster);
        shoal.warm_up()?;
        Ok(shoal)
    }

    /// Starts a cluster whose worker runs steps in containers of an image, on a network.
    pub(crate) fn of_containers(
        common: &args::Common,
        slots: usize,
        image: &str,
        network: &str,
    ) -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let more = [
            "--runtime=docker".to_owned(),
            format!("--container-network={network}"),
        ];
        let cluster = runtime.block_on(Cluster::start(common, slots, &more))?;
        let mut shoal = Self::of(runtime, cluster.address());
        shoal.name = format!("shoal, network {network}");
        shoal.order = Some(Order {
            config: IN_CONTAINER.replace("IMAGE", image),
            step: "note".to_owned(),
        });
        shoal.cluster = Some(cluster);
        shoal.warm_up()?;
        Ok(shoal)
    }

    fn warm_up(&mut self) -> anyhow::Result<()> {
        self.round(Work::Single {
            count: 1,
            script: Script::Builtin,
        })?;
        Ok(())
    }

    /// Uses a cluster that runs already.
    pub(crate) fn at(address: &str) -> anyhow::Result<Self> {
        Ok(Self::of(runtime()?, address))
    }

    /// The cluster that it started.
    pub(crate) fn cluster(&self) -> anyhow::Result<&Cluster> {
        self.cluster.as_ref().context("the cluster is not our own")
    }

    /// Processor seconds of the cluster, if it is our own.
    fn processor(&self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        match &self.cluster {
            Some(cluster) => cluster.processor(),
            None => Ok(Vec::new()),
        }
    }

    fn of(runtime: Runtime, address: &str) -> Self {
        // A name of its own: a cluster that runs already may have seen other runs.
        let project = format!("projects/bench-{}-0", std::process::id());
        Self {
            name: "shoal".to_owned(),
            order: None,
            client: Client::new(Fixed::one(address)),
            runtime,
            project,
            cluster: None,
            last: Vec::new(),
            processor: Vec::new(),
        }
    }
}

/// One thread: the client is to take as little from the daemons as it can.
fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

impl Contender for Shoal {
    fn name(&self) -> &str {
        &self.name
    }

    fn round(&mut self, work: Work) -> anyhow::Result<Vec<f64>> {
        self.last.clear();
        self.processor.clear();
        let order = |script| self.order.clone().unwrap_or_else(|| Order::of(script));
        match work {
            Work::Single { count, script } => {
                let order = order(script);
                let single = single(&self.client, &self.project, &order, count);
                self.last = self.runtime.block_on(single)?;
                Ok(self
                    .last
                    .iter()
                    .map(|one| seconds(one.submitted, one.seen))
                    .collect())
            }
            Work::Many { count, script, .. } => {
                let order = order(script);
                let before = self.processor()?;
                // A watch begins with all there is: a project of its own keeps a round free of the rounds before.
                self.project = next(&self.project);
                let seconds =
                    self.runtime
                        .block_on(many(&self.client, &self.project, &order, count))?;
                let after = self.processor()?;
                let each = |used: f64| used * 1_000.0 / count as f64;
                self.processor = before
                    .iter()
                    .zip(after)
                    .map(|((_, before), (who, after))| (who, each(after - before)))
                    .collect();
                Ok(vec![seconds])
            }
            Work::Chain { length } => Ok(vec![self.runtime.block_on(chain(
                &self.client,
                &self.project,
                length,
            ))?]),
        }
    }

    fn parts(&mut self) -> Vec<(&'static str, f64)> {
        let part = |from: fn(&Moments) -> SystemTime, to: fn(&Moments) -> SystemTime| {
            let all: Vec<f64> = self
                .last
                .iter()
                .map(|one| seconds(from(one), to(one)) * 1_000.0)
                .collect();
            report::median(&all)
        };
        if self.last.is_empty() {
            return self.processor.clone();
        }
        vec![
            (
                "submitted to answered",
                part(|one| one.submitted, |one| one.answered),
            ),
            (
                "submitted to prepared",
                part(|one| one.submitted, |one| one.prepared),
            ),
            (
                "prepared to started",
                part(|one| one.prepared, |one| one.started),
            ),
            (
                "started to exited",
                part(|one| one.started, |one| one.exited),
            ),
            ("exited to seen", part(|one| one.exited, |one| one.seen)),
        ]
    }
}

/// From one moment to another; less than nothing if they came the other way round.
fn seconds(from: SystemTime, to: SystemTime) -> f64 {
    match to.duration_since(from) {
        Ok(time) => time.as_secs_f64(),
        Err(error) => -error.duration().as_secs_f64(),
    }
}

/// A moment that a finished attempt must have.
fn moment(time: Option<prost_types::Timestamp>) -> anyhow::Result<SystemTime> {
    let time = time.context("a finished attempt lacks a time")?;
    Ok(SystemTime::try_from(time)?)
}

/// The name of the project after this one.
fn next(project: &str) -> String {
    let stem = project.trim_end_matches(|digit: char| digit.is_ascii_digit());
    let number: u64 = project[stem.len()..].parse().unwrap_or(0);
    format!("{stem}{}", number + 1)
}

/// Submits an execution and watches it until it is complete, so many times.
async fn single(
    client: &Client,
    project: &str,
    order: &Order,
    count: usize,
) -> anyhow::Result<Vec<Moments>> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let submitted = SystemTime::now();
        let name = submit(client, project, order).await?;
        let answered = SystemTime::now();
        let mut watch = client.watch_executions(&name);
        let attempt = loop {
            if let ExecutionEvent::Execution(mut execution) = following(&mut watch).await?
                && finished(&execution)?
            {
                break execution.attempts.pop().context("no attempt")?;
            }
        };
        all.push(Moments {
            submitted,
            answered,
            prepared: moment(attempt.prepare_time)?,
            started: moment(attempt.start_time)?,
            exited: moment(attempt.exit_time)?,
            seen: SystemTime::now(),
        });
    }
    Ok(all)
}

/// Submits all, some at a time, while one watch sees them complete.
async fn many(client: &Client, project: &str, order: &Order, count: usize) -> anyhow::Result<f64> {
    let start = Instant::now();
    // The first is waited for: only then there is a project to watch.
    submit(client, project, order).await?;
    let mut watch = client.watch_executions(project);
    let submitter = {
        let (client, project, order) = (client.clone(), project.to_owned(), order.clone());
        tokio::spawn(async move {
            let mut flying = JoinSet::new();
            for _ in 1..count {
                if flying.len() >= IN_FLIGHT
                    && let Some(done) = flying.join_next().await
                {
                    done??;
                }
                let (client, project, order) = (client.clone(), project.clone(), order.clone());
                flying.spawn(async move { submit(&client, &project, &order).await });
            }
            while let Some(done) = flying.join_next().await {
                done??;
            }
            anyhow::Ok(())
        })
    };
    let mut complete = std::collections::BTreeSet::new();
    while complete.len() < count {
        if let ExecutionEvent::Execution(execution) = following(&mut watch).await?
            && finished(&execution)?
        {
            complete.insert(execution.name);
        }
    }
    submitter.await??;
    Ok(start.elapsed().as_secs_f64())
}

/// Submits a chain as one pipeline and watches it until it is complete.
async fn chain(client: &Client, project: &str, length: usize) -> anyhow::Result<f64> {
    let config = blueprint(length);
    let start = Instant::now();
    let answer = client
        .create_pipeline(api::CreatePipelineRequest {
            parent: project.to_owned(),
            config: config.into_bytes().into(),
            blueprint: "chain".to_owned(),
            ..Default::default()
        })
        .await?;
    let name = answer.pipeline.context("no pipeline in the answer")?.name;
    let mut watch = client.watch_pipelines(&name);
    loop {
        let PipelineEvent::Pipeline(pipeline) = following(&mut watch).await? else {
            continue;
        };
        match pipeline.state() {
            api::State::Complete => return Ok(start.elapsed().as_secs_f64()),
            api::State::Error | api::State::Stopped => {
                bail!("{} ended: {}", pipeline.name, pipeline.message)
            }
            _ => {}
        }
    }
}

/// The steps and a pipeline of so many nodes, an edge between each.
fn blueprint(length: usize) -> String {
    let mut text = format!("{STEPS}- pipeline:\n    name: chain\n    nodes:\n");
    for node in 0..length {
        let step = if node == 0 { "first" } else { "next" };
        text += &format!("      - {{name: n{node}, type: execution, step: {step}}}\n");
    }
    text += "    edges:\n";
    for node in 1..length {
        text += &format!(
            "      - [n{}.output.line.txt, n{node}.input.before]\n",
            node - 1
        );
    }
    text
}

/// Submits one trivial execution; tells its name.
async fn submit(client: &Client, project: &str, order: &Order) -> anyhow::Result<String> {
    let answer = client
        .create_execution(api::CreateExecutionRequest {
            parent: project.to_owned(),
            config: order.config.clone().into_bytes().into(),
            step: order.step.clone(),
            ..Default::default()
        })
        .await?;
    Ok(answer.execution.context("no execution in the answer")?.name)
}

/// The next event of a watch.
async fn following<T>(
    watch: &mut (impl Stream<Item = Result<T, client::Error>> + Unpin),
) -> anyhow::Result<T> {
    Ok(watch
        .next()
        .await
        .context("a watch ended before the work did")??)
}

/// Whether an execution is complete; an error if it ended otherwise, or without its log sealed.
fn finished(execution: &api::Execution) -> anyhow::Result<bool> {
    match execution.state() {
        api::State::Complete => {
            let sealed = execution
                .attempts
                .last()
                .is_some_and(|attempt| !attempt.log_digest.is_empty());
            ensure!(
                sealed,
                "{} is complete but its log is not sealed",
                execution.name
            );
            Ok(true)
        }
        api::State::Error | api::State::Stopped => {
            bail!("{} ended: {}", execution.name, execution.message)
        }
        _ => Ok(false),
    }
}
