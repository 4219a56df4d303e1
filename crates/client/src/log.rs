//! Logs, metadata and metrics of executions, record by record.

use contract::api::log_service_client::LogServiceClient;
use contract::api::read_log_request::Start;
use contract::api::read_log_response::Event;
use contract::api::{
    LogGap, LogGapCause, LogRecord, MetadataRecord, MetricSample, ReadLogRequest, ReadLogResponse,
    ReadMetadataRequest, ReadMetadataResponse, ReadMetricsRequest, ReadMetricsResponse,
};
use tokio_stream::Stream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::resume::{self, Opening, Place, Series, Skipped};
use crate::{Client, Error};

/// Where to start in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStart {
    /// With this record; 0 is the first.
    Record(i64),
    /// With the last so many that are there now.
    Tail(i64),
}

impl LogStart {
    /// The record that a series without a tail of its own begins with.
    fn record(self) -> i64 {
        match self {
            Self::Record(number) => number,
            Self::Tail(_) => 0,
        }
    }
}

/// What a log tells. Every record of an attempt from the start on comes once, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum LogEvent {
    /// Records, one after the other.
    Records {
        /// Number of the attempt that printed them.
        attempt: i32,
        /// The records.
        records: Vec<LogRecord>,
    },
    /// Records that cannot be had any more.
    Gap {
        /// Number of the attempt.
        attempt: i32,
        /// First missing record.
        start_record: i64,
        /// One past the last.
        end_record: i64,
        /// Why, for people.
        reason: String,
        /// Why, for programs.
        cause: LogGapCause,
    },
    /// All that there is so far was told.
    InSync {
        /// Number of the attempt.
        attempt: i32,
        /// The number the next record will have.
        next_record: i64,
    },
    /// The log of an attempt is complete.
    Sealed {
        /// Number of the attempt.
        attempt: i32,
        /// How many records it has.
        record_count: i64,
        /// BLAKE3 digest of its frames; empty when the attempt was lost before it could be told.
        digest: Vec<u8>,
    },
}

/// What a series of metadata tells. Every object from the start on comes once, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataEvent {
    /// Objects, one after the other.
    Records {
        /// Number of the attempt that printed them.
        attempt: i32,
        /// The objects.
        records: Vec<MetadataRecord>,
    },
    /// All that there is so far was told.
    InSync {
        /// Number of the attempt.
        attempt: i32,
        /// Log record to resume with.
        next_record: i64,
    },
    /// Records of the log that cannot be had any more: what was printed in them is not told.
    Gap {
        /// Number of the attempt.
        attempt: i32,
        /// Which, and why.
        gap: LogGap,
    },
    /// The series of an attempt is complete.
    Sealed {
        /// Number of the attempt.
        attempt: i32,
    },
}

/// What a series of machine metrics tells. Every sample from the start on comes once, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricEvent {
    /// Samples, one after the other.
    Samples {
        /// Number of the attempt that was measured.
        attempt: i32,
        /// The samples.
        samples: Vec<MetricSample>,
    },
    /// All that there is so far was told.
    InSync {
        /// Number of the attempt.
        attempt: i32,
        /// Log record to resume with.
        next_record: i64,
    },
    /// Records of the log that cannot be had any more: what was measured in them is not told.
    Gap {
        /// Number of the attempt.
        attempt: i32,
        /// Which, and why.
        gap: LogGap,
    },
    /// The series of an attempt is complete.
    Sealed {
        /// Number of the attempt.
        attempt: i32,
    },
}

impl Client {
    /// Reads a log, of an execution's newest attempt (`projects/P/executions/N`) or of a certain one (`…/attempts/M`), across
    /// lost connections. With `follow` it goes on until the log is complete; that of an execution until the execution has
    /// ended, from one attempt to the next.
    ///
    /// An error is the last item: the request was refused, or the cluster stayed out of reach for longer than the client is
    /// patient.
    pub fn read_log(
        &self,
        name: &str,
        start: LogStart,
        follow: bool,
    ) -> impl Stream<Item = Result<LogEvent, Error>> + Send + Unpin + use<> {
        resume::read::<Log>(
            self.clone(),
            Opening {
                name: name.to_owned(),
                start,
                follow,
            },
        )
    }

    /// Reads the JSON objects that a program printed, from log record `start_record` on. Otherwise as [`Client::read_log`].
    pub fn read_metadata(
        &self,
        name: &str,
        start_record: i64,
        follow: bool,
    ) -> impl Stream<Item = Result<MetadataEvent, Error>> + Send + Unpin + use<> {
        let start = LogStart::Record(start_record);
        resume::read::<Metadata>(
            self.clone(),
            Opening {
                name: name.to_owned(),
                start,
                follow,
            },
        )
    }

    /// Reads what an attempt used of its machine, span by span, from log record `start_record` on. Otherwise as [`Client::read_log`].
    pub fn read_metrics(
        &self,
        name: &str,
        start_record: i64,
        follow: bool,
    ) -> impl Stream<Item = Result<MetricEvent, Error>> + Send + Unpin + use<> {
        let start = LogStart::Record(start_record);
        resume::read::<Metrics>(
            self.clone(),
            Opening {
                name: name.to_owned(),
                start,
                follow,
            },
        )
    }
}

struct Log;

#[tonic::async_trait]
impl Series for Log {
    type Message = ReadLogResponse;
    type Event = LogEvent;

    async fn open(
        channel: Channel,
        opening: Opening,
    ) -> Result<Streaming<ReadLogResponse>, Status> {
        let start = match opening.start {
            LogStart::Record(number) => Start::StartRecord(number),
            LogStart::Tail(count) => Start::TailCount(count),
        };
        let request = ReadLogRequest {
            name: opening.name,
            follow: opening.follow,
            start: Some(start),
        };
        Ok(LogServiceClient::new(channel)
            .read_log(request)
            .await?
            .into_inner())
    }

    fn attempt(message: &ReadLogResponse) -> i32 {
        message.attempt
    }

    fn take(message: ReadLogResponse, place: &mut Place) -> Result<Vec<LogEvent>, Skipped> {
        let attempt = message.attempt;
        let event = match message.event {
            Some(Event::Batch(batch)) => {
                let mut records = batch.records;
                let (Some(first), Some(last)) = (records.first(), records.last()) else {
                    return Ok(Vec::new());
                };
                let (start, end) = (first.number, last.number + 1);
                records.retain(|record| place.is_new(record.number));
                place.advance(start, end)?;
                (!records.is_empty()).then_some(LogEvent::Records { attempt, records })
            }
            Some(Event::Gap(gap)) => {
                let is_empty = gap.start_record == gap.end_record;
                let new = is_empty || place.is_new(gap.end_record - 1);
                let cause = gap.cause();
                let start_record = place.next.unwrap_or(gap.start_record).max(gap.start_record);
                place.advance(gap.start_record, gap.end_record)?;
                new.then_some(LogEvent::Gap {
                    attempt,
                    start_record,
                    end_record: gap.end_record,
                    reason: gap.reason,
                    cause,
                })
            }
            Some(Event::Progress(progress)) => {
                place.advance(progress.next_record, progress.next_record)?;
                Some(LogEvent::InSync {
                    attempt,
                    next_record: progress.next_record,
                })
            }
            Some(Event::Sealed(sealed)) => {
                let again = std::mem::replace(&mut place.sealed, true);
                place.next.get_or_insert(sealed.record_count);
                (!again).then_some(LogEvent::Sealed {
                    attempt,
                    record_count: sealed.record_count,
                    digest: sealed.digest.to_vec(),
                })
            }
            None => None,
        };
        Ok(event.into_iter().collect())
    }
}

struct Metrics;

#[tonic::async_trait]
impl Series for Metrics {
    type Message = ReadMetricsResponse;
    type Event = MetricEvent;

    async fn open(
        channel: Channel,
        opening: Opening,
    ) -> Result<Streaming<ReadMetricsResponse>, Status> {
        let start_record = opening.start.record();
        let request = ReadMetricsRequest {
            name: opening.name,
            follow: opening.follow,
            start_record,
        };
        Ok(LogServiceClient::new(channel)
            .read_metrics(request)
            .await?
            .into_inner())
    }

    fn attempt(message: &ReadMetricsResponse) -> i32 {
        message.attempt
    }

    fn take(message: ReadMetricsResponse, place: &mut Place) -> Result<Vec<MetricEvent>, Skipped> {
        let (attempt, next_record) = (message.attempt, message.next_record);
        let mut samples = message.samples;
        samples.retain(|sample| place.is_new(sample.record));
        // Samples are sparse: what was looked at is what must follow on what was read.
        place.advance(message.start_record, next_record)?;
        let mut events = Vec::new();
        if let Some(gap) = message.gap {
            events.push(MetricEvent::Gap { attempt, gap });
        }
        if !samples.is_empty() {
            events.push(MetricEvent::Samples { attempt, samples });
        } else if !message.sealed {
            events.push(MetricEvent::InSync {
                attempt,
                next_record,
            });
        }
        if message.sealed && !std::mem::replace(&mut place.sealed, true) {
            events.push(MetricEvent::Sealed { attempt });
        }
        Ok(events)
    }
}

struct Metadata;

#[tonic::async_trait]
impl Series for Metadata {
    type Message = ReadMetadataResponse;
    type Event = MetadataEvent;

    async fn open(
        channel: Channel,
        opening: Opening,
    ) -> Result<Streaming<ReadMetadataResponse>, Status> {
        let start_record = opening.start.record();
        let request = ReadMetadataRequest {
            name: opening.name,
            follow: opening.follow,
            start_record,
        };
        Ok(LogServiceClient::new(channel)
            .read_metadata(request)
            .await?
            .into_inner())
    }

    fn attempt(message: &ReadMetadataResponse) -> i32 {
        message.attempt
    }

    fn take(
        message: ReadMetadataResponse,
        place: &mut Place,
    ) -> Result<Vec<MetadataEvent>, Skipped> {
        let (attempt, next_record) = (message.attempt, message.next_record);
        // Objects are sparse, so their numbers do not show what is left out; the first record that was looked at does.
        if place.next.is_some_and(|next| message.start_record > next) {
            return Err(Skipped);
        }
        let mut records = message.records;
        records.retain(|record| place.is_new(record.record));
        place.advance(message.start_record, next_record)?;
        let mut events = Vec::new();
        if let Some(gap) = message.gap {
            events.push(MetadataEvent::Gap { attempt, gap });
        }
        if !records.is_empty() {
            events.push(MetadataEvent::Records { attempt, records });
        } else if !message.sealed {
            events.push(MetadataEvent::InSync {
                attempt,
                next_record,
            });
        }
        if message.sealed && !std::mem::replace(&mut place.sealed, true) {
            events.push(MetadataEvent::Sealed { attempt });
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::api::{LogBatch, LogProgress};

    fn records(message: ReadLogResponse, place: &mut Place) -> Result<Vec<i64>, Skipped> {
        Ok(match Log::take(message, place)?.pop() {
            Some(LogEvent::Records { records, .. }) => {
                records.into_iter().map(|record| record.number).collect()
            }
            _ => Vec::new(),
        })
    }

    fn batch(numbers: std::ops::Range<i64>) -> ReadLogResponse {
        let records = numbers
            .map(|number| LogRecord {
                number,
                ..LogRecord::default()
            })
            .collect();
        ReadLogResponse {
            attempt: 1,
            event: Some(Event::Batch(LogBatch { records })),
        }
    }

    #[test]
    fn a_batch_that_overlaps_gives_only_what_is_new() {
        let mut place = Place {
            attempt: 1,
            next: Some(0),
            sealed: false,
        };
        assert_eq!(records(batch(0..3), &mut place), Ok(vec![0, 1, 2]));
        assert_eq!(records(batch(1..5), &mut place), Ok(vec![3, 4]));
        assert_eq!(records(batch(0..2), &mut place), Ok(vec![]));
        assert_eq!(records(batch(6..7), &mut place), Err(Skipped));
        assert_eq!(records(batch(5..6), &mut place), Ok(vec![5]));
    }

    #[test]
    fn progress_past_what_was_read_is_noticed() {
        let mut place = Place {
            attempt: 2,
            next: Some(0),
            sealed: false,
        };
        let progress = ReadLogResponse {
            attempt: 2,
            event: Some(Event::Progress(LogProgress { next_record: 9 })),
        };
        assert_eq!(records(progress, &mut place), Err(Skipped));
    }
}
