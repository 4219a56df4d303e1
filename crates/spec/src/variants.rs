//! The parameter sets of a task.
//!
//! The format leaves open how values are made; what is chosen here:
//! - `linear` counts from `start` by `step` (1 unless said) up to and including `end`, give or take a billionth of a step;
//! - `logspace` has `count` points from `base^start` to `base^end`, both included; `min` and `max` may stand for `start`
//!   and `end`;
//! - `random` draws evenly from `min` up to `max`, from a generator that `seed` decides (0 unless said), the same everywhere;
//! - `integerify` rounds to the nearest whole number, halves to the even one; `numberify` makes numbers of numeric text;
//! - a grid varies its last parameter fastest;
//! - a manual search without sets takes its parameters side by side, as long as the longest; the shorter ones leave their
//!   parameters out of the later sets.

use thiserror::Error;

use crate::command::Values;
use crate::model::{Rules, Style, Task, TaskKind, VariantParameter};
use crate::python::number::{parse_float, parse_int};
use crate::python::str;
use crate::span::Spanned;
use crate::value::{Number, Value};

/// How many sets a task may have.
pub const MAX_SETS: usize = 10_000;

/// Why a task has no parameter sets.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VariantError {
    /// A rule that the style needs is absent.
    #[error("the parameter `{parameter}` of style `{style}` needs the rule `{rule}`")]
    MissingRule {
        /// Whose rules they are.
        parameter: String,
        /// Its style.
        style: &'static str,
        /// What is absent.
        rule: &'static str,
    },
    /// Rules that make no values.
    #[error("the parameter `{0}` has a range that leads nowhere: check `start`, `end` and `step`")]
    EmptyRange(String),
    /// A distribution that is not known.
    #[error("the parameter `{0}` has an unknown distribution; `uniform` is known")]
    UnknownDistribution(String),
    /// More than [`MAX_SETS`].
    #[error("the task has more than {MAX_SETS} executions")]
    TooMany,
    /// A search needs to know how many.
    #[error("the task needs `execution-count`")]
    NoCount,
    /// Every round is made from the results of the earlier ones.
    #[error("a Bayesian search has no sets before its results")]
    Adaptive,
}

/// The values of each execution of the task, in the order in which they are created. Parameters that are not in a set keep
/// the step's defaults.
///
/// # Errors
/// Rules that make no values, or too many.
pub fn parameter_sets(task: &Task) -> Result<Vec<Values>, VariantError> {
    match *task.kind {
        TaskKind::BayesianTpe => Err(VariantError::Adaptive),
        TaskKind::ManualSearch if !task.parameter_sets.is_empty() => {
            let sets = task.parameter_sets.iter();
            limited(
                sets.map(|set| {
                    set.iter()
                        .map(|(name, value)| (str(name), value.clone()))
                        .collect()
                })
                .collect(),
            )
        }
        TaskKind::ManualSearch => side_by_side(&columns(task, None)?),
        TaskKind::RandomSearch => {
            let count = count(task).ok_or(VariantError::NoCount)?;
            if task.parameters.is_empty() {
                return copies(count);
            }
            side_by_side(&columns(task, Some(count))?)
        }
        TaskKind::Distributed if task.parameters.is_empty() => copies(count(task).unwrap_or(1)),
        TaskKind::GridSearch | TaskKind::Distributed => grid(&columns(task, None)?),
    }
}

/// A parameter and all its values.
type Column<'t> = (&'t str, Vec<Value>);

fn count(task: &Task) -> Option<usize> {
    let count = task.execution_count.as_ref()?;
    usize::try_from(count.value).ok()
}

/// So many sets that all keep the step's defaults.
fn copies(count: usize) -> Result<Vec<Values>, VariantError> {
    limited(vec![Values::new(); count.min(MAX_SETS + 1)])
}

fn limited(sets: Vec<Values>) -> Result<Vec<Values>, VariantError> {
    if sets.len() > MAX_SETS {
        Err(VariantError::TooMany)
    } else {
        Ok(sets)
    }
}

/// The values of every parameter. With `draws`, everything is drawn that often.
fn columns(task: &Task, draws: Option<usize>) -> Result<Vec<Column<'_>>, VariantError> {
    let mut columns = Vec::new();
    for (index, parameter) in task.parameters.iter().enumerate() {
        let mut generator = Generator::new(parameter, index);
        let values = match (draws, *parameter.style) {
            (Some(draws), Style::Random) => random(parameter, draws, &mut generator)?,
            (Some(draws), _) => {
                let values = values(parameter, &mut generator)?;
                let pick = |_| values[(generator.next() % values.len() as u64) as usize].clone();
                if values.is_empty() {
                    Vec::new()
                } else {
                    (0..draws.min(MAX_SETS + 1)).map(pick).collect()
                }
            }
            (None, _) => values(parameter, &mut generator)?,
        };
        if values.len() > MAX_SETS {
            return Err(VariantError::TooMany);
        }
        columns.push((parameter.name.value.as_str(), values));
    }
    Ok(columns)
}

/// Every combination.
fn grid(columns: &[Column<'_>]) -> Result<Vec<Values>, VariantError> {
    let total = columns.iter().try_fold(1_usize, |total, (_, values)| {
        total.checked_mul(values.len())
    });
    if total.is_none_or(|total| total > MAX_SETS) {
        return Err(VariantError::TooMany);
    }
    let mut sets = vec![Values::new()];
    for (name, values) in columns {
        let with = |set: &Values, value: &Value| {
            let mut set = set.clone();
            set.insert((*name).to_owned(), value.clone());
            set
        };
        sets = sets
            .iter()
            .flat_map(|set| values.iter().map(move |value| with(set, value)))
            .collect();
    }
    Ok(sets)
}

/// The first values of all, the second ones, …
fn side_by_side(columns: &[Column<'_>]) -> Result<Vec<Values>, VariantError> {
    let longest = columns
        .iter()
        .map(|(_, values)| values.len())
        .max()
        .unwrap_or_default();
    let set = |index: usize| {
        let values = columns
            .iter()
            .filter_map(|(name, values)| Some((*name, values.get(index)?)));
        values
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect()
    };
    limited((0..longest).map(set).collect())
}

/// The values that the style makes of the rules.
fn values(
    parameter: &VariantParameter,
    generator: &mut Generator,
) -> Result<Vec<Value>, VariantError> {
    let rules = &parameter.rules;
    match *parameter.style {
        Style::Single => Ok(vec![finish(
            rules,
            need(parameter, "value", &rules.value)?.into(),
        )]),
        Style::Multiple => {
            let items = rules
                .items
                .as_ref()
                .ok_or_else(|| missing(parameter, "items"))?;
            Ok(items
                .iter()
                .map(|item| finish(rules, item.value.clone()))
                .collect())
        }
        Style::Linear => linear(parameter),
        Style::Logspace => logspace(parameter),
        Style::Random => {
            let draws = need(parameter, "count", &rules.count)?.as_f64().max(0.0) as usize;
            random(parameter, draws, generator)
        }
    }
}

fn missing(parameter: &VariantParameter, rule: &'static str) -> VariantError {
    VariantError::MissingRule {
        parameter: parameter.name.value.clone(),
        style: parameter.style.word(),
        rule,
    }
}

fn need(
    parameter: &VariantParameter,
    name: &'static str,
    rule: &Option<Spanned<Number>>,
) -> Result<Number, VariantError> {
    rule.as_ref()
        .map(|rule| rule.value)
        .ok_or_else(|| missing(parameter, name))
}

fn linear(parameter: &VariantParameter) -> Result<Vec<Value>, VariantError> {
    let rules = &parameter.rules;
    let start = need(parameter, "start", &rules.start)?;
    let end = need(parameter, "end", &rules.end)?.as_f64();
    let step = rules
        .step
        .as_ref()
        .map_or(Number::Int(1), |step| step.value);
    let steps = (end - start.as_f64()) / step.as_f64();
    if !steps.is_finite() || steps < 0.0 {
        return Err(VariantError::EmptyRange(parameter.name.value.clone()));
    }
    if steps > MAX_SETS as f64 {
        return Err(VariantError::TooMany);
    }
    let value = |index: i128| match (start, step) {
        (Number::Int(start), Number::Int(step)) => {
            Value::Int(start.saturating_add(index.saturating_mul(step)))
        }
        (start, step) => Value::Float(start.as_f64() + index as f64 * step.as_f64()),
    };
    Ok((0..=(steps + 1e-9) as i128)
        .map(|index| finish(rules, value(index)))
        .collect())
}

fn logspace(parameter: &VariantParameter) -> Result<Vec<Value>, VariantError> {
    let rules = &parameter.rules;
    let either = |one: &Option<Spanned<Number>>, other: &Option<Spanned<Number>>| {
        one.clone().or_else(|| other.clone())
    };
    let start = need(parameter, "start", &either(&rules.start, &rules.min))?.as_f64();
    let end = need(parameter, "end", &either(&rules.end, &rules.max))?.as_f64();
    let count = need(parameter, "count", &rules.count)?.as_f64();
    let base = rules.base.as_ref().map_or(10.0, |base| base.value.as_f64());
    if count > MAX_SETS as f64 {
        return Err(VariantError::TooMany);
    }
    let count = count.max(0.0) as usize;
    let distance = if count > 1 {
        (end - start) / (count - 1) as f64
    } else {
        0.0
    };
    let point = |index: usize| Value::Float(base.powf(start + index as f64 * distance));
    Ok((0..count)
        .map(|index| finish(rules, point(index)))
        .collect())
}

fn random(
    parameter: &VariantParameter,
    draws: usize,
    generator: &mut Generator,
) -> Result<Vec<Value>, VariantError> {
    let rules = &parameter.rules;
    if rules
        .distribution
        .as_ref()
        .is_some_and(|distribution| distribution.value != "uniform")
    {
        return Err(VariantError::UnknownDistribution(
            parameter.name.value.clone(),
        ));
    }
    let min = need(parameter, "min", &rules.min)?.as_f64();
    let max = need(parameter, "max", &rules.max)?.as_f64();
    let draw = |_| {
        finish(
            rules,
            Value::Float(min + generator.fraction() * (max - min)),
        )
    };
    Ok((0..draws.min(MAX_SETS + 1)).map(draw).collect())
}

/// `numberify` and `integerify`.
fn finish(rules: &Rules, value: Value) -> Value {
    let is_on = |rule: &Option<Spanned<bool>>| rule.as_ref().is_some_and(|rule| rule.value);
    let value = match &value {
        Value::Str(text) if is_on(&rules.numberify) => {
            let int = parse_int(text).map(Value::Int);
            int.or_else(|| parse_float(text).map(Value::Float))
                .unwrap_or(value)
        }
        _ => value,
    };
    match value {
        Value::Float(float) if is_on(&rules.integerify) && float.abs() < 1e38 => {
            Value::Int(float.round_ties_even() as i128)
        }
        other => other,
    }
}

/// A small generator (splitmix64), the same on every machine.
struct Generator {
    state: u64,
}

impl Generator {
    /// Parameters of one seed draw apart from each other.
    fn new(parameter: &VariantParameter, index: usize) -> Self {
        let seed = parameter
            .rules
            .seed
            .as_ref()
            .map_or(0.0, |seed| seed.value.as_f64());
        Self {
            state: seed.to_bits() ^ (index as u64).wrapping_mul(0xd1b5_4a32_d192_ed03),
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, but not including, 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::python::repr;

    fn sets(task: &str) -> Result<Vec<Values>, VariantError> {
        let text = format!(
            "- step: {{name: s, image: i, command: c}}\n- task: {{name: t, step: s, {task}}}\n"
        );
        let parsed = crate::parse(text.as_bytes());
        let diagnostics = parsed.diagnostics;
        parameter_sets(
            &parsed
                .config
                .unwrap_or_else(|| panic!("{diagnostics:?}"))
                .tasks[0],
        )
    }

    fn check(task: &str, expected: Expect) {
        let shown = match sets(task) {
            Ok(sets) => sets
                .iter()
                .map(|set| {
                    set.iter()
                        .map(|(name, value)| format!("{name}={}", repr(value)))
                        .collect::<Vec<_>>()
                })
                .map(|set| format!("- {}\n", set.join(" ")))
                .collect(),
            Err(error) => format!("error: {error}\n"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn a_grid_is_every_combination() {
        check(
            "parameters: [{name: a, style: multiple, rules: {items: [x, '2', true], numberify: true}}, {name: b, style: linear, rules: {start: 0, end: 1, step: 0.5}}]",
            expect![[r#"
                - a='x' b=0.0
                - a='x' b=0.5
                - a='x' b=1.0
                - a=2 b=0.0
                - a=2 b=0.5
                - a=2 b=1.0
                - a=True b=0.0
                - a=True b=0.5
                - a=True b=1.0
            "#]],
        );
        check(
            "parameters: [{name: a, style: single, rules: {value: 3}}]",
            expect![[r#"
                - a=3
            "#]],
        );
        check(
            "parameters: []",
            expect![[r#"
                - 
            "#]],
        );
    }

    #[test]
    fn ranges_include_their_ends() {
        let one = |style: &str, rules: &str| {
            format!("parameters: [{{name: a, style: {style}, rules: {{{rules}}}}}]")
        };
        check(
            &one("linear", "start: 1, end: 7, step: 3"),
            expect![[r#"
                - a=1
                - a=4
                - a=7
            "#]],
        );
        check(
            &one("linear", "start: 0.1, end: 0.3, step: 0.1"),
            expect![[r#"
                - a=0.1
                - a=0.2
                - a=0.30000000000000004
            "#]],
        );
        check(
            &one("linear", "start: 3, end: 1, step: -1"),
            expect![[r#"
                - a=3
                - a=2
                - a=1
            "#]],
        );
        check(
            &one("logspace", "start: -3, end: -1, count: 3"),
            expect![[r#"
                - a=0.001
                - a=0.01
                - a=0.1
            "#]],
        );
        check(
            &one(
                "logspace",
                "min: 0, max: 4, count: 3, base: 2, integerify: true",
            ),
            expect![[r#"
                - a=1
                - a=4
                - a=16
            "#]],
        );
        check(
            &one("linear", "start: 1, end: 2, step: 0"),
            expect![[r#"
            error: the parameter `a` has a range that leads nowhere: check `start`, `end` and `step`
        "#]],
        );
        check(
            &one("linear", "start: 1, end: 2, step: -1"),
            expect![[r#"
            error: the parameter `a` has a range that leads nowhere: check `start`, `end` and `step`
        "#]],
        );
        check(
            &one("linear", "start: 1, end: 1000000"),
            expect![[r#"
            error: the task has more than 10000 executions
        "#]],
        );
        check(
            &one("linear", "end: 1"),
            expect![[r#"
            error: the parameter `a` of style `linear` needs the rule `start`
        "#]],
        );
        check(
            &one("random", "min: 0, max: 1, count: 2, distribution: normal"),
            expect![[r#"
            error: the parameter `a` has an unknown distribution; `uniform` is known
        "#]],
        );
    }

    #[test]
    fn searches() {
        check(
            "type: manual_search, parameter-sets: [{a: 1, b: x}, {}, {a: 2.5}]",
            expect![[r#"
                - a=1 b='x'
                - a=2.5
            "#]],
        );
        check(
            "type: manual_search, parameters: [{name: a, style: multiple, rules: {items: [1, 2]}}, {name: b, style: multiple, rules: {items: [x]}}]",
            expect![[r#"
                - a=1 b='x'
                - a=2
            "#]],
        );
        check(
            "type: distributed, parameters: [], execution-count: 2",
            expect![[r#"
                - 
                - 
            "#]],
        );
        check(
            "type: bayesian_tpe, parameters: []",
            expect![[r#"
            error: a Bayesian search has no sets before its results
        "#]],
        );
        check(
            "type: random_search, parameters: [], execution-count: 2",
            expect![[r#"
                - 
                - 
            "#]],
        );
        check(
            "type: random_search, parameters: []",
            expect![[r#"
            error: the task needs `execution-count`
        "#]],
        );
    }

    #[test]
    fn draws_are_in_range_and_the_same_every_time() {
        let task = "type: random_search, execution-count: 50, parameters: [{name: a, style: random, rules: {min: 2, max: 3, seed: 7}}, {name: b, style: random, rules: {min: 0, max: 9, integerify: true}}, {name: c, style: multiple, rules: {items: [x, y]}}]";
        let first = sets(task).unwrap();
        assert_eq!(first.len(), 50);
        assert_eq!(first, sets(task).unwrap());
        assert_ne!(first, sets(&task.replace("seed: 7", "seed: 8")).unwrap());
        for set in &first {
            assert!(
                matches!(set["a"], Value::Float(float) if (2.0..3.0).contains(&float)),
                "{set:?}"
            );
            assert!(
                matches!(set["b"], Value::Int(int) if (0..=9).contains(&int)),
                "{set:?}"
            );
        }
        assert!(first.iter().any(|set| set["c"] != first[0]["c"]));
    }
}
