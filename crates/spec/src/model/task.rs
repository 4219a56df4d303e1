//! `task`: a parameter sweep over a step.

use crate::span::{Span, Spanned};
use crate::value::{Number, Value};

/// The blueprint of a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Task {
    /// The whole item.
    pub span: Span,
    /// Free text.
    pub name: Spanned<String>,
    /// Name of the step; it need not be in the file.
    pub step: Spanned<String>,
    /// How the variants are made.
    pub kind: Spanned<TaskKind>,
    /// Values to vary.
    pub parameters: Vec<VariantParameter>,
    /// Ready sets of values; empty ones are dropped.
    pub parameter_sets: Vec<Spanned<Vec<(Value, Value)>>>,
    /// How many executions in all.
    pub execution_count: Option<Spanned<i128>>,
    /// How many executions a round.
    pub execution_batch_size: Option<Spanned<i128>>,
    /// How many executions at once.
    pub maximum_queued_executions: Option<Spanned<i128>>,
    /// What the failure of an execution means for the task.
    pub on_child_error: Option<Spanned<OnChildError>>,
    /// Metadata key to optimise.
    pub optimization_target_metric: Option<Spanned<String>>,
    /// Value of it to come close to.
    pub optimization_target_value: Option<Spanned<Number>>,
    /// Optimiser: `optuna`, `hyperopt`, ….
    pub engine: Option<Spanned<String>>,
    /// Expression over the executions' metadata that ends the task.
    pub stop_condition: Option<Spanned<String>>,
    /// Whether earlier equal executions may stand in for new ones. Absent: not said, which means no.
    pub reuse_children: Option<Spanned<bool>>,
    /// For people.
    pub description: Option<String>,
}

/// How the variants of a task are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskKind {
    /// Every combination.
    #[default]
    GridSearch,
    /// Draws.
    RandomSearch,
    /// Rounds that learn from the earlier ones.
    BayesianTpe,
    /// The sets that are given.
    ManualSearch,
    /// One group that runs together.
    Distributed,
}

/// What the failure of one execution means for its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnChildError {
    /// Nothing.
    ContinueAndComplete,
    /// The task fails after the others have run.
    ContinueAndError,
    /// The others are stopped and the task fails.
    StopAllAndError,
}

/// A parameter that varies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VariantParameter {
    /// The whole item.
    pub span: Span,
    /// Name of the step's parameter.
    pub name: Spanned<String>,
    /// How its values are made.
    pub style: Spanned<Style>,
    /// From what.
    pub rules: Rules,
}

/// How the values of a variant parameter are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// From start to end by step.
    Linear,
    /// Powers of the base.
    Logspace,
    /// The items.
    Multiple,
    /// Draws between min and max.
    Random,
    /// One value.
    #[default]
    Single,
}

/// What variants are made from; which of it counts depends on the [`Style`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// The whole item.
    pub span: Span,
    /// Base of the powers; 10 unless said.
    pub base: Option<Spanned<Number>>,
    /// How many values.
    pub count: Option<Spanned<Number>>,
    /// Last value, or exponent.
    pub end: Option<Spanned<Number>>,
    /// Largest draw.
    pub max: Option<Spanned<Number>>,
    /// Smallest draw.
    pub min: Option<Spanned<Number>>,
    /// Seed of the draws.
    pub seed: Option<Spanned<Number>>,
    /// First value, or exponent.
    pub start: Option<Spanned<Number>>,
    /// Distance of the values.
    pub step: Option<Spanned<Number>>,
    /// The only value.
    pub value: Option<Spanned<Number>>,
    /// Of the draws: `uniform`, ….
    pub distribution: Option<Spanned<String>>,
    /// Whether values are rounded to whole numbers.
    pub integerify: Option<Spanned<bool>>,
    /// Whether numeric text becomes numbers.
    pub numberify: Option<Spanned<bool>>,
    /// The values: numbers, strings, booleans.
    pub items: Option<Vec<Spanned<Value>>>,
}

impl TaskKind {
    /// The word of the format, in its usual spelling.
    pub fn word(self) -> &'static str {
        match self {
            TaskKind::GridSearch => "grid_search",
            TaskKind::RandomSearch => "random_search",
            TaskKind::BayesianTpe => "bayesian_tpe",
            TaskKind::ManualSearch => "manual_search",
            TaskKind::Distributed => "distributed",
        }
    }
}

impl OnChildError {
    /// The word of the format, in its usual spelling.
    pub fn word(self) -> &'static str {
        match self {
            OnChildError::ContinueAndComplete => "continue-and-complete",
            OnChildError::ContinueAndError => "continue-and-error",
            OnChildError::StopAllAndError => "stop-all-and-error",
        }
    }
}

impl Style {
    /// The word of the format.
    pub fn word(self) -> &'static str {
        match self {
            Style::Linear => "linear",
            Style::Logspace => "logspace",
            Style::Multiple => "multiple",
            Style::Random => "random",
            Style::Single => "single",
        }
    }
}
