//! `LogService`.

use contract::api::log_service_server::LogService;
use contract::api::read_log_response::Event;
use contract::api::{self, ErrorReason, LogGapCause};
use coordinator::Refusal;
use feed::{Record, Stream};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, async_trait};

use super::log_pump::{Gap, Part, Pump, Read, Start};
use super::metadata::Metadata;
use super::metrics::Metrics;
use crate::context::{Context, checked, unsigned};
use crate::convert::name::LogName;
use crate::convert::{from_micros, int64};
use crate::status::status;
use crate::stream::{self, Answers};

/// Messages that wait for a reader; then its file is not read on.
const QUEUE: usize = 4;

pub(crate) struct Logs(pub(crate) Context);

impl Logs {
    /// Opens a log; what comes out is turned into messages by `make`.
    async fn open<T: Send + 'static>(
        &self,
        name: &str,
        start: Start,
        follow: bool,
        mut make: impl FnMut(Read) -> Option<T> + Send + 'static,
    ) -> Result<Answers<T>, Status> {
        let name = LogName::parse("name", name).map_err(status)?;
        let (parts, mut read) = mpsc::channel(1);
        let pump = Pump::new(self.0.clone(), name, start, follow, parts).await?;
        Ok(stream::fill(QUEUE, |out| async move {
            let pump = tokio::spawn(pump.run());
            while let Some(part) = read.recv().await {
                if let Some(message) = make(part?)
                    && out.send(Ok(message)).await.is_err()
                {
                    return Ok(());
                }
            }
            pump.await.map_err(|panic| {
                Refusal::new(
                    ErrorReason::InternalFault,
                    format!("reading the log failed: {panic}"),
                )
            })
        }))
    }
}

#[async_trait]
impl LogService for Logs {
    type ReadLogStream = Answers<api::ReadLogResponse>;

    async fn read_log(
        &self,
        request: Request<api::ReadLogRequest>,
    ) -> Result<Response<Self::ReadLogStream>, Status> {
        use api::read_log_request::Start as Asked;
        let request = checked(request)?;
        let start = match request.start {
            None => Start::Record(0),
            Some(Asked::StartRecord(number)) => {
                Start::Record(unsigned("start_record", number).map_err(status)?)
            }
            Some(Asked::TailCount(count)) => {
                Start::Tail(unsigned("tail_count", count).map_err(status)?)
            }
        };
        self.open(&request.name, start, request.follow, |read| {
            Some(message(read))
        })
        .await
        .map(Response::new)
    }

    type ReadMetadataStream = Answers<api::ReadMetadataResponse>;

    async fn read_metadata(
        &self,
        request: Request<api::ReadMetadataRequest>,
    ) -> Result<Response<Self::ReadMetadataStream>, Status> {
        let request = checked(request)?;
        let first = unsigned("start_record", request.start_record).map_err(status)?;
        let mut metadata = Metadata::new(first);
        let make = move |read| metadata.take(read);
        self.open(&request.name, Start::Record(first), request.follow, make)
            .await
            .map(Response::new)
    }

    type ReadMetricsStream = Answers<api::ReadMetricsResponse>;

    async fn read_metrics(
        &self,
        request: Request<api::ReadMetricsRequest>,
    ) -> Result<Response<Self::ReadMetricsStream>, Status> {
        let request = checked(request)?;
        let first = unsigned("start_record", request.start_record).map_err(status)?;
        let mut metrics = Metrics::new(first);
        let make = move |read| metrics.take(read);
        self.open(&request.name, Start::Record(first), request.follow, make)
            .await
            .map(Response::new)
    }
}

fn message(read: Read) -> api::ReadLogResponse {
    let event = match read.part {
        Part::Records(records) => Event::Batch(api::LogBatch {
            records: records
                .into_iter()
                .map(|(number, record)| log_record(number, record))
                .collect(),
        }),
        Part::Gap(gap) => Event::Gap(log_gap(gap)),
        Part::Progress(next) => Event::Progress(api::LogProgress {
            next_record: int64(next),
        }),
        Part::Sealed(count, digest) => Event::Sealed(api::LogSealed {
            record_count: int64(count),
            digest: digest
                .map(|digest| digest.to_vec())
                .unwrap_or_default()
                .into(),
        }),
    };
    api::ReadLogResponse {
        attempt: read.attempt as i32,
        event: Some(event),
    }
}

/// Records that cannot be had.
pub(super) fn log_gap(gap: Gap) -> api::LogGap {
    let reason = match gap.cause {
        LogGapCause::Purged => "the time of this log was over, and it was removed",
        LogGapCause::Unspecified | LogGapCause::Unreachable => {
            "no coordinator that can be reached has them"
        }
    };
    api::LogGap {
        start_record: int64(gap.start),
        end_record: int64(gap.end),
        reason: reason.to_owned(),
        cause: gap.cause.into(),
    }
}

fn log_record(number: u64, record: Record) -> api::LogRecord {
    let stream = match record.stream {
        Stream::Stdout => api::LogStream::Stdout,
        Stream::Stderr => api::LogStream::Stderr,
        Stream::Status => api::LogStream::Status,
        Stream::Metric => api::LogStream::Metric,
    };
    api::LogRecord {
        number: int64(number),
        time: from_micros(int64(record.time_us)),
        stream: stream.into(),
        data: record.data,
        partial: record.partial,
    }
}
