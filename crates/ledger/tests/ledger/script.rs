//! Scripts: one entry a line, `;` between commands of one entry; the transcript says what each did.
//!
//! ```text
//! worker NAME [INCARNATION] [env=A,B]          lose-worker NAME [INCARNATION]
//! run STEP [request=R] [KEY=VALUE…]            the words of `node`, see there
//! node NAME [on-error=…] [append] [input.I=URI|?|-] [param.P=VALUE|?|-] [env.V=VALUE] [action=WHEN:THEN[:CONDITION]]
//! edge NODE.TYPE.KEY NODE.TYPE.KEY             both are collected until
//! pipeline NAME [request=R]
//! cancel N [request=R]                         cancel-pipeline N [request=R]
//! assign N WORKER
//! start N[.ATTEMPT] [as=WORKER]
//! finish N[.ATTEMPT] complete|error|stopped [retryable] [unstarted] [out=A,B] [meta=JSON] [reason=R] [as=WORKER]
//! publish N out=A,B                            lose N[.ATTEMPT]
//! show N
//! raise LEVEL
//! drain WORKER [request=R]                     undrain WORKER [request=R]
//! copies WORKER [INCARNATION] of=A,B           outputs by their names
//! who NAME                                     the workers that have that output, and how much goes with each
//! ```
//! In inputs and parameters `?` is optional without a value, `-` required without one.

use std::fmt::Write as _;

use contract::api::{self, EndReason, Origin, State};
use contract::ledger::{self as pb, command::Kind};
use expect_test::Expect;
use ledger::{Execution, Fence, Subject};

use crate::build;
use crate::world::World;

/// Runs a script and compares its transcript. Replays its history too.
pub fn check(script: &str, transcript: Expect) {
    let mut runner = Runner {
        world: World::new(),
        plan: pb::Plan::default(),
        out: String::new(),
        commands: 0,
    };
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        runner.line(line);
    }
    for at in [
        1,
        runner.world.entries.len() / 2,
        runner.world.entries.len() - 1,
    ] {
        runner.world.check_replay(at);
    }
    transcript.assert_eq(&runner.out);
}

struct Runner {
    world: World,
    plan: pb::Plan,
    out: String,
    /// How many commands were read.
    commands: usize,
}

/// The words of a command.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn at(&self, position: usize) -> &'a str {
        self.0.get(position).copied().unwrap_or_default()
    }

    fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }

    /// The value of `key=value`.
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// All `prefix.name=value`.
    fn all(&self, prefix: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |word| {
            word.strip_prefix(prefix)?
                .strip_prefix('.')?
                .split_once('=')
        })
    }

    fn list(&self, key: &str) -> Vec<&'a str> {
        self.get(key)
            .map(|list| list.split(',').collect())
            .unwrap_or_default()
    }
}

impl Runner {
    fn line(&mut self, line: &str) {
        writeln!(self.out, "> {line}").unwrap();
        let mut kinds = Vec::new();
        for command in line.split(" ; ") {
            kinds.extend(self.command(&Words(command.split_whitespace().collect())));
        }
        if kinds.is_empty() {
            return;
        }
        let applied = self.world.apply(kinds);
        for outcome in &applied.outcomes {
            match outcome {
                Ok(outcome) => writeln!(self.out, "{}", readable(&outcome.to_string())).unwrap(),
                Err(refused) => writeln!(self.out, "refused: {refused}").unwrap(),
            }
        }
        for subject in &applied.subjects {
            let state = self.state(subject);
            writeln!(self.out, "  {subject} {state}").unwrap();
        }
    }

    fn command(&mut self, words: &Words<'_>) -> Option<Kind> {
        let number = |text: &str| -> i64 { text.split('.').next().unwrap().parse().unwrap() };
        self.commands += 1;
        let unique = format!("command {}", self.commands);
        let request = words.get("request").unwrap_or(&unique);
        let who = |fence: Fence| -> String {
            let execution = self
                .world
                .ledger
                .execution_by_id(&fence.execution_id)
                .unwrap();
            let attempt = &execution.attempts[fence.attempt as usize - 1];
            words.get("as").unwrap_or(&attempt.worker).to_owned()
        };
        let outputs = || words.list("out").into_iter().map(build::output).collect();
        let incarnation = words.at(2).parse().unwrap_or(1);
        Some(match words.at(0) {
            "worker" => build::worker(words.at(1), incarnation, &words.list("env")),
            "lose-worker" => build::lose_worker(words.at(1), incarnation),
            "run" => build::create_execution(request, template(words)),
            "raise" => build::raise(words.at(1).parse().unwrap()),
            "drain" => build::drain(words.get("request"), words.at(1), true),
            "undrain" => build::drain(words.get("request"), words.at(1), false),
            "copies" => build::copies(words.at(1), incarnation, &words.list("of")),
            "who" => {
                let known = who_has(&self.world, words.at(1));
                self.out.push_str(&known);
                return None;
            }
            "node" => {
                self.plan.nodes.push(node(words));
                return None;
            }
            "edge" => {
                self.plan.edges.push(edge(words));
                return None;
            }
            "pipeline" => {
                let mut plan = self.plan.clone();
                plan.name = words.at(1).to_owned();
                build::create_pipeline(request, plan)
            }
            "cancel" => build::cancel_execution(request, number(words.at(1))),
            "cancel-pipeline" => build::cancel_pipeline(request, number(words.at(1))),
            "assign" => build::assign(number(words.at(1)), words.at(2)),
            "start" => {
                let fence = self.fence(words.at(1));
                build::start(&who(fence), fence)
            }
            "publish" => {
                let fence = self.fence(words.at(1));
                build::publish(&who(fence), fence, outputs())
            }
            "lose" => build::lose(self.fence(words.at(1)), "gone"),
            "finish" => {
                let fence = self.fence(words.at(1));
                let mut result = build::result(match words.at(2) {
                    "complete" => State::Complete,
                    "error" => State::Error,
                    "stopped" => State::Stopped,
                    other => panic!("{other}"),
                });
                result.outputs = outputs();
                result.metadata_json = words.get("meta").unwrap_or_default().to_owned();
                result.retryable = words.has("retryable");
                if words.has("unstarted") {
                    result.exit_time_us = 0;
                }
                if let Some(reason) = words.get("reason") {
                    let name = format!("END_REASON_{reason}");
                    result.set_reason(EndReason::from_str_name(&name).unwrap());
                }
                build::finish(&who(fence), fence, result)
            }
            "show" => {
                let shown = show(&self.world, self.world.execution(number(words.at(1))));
                self.out.push_str(&shown);
                return None;
            }
            other => panic!("{other}"),
        })
    }

    /// The fence of `N` (the live one) or `N.ATTEMPT`.
    fn fence(&self, name: &str) -> Fence {
        let (number, attempt) = name.split_once('.').unwrap_or((name, ""));
        let execution = self.world.execution(number.parse().unwrap());
        let attempt = match attempt.parse::<usize>() {
            Ok(attempt) => &execution.attempts[attempt - 1],
            Err(_) => execution
                .attempts
                .last()
                .expect("the execution has no attempt"),
        };
        execution.fence(attempt)
    }

    fn state(&self, subject: &Subject) -> String {
        match subject {
            Subject::Execution { project, number } => {
                let execution = self.world.ledger.execution(project, *number).unwrap();
                let mut out = word(execution.state()) + &reason(execution.end_reason);
                if let Some(attempt) = execution.live_attempt() {
                    write!(
                        out,
                        " attempt {} on {} {}",
                        attempt.number,
                        attempt.worker,
                        word(attempt.state)
                    )
                    .unwrap();
                }
                if !execution.message.is_empty() {
                    write!(out, ": {}", execution.message).unwrap();
                }
                out
            }
            Subject::Pipeline { project, number } => {
                let pipeline = self.world.ledger.pipeline(project, *number).unwrap();
                let mut out = word(pipeline.state) + &reason(pipeline.end_reason);
                for (planned, node) in pipeline.blueprint.nodes.iter().zip(&pipeline.nodes) {
                    let skipped = if node.skipped { " skipped" } else { "" };
                    write!(
                        out,
                        ", {} {}{}{skipped}",
                        planned.name,
                        word(node.state),
                        reason(node.end_reason)
                    )
                    .unwrap();
                }
                if !pipeline.message.is_empty() {
                    write!(out, ": {}", pipeline.message).unwrap();
                }
                out
            }
            Subject::Worker(name) => {
                let worker = self.world.ledger.worker(name).unwrap();
                let lost = if worker.lost { " lost" } else { "" };
                format!("has {}{lost}", worker.attempts().len())
            }
        }
    }
}

/// An outcome without the digits of a derived id.
fn readable(outcome: &str) -> String {
    match outcome.strip_prefix("attempt ") {
        Some(fence) => format!("attempt {}", fence.split_once('.').unwrap().1),
        None => outcome.to_owned(),
    }
}

fn word(state: State) -> String {
    state.as_str_name().trim_start_matches("STATE_").to_owned()
}

fn reason(reason: EndReason) -> String {
    match reason {
        EndReason::Unspecified => String::new(),
        reason => format!(
            " ({})",
            reason.as_str_name().trim_start_matches("END_REASON_")
        ),
    }
}

/// What an execution runs with and what it made.
fn show(world: &World, execution: &Execution) -> String {
    let mut out = String::new();
    for command in execution.commands() {
        writeln!(out, "  $ {command}").unwrap();
    }
    for parameter in &execution.template().parameters {
        let origin = Origin::try_from(parameter.origin).unwrap().as_str_name();
        let value = parameter
            .value
            .as_ref()
            .and_then(|value| value.kind.as_ref());
        writeln!(
            out,
            "  parameter {} {value:?} {}",
            parameter.name,
            origin.trim_start_matches("ORIGIN_")
        )
        .unwrap();
    }
    for (name, value) in &execution.template().environment_variables {
        writeln!(out, "  variable {name}={value}").unwrap();
    }
    for input in &*execution.inputs {
        let files: Vec<String> = input
            .files
            .iter()
            .map(|file| file_of(world, file))
            .collect();
        writeln!(out, "  input {}: {}", input.name, files.join(" ")).unwrap();
    }
    for id in &*execution.outputs {
        let datum = world.ledger.datum(id).unwrap();
        writeln!(
            out,
            "  output {} by #{} on {}",
            datum.file_name, datum.execution, datum.worker
        )
        .unwrap();
    }
    let identity = if execution.identity.is_some() {
        "known"
    } else {
        "unknown"
    };
    writeln!(
        out,
        "  metadata {:?}, exit {:?}, identity {identity}",
        &*execution.metadata_json, execution.exit_code
    )
    .unwrap();
    out
}

fn file_of(world: &World, file: &ledger::InputFile) -> String {
    match file.datum_id.and_then(|id| world.ledger.datum(&id)) {
        Some(datum) => format!("#{}/{}", datum.execution, datum.file_name),
        None => file.uri.clone(),
    }
}

/// Who has an output of that name, and how many blobs would go with each.
fn who_has(world: &World, name: &str) -> String {
    let digest = *blake3::hash(name.as_bytes()).as_bytes();
    let blob = world.ledger.blob(&digest).unwrap();
    let mut out = String::new();
    for worker in blob.holders() {
        let sole = world.ledger.sole_count(worker, 10);
        let is_only = match world.ledger.is_only_at(blob, worker) {
            true => ", on no other that stays",
            false => "",
        };
        writeln!(out, "  {worker} has it{is_only}; {sole} go with it").unwrap();
    }
    out
}

fn node(words: &Words<'_>) -> pb::PlanNode {
    let on_error = match words.get("on-error") {
        None | Some("stop-all") => pb::OnError::StopAll,
        Some("stop-next") => pb::OnError::StopNext,
        Some("continue") => pb::OnError::Continue,
        Some("retry") => pb::OnError::Retry,
        Some(other) => panic!("{other}"),
    };
    let actions = words
        .0
        .iter()
        .filter_map(|word| word.strip_prefix("action="))
        .map(|action| {
            let mut parts = action.splitn(3, ':').map(str::to_owned);
            pb::PlanAction {
                when: parts.next().into_iter().collect(),
                then: parts.next().into_iter().collect(),
                conditions: parts.next().into_iter().collect(),
            }
        });
    pb::PlanNode {
        name: words.at(1).to_owned(),
        template: Some(template(words)),
        on_error: on_error.into(),
        edge_append: words.has("append"),
        actions: actions.collect(),
    }
}

fn edge(words: &Words<'_>) -> api::Edge {
    let mut source = words.at(1).splitn(3, '.').map(str::to_owned);
    let mut target = words.at(2).splitn(3, '.').map(str::to_owned);
    let mut part = |which: bool| {
        if which {
            source.next().unwrap()
        } else {
            target.next().unwrap()
        }
    };
    api::Edge {
        source_node: part(true),
        source_type: part(true),
        source_key: part(true),
        target_node: part(false),
        target_type: part(false),
        target_key: part(false),
    }
}

fn template(words: &Words<'_>) -> pb::StepTemplate {
    let mut template = build::template(words.at(1));
    for (name, value) in words.all("param") {
        let kind = match value.parse() {
            Ok(integer) => api::value::Kind::Integer(integer),
            Err(_) => api::value::Kind::Text(value.to_owned()),
        };
        let given = !matches!(value, "?" | "-");
        template.parameters.push(pb::TemplateParameter {
            name: name.to_owned(),
            r#type: if value.parse::<i64>().is_ok() {
                "integer"
            } else {
                "string"
            }
            .to_owned(),
            optional: value == "?",
            value: given.then_some(api::Value { kind: Some(kind) }),
            origin: if given {
                Origin::Default.into()
            } else {
                Origin::Unspecified.into()
            },
            multiple: "none".to_owned(),
            ..pb::TemplateParameter::default()
        });
    }
    for (name, uri) in words.all("input") {
        template.inputs.push(pb::TemplateInput {
            name: name.to_owned(),
            uris: if matches!(uri, "?" | "-") {
                Vec::new()
            } else {
                vec![uri.to_owned()]
            },
            origin: Origin::Default.into(),
            optional: uri == "?",
            ..pb::TemplateInput::default()
        });
    }
    for (name, value) in words.all("env") {
        match value {
            "-" => template
                .required_environment_variables
                .push(name.to_owned()),
            value => drop(
                template
                    .environment_variables
                    .insert(name.to_owned(), value.to_owned()),
            ),
        }
    }
    template
}
