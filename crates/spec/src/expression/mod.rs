//! The small language of `stop-condition` and of an action's `if`: `metadata.accuracy >= 0.9 and not failed`.
//!
//! It is the expression part of Python with limits, as the platform reads it:
//! - names, with dots and (unlike Python) with dashes: `metadata.val-loss` is one name. So is `a-1`; write `a - 1` to
//!   subtract. Words that Python reserves, such as `if` or `class`, are names too;
//! - numbers, strings, `None`, `True`, `False`, tuples, sets;
//! - `and`, `or`, `not`; *one* comparison; `+ - * / //`; `abs`, `min`, `max`;
//! - at most [`MAX_DEPTH`] levels, at most [`MAX_LENGTH`] characters.
//!
//! Typing is weak: where an operation does not fit its operands they are taken as floats, so that a metadata value
//! `"0.9"` compares with `.8`. A name without a value stops the evaluation, except under `not` and beside `is`, where
//! it counts as `None`: a condition over metadata that was never printed does not hold.
//!
//! [`check`] is what the linter asks; [`Expression::parse`] and [`Expression::holds`] are what happens at run time.

mod token;

mod parse;

mod evaluate;
mod operate;

use thiserror::Error;

pub use evaluate::EvaluateError;

use crate::value::Value;
use operate::Operator;
use token::Dashes;

/// How many levels an expression may have; one of them is the expression itself.
pub const MAX_DEPTH: usize = 8;

/// How many characters an expression may have.
pub const MAX_LENGTH: usize = 100_000;

/// An expression that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    root: Term,
}

/// Why a text is not an expression, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// What is wrong, in words for people.
    pub message: String,
    /// Line within the text, from 1.
    pub line: usize,
    /// Column within the line, from 1, in characters.
    pub column: usize,
}

impl Expression {
    /// Reads an expression as it is evaluated at run time: dashes may be part of names.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        Ok(Self {
            root: parse::parse(text, Dashes::JoinNames)?,
        })
    }

    /// Whether the expression is true in a universe that gives each dotted name its value.
    pub fn holds(&self, universe: &dyn Fn(&str) -> Option<Value>) -> Result<bool, EvaluateError> {
        evaluate::evaluate(&self.root, universe).map(|value| value.is_truthy())
    }
}

/// Whether the linter takes the text, whatever the names in it may stand for.
pub fn check(text: &str) -> Result<(), ExpressionError> {
    // The reference lints without joining names. All that is refused there is refused here and the other way round.
    parse::parse(text, Dashes::Subtract).map(|_| ())
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
enum Term {
    Constant(Value),
    /// Dotted.
    Name(String),
    Not(Box<Term>),
    Negative(Box<Term>),
    Positive(Box<Term>),
    Binary(Operator, Box<Term>, Box<Term>),
    /// All of them, from the left, until one is false.
    And(Vec<Term>),
    /// Any of them, from the left, until one is true.
    Or(Vec<Term>),
    Call(String, Vec<Term>),
    Tuple(Vec<Term>),
    Set(Vec<Term>),
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
