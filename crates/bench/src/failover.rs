//! P9: the leader is killed under load; how long it takes until a write that was begun after the kill is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, sleep};

use crate::args;
use crate::contenders::group::{Group, Kind};
use crate::report::{Figure, median};
use crate::submit::quantile;
use crate::work::Unit;

const ROW: &str = "P9";

/// Writers that keep a group busy.
const LOAD: usize = 16;

/// How often each of them writes, at most: some 300 writes a second in all. Without a rest they would make millions of executions in the
/// time that it takes to kill a hundred leaders, and the row would say how long so many take to read back.
const PACE: Duration = Duration::from_millis(50);

/// How long a group has all its members before the next kill.
const CALM: Duration = Duration::from_millis(1_500);

pub(crate) fn run(arguments: &args::Failover) -> anyhow::Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut figures = Vec::new();
    for kind in arguments.contenders() {
        let times = runtime.block_on(kills(arguments, kind))?;
        for (what, value) in [
            ("p50", median(&times)),
            ("p99", quantile(&times, 0.99)),
            ("worst", quantile(&times, 1.0)),
        ] {
            let name = format!("{}: first write, {what}", kind.name());
            let mut figure = Figure::new(ROW, &name, Unit::Milliseconds);
            figure.rounds.push(value * 1_000.0);
            figures.push(figure);
        }
    }
    Ok(figures)
}

/// Seconds from each kill to the first write after it.
async fn kills(arguments: &args::Failover, kind: Kind) -> anyhow::Result<Vec<f64>> {
    let mut group = Group::start(&arguments.common, kind).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for lane in 0..LOAD {
        let writer = group.writer(&[lane % 3, (lane + 1) % 3, (lane + 2) % 3])?;
        let stop = Arc::clone(&stop);
        load.spawn(async move {
            let mut number = 0;
            let mut pace = tokio::time::interval(PACE);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !stop.load(Ordering::Relaxed) {
                pace.tick().await;
                number += 1;
                writer.write(&format!("load-{lane}-{number}")).await?;
            }
            anyhow::Ok(())
        });
    }
    let mut times = Vec::new();
    for number in 0..arguments.kills {
        sleep(CALM).await;
        let leader = group.leader().await?;
        // Whoever begins now does not know that the leader is gone: it is the first that it tries.
        let writer = group.writer(&[leader, (leader + 1) % 3, (leader + 2) % 3])?;
        writer.write(&format!("before-{number}")).await?;
        group.kill(leader);
        let killed = Instant::now();
        writer.write(&format!("after-{number}")).await?;
        times.push(killed.elapsed().as_secs_f64());
        group.revive(leader)?;
        group
            .writer(&[leader])?
            .write(&format!("back-{number}"))
            .await?;
        if number % 10 == 9 {
            eprintln!(
                "{ROW} {}: {} kills, median {:.0} ms",
                kind.name(),
                number + 1,
                median(&times) * 1_000.0
            );
        }
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = load.join_next().await {
        done??;
    }
    Ok(times)
}
