//! The table of ends.
