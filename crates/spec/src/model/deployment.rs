//! `deployment`: what to create a deployment with that does not exist yet.

use crate::span::{Span, Spanned};
use crate::value::Value;

/// Defaults for a deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deployment {
    /// The whole item.
    pub span: Span,
    /// Its name.
    pub name: Spanned<String>,
    /// Free settings; `target` is the one that creation needs.
    pub defaults: Vec<(Value, Value)>,
}
