//! Watching a pipeline or an execution to its end: a live board on a terminal, plain lines elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use client::{ExecutionEvent, LogEvent, LogStart, PipelineEvent};
use contract::api::{self, State};
use futures::{Stream, StreamExt as _};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::interrupts::{Interrupts, Subject, Wish, choices, farewell};
use super::{Context, cancel};
use crate::connect::Connection;
use crate::print::board::Board;
use crate::print::escape;
use crate::tables::{self, Now};
use crate::{Exit, Failure, json};

/// What waits for a worker for so long is asked about, and again after as long.
const PATIENCE: Duration = Duration::from_secs(4);

/// Something that happens to what is watched.
enum Event {
    /// The pipeline is now like this.
    Pipeline(Box<api::Pipeline>),
    /// An execution is now like this; it has this row on the board.
    Execution {
        row: String,
        execution: Box<api::Execution>,
    },
    /// All that was before the watch has been told.
    InSync,
}

/// Watches a pipeline; exits as it does.
pub(super) async fn pipeline(
    context: &Context,
    connection: &Connection,
    number: i64,
) -> Result<Exit, Failure> {
    let events = connection
        .client
        .watch_pipelines(&context.pipeline(number))
        .map(|event| {
            event.map(|event| match event {
                PipelineEvent::Pipeline(pipeline) => Event::Pipeline(pipeline),
                PipelineEvent::Execution(execution) => Event::Execution {
                    row: execution.node.clone(),
                    execution,
                },
                PipelineEvent::InSync(_) => Event::InSync,
            })
        });
    let subject = Subject {
        what: "pipeline",
        number,
        embedded: connection.is_embedded(),
    };
    let Some(Seen {
        pipeline,
        executions,
    }) = watch(context, connection, &subject, events).await?
    else {
        return Ok(Exit::Left);
    };
    context.print(
        || json!({"pipeline": json::pipeline(&pipeline), "executions": executions.iter().map(json::execution).collect::<Vec<_>>()}),
        || context.apart(tables::end_of_pipeline(&pipeline, &executions, Now::real())),
    )?;
    Ok(exit_of(pipeline.state()))
}

/// Watches an execution; exits as it does.
pub(super) async fn execution(
    context: &Context,
    connection: &Connection,
    number: i64,
) -> Result<Exit, Failure> {
    let events = connection
        .client
        .watch_executions(&context.execution(number))
        .map(|event| {
            event.map(|event| match event {
                ExecutionEvent::Execution(execution) => Event::Execution {
                    row: execution.step.clone(),
                    execution,
                },
                ExecutionEvent::InSync(_) => Event::InSync,
            })
        });
    let subject = Subject {
        what: "execution",
        number,
        embedded: connection.is_embedded(),
    };
    let Some(mut seen) = watch(context, connection, &subject, events).await? else {
        return Ok(Exit::Left);
    };
    let execution = seen.executions.pop().unwrap_or_default();
    context.print(
        || json::execution(&execution),
        || context.apart(tables::end_of_execution(&execution, Now::real())),
    )?;
    Ok(exit_of(execution.state()))
}

/// The exit code of a state at an end.
fn exit_of(state: State) -> Exit {
    match state {
        State::Complete => Exit::Done,
        State::Stopped => Exit::Stopped,
        _ => Exit::Failed,
    }
}

/// Shows events until they end; answers with what there is in the end, or nothing when the user left before.
async fn watch(
    context: &Context,
    connection: &Connection,
    subject: &Subject,
    mut events: impl Stream<Item = Result<Event, client::Error>> + Unpin,
) -> Result<Option<Seen>, Failure> {
    let (lines, mut logged) = mpsc::channel(256);
    let mut watched = Watched::new(context, lines);
    let mut interrupts = Interrupts::listen(watched.board.takes_keys())?;
    let mut ended = false;
    let mut patience = tokio::time::interval_at(Instant::now() + PATIENCE, PATIENCE);
    // The end of what is watched can come before the end of its logs: nothing of them is left out.
    while !ended || watched.open > 0 {
        tokio::select! {
            event = events.next(), if !ended => match event {
                None => ended = true,
                Some(Ok(Event::InSync)) => {
                    context.note_resumed(connection, watched.unfinished()).await;
                },
                Some(event) => watched.event(connection, subject, event?),
            },
            Some(line) = logged.recv() => watched.line(line),
            () = watched.board.tick() => {}
            _ = patience.tick(), if !ended => watched.ask_why_waiting(connection),
            wish = interrupts.next() => match wish {
                Wish::Choices => watched.board.note(&choices(subject, watched.board.takes_keys())),
                Wish::Cancel => watched.board.note(&cancel::words(context, connection, subject).await),
                Wish::Leave => {
                    drop(watched);
                    context.note(&farewell(subject));
                    return Ok(None);
                }
            },
        }
    }
    Ok(Some(watched.finish()))
}

/// What is watched, on its way.
struct Watched {
    board: Board,
    /// The pipeline, once it was seen.
    pipeline: Option<api::Pipeline>,
    /// Executions by their names.
    executions: BTreeMap<String, api::Execution>,
    /// Executions whose log is followed.
    followed: BTreeSet<String>,
    /// Logs that have not come to their end.
    open: usize,
    lines: mpsc::Sender<Line>,
    /// Executions of which it was told why they wait, with what was told.
    told: BTreeMap<String, String>,
    /// It is being asked why something waits.
    asking: bool,
}

/// What there is in the end.
struct Seen {
    /// The pipeline; empty where there is none.
    pipeline: api::Pipeline,
    /// The executions, oldest first.
    executions: Vec<api::Execution>,
}

/// Something that was asked for beside the watch.
enum Line {
    Record {
        row: String,
        record: api::LogRecord,
    },
    End {
        row: String,
        error: Option<client::Error>,
    },
    /// Why an execution waits, or what is being done before it runs, if that could be learned.
    Standing {
        name: String,
        explained: Option<api::ExplainExecutionResponse>,
    },
}

impl Watched {
    fn new(context: &Context, lines: mpsc::Sender<Line>) -> Self {
        Self {
            board: Board::new(context.json() || context.global.quiet),
            pipeline: None,
            executions: BTreeMap::new(),
            followed: BTreeSet::new(),
            open: 0,
            lines,
            told: BTreeMap::new(),
            asking: false,
        }
    }

    fn event(&mut self, connection: &Connection, subject: &Subject, event: Event) {
        let first = self.pipeline.is_none() && self.executions.is_empty();
        match event {
            Event::InSync => {}
            Event::Pipeline(pipeline) => {
                if first {
                    self.headline(subject, &pipeline.title);
                }
                for node in &pipeline.nodes {
                    self.board.node(node);
                }
                self.pipeline = Some(*pipeline);
            }
            Event::Execution { row, execution } => {
                if first {
                    self.headline(subject, &execution.step);
                }
                self.execution(connection, row, *execution);
            }
        }
    }

    /// Asks why what has waited for a while does so, for a worker or on one, beside the watch: without a leader the answer takes its time.
    fn ask_why_waiting(&mut self, connection: &Connection) {
        let waiting = self.executions.values().filter(|execution| {
            let attempts = execution.attempts.iter();
            let mut live = attempts.filter(|attempt| attempt.end_time.is_none());
            execution.state() == State::Queued || live.any(|live| live.start_time.is_none())
        });
        // What waits for the same reason as the oldest is not told of one by one.
        let oldest = waiting.min_by_key(|execution| (execution.name.len(), &execution.name));
        let Some(name) = oldest.map(|execution| execution.name.clone()) else {
            return;
        };
        if self.asking {
            return;
        }
        self.asking = true;
        let (client, lines) = (connection.client.clone(), self.lines.clone());
        tokio::spawn(async move {
            let request = api::ExplainExecutionRequest { name: name.clone() };
            // Not to know is no reason to stop watching.
            let explained = client.explain_execution(request).await.ok();
            // Nobody listens when the watch has ended meanwhile.
            drop(lines.send(Line::Standing { name, explained }).await);
        });
    }

    /// Tells why something waits, if that has changed.
    fn standing(&mut self, name: String, explained: Option<api::ExplainExecutionResponse>) {
        self.asking = false;
        let (Some(explained), Some(execution)) = (explained, self.executions.get(&name)) else {
            return;
        };
        let mut attempts = execution.attempts.iter();
        let mut standing = explained.standing;
        if attempts.any(|attempt| attempt.end_time.is_none()) {
            let row = match self.pipeline {
                Some(_) => &execution.node,
                None => &execution.step,
            };
            let activity = explained.activity;
            if self.board.activity(row, &activity) || activity.is_empty() {
                return;
            }
            // How far it is would be a line every few seconds.
            let (what, _) = activity.rsplit_once(": ").unwrap_or((&activity, ""));
            standing += &format!(", {what}");
        }
        if self.told.get(&name) == Some(&standing) {
            return;
        }
        let number = name.rsplit('/').next().unwrap_or_default();
        self.board.note(&format!(
            "#{number} is {} (`shoal explain {number}` tells more)",
            escape::for_line(&standing)
        ));
        self.told.insert(name, standing);
    }

    fn headline(&mut self, subject: &Subject, title: &str) {
        self.board.headline(&format!(
            "{} #{} {}",
            subject.what,
            subject.number,
            escape::for_line(title)
        ));
    }

    /// Takes in an execution as it is now, and follows its log from its beginning.
    fn execution(&mut self, connection: &Connection, row: String, execution: api::Execution) {
        self.board.execution(&row, &execution);
        let begun = !matches!(
            execution.state(),
            State::Unspecified | State::Created | State::Queued
        );
        if begun && !execution.attempts.is_empty() && self.followed.insert(execution.name.clone()) {
            self.open += 1;
            let log = connection
                .client
                .read_log(&execution.name, LogStart::Record(0), true);
            tokio::spawn(follow(log, row, self.lines.clone()));
        }
        self.executions.insert(execution.name.clone(), execution);
    }

    fn line(&mut self, line: Line) {
        match line {
            Line::Record { row, record } => self.board.record(&row, &record),
            Line::Standing { name, explained } => self.standing(name, explained),
            Line::End { row, error } => {
                self.open -= 1;
                if let Some(error) = error {
                    let (row, words) = (escape::for_line(&row), escape::for_line(&error.message));
                    self.board.note(&format!(
                        "warning: the log of {row} cannot be followed: {words}"
                    ));
                }
            }
        }
    }

    /// How many of the runs that have not ended are what is watched: one or none.
    fn unfinished(&self) -> usize {
        let states = self.pipeline.iter().map(api::Pipeline::state);
        let mut states = states.chain(self.executions.values().map(api::Execution::state));
        let ended = |state| matches!(state, State::Stopped | State::Error | State::Complete);
        // A pipeline comes before its executions.
        states.next().map_or(0, |state| usize::from(!ended(state)))
    }

    /// Takes the board down.
    fn finish(self) -> Seen {
        let mut executions: Vec<api::Execution> = self.executions.into_values().collect();
        executions.sort_by_key(|execution| json::number(&execution.name).as_i64().unwrap_or(0));
        Seen {
            pipeline: self.pipeline.unwrap_or_default(),
            executions,
        }
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
                    // Whoever watches has left.
                    if lines
                        .send(Line::Record {
                            row: row.clone(),
                            record,
                        })
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            }
            Ok(LogEvent::Gap { .. } | LogEvent::Sealed { .. } | LogEvent::InSync { .. }) => {}
            Err(failure) => error = Some(failure),
        }
    }
    drop(lines.send(Line::End { row, error }).await);
}
