//! The shoal binary.
