//! `ExecutionService`.

use contract::api::execution_service_server::ExecutionService;
use contract::api::watch_executions_response::Event;
use contract::api::{self, ErrorReason, WatchEnd, WatchEndReason, WatchProgress};
use coordinator::{Answer, Refusal, Request as Mutation};
use ledger::{Ledger, Subject};
use tonic::{Request, Response, Status, async_trait};

use super::pipeline::number_in;
use crate::context::{Context, checked, unsigned};
use crate::convert::execution::{execution, explained};
use crate::convert::int64;
use crate::convert::name::{ExecutionName, ProjectName};
use crate::page::Page;
use crate::status::status;
use crate::stream::{self, Answers};
use crate::watch::{self, Scope, Watch, Watched};

pub(crate) struct Executions(pub(crate) Context);

impl Executions {
    /// What its worker said last of what it does for an execution that does not run yet; empty where that is nothing.
    fn activity(&self, project: &str, number: i64) -> String {
        let ledger = self.0.ledger();
        let Some(execution) = ledger.execution(project, number) else {
            return String::new();
        };
        let attempt = execution.live_attempt();
        let Some(attempt) = attempt.filter(|attempt| attempt.start_time_us == 0) else {
            return String::new();
        };
        let id = execution.execution_id.as_bytes().as_slice();
        let contact = self.0.surroundings.contact(&attempt.worker);
        let told = contact.and_then(|contact| contact.usage);
        let activities = told.map(|usage| usage.activities).unwrap_or_default();
        let of_attempt = activities.into_iter().find(|activity| {
            let fence = activity.fence.as_ref();
            fence.is_some_and(|fence| {
                fence.index == attempt.fence_index && *fence.execution_id == *id
            })
        });
        of_attempt.map(|activity| activity.text).unwrap_or_default()
    }
}

#[async_trait]
impl ExecutionService for Executions {
    async fn create_execution(
        &self,
        request: Request<api::CreateExecutionRequest>,
    ) -> Result<Response<api::CreateExecutionResponse>, Status> {
        let request = checked(request)?;
        let step = request.step.clone();
        let answer = self
            .0
            .mutations
            .request(Mutation::CreateExecution(request))
            .await
            .map_err(status)?;
        let ledger = self.0.ledger();
        let (execution, warnings) = match answer {
            // Only checked: it has no name, because it does not exist.
            Answer::Valid { warnings } => (
                api::Execution {
                    step,
                    ..api::Execution::default()
                },
                warnings,
            ),
            answer => created(&ledger, answer).map_err(status)?,
        };
        Ok(Response::new(api::CreateExecutionResponse {
            execution: Some(execution),
            revision: int64(ledger.revision()),
            warnings,
        }))
    }

    async fn get_execution(
        &self,
        request: Request<api::GetExecutionRequest>,
    ) -> Result<Response<api::GetExecutionResponse>, Status> {
        let request = checked(request)?;
        let name = ExecutionName::parse("name", &request.name).map_err(status)?;
        let ledger = self.0.read(request.consistency).await?;
        let found = find(&ledger, &name).map_err(status)?;
        Ok(Response::new(api::GetExecutionResponse {
            execution: Some(execution(&ledger, found)),
            revision: int64(ledger.revision()),
        }))
    }

    async fn explain_execution(
        &self,
        request: Request<api::ExplainExecutionRequest>,
    ) -> Result<Response<api::ExplainExecutionResponse>, Status> {
        let request = checked(request)?;
        let name = ExecutionName::parse("name", &request.name).map_err(status)?;
        let (project, execution) = (name.project, name.number);
        let ask = Mutation::Explain {
            project: project.clone(),
            execution,
        };
        match self.0.mutations.request(ask).await.map_err(status)? {
            Answer::Explained {
                explanation,
                revision,
            } => {
                let activity = self.activity(&project, execution);
                Ok(Response::new(explained(explanation, revision, activity)))
            }
            _ => Err(status(Refusal::new(
                ErrorReason::InternalFault,
                "the answer does not fit the request",
            ))),
        }
    }

    async fn list_executions(
        &self,
        request: Request<api::ListExecutionsRequest>,
    ) -> Result<Response<api::ListExecutionsResponse>, Status> {
        let request = checked(request)?;
        let ledger = self.0.read(request.consistency).await?;
        list(&ledger, request).map(Response::new).map_err(status)
    }

    async fn cancel_execution(
        &self,
        request: Request<api::CancelExecutionRequest>,
    ) -> Result<Response<api::CancelExecutionResponse>, Status> {
        let request = checked(request)?;
        ExecutionName::parse("name", &request.name).map_err(status)?;
        let answer = self
            .0
            .mutations
            .request(Mutation::CancelExecution(request))
            .await
            .map_err(status)?;
        let ledger = self.0.ledger();
        let (execution, _) = created(&ledger, answer).map_err(status)?;
        Ok(Response::new(api::CancelExecutionResponse {
            execution: Some(execution),
            revision: int64(ledger.revision()),
        }))
    }

    type WatchExecutionsStream = Answers<api::WatchExecutionsResponse>;

    async fn watch_executions(
        &self,
        request: Request<api::WatchExecutionsRequest>,
    ) -> Result<Response<Self::WatchExecutionsStream>, Status> {
        let request = checked(request)?;
        let scope = scope(&request.name).map_err(status)?;
        let told = unsigned("start_revision", request.start_revision).map_err(status)?;
        if let Some(number) = scope.number {
            let name = ExecutionName {
                project: scope.project.clone(),
                number,
            };
            let ledger = self
                .0
                .ledger_with(|ledger| find(ledger, &name).is_ok())
                .await?;
            find(&ledger, &name).map_err(status)?;
        }
        let (ledgers, stopping) = (self.0.ledgers.clone(), self.0.stopping.clone());
        let watch = Watch {
            scope,
            told,
            ledgers,
            stopping,
        };
        Ok(Response::new(stream::fill(watch::QUEUE + 1, |out| {
            watch::run::<WatchedExecutions>(watch, out)
        })))
    }
}

/// The execution of a name.
pub(crate) fn find<'a>(
    ledger: &'a Ledger,
    name: &ExecutionName,
) -> Result<&'a ledger::Execution, Refusal> {
    ledger
        .execution(&name.project, name.number)
        .ok_or_else(|| Refusal::not_found(&name.to_string()))
}

/// The execution of an answer, with its warnings.
fn created(ledger: &Ledger, answer: Answer) -> Result<(api::Execution, Vec<String>), Refusal> {
    if let Answer::Execution {
        project,
        number,
        warnings,
    } = answer
        && let Some(found) = ledger.execution(&project, number)
    {
        return Ok((execution(ledger, found), warnings));
    }
    Err(Refusal::new(
        ErrorReason::InternalFault,
        "the answer does not fit the request",
    ))
}

fn list(
    ledger: &Ledger,
    request: api::ListExecutionsRequest,
) -> Result<api::ListExecutionsResponse, Refusal> {
    let project = ProjectName::parse("parent", &request.parent)?.0;
    let pipeline = match request.pipeline.as_str() {
        "" => None,
        name => Some(number_in(&project, "pipeline", name)?),
    };
    let (size, token) = (request.page_size, request.page_token.clone());
    let others = api::ListExecutionsRequest {
        page_size: 0,
        page_token: String::new(),
        consistency: 0,
        ..request
    };
    let page = Page::parse(size, &token, &others)?;
    let newest = ledger
        .executions(&project)
        .next()
        .map_or(0, |execution| execution.number);
    let first = page.after_number()?.unwrap_or(newest + 1).min(newest + 1);
    let items = (1..first)
        .rev()
        .filter_map(|number| ledger.execution(&project, number))
        .filter(|execution| {
            others.states.is_empty() || others.states.contains(&execution.state().into())
        })
        .filter(|execution| pipeline.is_none_or(|pipeline| execution.pipeline == pipeline));
    let (executions, next_page_token) =
        page.fill(items.map(|item| (item.number.to_string(), execution(ledger, item))));
    Ok(api::ListExecutionsResponse {
        executions,
        next_page_token,
        revision: int64(ledger.revision()),
    })
}

fn scope(name: &str) -> Result<Scope, Refusal> {
    if name.contains("/executions/") {
        let name = ExecutionName::parse("name", name)?;
        return Ok(Scope {
            project: name.project,
            number: Some(name.number),
        });
    }
    Ok(Scope {
        project: ProjectName::parse("name", name)?.0,
        number: None,
    })
}

struct WatchedExecutions;

impl Watched for WatchedExecutions {
    type Message = api::WatchExecutionsResponse;

    fn now(ledger: &Ledger, scope: &Scope, number: i64) -> Vec<(u64, Subject)> {
        let found = ledger.execution(&scope.project, number).into_iter();
        let subjects = found.map(|execution| {
            let subject = Subject::Execution {
                project: execution.project.clone(),
                number,
            };
            (execution.revision, subject)
        });
        subjects.collect()
    }

    fn is_in(_: &Ledger, scope: &Scope, subject: &Subject) -> bool {
        match subject {
            Subject::Execution { project, number } => {
                **project == *scope.project && scope.number.is_none_or(|watched| watched == *number)
            }
            Subject::Pipeline { .. } | Subject::Worker(_) => false,
        }
    }

    fn is_final(ledger: &Ledger, scope: &Scope) -> bool {
        let watched = scope
            .number
            .and_then(|number| ledger.execution(&scope.project, number));
        watched.is_some_and(ledger::Execution::is_final)
    }

    fn change(ledger: &Ledger, subject: &Subject, revision: i64) -> Option<Self::Message> {
        let Subject::Execution { project, number } = subject else {
            return None;
        };
        let event = Event::Execution(execution(ledger, ledger.execution(project, *number)?));
        Some(Self::Message {
            revision,
            event: Some(event),
        })
    }

    fn progress(revision: i64, progress: WatchProgress) -> Self::Message {
        Self::Message {
            revision,
            event: Some(Event::Progress(progress)),
        }
    }

    fn end(revision: i64, reason: WatchEndReason) -> Self::Message {
        Self::Message {
            revision,
            event: Some(Event::End(WatchEnd {
                reason: reason.into(),
            })),
        }
    }
}
