//! `environment-variables`: what is set in the process of a step.

use crate::span::{Span, Spanned};

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
