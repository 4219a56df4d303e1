//! `task`: a parameter sweep over a step.

use crate::diagnostic::Code;
use crate::reader::{Reader, boolean, choice, free_map, integer, list, number, text, words};
use crate::span::{Span, Spanned};
use crate::value::{Number, Value};
use crate::yaml::Node;

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

impl Task {
    pub(crate) fn read(reader: &mut Reader, node: &Node) -> Task {
        let mut fields = reader.fields(
            node,
            "a task",
            &[
                "name",
                "step",
                "type",
                "parameters",
                "parameter-sets",
                "execution-count",
                "execution-batch-size",
                "maximum-queued-executions",
                "on-child-error",
                "optimization-target-metric",
                "optimization-target-value",
                "engine",
                "stop-condition",
                "reuse-children",
                "description",
            ],
        );
        if node.get("parameters").is_none() && node.get("parameter-sets").is_none() {
            fields.missing("parameters` or `parameter-sets");
        }
        let sets = fields.list("parameter-sets", |reader, node| {
            Spanned::new(free_map(reader, node), node.span)
        });
        Task {
            span: fields.span(),
            name: fields.required("name", text),
            step: fields.required("step", text),
            kind: fields
                .optional("type", |reader, node| {
                    lenient_choice(reader, node, &TaskKind::ALL.map(|kind| (kind.word(), kind)))
                })
                .flatten()
                .unwrap_or_default(),
            parameters: fields.list("parameters", VariantParameter::read),
            parameter_sets: sets.into_iter().filter(|set| !set.is_empty()).collect(),
            execution_count: fields.optional("execution-count", integer),
            execution_batch_size: fields.optional("execution-batch-size", integer),
            maximum_queued_executions: fields.optional("maximum-queued-executions", integer),
            on_child_error: fields
                .optional("on-child-error", |reader, node| {
                    lenient_choice(
                        reader,
                        node,
                        &OnChildError::ALL.map(|action| (action.word(), action)),
                    )
                })
                .flatten(),
            optimization_target_metric: fields.optional("optimization-target-metric", text),
            optimization_target_value: fields.optional("optimization-target-value", number),
            engine: fields.optional("engine", text),
            stop_condition: fields.optional("stop-condition", text),
            reuse_children: fields.optional("reuse-children", boolean),
            description: fields.optional("description", words),
        }
    }
}

/// One of the words of a table, in any case, with `-` or `_`. An empty text is as good as none.
fn lenient_choice<T: Copy>(
    reader: &mut Reader,
    node: &Node,
    words: &[(&'static str, T)],
) -> Option<Spanned<T>> {
    let simple = |word: &str| word.to_lowercase().replace('-', "_");
    let text = text(reader, node);
    let found = words
        .iter()
        .find(|(word, _)| simple(word) == simple(&text))
        .map(|(_, value)| *value);
    if found.is_none() && !text.is_empty() {
        let hint = reader.suggest(&text, "it takes", words.iter().map(|(word, _)| *word));
        reader.error(
            Code::BadValue,
            node.span,
            format!("`{}` is not taken here", *text),
            hint,
        );
    }
    found.map(|value| Spanned::new(value, node.span))
}

impl TaskKind {
    const ALL: [TaskKind; 5] = [
        TaskKind::GridSearch,
        TaskKind::RandomSearch,
        TaskKind::BayesianTpe,
        TaskKind::ManualSearch,
        TaskKind::Distributed,
    ];
}

impl OnChildError {
    const ALL: [OnChildError; 3] = [
        OnChildError::ContinueAndComplete,
        OnChildError::ContinueAndError,
        OnChildError::StopAllAndError,
    ];
}

impl VariantParameter {
    fn read(reader: &mut Reader, node: &Node) -> VariantParameter {
        let mut fields = reader.fields(node, "a variant parameter", &["name", "style", "rules"]);
        VariantParameter {
            span: fields.span(),
            name: fields.required("name", text),
            style: fields.required("style", choice(&Style::WORDS)),
            rules: fields.required("rules", Rules::read),
        }
    }
}

impl Style {
    const WORDS: [(&str, Style); 5] = [
        ("linear", Style::Linear),
        ("logspace", Style::Logspace),
        ("multiple", Style::Multiple),
        ("random", Style::Random),
        ("single", Style::Single),
    ];
}

impl Rules {
    fn read(reader: &mut Reader, node: &Node) -> Rules {
        let mut fields = reader.fields(
            node,
            "`rules`",
            &[
                "base",
                "count",
                "end",
                "max",
                "min",
                "seed",
                "start",
                "step",
                "value",
                "distribution",
                "integerify",
                "numberify",
                "items",
            ],
        );
        Rules {
            span: fields.span(),
            base: fields.optional("base", number),
            count: fields.optional("count", number),
            end: fields.optional("end", number),
            max: fields.optional("max", number),
            min: fields.optional("min", number),
            seed: fields.optional("seed", number),
            start: fields.optional("start", number),
            step: fields.optional("step", number),
            value: fields.optional("value", number),
            distribution: fields.optional("distribution", text),
            integerify: fields.optional("integerify", boolean),
            numberify: fields.optional("numberify", boolean),
            items: fields.optional("items", list(variant)),
        }
    }
}

/// A value that a parameter may vary over.
fn variant(reader: &mut Reader, node: &Node) -> Spanned<Value> {
    let value = node.to_value();
    if !matches!(
        value,
        Value::Int(_) | Value::Float(_) | Value::Str(_) | Value::Bool(_)
    ) {
        reader.wrong_type(node, "a number, a string, true or false");
    }
    Spanned::new(value, node.span)
}
