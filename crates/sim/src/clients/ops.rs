//! What clients ask for, and what they were answered: each request is repeated under the same id until somebody answers.

use contract::api::{
    CancelExecutionRequest, CancelPipelineRequest, CreateExecutionRequest, CreatePipelineRequest,
    DrainWorkerRequest, ErrorReason,
};
use coordinator::{Answer, Refusal, Request};

use crate::event::CoordinatorId;

/// The file that everything is run from.
const CONFIG: &str = include_str!("valohai.yaml");
/// The project of everything.
pub(crate) const PROJECT: &str = "sim";
/// The steps that clients run by themselves.
pub(crate) const STEPS: [&str; 10] = [
    "train",
    "quick",
    "chatty",
    "long",
    "stubborn",
    "limited",
    "failing",
    "flaky",
    "one-device",
    "all-devices",
];
/// The pipelines that clients run.
pub(crate) const PIPELINES: [&str; 5] = ["chain", "fan-out", "broken", "tolerant", "retried"];

/// Number of a request.
pub(crate) type OpId = usize;

/// One request.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) request: Request,
    /// The answer that counts, once there is one.
    pub(crate) answer: Option<Result<Answer, Refusal>>,
    pub(crate) tries: u32,
    /// The last try was not answered.
    pub(crate) is_waiting: bool,
    /// Whom it is asked.
    pub(crate) to: CoordinatorId,
    /// When it was asked for the first time.
    pub(crate) first_us: u64,
}

/// All requests of a run.
#[derive(Debug, Default)]
pub(crate) struct Ops(Vec<Op>);

impl Ops {
    pub(crate) fn add(&mut self, request: impl FnOnce(OpId) -> Request) -> OpId {
        let id = self.0.len();
        self.0.push(Op {
            request: request(id),
            answer: None,
            tries: 0,
            is_waiting: false,
            to: 0,
            first_us: 0,
        });
        id
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get_mut(&mut self, id: OpId) -> Option<&mut Op> {
        self.0.get_mut(id)
    }

    pub(crate) fn request(&self, id: OpId) -> Option<&Request> {
        self.0.get(id).map(|op| &op.request)
    }

    /// The execution that a request cancels.
    pub(crate) fn cancels(&self, id: OpId) -> Option<i64> {
        match self.request(id)? {
            Request::CancelExecution(request) => request.name.rsplit('/').next()?.parse().ok(),
            _ => None,
        }
    }

    /// The answer that counts, once there is one.
    pub(crate) fn answer(&self, id: OpId) -> Option<&Result<Answer, Refusal>> {
        self.0.get(id).and_then(|op| op.answer.as_ref())
    }

    /// Whether a request was answered well.
    pub(crate) fn is_acked(&self, id: OpId) -> bool {
        self.0
            .get(id)
            .is_some_and(|op| matches!(op.answer, Some(Ok(_))))
    }

    /// Requests that nobody has answered yet.
    pub(crate) fn open(&self) -> impl Iterator<Item = OpId> {
        self.0
            .iter()
            .enumerate()
            .filter(|(_, op)| op.answer.is_none())
            .map(|(id, _)| id)
    }
}

/// Runs a step. The title tells the request, whatever id it came under.
pub(crate) fn run(id: OpId, step: &str) -> Request {
    Request::CreateExecution(CreateExecutionRequest {
        parent: format!("projects/{PROJECT}"),
        request_id: request_id(id, 0),
        config: config_of(step).into(),
        step: step.to_owned(),
        title: title(id),
        ..CreateExecutionRequest::default()
    })
}

/// Runs a pipeline.
pub(crate) fn submit(id: OpId, blueprint: &str) -> Request {
    Request::CreatePipeline(CreatePipelineRequest {
        parent: format!("projects/{PROJECT}"),
        request_id: request_id(id, 0),
        config: config_of(blueprint).into(),
        blueprint: blueprint.to_owned(),
        title: title(id),
        ..CreatePipelineRequest::default()
    })
}

/// The part of the file that a step or pipeline needs: reading all of it again and again would be most of a run's time.
fn config_of(wanted: &str) -> String {
    let items: Vec<&str> = CONFIG.split("\n- ").skip(1).collect();
    let main = items.iter().find(|item| name_of(item) == wanted);
    let main = main.copied().unwrap_or_default();
    let needed = items.into_iter().filter(|item| {
        let step = name_of(item);
        step == wanted
            || main.contains(&format!("step: {step}}}"))
            || main.contains(&format!("step: {step},"))
    });
    needed
        .map(|item| format!("- {}\n", item.trim_end()))
        .collect()
}

/// The name of a step or pipeline: the first in its text.
fn name_of(item: &str) -> &str {
    let after = item.split_once("name: ").map(|(_, after)| after);
    after
        .and_then(|after| after.lines().next())
        .unwrap_or_default()
}

pub(crate) fn cancel_execution(id: OpId, number: i64) -> Request {
    let name = format!("projects/{PROJECT}/executions/{number}");
    Request::CancelExecution(CancelExecutionRequest {
        name,
        request_id: request_id(id, 0),
    })
}

pub(crate) fn cancel_pipeline(id: OpId, number: i64) -> Request {
    let name = format!("projects/{PROJECT}/pipelines/{number}");
    Request::CancelPipeline(CancelPipelineRequest {
        name,
        request_id: request_id(id, 0),
    })
}

/// Asks for something else under the id of an earlier request.
pub(crate) fn reuse(id: OpId, of: OpId) -> Request {
    match run(id, "quick") {
        Request::CreateExecution(request) => Request::CreateExecution(CreateExecutionRequest {
            request_id: request_id(of, 0),
            ..request
        }),
        other => other,
    }
}

/// The title of what a request makes.
pub(crate) fn title(id: OpId) -> String {
    format!("request {id}")
}

/// The request id of a try; honest clients stay with the first.
pub(crate) fn request_id(id: OpId, other: u32) -> String {
    format!("00000000-{other:04x}-4000-8000-{id:012x}")
}

/// Puts another request id into a request.
pub(crate) fn renew(request: &mut Request, id: OpId, other: u32) {
    let to = match request {
        Request::CreatePipeline(request) => &mut request.request_id,
        Request::CreateExecution(request) => &mut request.request_id,
        Request::CancelPipeline(request) => &mut request.request_id,
        Request::CancelExecution(request) => &mut request.request_id,
        Request::AddMember { request_id, .. } | Request::RemoveMember { request_id, .. } => {
            request_id
        }
        Request::CreateToken { request, .. } => &mut request.request_id,
        Request::RevokeToken(request) => &mut request.request_id,
        Request::RevokePrincipal(request) => &mut request.request_id,
        Request::DrainWorker(request) => &mut request.request_id,
        Request::UseToken(_) | Request::TransferLeadership { .. } | Request::Explain { .. } => {
            return;
        }
    };
    *to = request_id(id, other);
}

/// Drains a worker.
pub(crate) fn drain(id: OpId, worker: &str) -> DrainWorkerRequest {
    DrainWorkerRequest {
        request_id: request_id(id, 0),
        name: format!("workers/{worker}"),
        draining: true,
    }
}

/// The id a request is sent under.
pub(crate) fn id_of(request: &Request) -> &str {
    match request {
        Request::CreatePipeline(request) => &request.request_id,
        Request::CreateExecution(request) => &request.request_id,
        Request::CancelPipeline(request) => &request.request_id,
        Request::CancelExecution(request) => &request.request_id,
        Request::AddMember { request_id, .. } | Request::RemoveMember { request_id, .. } => {
            request_id
        }
        Request::CreateToken { request, .. } => &request.request_id,
        Request::RevokeToken(request) => &request.request_id,
        Request::RevokePrincipal(request) => &request.request_id,
        Request::DrainWorker(request) => &request.request_id,
        Request::UseToken(_) | Request::TransferLeadership { .. } | Request::Explain { .. } => "",
    }
}

/// Whether a refusal says nothing about the request itself: it is to be repeated.
pub(crate) fn is_passing(refusal: &Refusal) -> bool {
    matches!(
        refusal.reason,
        ErrorReason::NotLeader
            | ErrorReason::OutcomeUnknown
            | ErrorReason::NotReady
            | ErrorReason::NoQuorum
    )
}
