//! Rounds of the same work, each contender in turn, so that a noisy minute falls on all of them.

use anyhow::Context as _;

use crate::args;
use crate::contenders::{self, Contender};
use crate::report::Figure;
use crate::work::Work;

/// Runs the rounds of a row and tells each contender's figures: the floor's first, then Shoal's, then the peers'.
pub(crate) fn run(
    row: &'static str,
    arguments: &args::Race,
    work: Work,
) -> anyhow::Result<Vec<Figure>> {
    let mut contenders = contenders::all(arguments, work)?;
    let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    // The first round warms everything up and is not counted.
    for round in 0..=arguments.common.rounds {
        for (contender, figures) in contenders.iter_mut().zip(&mut rounds) {
            let figure = time(contender.as_mut(), work)?;
            eprintln!(
                "{row} round {round}: {} {figure:.3} {}",
                contender.name(),
                work.unit().text()
            );
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    let named = contenders
        .iter()
        .map(|contender| contender.name().to_owned());
    Ok(named
        .zip(rounds)
        .map(|(name, rounds)| Figure {
            row,
            name,
            unit: work.unit(),
            rounds,
        })
        .collect())
}

fn time(contender: &mut dyn Contender, work: Work) -> anyhow::Result<f64> {
    let seconds = contender
        .round(work)
        .with_context(|| contender.name().to_owned())?;
    anyhow::ensure!(!seconds.is_empty(), "{} measured nothing", contender.name());
    Ok(work.figure(&seconds))
}
