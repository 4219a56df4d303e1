//! From what a caller asks for to a command: the file is read and checked, names are resolved, the plan is expanded, once and
//! here, so that the log holds what is run and not how to work it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::api::{self, ErrorReason};
use contract::ledger::{self as pb, Command, RequestKey, command::Kind};
use ledger::Uuid;
use prost::Message;
use spec::model::Config;
use spec::plan::launch::{Assignment, Launch, find_name};
use spec::{Code, Diagnostic, Parsed, Severity};

use crate::files::Files;
use crate::{Refusal, Request, names, tokens};

/// Longest file that is read, in bytes.
const MAX_CONFIG: usize = 1 << 20;
/// Longest text for people, in bytes.
const MAX_TITLE: usize = 1_000;
/// Most annotations, and the most bytes of all of them.
const MAX_ANNOTATIONS: (usize, usize) = (64, 64 << 10);
/// Longest address of a coordinator, in bytes.
const MAX_ADDRESS: usize = 255;
/// Name of the file in messages unless the caller says another.
const CONFIG_NAME: &str = "valohai.yaml";

/// What becomes of a request.
pub(crate) enum Admitted {
    /// A command to propose.
    Propose {
        /// The command.
        command: Box<Command>,
        /// What the caller should know about the file.
        warnings: Vec<String>,
    },
    /// Leadership is to be handed over; nothing goes into the log.
    Transfer {
        /// To whom; 0 for whoever is furthest along.
        member_id: u64,
    },
    /// It asks about an execution.
    Explain {
        /// Its project.
        project: String,
        /// Its number.
        execution: i64,
    },
    /// It was only to be checked, and is good.
    Valid {
        /// What the caller should know about the file.
        warnings: Vec<String>,
    },
}

/// Turns a request into a command.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn admit(files: &mut Files, request: Request) -> Result<Admitted, Refusal> {
    match request {
        Request::CreatePipeline(request) => create_pipeline(files, request),
        Request::CreateExecution(request) => create_execution(files, request),
        Request::CancelPipeline(request) => {
            let (project, number) = names::numbered("name", &request.name, "pipelines")?;
            let key = key(
                &request.request_id,
                &api::CancelPipelineRequest {
                    request_id: String::new(),
                    ..request.clone()
                },
            )?;
            propose(Kind::CancelPipeline(pb::CancelPipeline {
                request: Some(key),
                project,
                number,
            }))
        }
        Request::CreateToken { request, creator } => propose(tokens::create(request, creator)?),
        Request::RevokeToken(request) => propose(tokens::revoke(&request)?),
        Request::RevokePrincipal(request) => propose(tokens::revoke_principal(request)?),
        Request::UseToken(token) => propose(tokens::consume(token)),
        Request::CancelExecution(request) => {
            let (project, number) = names::numbered("name", &request.name, "executions")?;
            let key = key(
                &request.request_id,
                &api::CancelExecutionRequest {
                    request_id: String::new(),
                    ..request.clone()
                },
            )?;
            propose(Kind::CancelExecution(pb::CancelExecution {
                request: Some(key),
                project,
                number,
            }))
        }
        Request::AddMember {
            request_id,
            address,
            feature_level,
        } => {
            if address.is_empty() || address.len() > MAX_ADDRESS {
                return Err(Refusal::invalid_field(
                    "address",
                    format!("expected host:port of at most {MAX_ADDRESS} bytes, got {address:?}"),
                ));
            }
            let mut command = pb::AdmitMember {
                request: None,
                address,
                member_id: 0,
                feature_level: 0,
            };
            // Who is admitted may have another version when it repeats this.
            command.request = Some(key(&request_id, &command)?);
            command.feature_level = feature_level;
            propose(Kind::AdmitMember(command))
        }
        Request::RemoveMember {
            request_id,
            member_id,
        } => {
            let mut command = pb::RemoveMember {
                request: None,
                member_id,
            };
            command.request = Some(key(&request_id, &command)?);
            propose(Kind::RemoveMember(command))
        }
        Request::DrainWorker(request) => {
            let key = key(
                &request.request_id,
                &api::DrainWorkerRequest {
                    request_id: String::new(),
                    ..request.clone()
                },
            )?;
            let name = request.name.strip_prefix("workers/").ok_or_else(|| {
                let expected = format!("expected workers/{{worker}}, got {:?}", request.name);
                Refusal::invalid_field("name", expected)
            })?;
            propose(Kind::DrainWorker(pb::DrainWorker {
                request: Some(key),
                name: name.to_owned(),
                draining: request.draining,
            }))
        }
        Request::Explain { project, execution } => Ok(Admitted::Explain { project, execution }),
        Request::TransferLeadership { member_id } => Ok(Admitted::Transfer { member_id }),
    }
}

fn propose(kind: Kind) -> Result<Admitted, Refusal> {
    Ok(Admitted::Propose {
        command: Box::new(Command { kind: Some(kind) }),
        warnings: Vec::new(),
    })
}

fn create_pipeline(
    files: &mut Files,
    mut request: api::CreatePipelineRequest,
) -> Result<Admitted, Refusal> {
    let project = names::project("parent", &request.parent)?;
    let id = std::mem::take(&mut request.request_id);
    let key = key(&id, &request)?;
    check_words(&request.title, &request.annotations)?;
    check_priority(request.priority)?;
    let file = File::new(&request.config_name);
    let parsed = file.parse(files, &request.config)?;
    let (config, mut warnings) = file.read(&parsed)?;
    let known = config
        .pipelines
        .iter()
        .map(|pipeline| pipeline.name.value.as_str());
    let name = find_name("pipeline", &request.blueprint, known)
        .map_err(|error| Refusal::invalid_field("blueprint", error.to_string()))?;
    let pipeline = config
        .pipeline(name)
        .ok_or_else(|| Refusal::invalid_field("blueprint", "there is no such pipeline"))?;
    let launch = launch(
        request.parameters,
        request.inputs,
        BTreeMap::new(),
        request.environment,
    )?;
    let expanded =
        spec::plan::expand(config, pipeline, &launch).map_err(|errors| file.refuse(&errors))?;
    warnings.extend(expanded.warnings.iter().map(|warning| file.line(warning)));
    if request.validate_only {
        return Ok(Admitted::Valid { warnings });
    }
    let title = if request.title.is_empty() {
        name.to_owned()
    } else {
        request.title
    };
    let create = pb::CreatePipeline {
        request: Some(key),
        project,
        plan: Some(pb::Plan::from(&expanded.made)),
        source: request.source,
        title,
        annotations: request.annotations,
        priority: request.priority,
    };
    Ok(Admitted::Propose {
        command: Box::new(Command {
            kind: Some(Kind::CreatePipeline(create)),
        }),
        warnings,
    })
}

fn create_execution(
    files: &mut Files,
    mut request: api::CreateExecutionRequest,
) -> Result<Admitted, Refusal> {
    let project = names::project("parent", &request.parent)?;
    let id = std::mem::take(&mut request.request_id);
    let key = key(&id, &request)?;
    check_words(&request.title, &request.annotations)?;
    check_priority(request.priority)?;
    let file = File::new(&request.config_name);
    let parsed = file.parse(files, &request.config)?;
    let (config, mut warnings) = file.read(&parsed)?;
    let known = config.steps.iter().map(|step| step.name.value.as_str());
    let name = find_name("step", &request.step, known)
        .map_err(|error| Refusal::invalid_field("step", error.to_string()))?;
    let step = config
        .step(name)
        .ok_or_else(|| Refusal::invalid_field("step", "there is no such step"))?;
    let launch = launch(
        request.parameters,
        request.inputs,
        request.environment_variables,
        request.environment,
    )?;
    let expanded = spec::plan::template(step, &launch).map_err(|errors| file.refuse(&errors))?;
    warnings.extend(expanded.warnings.iter().map(|warning| file.line(warning)));
    if request.validate_only {
        return Ok(Admitted::Valid { warnings });
    }
    let create = pb::CreateExecution {
        request: Some(key),
        project,
        template: Some(pb::StepTemplate::from(&expanded.made)),
        source: request.source,
        title: request.title,
        annotations: request.annotations,
        priority: request.priority,
    };
    Ok(Admitted::Propose {
        command: Box::new(Command {
            kind: Some(Kind::CreateExecution(create)),
        }),
        warnings,
    })
}

fn check_priority(priority: i32) -> Result<(), Refusal> {
    match ledger::PRIORITY_RANGE.contains(&priority) {
        true => Ok(()),
        false => Err(Refusal::invalid_field(
            "priority",
            format!("expected -100 to 100, got {priority}"),
        )),
    }
}

/// What identifies a request for good: its id, and the digest of everything else in it.
pub(crate) fn key(id: &str, without_id: &impl Message) -> Result<RequestKey, Refusal> {
    let id = Uuid::try_parse(id).map_err(|_| {
        Refusal::invalid_field(
            "request_id",
            format!("expected a UUID chosen for this request, got {id:?}"),
        )
    })?;
    let digest = blake3::hash(&without_id.encode_to_vec());
    Ok(RequestKey {
        request_id: id.as_bytes().to_vec().into(),
        digest: digest.as_bytes().to_vec().into(),
    })
}

fn check_words(title: &str, annotations: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if title.len() > MAX_TITLE {
        return Err(Refusal::invalid_field(
            "title",
            format!("at most {MAX_TITLE} bytes are allowed"),
        ));
    }
    let bytes: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if annotations.len() > MAX_ANNOTATIONS.0 || bytes > MAX_ANNOTATIONS.1 {
        let (count, bytes) = MAX_ANNOTATIONS;
        return Err(Refusal::invalid_field(
            "annotations",
            format!("at most {count}, of {bytes} bytes in all, are allowed"),
        ));
    }
    Ok(())
}

fn launch(
    parameters: Vec<api::ParameterAssignment>,
    inputs: Vec<api::InputAssignment>,
    environment_variables: BTreeMap<String, String>,
    environment: String,
) -> Result<Launch, Refusal> {
    let assignment = |parameter: api::ParameterAssignment| {
        let value = parameter
            .value
            .as_ref()
            .map_or(Ok(spec::Value::None), spec::Value::try_from);
        let value =
            value.map_err(|error| Refusal::invalid_field("parameters", error.to_string()))?;
        Ok(Assignment {
            name: parameter.name,
            value,
            append: parameter.append,
        })
    };
    let mut uris: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for input in inputs {
        uris.entry(input.name).or_default().extend(input.uris);
    }
    Ok(Launch {
        parameters: parameters
            .into_iter()
            .map(assignment)
            .collect::<Result<_, Refusal>>()?,
        inputs: uris,
        environment_variables,
        environment: (!environment.is_empty()).then_some(environment),
    })
}

/// The file of a request.
struct File<'a> {
    name: &'a str,
}

impl<'a> File<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name: if name.is_empty() { CONFIG_NAME } else { name },
        }
    }

    fn parse(&self, files: &mut Files, bytes: &[u8]) -> Result<Arc<Parsed>, Refusal> {
        if bytes.len() > MAX_CONFIG {
            let (size, limit) = (bytes.len(), MAX_CONFIG);
            return Err(Refusal::invalid_field(
                "config",
                format!("{} has {size} bytes; at most {limit} are read", self.name),
            ));
        }
        Ok(files.read(bytes))
    }

    /// What the file says, with its warnings.
    fn read<'p>(&self, parsed: &'p Parsed) -> Result<(&'p Config, Vec<String>), Refusal> {
        let of = |severity| {
            parsed
                .diagnostics
                .iter()
                .filter(move |found| found.severity == severity)
        };
        match &parsed.config {
            Some(config) => {
                let warnings = of(Severity::Warning)
                    .map(|warning| self.line(warning))
                    .collect();
                Ok((config, warnings))
            }
            None => Err(self.refuse(&of(Severity::Error).cloned().collect::<Vec<_>>())),
        }
    }

    /// `valohai.yaml:3:5: what is wrong`. What was given at launch has no place in the file.
    fn line(&self, found: &Diagnostic) -> String {
        let words = described(found);
        match found.span.line {
            0 => words,
            line => format!("{}:{line}:{}: {words}", self.name, found.span.column),
        }
    }

    /// Refuses with everything that was found, each with its place.
    fn refuse(&self, errors: &[Diagnostic]) -> Refusal {
        let reason = if errors.iter().any(|error| error.code == Code::NotExecutable) {
            ErrorReason::NotExecutable
        } else if errors.iter().all(|error| error.code == Code::BadLaunch) {
            ErrorReason::InvalidLaunch
        } else {
            ErrorReason::InvalidConfig
        };
        let message = match errors {
            [only] => self.line(only),
            _ => format!("{} has {} errors", self.name, errors.len()),
        };
        errors
            .iter()
            .fold(Refusal::new(reason, message), |refusal, error| {
                let place = match error.span.line {
                    0 => "launch".to_owned(),
                    line => format!("config:{line}:{}", error.span.column),
                };
                refusal.violation(place, described(error))
            })
    }
}

fn described(found: &Diagnostic) -> String {
    match &found.hint {
        Some(hint) => format!("{} ({hint})", found.message),
        None => found.message.clone(),
    }
}
