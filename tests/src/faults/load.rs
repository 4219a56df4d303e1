//! Full load for a long time while nothing is broken: nobody calls an election, and everything comes to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use client::{Client, ExecutionEvent};
use contract::api;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

use super::storage::client_of;
use super::workload::calls;
use super::{Fleet, Settings};

const PROJECT: &str = "load";

/// Some tens of milliseconds of a processor, then lines, then an end: what keeps two cores busy for an hour and the cluster with them,
/// and leaves a number of executions that fits into memory.
const CONFIG: &str = "- step:\n    name: busy\n    image: busybox\n    command:\n      \
    - i=0; while [ $i -lt 15000 ]; do i=$((i+1)); done\n      - seq 1 20\n";

/// Executions under way at once; more than all workers run.
const LANES: usize = 48;

/// Workers. Each runs as many programs at once as the machine has cores: together twice what it can.
const WORKERS: usize = 2;

/// How often the term is asked for.
const LOOK: Duration = Duration::from_secs(1);

/// How long it is told that all goes well.
const TELL: Duration = Duration::from_secs(60);

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// For how long.
    pub lasts: Duration,
    /// How many coordinators there are.
    pub coordinators: usize,
    /// Chance.
    pub seed: u64,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Executions that were made and came to their end.
    pub completed: u64,
    /// Elections that nobody asked for.
    pub elections: u64,
    /// Resident memory of every coordinator at the end, in MiB.
    pub memory_mib: Vec<u64>,
    /// Idle processor time of the machine meanwhile, in percent; none where the system does not tell.
    pub idle_percent: Option<f64>,
    /// What was promised and does not hold, in words.
    pub violations: Vec<String>,
}

/// Loads a cluster.
///
/// # Errors
/// When the cluster cannot be started.
pub async fn run(load: Load, mut tell: impl FnMut(&str)) -> anyhow::Result<Seen> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let mut fleet = Fleet::start(Settings {
        name: "load".to_owned(),
        coordinators: load.coordinators,
        workers: WORKERS,
        slots: cores,
        lost_after: 60.0,
        forgets: None,
        set_clocks: false,
        snapshot_entries: None,
    })
    .await?;
    let client = client_of(&fleet.addresses());
    let stop = Arc::new(AtomicBool::new(false));
    let completed = Arc::new(AtomicU64::new(0));
    let mut lanes = JoinSet::new();
    for at in 0..LANES {
        let mut addresses = fleet.addresses();
        let turn = at % addresses.len();
        addresses.rotate_left(turn);
        let chance = ChaCha8Rng::seed_from_u64(load.seed ^ ((at as u64) << 32));
        let lane = lane(
            client_of(&addresses),
            chance,
            Arc::clone(&stop),
            Arc::clone(&completed),
        );
        lanes.spawn(lane);
    }
    let mut seen = Seen::default();
    let (start, before) = (Instant::now(), processor_times());
    let mut told = Instant::now();
    let mut term = standing(&client).await?.0;
    let mut looks = tokio::time::interval(LOOK);
    while start.elapsed() < load.lasts {
        looks.tick().await;
        let (now, leader) = standing(&client).await?;
        if now != term {
            seen.elections += 1;
            let at = start.elapsed().as_secs();
            seen.violations.push(format!(
                "P9: after {at} s the term went from {term} to {now} and {leader} leads, though nothing was broken"
            ));
            term = now;
        }
        if told.elapsed() > TELL {
            told = Instant::now();
            tell(&format!(
                "{} s: {} executions, term {term}",
                start.elapsed().as_secs(),
                completed.load(Ordering::Relaxed)
            ));
        }
    }
    seen.idle_percent = before.zip(processor_times()).map(idle_percent);
    stop.store(true, Ordering::Relaxed);
    while let Some(lane) = lanes.join_next().await {
        if let Err(error) = lane? {
            seen.violations.push(format!("I-08: {error:#}"));
        }
    }
    seen.completed = completed.load(Ordering::Relaxed);
    for at in 0..fleet.size() {
        let process = fleet.coordinator(at).process();
        seen.memory_mib.extend(process.and_then(resident_mib));
    }
    if !seen.violations.is_empty() {
        fleet.place.keep();
    }
    Ok(seen)
}

/// One execution after the other, each seen to its end.
async fn lane(
    client: Client,
    mut chance: ChaCha8Rng,
    stop: Arc<AtomicBool>,
    completed: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let id = calls::request_id(&mut chance);
        let request = calls::creation(PROJECT, CONFIG, "busy", &id);
        let made = calls::create(&client, request).await?;
        let mut watch = client.watch_executions(&made.name);
        loop {
            let event = watch.next().await.context("a watch ends too soon")??;
            if let ExecutionEvent::Execution(execution) = event
                && calls::is_final(execution.state())
            {
                anyhow::ensure!(
                    execution.state() == api::State::Complete && execution.attempts.len() == 1,
                    "{} is {:?} after {} attempts",
                    made.name,
                    execution.state(),
                    execution.attempts.len()
                );
                break;
            }
        }
        completed.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// The term, and who leads.
async fn standing(client: &Client) -> anyhow::Result<(i64, String)> {
    let answer = client.get_cluster(api::GetClusterRequest {}).await?;
    let cluster = answer.cluster.unwrap_or_default();
    let leads = |member: &&api::Member| member.member_id == cluster.leader_id;
    let leader = cluster.members.iter().find(leads);
    let leader = leader.map_or("nobody", |leader| &leader.address);
    Ok((cluster.term, leader.to_owned()))
}

/// Processor time of the machine so far: idle, and all; in the kernel's ticks (proc(5), `/proc/stat`).
fn processor_times() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().next()?;
    let times: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        // Those of guests are counted in the first two already.
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    Some((*times.get(3)?, times.iter().sum()))
}

fn idle_percent((before, after): ((u64, u64), (u64, u64))) -> f64 {
    let all = after.1.saturating_sub(before.1).max(1);
    100.0 * after.0.saturating_sub(before.0) as f64 / all as f64
}

/// Resident memory of a process.
fn resident_mib(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1_024)
}
