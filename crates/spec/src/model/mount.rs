//! `mounts`: directories of the host inside a step.

use crate::span::{Span, Spanned};
use crate::value::Value;

/// One mount.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mount {
    /// The whole item.
    pub span: Span,
    /// What is mounted.
    pub source: Spanned<String>,
    /// Where it appears; absolute.
    pub destination: Spanned<String>,
    /// Whether the step may write there.
    pub readonly: bool,
    /// Kind of file system, in lower case (`nfs`).
    pub kind: Option<Spanned<String>>,
    /// Free options of that kind; null ones are dropped.
    pub options: Vec<(Value, Value)>,
}
