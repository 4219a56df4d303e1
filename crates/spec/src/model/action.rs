//! `actions` of a node: what to do when something happens to it.

use crate::reader::{Reader, texts};
use crate::span::{Span, Spanned};
use crate::yaml::Node;

/// When, if, then.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Action {
    /// The whole item.
    pub span: Span,
    /// Moments, in lower case: `node-starting`, `node-complete`, `node-error`.
    pub when: Vec<Spanned<String>>,
    /// Expressions that must all hold. None at all: always.
    pub conditions: Vec<Spanned<String>>,
    /// What to do: `stop-pipeline`, `error-pipeline`, `require-approval`, `noop`.
    pub then: Vec<Spanned<String>>,
}

impl Action {
    pub(crate) fn read(reader: &mut Reader, node: &Node) -> Action {
        let mut fields = reader.fields(node, "an action", &["when", "if", "then"]);
        let when = fields.required("when", texts);
        Action {
            span: fields.span(),
            when: when
                .into_iter()
                .map(|moment| moment.map(|moment| moment.to_lowercase()))
                .collect(),
            conditions: fields.optional("if", texts).unwrap_or_default(),
            then: fields.required("then", texts),
        }
    }
}
