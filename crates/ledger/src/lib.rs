//! The replicated truth: one transition function.
