//! Series of records that outlive connections: what attempts printed. The place is an attempt and the number of the record
//! that comes next; a new connection asks for exactly that, so nothing is missing and nothing comes twice.

use contract::api::{ErrorReason, GetExecutionRequest, State};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::backoff::Backoff;
use crate::{Client, Error, Kind, LogStart};

/// Events that wait for a slow reader; then the server is left waiting.
const QUEUE: usize = 16;

/// A kind of series: a streaming RPC with numbered records.
#[tonic::async_trait]
pub(crate) trait Series: Send + 'static {
    type Message: Send;
    type Event: Send;

    /// Asks a server.
    async fn open(channel: Channel, request: Opening) -> Result<Streaming<Self::Message>, Status>;

    /// The attempt that a message speaks of.
    fn attempt(message: &Self::Message) -> i32;

    /// Moves the place past a message and gives what is new in it, in order.
    ///
    /// # Errors
    /// [`Skipped`] when the message does not follow on what was read.
    fn take(message: Self::Message, place: &mut Place) -> Result<Vec<Self::Event>, Skipped>;
}

/// What to ask a server for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) name: String,
    pub(crate) start: LogStart,
    pub(crate) follow: bool,
}

/// Where a reader stands in the series of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) attempt: i32,
    /// The record that comes next; unknown until the first message of a series that was asked for by its tail.
    pub(crate) next: Option<i64>,
    /// Whether the end of this attempt's series was told.
    pub(crate) sealed: bool,
}

/// A message that does not follow on what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skipped;

impl Place {
    /// Whether record `number` is new. One that is read already is not.
    pub(crate) fn is_new(&self, number: i64) -> bool {
        self.next.is_none_or(|next| number >= next)
    }

    /// Notes that everything before `end` was read, and that what was read begins no later than `start`.
    pub(crate) fn advance(&mut self, start: i64, end: i64) -> Result<(), Skipped> {
        if self.next.is_some_and(|next| start > next) {
            return Err(Skipped);
        }
        self.next = Some(self.next.map_or(end, |next| next.max(end)));
        Ok(())
    }
}

/// A reader's whole way: from what was asked for to where it stands.
#[derive(Debug, Clone)]
struct Way {
    asked: Opening,
    place: Option<Place>,
    /// Whether to ask by the name of the execution although a place is known: to wait for the next attempt.
    waits: bool,
}

impl Way {
    fn names_attempt(&self) -> bool {
        self.asked.name.contains("/attempts/")
    }

    /// The name of the execution, without an attempt.
    fn execution(&self) -> &str {
        self.asked
            .name
            .split("/attempts/")
            .next()
            .unwrap_or(&self.asked.name)
    }

    /// What to ask for to go on.
    fn opening(&self) -> Opening {
        let Some(Place {
            attempt,
            next: Some(next),
            ..
        }) = self.place
        else {
            return self.asked.clone();
        };
        let name = if self.waits {
            self.execution().to_owned()
        } else {
            format!("{}/attempts/{attempt}", self.execution())
        };
        Opening {
            name,
            start: LogStart::Record(next),
            follow: self.asked.follow,
        }
    }

    /// Enters the series of the attempt that a message speaks of.
    fn enter(&mut self, attempt: i32) -> &mut Place {
        let first = match self.asked.start {
            LogStart::Record(number) => Some(number),
            LogStart::Tail(_) => None,
        };
        let place = self.place.get_or_insert(Place {
            attempt,
            next: first,
            sealed: false,
        });
        if place.attempt != attempt {
            *place = Place {
                attempt,
                next: Some(0),
                sealed: false,
            };
        }
        place
    }
}

/// Reads a series to its end through as many connections as it takes.
pub(crate) fn read<S: Series>(
    client: Client,
    asked: Opening,
) -> impl Stream<Item = Result<S::Event, Error>> + Send + Unpin + use<S> {
    let (events, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let way = Way {
            asked,
            place: None,
            waits: false,
        };
        if let Err(error) = follow::<S>(&client, way, &events).await {
            let _ = events.send(Err(error)).await;
        }
    });
    ReceiverStream::new(receiver)
}

type Events<S> = mpsc::Sender<Result<<S as Series>::Event, Error>>;

async fn follow<S: Series>(client: &Client, mut way: Way, events: &Events<S>) -> Result<(), Error> {
    let mut backoff = Backoff::default();
    let mut heard = Instant::now();
    loop {
        let before = heard;
        let error = match one_connection::<S>(client, &mut way, &mut heard, events).await {
            Ok(()) => match go_over(client, &mut way).await {
                Ok(true) => continue,
                Ok(false) => return Ok(()),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if heard > before {
            backoff.reset();
        }
        if !error.repeatable || heard.elapsed() > client.options.patience {
            return Err(error);
        }
        tracing::debug!(%error, place = ?way.place, "reading on");
        tokio::select! {
            () = tokio::time::sleep(backoff.wait(error.retry_delay)) => {}
            () = events.closed() => return Ok(()),
        }
    }
}

/// The server ended the series. Says whether there is more to come that it was not asked for: a server that is asked for
/// one attempt, because that was where a connection broke, does not go over to the next.
async fn go_over(client: &Client, way: &mut Way) -> Result<bool, Error> {
    let Some(place) = way.place else {
        return Ok(false);
    };
    if way.names_attempt() || !way.asked.follow || way.opening().name == way.asked.name {
        return Ok(false);
    }
    let request = GetExecutionRequest {
        name: way.execution().to_owned(),
        ..GetExecutionRequest::default()
    };
    let execution = client
        .get_execution(request)
        .await?
        .execution
        .unwrap_or_default();
    if execution
        .attempts
        .iter()
        .any(|attempt| attempt.number > place.attempt)
    {
        way.place = Some(Place {
            attempt: place.attempt + 1,
            next: Some(0),
            sealed: false,
        });
        way.waits = false;
        return Ok(true);
    }
    way.waits = true;
    Ok(!matches!(
        execution.state(),
        State::Complete | State::Error | State::Stopped
    ))
}

/// Reads for as long as one connection lasts. Returns when the server ended the series, or nobody reads; an error of kind
/// [`Kind::Unavailable`] means that it was cut.
async fn one_connection<S: Series>(
    client: &Client,
    way: &mut Way,
    heard: &mut Instant,
    events: &Events<S>,
) -> Result<(), Error> {
    let numbered = client.connection.channel().await?;
    let read = async {
        let mut messages = S::open(numbered.channel, way.opening()).await?;
        loop {
            let message = tokio::select! {
                message = timeout(client.options.silence, messages.message()) => {
                    message.map_err(|_| Error::new(Kind::Unavailable, "the stream fell silent"))??
                }
                () = events.closed() => return Ok(()),
            };
            let Some(message) = message else {
                return Ok(());
            };
            *heard = Instant::now();
            let attempt = S::attempt(&message);
            // Attempt 0 says that there is none yet.
            if attempt == 0 || way.place.is_some_and(|place| attempt < place.attempt) {
                continue;
            }
            let new = match S::take(message, way.enter(attempt)) {
                Ok(new) => new,
                Err(Skipped) => {
                    // The next attempt began between two questions; ask for it by name, from its beginning.
                    way.waits = false;
                    return Err(Error::new(Kind::Unavailable, "the stream left records out"));
                }
            };
            for event in new {
                if events.send(Ok(event)).await.is_err() {
                    return Ok(());
                }
            }
        }
    };
    let result: Result<(), Error> = read.await;
    match result {
        // A replica that lags behind the one that was read before has less than is asked for; it will have more.
        Err(error)
            if error.reason == Some(ErrorReason::PastEnd)
                && way.place.is_some_and(|place| place.sealed) =>
        {
            Ok(())
        }
        Err(error) => {
            if error.repeatable {
                client.connection.failed(numbered.number, &error).await;
            }
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(name: &str, start: LogStart) -> Way {
        Way {
            asked: Opening {
                name: name.to_owned(),
                start,
                follow: true,
            },
            place: None,
            waits: false,
        }
    }

    #[test]
    fn a_cut_reader_asks_for_the_attempt_and_record_it_stands_at() {
        let mut way = way("projects/p/executions/3", LogStart::Tail(10));
        assert_eq!(way.opening().name, "projects/p/executions/3");
        let place = way.enter(2);
        assert_eq!(place.next, None);
        assert!(place.advance(90, 95).is_ok());
        assert_eq!(way.opening().name, "projects/p/executions/3/attempts/2");
        assert_eq!(way.opening().start, LogStart::Record(95));
        assert_eq!(way.enter(3).next, Some(0));
    }

    #[test]
    fn what_was_read_is_not_new_and_what_is_left_out_is_noticed() {
        let mut way = way("projects/p/executions/3/attempts/1", LogStart::Record(4));
        let place = way.enter(1);
        assert!(!place.is_new(3));
        assert!(place.is_new(4));
        assert_eq!(place.advance(4, 8), Ok(()));
        assert_eq!(place.advance(6, 7), Ok(()));
        assert_eq!(place.next, Some(8));
        assert_eq!(place.advance(9, 10), Err(Skipped));
    }
}
