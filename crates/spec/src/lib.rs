//! valohai.yaml: parse, validate with line and column, interpolate, expand to a graph.
//!
//! Invariants: `spec` touches nothing outside: text goes in, values and words for people come out. Every map that
//! decides an order keeps the order of the file.

// The values everything speaks of.
pub mod span;
pub mod value;

// What a file says.
pub mod model;

pub use span::{Span, Spanned};
pub use value::{Number, Value};
