//! What people see: text that cannot harm a terminal, tables, sizes and times.

pub mod board;
pub mod escape;
pub mod table;
pub mod units;
