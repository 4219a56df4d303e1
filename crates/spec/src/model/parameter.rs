//! `parameters`: the values a step is called with.

use crate::span::{Span, Spanned};
use crate::value::{Number, Value};

/// One parameter of a step, or of an override.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameter {
    /// The whole item.
    pub span: Span,
    /// Unique within the step.
    pub name: Spanned<String>,
    /// `type:`.
    pub kind: ParameterKind,
    /// As written; an explicit null is absent. See [`Parameter::default_value`].
    pub default: Option<Spanned<Value>>,
    /// Whether it may be left without a value. Flags always may.
    pub optional: bool,
    /// Smallest allowed value.
    pub min: Option<Spanned<Number>>,
    /// Largest allowed value.
    pub max: Option<Spanned<Number>>,
    /// Allowed values, as written; an empty list is absent. Of flags they mean nothing.
    pub choices: Option<Vec<Value>>,
    /// Template of the arguments. Empty counts as absent.
    pub pass_as: Option<Spanned<String>>,
    /// Template for a true flag; means nothing on other types.
    pub pass_true_as: Option<Spanned<String>>,
    /// Template for a false flag; means nothing on other types.
    pub pass_false_as: Option<Spanned<String>>,
    /// How several values are passed; `None`: there is only one.
    pub multiple: Option<Multiple>,
    /// What stands between the values of [`Multiple::Separate`]; never empty, `,` unless said.
    pub multiple_separator: String,
    /// For people.
    pub widget: Option<Widget>,
    /// For people.
    pub description: Option<String>,
    /// For people.
    pub category: Option<String>,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParameterKind {
    /// Passed or not passed.
    Flag,
    /// A number.
    Float,
    /// A whole number.
    Integer,
    /// Anything.
    #[default]
    String,
}

/// How a parameter with several values is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiple {
    /// The template once for each value.
    Repeat,
    /// The values joined by the separator.
    Separate,
}

/// How a user interface edits the parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Widget {
    /// In lower case: `sql`, `datumalias`, …
    pub kind: String,
    /// Free settings.
    pub settings: Vec<(Value, Value)>,
}

impl Parameter {
    /// The default that takes part in an execution: of a parameter with `multiple` it is always a list, so that a
    /// single value is wrapped and none at all is the empty list. [`Value::None`] means that there is none.
    pub fn default_value(&self) -> Value {
        let default = self.default.as_ref().map(|default| default.value.clone());
        match (self.multiple, default) {
            (None, default) => default.unwrap_or_default(),
            (Some(_), None) => Value::List(Vec::new()),
            (Some(_), Some(Value::List(items))) => Value::List(items),
            (Some(_), Some(single)) => Value::List(vec![single]),
        }
    }
}
