//! `resources`: what a step or an endpoint needs of a machine.

use crate::span::{Span, Spanned};
use crate::value::Number;

/// Needs, each of them optional.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// The whole item.
    pub span: Span,
    /// Virtual CPUs; fractions are usual.
    pub cpu: Option<Bounds>,
    /// Megabytes of memory.
    pub memory: Option<Bounds>,
    /// Devices by name (`nvidia.com/gpu`), at least 1 each. An empty list differs from none: it clears the defaults.
    pub devices: Option<Vec<(Spanned<String>, Spanned<Number>)>>,
    /// Megabytes of disk; endpoints only.
    pub ephemeral_storage: Option<Bounds>,
}

/// A least and a most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// The whole item.
    pub span: Span,
    /// What is asked for.
    pub min: Option<Spanned<Number>>,
    /// What may be used.
    pub max: Option<Spanned<Number>>,
}
