//! Text as Python would write it and read it.
//!
//! The format was defined by a Python program, and its users see Python's text: `0.00001` is passed as `1e-05`,
//! a true flag as `True`, and `pass-as` is a template of `str.format_map`. This module is that text, and nothing
//! else: no values of the format are decided here.

pub mod number;
pub mod text;

pub mod format;
mod format_spec;

pub mod compare;

pub use format::{FormatError, format_template};
pub use text::{quote, quote_all, repr, split, str};
