//! valohai.yaml: parse, validate with line and column, interpolate, expand to a graph.
//!
//! Invariants: `spec` touches nothing outside: text goes in, values and words for people come out. Every map that
//! decides an order keeps the order of the file.

// The values everything speaks of.
pub mod span;
pub mod value;

// From bytes to what a file says, or to all that is wrong with it.
mod parse;

pub mod diagnostic;
pub mod nearest;

pub mod yaml;

mod reader;

pub mod model;

mod lint;

// The small languages inside of it.
pub mod duration;
pub mod expression;
pub mod glob;
pub mod python;

// What a step runs with.
pub mod command;
pub mod confinement;
pub mod plan;
pub mod variants;

// As messages.
pub mod wire;

pub use diagnostic::{Code, Diagnostic, Severity, render};
pub use parse::{Parsed, parse, parse_value};
pub use span::{Span, Spanned};
pub use value::{Number, Value};
