//! What people see: text that cannot harm a terminal, tables, sizes and times.

pub mod board;
pub mod escape;
pub mod keys;
pub(crate) mod live;
pub mod metadata;
pub mod table;
pub mod units;

use std::io::Write as _;

use console::style;

/// Writes something beside the result to standard error, whole lines of it. On a terminal the word before the first colon
/// of `error: `, `warning: `, `note: ` and `hint: ` stands out.
pub fn tell(text: &str) {
    let painted: String = text.split_inclusive('\n').map(paint).collect();
    // There is nobody left to tell when standard error is closed.
    drop(std::io::stderr().write_all(painted.as_bytes()));
}

/// One line with its first word in its colour; console knows of terminals and NO_COLOR.
fn paint(line: &str) -> String {
    let start = line.len() - line.trim_start().len();
    let (indent, text) = line.split_at(start);
    let Some((word, rest)) = text.split_once(": ") else {
        return line.to_owned();
    };
    let painted = match word {
        "error" => style(word).red().bold(),
        "warning" => style(word).yellow().bold(),
        "note" | "hint" | "reason" => style(word).cyan(),
        _ => return line.to_owned(),
    };
    format!("{indent}{}: {rest}", painted.for_stderr())
}
