//! `parameters`: the values a step is called with.

use crate::diagnostic::Code;
use crate::reader::{Reader, anything, boolean, choice, free_map, list, number, text, words};
use crate::span::{Span, Spanned};
use crate::value::{Number, Value};
use crate::yaml::{Data, Node};

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
#[derive(Clone, Debug, Default, PartialEq)]
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

impl Parameter {
    pub(crate) fn read(reader: &mut Reader, node: &Node) -> Parameter {
        let mut fields = reader.fields(
            node,
            "a parameter",
            &[
                "name",
                "type",
                "default",
                "optional",
                "min",
                "max",
                "choices",
                "pass-as",
                "pass-true-as",
                "pass-false-as",
                "multiple",
                "multiple-separator",
                "widget",
                "description",
                "category",
            ],
        );
        let separator = fields
            .optional("multiple-separator", words)
            .filter(|separator| !separator.is_empty());
        let parameter = Parameter {
            span: fields.span(),
            name: fields.required("name", text),
            kind: fields
                .optional("type", choice(&ParameterKind::WORDS))
                .map(|kind| kind.value)
                .unwrap_or_default(),
            default: fields
                .optional("default", anything)
                .filter(|default| default.value != Value::None),
            optional: fields
                .optional("optional", boolean)
                .is_some_and(|optional| *optional),
            min: fields.optional("min", number),
            max: fields.optional("max", number),
            choices: fields
                .optional("choices", list(|_, node| node.to_value()))
                .filter(|choices| !choices.is_empty()),
            pass_as: fields.optional("pass-as", text),
            pass_true_as: fields.optional("pass-true-as", text),
            pass_false_as: fields.optional("pass-false-as", text),
            multiple: fields
                .optional("multiple", choice(&Multiple::WORDS))
                .and_then(|multiple| multiple.value),
            multiple_separator: separator.unwrap_or_else(|| ",".to_owned()),
            widget: fields.optional("widget", Widget::read),
            description: fields.optional("description", words),
            category: fields.optional("category", words),
        };
        if parameter.kind == ParameterKind::Flag
            && parameter.multiple.is_some()
            && let Some(span) = fields.key_span("multiple")
        {
            fields.reader().error(
                Code::Conflict,
                span,
                "a flag cannot have several values",
                None,
            );
        }
        parameter
    }
}

impl ParameterKind {
    const WORDS: [(&str, ParameterKind); 4] = [
        ("flag", ParameterKind::Flag),
        ("float", ParameterKind::Float),
        ("integer", ParameterKind::Integer),
        ("string", ParameterKind::String),
    ];
}

impl Multiple {
    const WORDS: [(&str, Option<Multiple>); 3] = [
        ("none", None),
        ("repeat", Some(Multiple::Repeat)),
        ("separate", Some(Multiple::Separate)),
    ];
}

impl Widget {
    /// A word, or a map that may have more than is known here.
    fn read(reader: &mut Reader, node: &Node) -> Widget {
        if let Data::Scalar(Value::Str(kind)) = &node.data {
            return Widget {
                kind: kind.to_lowercase(),
                settings: Vec::new(),
            };
        }
        if !matches!(node.data, Data::Map(_)) {
            reader.wrong_type(node, "a string or a map with `type`");
            return Widget::default();
        }
        let mut fields = reader.free_fields(node, "a widget");
        Widget {
            kind: fields.required("type", text).to_lowercase(),
            settings: fields.optional("settings", free_map).unwrap_or_default(),
        }
    }
}
