//! A worker's mind: desired against actual.
