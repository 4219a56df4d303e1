//! `shoal cluster audit`: who changed what and who was denied, and whether that is still what was written.

use std::path::Path;

use serde_json::{Value, json};

use super::Context;
use crate::{Exit, Failure};

/// Shows the audit trail of a coordinator. Done when nothing was changed in it, failed otherwise.
pub(super) fn show(context: &Context, data_dir: &Path) -> Result<Exit, Failure> {
    let dir = context.current.join(data_dir);
    let mut events = Vec::new();
    let found = node::coordinator::read_audit(&dir, |line| {
        // A line whose chain is good is one that was written as JSON.
        events.extend(serde_json::from_str::<Value>(line));
    })
    .map_err(|fault| Failure::new(fault.to_string()))?;
    context.print(
        || {
            json!({
                "valid": found.damage.is_empty(),
                "lines": found.lines,
                "head": found.head,
                "damage": found.damage,
                "unfinished": found.unfinished,
                "events": events,
            })
        },
        || {
            let mut text: String = events.iter().filter_map(row).collect();
            for end in &found.unfinished {
                text += &format!("{end}: a crash cut it off\n");
            }
            for damage in &found.damage {
                text += &format!("CHANGED: {damage}\n");
            }
            let verdict = match found.damage.is_empty() {
                true => "nothing was changed in them",
                false => "and they are not what was written",
            };
            text + &format!("{} lines, {verdict}; head {}\n", found.lines, found.head)
        },
    )?;
    Ok(match found.damage.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

/// A line for people; none for what only holds files together.
fn row(event: &Value) -> Option<String> {
    let field = |name: &str| event[name].as_str().unwrap_or_default();
    if field("event") == "begin" {
        return None;
    }
    let what = [
        "event",
        "outcome",
        "principal",
        "source",
        "method",
        "object",
        "message",
    ];
    let what = what.map(field);
    let what: Vec<&str> = what.into_iter().filter(|part| !part.is_empty()).collect();
    Some(format!("{}  {}\n", field("time"), what.join("  ")))
}
