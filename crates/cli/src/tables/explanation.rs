//! Why an execution waits.

use contract::api;

use super::cell;
use crate::print::units;

/// Where it stands, then a line for each worker with what speaks for and against it.
pub(crate) fn explanation(number: i64, explained: &api::ExplainExecutionResponse) -> String {
    let activity = match explained.activity.as_str() {
        "" => String::new(),
        activity => format!(", {activity}"),
    };
    let standing = format!("{}{activity}", explained.standing);
    let mut text = format!("#{number} is {}\n", cell(&standing));
    for verdict in &explained.workers {
        let fits = verdict.requirements.iter().all(|one| one.met);
        let name = cell(verdict.worker.trim_start_matches("workers/"));
        let answer = if fits {
            "can take it"
        } else {
            "cannot take it now"
        };
        text += &format!("\n  worker {name} {answer}\n");
        for one in &verdict.requirements {
            let mark = if one.met { "yes" } else { " no" };
            text += &format!("    {mark}  {}\n", cell(&one.detail));
        }
        if verdict.input_bytes > 0 {
            let bytes = units::size(verdict.input_bytes as u64);
            text += &format!("         has {bytes} of its inputs\n");
        }
    }
    text
}
