//! P5: writes through the API of three members, one at a time and many in flight, beside what one sync of this disk costs.

use std::time::Instant;

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::args;
use crate::contenders::group::{Group, Writer};
use crate::contenders::{Contender as _, cluster, floor};
use crate::report::{Figure, median};
use crate::work::{Script, Unit, Work};

const ROW: &str = "P5";

pub(crate) fn run(arguments: &args::Submit) -> anyhow::Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Writers are made outside of what is timed, and a connection wants to know its runtime.
    let _entered = runtime.enter();
    let mut sync = floor::Sync::new(cluster::scratch(&arguments.common)?)?;
    let kinds = arguments.contenders();
    let mut groups = Vec::new();
    for kind in &kinds {
        groups.push(runtime.block_on(Group::start(&arguments.common, *kind))?);
    }
    let mut figures = vec![Figure::new(ROW, sync.name(), Unit::Milliseconds)];
    for kind in &kinds {
        let name = |what: &str| format!("{}: {what}", kind.name());
        figures.push(Figure::new(ROW, &name("one at a time"), Unit::Milliseconds));
        figures.push(Figure::new(ROW, &name("p99"), Unit::Milliseconds));
        let many = name(&format!("{} in flight", arguments.in_flight));
        figures.push(Figure::new(ROW, &many, Unit::WritesEachSecond));
    }
    // The first round warms everything up and is not counted.
    for round in 0..=arguments.common.rounds {
        let floor = sync.round(Work::Single {
            count: arguments.count,
            script: Script::Builtin,
        })?;
        let mut values = vec![median(&floor) * 1_000.0];
        for group in &groups {
            // As a user's client does: it knows all members, and follows the leader if there is a difference.
            let writer = group.writer(&[0, 1, 2])?;
            let (one, many) = runtime.block_on(async {
                let one = single(&writer, round, arguments.count).await?;
                let many = many(&writer, round, arguments.many, arguments.in_flight).await?;
                anyhow::Ok((one, many))
            })?;
            values.extend([median(&one) * 1_000.0, quantile(&one, 0.99) * 1_000.0, many]);
        }
        eprintln!("{ROW} round {round}: {values:.2?}");
        if round > 0 {
            for (figure, value) in figures.iter_mut().zip(values) {
                figure.rounds.push(value);
            }
        }
    }
    Ok(figures)
}

/// Seconds of each of so many writes, one after the other.
async fn single(writer: &Writer, round: usize, count: usize) -> anyhow::Result<Vec<f64>> {
    let mut all = Vec::with_capacity(count);
    for number in 0..count {
        let start = Instant::now();
        writer.write(&format!("one-{round}-{number}")).await?;
        all.push(start.elapsed().as_secs_f64());
    }
    Ok(all)
}

/// Writes a second, with so many in flight all the time.
async fn many(
    writer: &Writer,
    round: usize,
    count: usize,
    in_flight: usize,
) -> anyhow::Result<f64> {
    ensure!(count >= in_flight, "there are fewer writes than in flight");
    let start = Instant::now();
    let mut flying = JoinSet::new();
    for lane in 0..in_flight {
        let writer = writer.clone();
        flying.spawn(async move {
            for number in (lane..count).step_by(in_flight) {
                writer.write(&format!("many-{round}-{number}")).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = flying.join_next().await {
        done??;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// The number that so great a part of all are not above; not a number if there are none.
pub(crate) fn quantile(numbers: &[f64], part: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted
        .get(at.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let numbers: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&numbers, 0.5), 50.0);
        assert_eq!(quantile(&numbers, 0.99), 99.0);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
