//! `actions` of a node: what to do when something happens to it.

use crate::span::{Span, Spanned};

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
