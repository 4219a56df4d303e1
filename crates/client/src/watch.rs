//! Watches that outlive connections: each goes on after the last revision it has seen in full.

use contract::api::execution_service_client::ExecutionServiceClient;
use contract::api::pipeline_service_client::PipelineServiceClient;
use contract::api::{self, WatchEndReason};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::backoff::Backoff;
use crate::{Client, Error, Kind};

/// Events that wait for a slow reader; then the server is left waiting.
const QUEUE: usize = 64;

/// What a watch of pipelines tells.
#[derive(Debug, Clone, PartialEq)]
pub enum PipelineEvent {
    /// A pipeline as it is now.
    Pipeline(Box<api::Pipeline>),
    /// An execution of a watched pipeline as it is now.
    Execution(Box<api::Execution>),
    /// Everything up to this revision was told.
    InSync(i64),
}

/// What a watch of executions tells.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutionEvent {
    /// An execution as it is now.
    Execution(Box<api::Execution>),
    /// Everything up to this revision was told.
    InSync(i64),
}

impl Client {
    /// Watches a pipeline (`projects/P/pipelines/N`) and its executions, or all of a project: first what is, then what
    /// changes, across lost connections; after one a change may come again. The watch of one pipeline ends when it is final.
    ///
    /// An error is the last item: the request was refused, or the cluster stayed out of reach for longer than the client is
    /// patient.
    pub fn watch_pipelines(
        &self,
        name: &str,
    ) -> impl Stream<Item = Result<PipelineEvent, Error>> + Send + Unpin + use<> {
        watch::<Pipelines>(self.clone(), name.to_owned())
    }

    /// The same for an execution (`projects/P/executions/N`), or all of a project.
    pub fn watch_executions(
        &self,
        name: &str,
    ) -> impl Stream<Item = Result<ExecutionEvent, Error>> + Send + Unpin + use<> {
        watch::<Executions>(self.clone(), name.to_owned())
    }
}

/// A kind of watch.
#[tonic::async_trait]
trait Watch: 'static {
    type Message: Send;
    type Event: Send;

    async fn open(
        channel: Channel,
        name: String,
        start_revision: i64,
    ) -> Result<Streaming<Self::Message>, Status>;
    fn read(message: Self::Message) -> (i64, Read<Self::Event>);
}

/// What a message of a watch means.
enum Read<E> {
    Event(E),
    End(WatchEndReason),
    /// Of a kind that this version does not know.
    Nothing,
}

struct Pipelines;

#[tonic::async_trait]
impl Watch for Pipelines {
    type Message = api::WatchPipelinesResponse;
    type Event = PipelineEvent;

    async fn open(
        channel: Channel,
        name: String,
        start_revision: i64,
    ) -> Result<Streaming<Self::Message>, Status> {
        let request = api::WatchPipelinesRequest {
            name,
            start_revision,
        };
        Ok(PipelineServiceClient::new(channel)
            .watch_pipelines(request)
            .await?
            .into_inner())
    }

    fn read(message: Self::Message) -> (i64, Read<PipelineEvent>) {
        use api::watch_pipelines_response::Event;
        let read = match message.event {
            Some(Event::Pipeline(pipeline)) => {
                Read::Event(PipelineEvent::Pipeline(Box::new(pipeline)))
            }
            Some(Event::Execution(execution)) => {
                Read::Event(PipelineEvent::Execution(Box::new(execution)))
            }
            Some(Event::Progress(_)) => Read::Event(PipelineEvent::InSync(message.revision)),
            Some(Event::End(end)) => Read::End(end.reason()),
            None => Read::Nothing,
        };
        (message.revision, read)
    }
}

struct Executions;

#[tonic::async_trait]
impl Watch for Executions {
    type Message = api::WatchExecutionsResponse;
    type Event = ExecutionEvent;

    async fn open(
        channel: Channel,
        name: String,
        start_revision: i64,
    ) -> Result<Streaming<Self::Message>, Status> {
        let request = api::WatchExecutionsRequest {
            name,
            start_revision,
        };
        Ok(ExecutionServiceClient::new(channel)
            .watch_executions(request)
            .await?
            .into_inner())
    }

    fn read(message: Self::Message) -> (i64, Read<ExecutionEvent>) {
        use api::watch_executions_response::Event;
        let read = match message.event {
            Some(Event::Execution(execution)) => {
                Read::Event(ExecutionEvent::Execution(Box::new(execution)))
            }
            Some(Event::Progress(_)) => Read::Event(ExecutionEvent::InSync(message.revision)),
            Some(Event::End(end)) => Read::End(end.reason()),
            None => Read::Nothing,
        };
        (message.revision, read)
    }
}

fn watch<W: Watch>(client: Client, name: String) -> ReceiverStream<Result<W::Event, Error>> {
    let (events, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        // A closed queue means that nobody reads any more.
        if let Err(error) = follow::<W>(&client, &name, &events).await {
            let _ = events.send(Err(error)).await;
        }
    });
    ReceiverStream::new(receiver)
}

/// Follows a watch to its end through as many connections as it takes.
async fn follow<W: Watch>(
    client: &Client,
    name: &str,
    events: &mpsc::Sender<Result<W::Event, Error>>,
) -> Result<(), Error> {
    let mut revision = 0;
    let mut backoff = Backoff::default();
    let mut heard = Instant::now();
    loop {
        let before = heard;
        let error = match one_connection::<W>(client, name, &mut revision, &mut heard, events).await
        {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.reason == Some(api::ErrorReason::RevisionCompacted) && revision > 0 {
            revision = 0;
            continue;
        }
        if heard > before {
            backoff.reset();
        }
        if !error.repeatable || heard.elapsed() > client.options.patience {
            return Err(error);
        }
        tracing::debug!(%error, revision, "watching again");
        tokio::select! {
            () = tokio::time::sleep(backoff.wait(error.retry_delay)) => {}
            () = events.closed() => return Ok(()),
        }
    }
}

/// Follows a watch for as long as one connection lasts. Returns when the watch is over or nobody reads; an error of kind
/// [`Kind::Unavailable`] means that it was cut.
async fn one_connection<W: Watch>(
    client: &Client,
    name: &str,
    revision: &mut i64,
    heard: &mut Instant,
    events: &mpsc::Sender<Result<W::Event, Error>>,
) -> Result<(), Error> {
    let numbered = client.connection.channel().await?;
    let cut = async {
        let mut messages = W::open(numbered.channel, name.to_owned(), *revision).await?;
        loop {
            let message = tokio::select! {
                message = timeout(client.options.silence, messages.message()) => {
                    message.map_err(|_| Error::new(Kind::Unavailable, "the watch fell silent"))??
                }
                () = events.closed() => return Ok(()),
            };
            let message =
                message.ok_or_else(|| Error::new(Kind::Unavailable, "the watch was cut"))?;
            *heard = Instant::now();
            let (seen, read) = W::read(message);
            let event = match read {
                Read::Event(event) => Some(event),
                Read::End(WatchEndReason::Final) => return Ok(()),
                Read::End(reason) => {
                    *revision = seen;
                    return Err(Error::new(
                        Kind::Unavailable,
                        format!("the watch ended: {}", reason.as_str_name()),
                    ));
                }
                Read::Nothing => None,
            };
            if let Some(event) = event
                && events.send(Ok(event)).await.is_err()
            {
                return Ok(());
            }
            *revision = seen;
        }
    };
    let result: Result<(), Error> = cut.await;
    if let Err(error) = &result
        && error.repeatable
    {
        client.connection.failed(numbered.number, error).await;
    }
    result
}
