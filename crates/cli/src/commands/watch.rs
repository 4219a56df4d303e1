//! Watching a pipeline or an execution to its end: a live board on a terminal, plain lines elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use client::{ExecutionEvent, LogEvent, LogStart, PipelineEvent};
use contract::api::{self, LogStream, State};
use futures::{Stream, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Context, tables};
use crate::connect::Connection;
use crate::print::board::Board;
use crate::print::escape;
use crate::{Exit, Failure, json};

/// What was watched, at its end.
struct Watched {
    board: Board,
    /// Executions by their names.
    executions: BTreeMap<String, api::Execution>,
    /// Executions whose log is followed.
    followed: BTreeSet<String>,
    /// Logs that have not come to their end.
    open: usize,
    lines: mpsc::Sender<Line>,
}

/// Something a followed log says.
enum Line {
    Record { row: String, record: api::LogRecord },
    End { row: String, error: Option<client::Error> },
}

/// Watches a pipeline; exits as it does.
pub(super) async fn pipeline(context: &Context, connection: &Connection, name: &str) -> Result<Exit, Failure> {
    let mut events = connection.client.watch_pipelines(name);
    let mut last: Option<api::Pipeline> = None;
    let number = tables::number(name);
    let (mut watched, mut lines) = Watched::new(context);
    let mut interrupts = Interrupts::new(name.to_owned(), "pipeline", connection.is_embedded());
    let left = loop {
        tokio::select! {
            event = events.next() => match event {
                None => break false,
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(PipelineEvent::Pipeline(pipeline))) => {
                    if last.is_none() {
                        watched.board.headline(&format!("pipeline {number} {}", escape::for_line(&pipeline.title)));
                    }
                    for node in &pipeline.nodes {
                        watched.board.node(node);
                    }
                    last = Some(*pipeline);
                }
                Some(Ok(PipelineEvent::Execution(execution))) => {
                    let row = execution.node.clone();
                    watched.execution(connection, row, *execution);
                }
                Some(Ok(PipelineEvent::InSync(_))) => context.note_resumed(connection).await,
            },
            Some(line) = lines.recv() => watched.line(line),
            () = watched.board.tick() => {}
            leave = interrupts.next() => if leave { break true },
        }
    };
    if left {
        return Ok(Exit::Left);
    }
    watched.drain(&mut lines, &mut interrupts).await;
    let pipeline = last.unwrap_or_default();
    let executions = watched.finish();
    context.print(
        || json!({"pipeline": json::pipeline(&pipeline), "executions": executions.iter().map(json::execution).collect::<Vec<_>>()}),
        || summary(&pipeline, &executions),
    )?;
    Ok(exit_of(pipeline.state()))
}

/// Watches an execution; exits as it does.
pub(super) async fn execution(context: &Context, connection: &Connection, name: &str) -> Result<Exit, Failure> {
    let mut events = connection.client.watch_executions(name);
    let (mut watched, mut lines) = Watched::new(context);
    let mut interrupts = Interrupts::new(name.to_owned(), "execution", connection.is_embedded());
    let mut first = true;
    let left = loop {
        tokio::select! {
            event = events.next() => match event {
                None => break false,
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(ExecutionEvent::Execution(execution))) => {
                    if std::mem::take(&mut first) {
                        let headline = format!("execution {} {}", tables::number(name), escape::for_line(&execution.step));
                        watched.board.headline(&headline);
                    }
                    let row = execution.step.clone();
                    watched.execution(connection, row, *execution);
                }
                Some(Ok(ExecutionEvent::InSync(_))) => context.note_resumed(connection).await,
            },
            Some(line) = lines.recv() => watched.line(line),
            () = watched.board.tick() => {}
            leave = interrupts.next() => if leave { break true },
        }
    };
    if left {
        return Ok(Exit::Left);
    }
    watched.drain(&mut lines, &mut interrupts).await;
    let execution = watched.finish().pop().unwrap_or_default();
    context.print(
        || json::execution(&execution),
        || ending(&execution, &tables::number(&execution.name)),
    )?;
    Ok(exit_of(execution.state()))
}

impl Watched {
    fn new(context: &Context) -> (Self, mpsc::Receiver<Line>) {
        let (lines, receiver) = mpsc::channel(256);
        let board = Board::new(context.json() || context.global.quiet);
        (Self { board, executions: BTreeMap::new(), followed: BTreeSet::new(), open: 0, lines }, receiver)
    }

    /// Takes in an execution as it is now, and follows its log from its beginning.
    fn execution(&mut self, connection: &Connection, row: String, execution: api::Execution) {
        self.board.execution(&row, &execution);
        let begun = !matches!(execution.state(), State::Unspecified | State::Created | State::Queued);
        if begun && !execution.attempts.is_empty() && self.followed.insert(execution.name.clone()) {
            self.open += 1;
            let log = connection.client.read_log(&execution.name, LogStart::Record(0), true);
            tokio::spawn(follow(log, row, self.lines.clone()));
        }
        self.executions.insert(execution.name.clone(), execution);
    }

    fn line(&mut self, line: Line) {
        match line {
            Line::Record { row, record } => {
                if record.stream() == LogStream::Stdout
                    && let Ok(Value::Object(values)) = serde_json::from_slice::<Value>(&record.data)
                {
                    self.board.metric(&row, &values);
                }
                self.board.record(&row, &record);
            }
            Line::End { row, error } => {
                self.open -= 1;
                if let Some(error) = error {
                    self.board.note(&format!("the log of {row} cannot be followed: {}", error.message));
                }
            }
        }
    }

    /// The end of what was watched can come before the end of its logs: nothing of them is left out.
    async fn drain(&mut self, lines: &mut mpsc::Receiver<Line>, interrupts: &mut Interrupts) {
        while self.open > 0 {
            tokio::select! {
                Some(line) = lines.recv() => self.line(line),
                leave = interrupts.next() => if leave { return },
            }
        }
    }

    /// Takes the board down; the executions, oldest first.
    fn finish(self) -> Vec<api::Execution> {
        self.board.finish();
        let mut executions: Vec<api::Execution> = self.executions.into_values().collect();
        let number = |execution: &api::Execution| json::number(&execution.name).as_i64().unwrap_or(0);
        executions.sort_by_key(number);
        executions
    }
}

/// Follows a log to its end.
async fn follow(
    mut log: impl Stream<Item = Result<LogEvent, client::Error>> + Unpin,
    row: String,
    lines: mpsc::Sender<Line>,
) {
    let mut error = None;
    while let Some(event) = log.next().await {
        match event {
            Ok(LogEvent::Records { records, .. }) => {
                for record in records {
                    if lines.send(Line::Record { row: row.clone(), record }).await.is_err() {
                        return;
                    }
                }
            }
            Ok(_) => {}
            Err(failed) => error = Some(failed),
        }
    }
    // Nobody listens any more when the watch was left.
    drop(lines.send(Line::End { row, error }).await);
}

fn exit_of(state: State) -> Exit {
    match state {
        State::Complete => Exit::Done,
        State::Stopped => Exit::Stopped,
        _ => Exit::Failed,
    }
}

/// What a person wants to know at the end of a pipeline.
fn summary(pipeline: &api::Pipeline, executions: &[api::Execution]) -> String {
    let number = tables::number(&pipeline.name);
    let took = tables::took(pipeline.create_time.as_ref(), pipeline.end_time.as_ref());
    let state = tables::standing(pipeline.state(), pipeline.end_reason());
    let mut text = format!("\npipeline {number} {}: {state} in {took}\n", escape::for_line(&pipeline.title));
    if !pipeline.message.is_empty() {
        text.push_str(&format!("  {}\n", escape::for_line(&pipeline.message)));
    }
    for execution in executions {
        text.push_str(&ending(execution, &execution.node));
    }
    for node in pipeline.nodes.iter().filter(|node| node.execution.is_empty()) {
        let why = if node.message.is_empty() { "never started" } else { &node.message };
        text.push_str(&format!("  {}: {}\n", node.name, escape::for_line(why)));
    }
    text
}

/// What a person wants to know at the end of an execution.
fn ending(execution: &api::Execution, label: &str) -> String {
    let number = tables::number(&execution.name);
    let took = tables::took(execution.start_time.as_ref(), execution.end_time.as_ref());
    let state = tables::standing(execution.state(), execution.end_reason());
    let mut text = format!("  {label}: {state} in {took} (execution {number})\n");
    if !execution.message.is_empty() {
        text.push_str(&format!("    {}\n", escape::for_line(&execution.message)));
    }
    if !execution.metadata_json.is_empty() {
        for line in tables::latest(&execution.metadata_json).lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    if !execution.outputs.is_empty() {
        let count = execution.outputs.len();
        let plural = if count == 1 { "" } else { "s" };
        let bare = number.trim_start_matches('#');
        text.push_str(&format!("    {count} output{plural}: shoal execution outputs {bare} --download DIR\n"));
    }
    text
}

/// Ctrl-C: once says what the choices are, twice leaves.
struct Interrupts {
    name: String,
    what: &'static str,
    embedded: bool,
    asked: bool,
}

impl Interrupts {
    fn new(name: String, what: &'static str, embedded: bool) -> Self {
        Self { name, what, embedded, asked: false }
    }

    /// Waits for the next Ctrl-C; true when it means to leave.
    async fn next(&mut self) -> bool {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a way to be told there is nothing to wait for.
            std::future::pending::<()>().await;
        }
        if std::mem::replace(&mut self.asked, true) {
            return true;
        }
        let (what, number) = (self.what, tables::number(&self.name));
        let bare = number.trim_start_matches('#');
        let goes_on = match self.embedded {
            true => "programs that run go on, what comes after them waits for the next shoal command",
            false => "it goes on without you",
        };
        eprintln!(
            "\nCtrl-C again leaves {what} {number}: {goes_on}\n  to come back:  shoal {what} watch {bare}\n  to cancel it:  shoal {what} cancel {bare}"
        );
        false
    }
}
