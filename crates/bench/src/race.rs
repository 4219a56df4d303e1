//! Rounds of the same work, each contender in turn, so that a noisy minute falls on all of them.

use anyhow::Context as _;

use crate::args;
use crate::contenders::{self, Contender};
use crate::report::Figure;
use crate::work::{Unit, Work};

/// Runs the rounds of a row and tells each contender's figures: the floor's first, then Shoal's, then the peers'.
pub(crate) fn run(
    row: &'static str,
    arguments: &args::Race,
    work: Work,
) -> anyhow::Result<Vec<Figure>> {
    let mut contenders = contenders::all(arguments, work)?;
    rounds(row, &mut contenders, arguments.common.rounds, work)
}

/// Runs so many rounds of these contenders, in their order.
pub(crate) fn rounds(
    row: &'static str,
    contenders: &mut [Box<dyn Contender>],
    rounds: usize,
    work: Work,
) -> anyhow::Result<Vec<Figure>> {
    let mut figures: Vec<Figure> = contenders
        .iter()
        .map(|contender| Figure::new(row, contender.name(), work.unit()))
        .collect();
    let mut parts: Vec<Figure> = Vec::new();
    // The first round warms everything up and is not counted.
    for round in 0..=rounds {
        for (contender, figure) in contenders.iter_mut().zip(&mut figures) {
            let value = time(contender.as_mut(), work)?;
            let (name, unit) = (contender.name(), work.unit().text());
            eprintln!("{row} round {round}: {name} {value:.3} {unit}");
            if round == 0 {
                continue;
            }
            figure.rounds.push(value);
            for (part, value) in contender.parts() {
                let name = format!("{}: {part}", contender.name());
                match parts.iter_mut().find(|figure| figure.name == name) {
                    Some(figure) => figure.rounds.push(value),
                    None => {
                        let mut figure = Figure::new(row, &name, Unit::Milliseconds);
                        figure.rounds.push(value);
                        parts.push(figure);
                    }
                }
            }
        }
    }
    figures.append(&mut parts);
    Ok(figures)
}

fn time(contender: &mut dyn Contender, work: Work) -> anyhow::Result<f64> {
    let seconds = contender
        .round(work)
        .with_context(|| contender.name().to_owned())?;
    anyhow::ensure!(!seconds.is_empty(), "{} measured nothing", contender.name());
    Ok(work.figure(&seconds))
}
