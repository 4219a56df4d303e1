//! How a node that ended moves its pipeline, in the same step in which it ended.
//!
//! A node starts when every node before it has completed, or failed with `on-error: continue` (I-09). A node that failed
//! ends the pipeline (`stop-all`), has its descendants skipped (`stop-next`) or runs again (`retry`, at most
//! [`RETRY_LIMIT`] times, then as `stop-all`). A node that was stopped has its descendants skipped.
//!
//! A pipeline that ends goes through STOPPING while executions of it are with workers. By itself it ends when all its
//! nodes have: as ERROR when one failed and mattered, as STOPPED when one was stopped, else as COMPLETE.

mod ending;

use std::collections::VecDeque;
use std::sync::Arc;

use contract::api::{EndReason, State};
use contract::ledger::OnError;

pub(crate) use ending::End;
use ending::{conclude, end_now, failure};

use crate::actions::{self, Moment, Universe};
use crate::edges;
use crate::launch::{self, Labels, Own, Ready};
use crate::ledger::Ledger;
use crate::records::{Node, Pipeline};

/// How often a node with `on-error: retry` is run again.
pub const RETRY_LIMIT: u32 = 2;

/// Names a pipeline.
#[derive(Clone, Copy)]
struct Name<'a> {
    project: &'a Arc<str>,
    number: i64,
}

impl Name<'_> {
    fn of<'l>(&self, ledger: &'l Ledger) -> Option<&'l Pipeline> {
        ledger.pipeline(self.project, self.number)
    }

    fn update_node(&self, ledger: &mut Ledger, node: usize, change: impl FnOnce(&mut Node)) {
        ledger.update_node(self.project, self.number, node, change);
    }
}

/// Starts the nodes of a new pipeline that wait for nothing.
pub(crate) fn begin(ledger: &mut Ledger, project: &Arc<str>, number: i64) {
    let name = Name { project, number };
    let Some(pipeline) = name.of(ledger) else {
        return;
    };
    let nodes = &pipeline.blueprint.nodes;
    let first: Vec<usize> = (0..nodes.len())
        .filter(|node| nodes[*node].incoming.is_empty())
        .collect();
    let mut ended = VecDeque::new();
    for node in first {
        start(ledger, name, node, &mut ended);
    }
    settle(ledger, name, ended);
}

/// Follows an execution that changed: its node stands where it does, and when it ended, the pipeline moves on.
pub(crate) fn follow(ledger: &mut Ledger, project: &Arc<str>, number: i64) {
    let Some(execution) = ledger
        .execution(project, number)
        .filter(|execution| execution.pipeline != 0)
    else {
        return;
    };
    let name = Name {
        project,
        number: execution.pipeline,
    };
    let Some(pipeline) = name.of(ledger) else {
        return;
    };
    let Some(node) = pipeline.blueprint.position(&execution.node) else {
        return;
    };
    let Some(known) = pipeline
        .nodes
        .get(node)
        .filter(|known| known.execution == number)
    else {
        return;
    };
    if known.is_final() {
        return;
    }
    let ended = execution.is_final();
    if known.state != execution.state() || known.message != execution.message {
        mirror(ledger, name, node, number);
    }
    if ended {
        settle(ledger, name, VecDeque::from([node]));
    }
}

/// Ends a pipeline: nothing starts any more, what runs is asked to stop.
pub(crate) fn end(ledger: &mut Ledger, project: &Arc<str>, number: i64, end: End) {
    let name = Name { project, number };
    end_now(ledger, name, end);
    settle(ledger, name, VecDeque::new());
}

/// Lets a node stand where its execution does.
fn mirror(ledger: &mut Ledger, name: Name<'_>, node: usize, execution: i64) {
    let Some(execution) = ledger.execution(name.project, execution) else {
        return;
    };
    let (state, reason, message) = (
        execution.state(),
        execution.end_reason,
        execution.message.clone(),
    );
    name.update_node(ledger, node, |node| {
        node.state = state;
        node.end_reason = reason;
        node.message = message;
    });
}

/// Moves the pipeline on after nodes ended, until nothing follows any more.
fn settle(ledger: &mut Ledger, name: Name<'_>, mut ended: VecDeque<usize>) {
    while let Some(node) = ended.pop_front() {
        let Some(pipeline) = name.of(ledger) else {
            return;
        };
        if pipeline.ending.is_some() {
            break;
        }
        match pipeline.nodes.get(node).map(|node| node.state) {
            Some(State::Complete) => completed(ledger, name, node, &mut ended),
            Some(State::Error) => failed(ledger, name, node, &mut ended),
            Some(State::Stopped) => skip_next(ledger, name, node, &mut ended),
            _ => {}
        }
    }
    conclude(ledger, name);
}

fn completed(ledger: &mut Ledger, name: Name<'_>, node: usize, ended: &mut VecDeque<usize>) {
    match effect_of_end(ledger, name, node, Moment::Complete) {
        Some(end) => end_now(ledger, name, end),
        None => start_next(ledger, name, node, ended),
    }
}

fn failed(ledger: &mut Ledger, name: Name<'_>, node: usize, ended: &mut VecDeque<usize>) {
    let Some(pipeline) = name.of(ledger) else {
        return;
    };
    let (Some(planned), Some(known)) =
        (pipeline.blueprint.nodes.get(node), pipeline.nodes.get(node))
    else {
        return;
    };
    let on_error = planned.on_error;
    // A node that could not even start would fail in the same way again.
    if on_error == OnError::Retry && known.execution != 0 && known.retries < RETRY_LIMIT {
        name.update_node(ledger, node, |node| node.retries += 1);
        return start(ledger, name, node, ended);
    }
    if let Some(end) = effect_of_end(ledger, name, node, Moment::Error) {
        return end_now(ledger, name, end);
    }
    match on_error {
        OnError::Continue => start_next(ledger, name, node, ended),
        OnError::StopNext => skip_next(ledger, name, node, ended),
        OnError::Unspecified | OnError::StopAll | OnError::Retry => {
            let end = failure(ledger, name, node);
            end_now(ledger, name, end);
        }
    }
}

/// What the actions of a node that ended do to the pipeline.
fn effect_of_end(ledger: &Ledger, name: Name<'_>, node: usize, moment: Moment) -> Option<End> {
    let pipeline = name.of(ledger)?;
    let planned = pipeline
        .blueprint
        .nodes
        .get(node)
        .filter(|planned| !planned.actions.is_empty())?;
    let execution = ledger.execution(name.project, pipeline.nodes.get(node)?.execution);
    let universe = execution.map(Universe::ended);
    let effect = actions::fired(&planned.actions, moment, universe.as_ref())?;
    Some(End::by_action(effect, &planned.name))
}

/// Starts every node that waited for this one last.
fn start_next(ledger: &mut Ledger, name: Name<'_>, node: usize, ended: &mut VecDeque<usize>) {
    for next in next_of(ledger, name, node) {
        let Some(pipeline) = name.of(ledger).filter(|pipeline| pipeline.ending.is_none()) else {
            return;
        };
        let waits = pipeline
            .nodes
            .get(next)
            .is_some_and(|node| node.state == State::Created);
        if waits
            && pipeline
                .blueprint
                .sources(next)
                .all(|source| is_satisfied(pipeline, source))
        {
            start(ledger, name, next, ended);
        }
    }
}

/// Skips every node after this one that still waits; theirs follow.
fn skip_next(ledger: &mut Ledger, name: Name<'_>, node: usize, ended: &mut VecDeque<usize>) {
    let Some(pipeline) = name.of(ledger) else {
        return;
    };
    let (Some(planned), Some(known)) =
        (pipeline.blueprint.nodes.get(node), pipeline.nodes.get(node))
    else {
        return;
    };
    let (what, reason) = match (known.skipped, known.state) {
        (true, _) => ("was skipped", known.end_reason),
        (false, State::Error) => ("failed", EndReason::UpstreamFailed),
        (false, _) => ("was stopped", known.end_reason),
    };
    let message = format!("node {} {what}", planned.name);
    for next in next_of(ledger, name, node) {
        let waits = name
            .of(ledger)
            .and_then(|pipeline| pipeline.nodes.get(next));
        if waits.is_some_and(|node| node.state == State::Created) {
            skip(ledger, name, next, reason, &message);
            ended.push_back(next);
        }
    }
}

fn next_of(ledger: &Ledger, name: Name<'_>, node: usize) -> Vec<usize> {
    let pipeline = name.of(ledger);
    let planned = pipeline.and_then(|pipeline| pipeline.blueprint.nodes.get(node));
    planned
        .map(|planned| planned.next.clone())
        .unwrap_or_default()
}

/// Whether what comes after a node may start.
fn is_satisfied(pipeline: &Pipeline, node: usize) -> bool {
    let (Some(planned), Some(known)) =
        (pipeline.blueprint.nodes.get(node), pipeline.nodes.get(node))
    else {
        return false;
    };
    match known.state {
        State::Complete => true,
        State::Error => planned.on_error == OnError::Continue,
        _ => false,
    }
}

fn skip(ledger: &mut Ledger, name: Name<'_>, node: usize, reason: EndReason, message: &str) {
    name.update_node(ledger, node, |node| {
        node.state = State::Stopped;
        node.end_reason = reason;
        node.skipped = true;
        node.message = message.to_owned();
    });
}

/// Starts a node: its execution comes to be, or it has failed. Once the pipeline ends, nothing starts any more.
fn start(ledger: &mut Ledger, name: Name<'_>, node: usize, ended: &mut VecDeque<usize>) {
    let Some(pipeline) = name.of(ledger).filter(|pipeline| pipeline.ending.is_none()) else {
        return;
    };
    let Some(planned) = pipeline.blueprint.nodes.get(node) else {
        return;
    };
    let ready = edges::bring(ledger, pipeline, node).and_then(|(template, brought)| {
        let own = Own {
            project: name.project,
            template,
            source: pipeline.source.clone(),
        };
        launch::prepare(ledger, own, brought, planned.edge_append)
    });
    let ready: Ready = match ready {
        Ok(ready) => ready,
        Err(error) => {
            name.update_node(ledger, node, |node| {
                node.state = State::Error;
                node.end_reason = error.reason();
                node.message = error.to_string();
            });
            ended.push_back(node);
            return;
        }
    };
    let universe = Universe::starting(&ready.recipe);
    if let Some(effect) = actions::fired(&planned.actions, Moment::Starting, Some(&universe)) {
        let end = End::by_action(effect, &planned.name);
        return end_now(ledger, name, end);
    }
    let priority = name.of(ledger).map_or(0, |pipeline| pipeline.priority);
    let labels = Labels {
        pipeline: name.number,
        node: planned.name.clone(),
        title: Arc::default(),
        annotations: None,
        priority,
    };
    let execution = launch::create(ledger, name.project, ready, labels);
    name.update_node(ledger, node, |node| {
        node.state = State::Queued;
        node.execution = execution;
        node.end_reason = EndReason::Unspecified;
        node.message = String::new();
    });
}
