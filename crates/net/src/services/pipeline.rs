//! `PipelineService`.

use contract::api::pipeline_service_server::PipelineService;
use contract::api::watch_pipelines_response::Event;
use contract::api::{self, ErrorReason, WatchEnd, WatchEndReason, WatchProgress};
use coordinator::{Answer, Refusal, Request as Mutation};
use ledger::{Ledger, Subject};
use tonic::{Request, Response, Status, async_trait};

use crate::context::{Context, checked, unsigned};
use crate::convert::int64;
use crate::convert::name::{self, PipelineName, ProjectName};
use crate::convert::{execution::execution, pipeline::pipeline};
use crate::page::Page;
use crate::status::status;
use crate::stream::{self, Answers};
use crate::watch::{self, Scope, Watch, Watched};

pub(crate) struct Pipelines(pub(crate) Context);

#[async_trait]
impl PipelineService for Pipelines {
    async fn create_pipeline(
        &self,
        request: Request<api::CreatePipelineRequest>,
    ) -> Result<Response<api::CreatePipelineResponse>, Status> {
        let request = checked(request)?;
        let blueprint = request.blueprint.clone();
        let answer = self
            .0
            .mutations
            .request(Mutation::CreatePipeline(request))
            .await
            .map_err(status)?;
        let ledger = self.0.ledger();
        let (pipeline, warnings) = match answer {
            // Only checked: it has no name, because it does not exist.
            Answer::Valid { warnings } => (
                api::Pipeline {
                    blueprint,
                    ..api::Pipeline::default()
                },
                warnings,
            ),
            answer => created(&ledger, answer).map_err(status)?,
        };
        Ok(Response::new(api::CreatePipelineResponse {
            pipeline: Some(pipeline),
            revision: int64(ledger.revision()),
            warnings,
        }))
    }

    async fn get_pipeline(
        &self,
        request: Request<api::GetPipelineRequest>,
    ) -> Result<Response<api::GetPipelineResponse>, Status> {
        let request = checked(request)?;
        let name = PipelineName::parse("name", &request.name).map_err(status)?;
        let ledger = self.0.read(request.consistency).await?;
        let found = find(&ledger, &name).map_err(status)?;
        Ok(Response::new(api::GetPipelineResponse {
            pipeline: Some(found),
            revision: int64(ledger.revision()),
        }))
    }

    async fn list_pipelines(
        &self,
        request: Request<api::ListPipelinesRequest>,
    ) -> Result<Response<api::ListPipelinesResponse>, Status> {
        let request = checked(request)?;
        let ledger = self.0.read(request.consistency).await?;
        list(&ledger, request).map(Response::new).map_err(status)
    }

    async fn cancel_pipeline(
        &self,
        request: Request<api::CancelPipelineRequest>,
    ) -> Result<Response<api::CancelPipelineResponse>, Status> {
        let request = checked(request)?;
        PipelineName::parse("name", &request.name).map_err(status)?;
        let answer = self
            .0
            .mutations
            .request(Mutation::CancelPipeline(request))
            .await
            .map_err(status)?;
        let ledger = self.0.ledger();
        let (pipeline, _) = created(&ledger, answer).map_err(status)?;
        Ok(Response::new(api::CancelPipelineResponse {
            pipeline: Some(pipeline),
            revision: int64(ledger.revision()),
        }))
    }

    type WatchPipelinesStream = Answers<api::WatchPipelinesResponse>;

    async fn watch_pipelines(
        &self,
        request: Request<api::WatchPipelinesRequest>,
    ) -> Result<Response<Self::WatchPipelinesStream>, Status> {
        let request = checked(request)?;
        let scope = scope(&request.name).map_err(status)?;
        let told = unsigned("start_revision", request.start_revision).map_err(status)?;
        if let Some(number) = scope.number {
            let name = PipelineName {
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
            watch::run::<WatchedPipelines>(watch, out)
        })))
    }
}

fn find(ledger: &Ledger, name: &PipelineName) -> Result<api::Pipeline, Refusal> {
    let found = ledger.pipeline(&name.project, name.number);
    found
        .map(pipeline)
        .ok_or_else(|| Refusal::not_found(&name.to_string()))
}

/// The pipeline of an answer, with its warnings.
fn created(ledger: &Ledger, answer: Answer) -> Result<(api::Pipeline, Vec<String>), Refusal> {
    if let Answer::Pipeline {
        project,
        number,
        warnings,
    } = answer
        && let Some(found) = ledger.pipeline(&project, number)
    {
        return Ok((pipeline(found), warnings));
    }
    Err(Refusal::new(
        ErrorReason::InternalFault,
        "the answer does not fit the request",
    ))
}

fn list(
    ledger: &Ledger,
    request: api::ListPipelinesRequest,
) -> Result<api::ListPipelinesResponse, Refusal> {
    let project = ProjectName::parse("parent", &request.parent)?.0;
    let (size, token) = (request.page_size, request.page_token.clone());
    let others = api::ListPipelinesRequest {
        page_size: 0,
        page_token: String::new(),
        consistency: 0,
        ..request
    };
    let page = Page::parse(size, &token, &others)?;
    let newest = ledger
        .pipelines(&project)
        .next()
        .map_or(0, |pipeline| pipeline.number);
    let first = page.after_number()?.unwrap_or(newest + 1).min(newest + 1);
    let items = (1..first)
        .rev()
        .filter_map(|number| ledger.pipeline(&project, number));
    let items = items.filter(|pipeline| {
        others.states.is_empty() || others.states.contains(&pipeline.state.into())
    });
    let (pipelines, next_page_token) =
        page.fill(items.map(|item| (item.number.to_string(), pipeline(item))));
    Ok(api::ListPipelinesResponse {
        pipelines,
        next_page_token,
        revision: int64(ledger.revision()),
    })
}

fn scope(name: &str) -> Result<Scope, Refusal> {
    if name.contains("/pipelines/") {
        let name = PipelineName::parse("name", name)?;
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

/// Pipelines with the executions of their nodes.
struct WatchedPipelines;

impl Watched for WatchedPipelines {
    type Message = api::WatchPipelinesResponse;

    fn now(ledger: &Ledger, scope: &Scope, number: i64) -> Vec<(u64, Subject)> {
        let Some(pipeline) = ledger.pipeline(&scope.project, number) else {
            return Vec::new();
        };
        let project = &pipeline.project;
        let executions = pipeline
            .nodes
            .iter()
            .filter_map(|node| ledger.execution(project, node.execution));
        let mut subjects: Vec<_> = executions
            .map(|execution| {
                let subject = Subject::Execution {
                    project: project.clone(),
                    number: execution.number,
                };
                (execution.revision, subject)
            })
            .collect();
        subjects.push((
            pipeline.revision,
            Subject::Pipeline {
                project: project.clone(),
                number,
            },
        ));
        subjects.sort();
        subjects
    }

    fn is_in(ledger: &Ledger, scope: &Scope, subject: &Subject) -> bool {
        match subject {
            Subject::Pipeline { project, number } => {
                **project == *scope.project && scope.number.is_none_or(|watched| watched == *number)
            }
            Subject::Execution { project, number } if **project == *scope.project => {
                let pipeline = ledger
                    .execution(project, *number)
                    .map_or(0, |execution| execution.pipeline);
                scope
                    .number
                    .map_or(pipeline != 0, |watched| watched == pipeline)
            }
            Subject::Execution { .. } | Subject::Worker(_) => false,
        }
    }

    fn is_final(ledger: &Ledger, scope: &Scope) -> bool {
        let watched = scope
            .number
            .and_then(|number| ledger.pipeline(&scope.project, number));
        watched.is_some_and(ledger::Pipeline::is_final)
    }

    fn change(ledger: &Ledger, subject: &Subject, revision: i64) -> Option<Self::Message> {
        let event = match subject {
            Subject::Pipeline { project, number } => {
                Event::Pipeline(pipeline(ledger.pipeline(project, *number)?))
            }
            Subject::Execution { project, number } => {
                Event::Execution(execution(ledger, ledger.execution(project, *number)?))
            }
            Subject::Worker(_) => return None,
        };
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

/// The name of a pipeline that a list may be narrowed to, as its number.
pub(crate) fn number_in(project: &str, field: &str, text: &str) -> Result<i64, Refusal> {
    let parsed = PipelineName::parse(field, text)?;
    if parsed.project == project {
        return Ok(parsed.number);
    }
    let own = name::pipeline(project, parsed.number);
    Err(Refusal::invalid_field(
        field,
        format!("must be of the same project, like {own}; got {text:?}"),
    ))
}
