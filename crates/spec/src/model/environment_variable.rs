//! `environment-variables`: what is set in the process of a step.

use crate::reader::{Reader, boolean, text, words};
use crate::span::{Span, Spanned};
use crate::yaml::Node;

/// One variable of a step, or of an override.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvironmentVariable {
    /// The whole item.
    pub span: Span,
    /// Its name.
    pub name: Spanned<String>,
    /// Its value unless another is given.
    pub default: Option<Spanned<String>>,
    /// Whether the execution may start without a value. True unless said: the only such default of the format.
    pub optional: bool,
    /// For people.
    pub description: Option<String>,
}

impl EnvironmentVariable {
    pub(crate) fn read(reader: &mut Reader, node: &Node) -> EnvironmentVariable {
        let known = ["name", "default", "description", "optional"];
        let mut fields = reader.fields(node, "an environment variable", &known);
        EnvironmentVariable {
            span: fields.span(),
            name: fields.required("name", text),
            default: fields.optional("default", text),
            optional: fields
                .optional("optional", boolean)
                .is_none_or(|optional| *optional),
            description: fields.optional("description", words),
        }
    }
}
