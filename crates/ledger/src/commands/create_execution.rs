//! Creates an execution: it waits for a worker at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::ledger as pb;

use super::priority;
use super::request::{self, Seen};
use crate::launch::{self, Labels};
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};

pub(super) fn apply(
    ledger: &mut Ledger,
    command: &pb::CreateExecution,
) -> Result<Outcome, Refused> {
    let key = match request::look_up(ledger, command.request.as_ref())? {
        Seen::Before(outcome) => return Ok(outcome),
        Seen::Never(key) => key,
    };
    if command.project.is_empty() {
        return Err(malformed("project is empty"));
    }
    let priority = priority(ledger, command.priority)?;
    let template = command
        .template
        .clone()
        .ok_or_else(|| malformed("template is missing"))?;
    let mine = launch::Own {
        project: &command.project,
        template: Arc::new(template),
        source: command.source.clone(),
    };
    let ready = launch::prepare(ledger, mine, BTreeMap::new(), false)?;
    let annotations =
        (!command.annotations.is_empty()).then(|| Arc::new(command.annotations.clone()));
    let project = ledger.found_project(&command.project);
    let labels = Labels {
        pipeline: 0,
        node: Arc::default(),
        title: Arc::from(command.title.as_str()),
        annotations,
        priority,
    };
    let number = launch::create(ledger, &project, ready, labels);
    request::remember(ledger, key, Outcome::Execution { project, number })
}
