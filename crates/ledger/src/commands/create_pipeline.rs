//! Creates a pipeline and starts the nodes that wait for nothing.

use std::sync::Arc;

use contract::api::{EndReason, State};
use contract::ledger as pb;

use super::priority;
use super::request::{self, Seen};
use crate::ids;
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};
use crate::records::{Blueprint, Node, Pipeline};
use crate::{edges, launch, pipeline};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::CreatePipeline) -> Result<Outcome, Refused> {
    let key = match request::look_up(ledger, command.request.as_ref())? {
        Seen::Before(outcome) => return Ok(outcome),
        Seen::Never(key) => key,
    };
    if command.project.is_empty() {
        return Err(malformed("project is empty"));
    }
    let priority = priority(ledger, command.priority)?;
    let plan = command
        .plan
        .as_ref()
        .ok_or_else(|| malformed("plan is missing"))?;
    if plan.nodes.is_empty() {
        return Err(malformed("plan has no nodes"));
    }
    let blueprint = Blueprint::new(plan).map_err(malformed)?;
    edges::check(&blueprint).map_err(malformed)?;
    for node in &blueprint.nodes {
        launch::check_data(ledger, &command.project, &node.template)?;
    }

    let project = ledger.found_project(&command.project);
    let number = ledger
        .project(&project)
        .map_or(0, |project| project.pipeline_count())
        + 1;
    let title = match command.title.as_str() {
        "" => plan.name.as_str(),
        title => title,
    };
    let pipeline_id = ledger.derive(ids::Kind::Pipeline);
    ledger.insert_pipeline(Pipeline {
        project: project.clone(),
        number,
        pipeline_id,
        state: State::Started,
        end_reason: EndReason::Unspecified,
        message: String::new(),
        create_time_ms: ledger.time_ms,
        end_time_ms: 0,
        nodes: blueprint.nodes.iter().map(|_| Node::created()).collect(),
        open: blueprint.nodes.len(),
        blueprint: Arc::new(blueprint),
        source: command.source.clone(),
        title: Arc::from(title),
        annotations: Arc::new(command.annotations.clone()),
        revision: ledger.revision,
        ending: None,
        priority,
    });
    pipeline::begin(ledger, &project, number);
    request::remember(ledger, key, Outcome::Pipeline { project, number })
}
