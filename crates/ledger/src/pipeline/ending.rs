//! How a pipeline ends: before its time, or because all its nodes have.

use contract::api::{EndReason, State};

use super::{Name, is_satisfied, mirror, skip};
use crate::actions::Effect;
use crate::attempts;
use crate::ledger::Ledger;
use crate::records::Pipeline;

/// How a pipeline ends before all its nodes have.
pub(crate) struct End {
    /// Its final state.
    state: State,
    reason: EndReason,
    message: String,
}

impl End {
    /// The reason with which everything else of the pipeline ends.
    fn reason_of_others(&self) -> EndReason {
        match self.reason {
            reason @ (EndReason::Cancelled | EndReason::Action) => reason,
            _ => EndReason::NodeFailed,
        }
    }

    pub(crate) fn cancelled() -> Self {
        Self {
            state: State::Stopped,
            reason: EndReason::Cancelled,
            message: "cancelled".to_owned(),
        }
    }

    pub(super) fn by_action(effect: Effect, node: &str) -> Self {
        Self {
            state: match effect {
                Effect::Stop => State::Stopped,
                Effect::Error => State::Error,
            },
            reason: EndReason::Action,
            message: format!("an action of node {node}"),
        }
    }
}

/// Ends a pipeline before its time: nothing starts any more, what runs is asked to stop.
pub(super) fn end_now(ledger: &mut Ledger, name: Name<'_>, end: End) {
    let Some(pipeline) = name
        .of(ledger)
        .filter(|pipeline| !pipeline.is_final() && pipeline.ending.is_none())
    else {
        return;
    };
    let open: Vec<(usize, i64)> = pipeline
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| !node.is_final())
        .map(|(position, node)| (position, node.execution))
        .collect();
    ledger.update_pipeline(name.project, name.number, |pipeline| {
        pipeline.state = State::Stopping;
        pipeline.ending = Some(end.state);
        pipeline.end_reason = end.reason;
        pipeline.message.clone_from(&end.message);
    });
    let (others, message) = (
        end.reason_of_others(),
        format!("the pipeline ended: {}", end.message),
    );
    for (position, execution) in open {
        if execution == 0 {
            skip(ledger, name, position, others, &message);
            continue;
        }
        attempts::stop(ledger, name.project, execution, others, &message);
        mirror(ledger, name, position, execution);
    }
}

/// How a pipeline ends by the failure of a node.
pub(super) fn failure(ledger: &Ledger, name: Name<'_>, node: usize) -> End {
    let pipeline = name.of(ledger);
    let known = pipeline.and_then(|pipeline| pipeline.nodes.get(node));
    let planned = pipeline.and_then(|pipeline| pipeline.blueprint.nodes.get(node));
    let node = planned.map(|planned| &*planned.name).unwrap_or_default();
    let message = match known
        .map(|known| known.message.as_str())
        .unwrap_or_default()
    {
        "" => format!("node {node} failed"),
        message => format!("node {node} failed: {message}"),
    };
    let reason = match known {
        // Its execution tells more; without one, this is all there is.
        Some(known) if known.execution == 0 => known.end_reason,
        _ => EndReason::NodeFailed,
    };
    End {
        state: State::Error,
        reason,
        message,
    }
}

/// Ends the pipeline once all its nodes have.
pub(super) fn conclude(ledger: &mut Ledger, name: Name<'_>) {
    let Some(pipeline) = name
        .of(ledger)
        .filter(|pipeline| pipeline.open == 0 && !pipeline.is_final())
    else {
        return;
    };
    let end = match pipeline.ending {
        Some(state) => End {
            state,
            reason: pipeline.end_reason,
            message: pipeline.message.clone(),
        },
        None => natural_end(ledger, name, pipeline),
    };
    let now = ledger.time_ms;
    ledger.update_pipeline(name.project, name.number, |pipeline| {
        pipeline.state = end.state;
        pipeline.end_reason = end.reason;
        pipeline.message = end.message;
        pipeline.end_time_ms = now;
        pipeline.ending = None;
    });
}

/// How a pipeline ends whose nodes all went their way.
fn natural_end(ledger: &Ledger, name: Name<'_>, pipeline: &Pipeline) -> End {
    let nodes = || pipeline.nodes.iter().enumerate();
    let failed =
        nodes().find(|(at, node)| node.state == State::Error && !is_satisfied(pipeline, *at));
    if let Some((node, _)) = failed {
        return failure(ledger, name, node);
    }
    if let Some((node, _)) = nodes().find(|(_, node)| node.state == State::Stopped && !node.skipped)
    {
        let planned = &pipeline.blueprint.nodes[node];
        return End {
            state: State::Stopped,
            reason: pipeline.nodes[node].end_reason,
            message: format!("node {} was stopped", planned.name),
        };
    }
    End {
        state: State::Complete,
        reason: EndReason::Unspecified,
        message: String::new(),
    }
}
