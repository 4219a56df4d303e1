//! Metadata: the JSON objects among the lines of standard output, read off the log.

use contract::api::{MetadataRecord, ReadMetadataResponse};
use feed::{Line, LineAssembler, Stream, parse_metadata};

use super::log::log_gap;
use super::log_pump::{Part, Read};
use crate::convert::{from_micros, int64};

/// Turns parts of a log into messages of metadata.
pub(super) struct Metadata {
    attempt: u32,
    lines: LineAssembler,
    /// First record and time of a line whose end has not come yet.
    open_line: Option<u64>,
    /// The last record that was looked at, with its time.
    last: (u64, u64),
    /// The record that the next message speaks from.
    told: u64,
}

impl Metadata {
    /// A reader that starts with record `first`.
    pub(super) fn new(first: u64) -> Self {
        Self {
            attempt: 0,
            lines: LineAssembler::new(),
            open_line: None,
            last: (0, 0),
            told: first,
        }
    }

    /// Takes a part of the log; gives a message when there is something to say.
    pub(super) fn take(&mut self, read: Read) -> Option<ReadMetadataResponse> {
        if read.attempt != self.attempt && read.attempt != 0 {
            let first = if self.attempt == 0 { self.told } else { 0 };
            *self = Self {
                attempt: read.attempt,
                ..Self::new(first)
            };
        }
        match read.part {
            Part::Records(records) => {
                let mut found = Vec::new();
                let mut next = self.told;
                for (number, record) in records {
                    next = number + 1;
                    if record.stream != Stream::Stdout {
                        continue;
                    }
                    self.last = (number, record.time_us);
                    if let Some(line) = self.lines.push(&record.data, record.partial) {
                        found.extend(object(&line, self.last));
                    }
                    self.open_line = record.partial.then(|| self.open_line.unwrap_or(number));
                }
                (!found.is_empty()).then(|| self.message(found, next, false))
            }
            Part::Gap(gap) => {
                // A line that a gap tears apart is no metadata any more.
                (self.lines, self.open_line) = (LineAssembler::new(), None);
                let mut message = self.message(Vec::new(), gap.end, false);
                message.gap = Some(log_gap(gap));
                Some(message)
            }
            Part::Progress(next) => Some(self.message(Vec::new(), next, false)),
            Part::Sealed(count, _) => {
                self.open_line = None;
                let rest = self
                    .lines
                    .finish()
                    .and_then(|line| object(&line, self.last));
                Some(self.message(rest.into_iter().collect(), count, true))
            }
        }
    }

    /// A message about everything before `next`, or before the line that is not whole yet: a reader that resumes there gets
    /// that line whole.
    fn message(
        &mut self,
        records: Vec<MetadataRecord>,
        next: u64,
        sealed: bool,
    ) -> ReadMetadataResponse {
        let next = self.open_line.unwrap_or(next).max(self.told);
        let start = std::mem::replace(&mut self.told, next);
        ReadMetadataResponse {
            records,
            start_record: int64(start),
            next_record: int64(next),
            sealed,
            attempt: self.attempt as i32,
            gap: None,
        }
    }
}

/// The metadata of a line: as printed, unless it has numbers that are no JSON.
fn object(line: &Line<'_>, (number, time_us): (u64, u64)) -> Option<MetadataRecord> {
    let Line::Whole(bytes) = line else {
        return None;
    };
    let object = parse_metadata(bytes)?;
    let text = String::from_utf8_lossy(bytes.trim_ascii());
    // The words that Python prints for such numbers, perhaps.
    let json = if text.contains("NaN") || text.contains("Infinity") {
        serde_json::Value::Object(object).to_string()
    } else {
        text.into_owned()
    };
    Some(MetadataRecord {
        record: int64(number),
        time: from_micros(int64(time_us)),
        json,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use feed::Record;

    fn records(first: u64, lines: &[(Stream, &'static str)]) -> Read {
        let records = lines.iter().zip(first..).map(|((stream, text), number)| {
            let partial = !text.ends_with('\n');
            let data = Bytes::from_static(text.as_bytes());
            (
                number,
                Record {
                    time_us: 1,
                    stream: *stream,
                    partial,
                    data,
                },
            )
        });
        Read {
            attempt: 1,
            part: Part::Records(records.collect()),
        }
    }

    fn told(message: Option<ReadMetadataResponse>) -> (Vec<(i64, String)>, i64, i64) {
        let message = message.unwrap_or_default();
        let found = message
            .records
            .into_iter()
            .map(|record| (record.record, record.json))
            .collect();
        (found, message.start_record, message.next_record)
    }

    #[test]
    fn objects_of_standard_output_and_nothing_else() {
        let mut metadata = Metadata::new(0);
        let read = records(
            0,
            &[
                (Stream::Stdout, "{\"a\": 1}\n"),
                (Stream::Stderr, "{\"b\": 1}\n"),
                (Stream::Stdout, "hello\n"),
                (Stream::Stdout, "{\"n\": NaN}\n"),
            ],
        );
        let (found, start, next) = told(metadata.take(read));
        // The second is no JSON as it is printed.
        let json = ["{\"a\": 1}", "{\"n\":\"NaN\"}"].map(str::to_owned);
        assert_eq!(found, [(0, json[0].clone()), (3, json[1].clone())]);
        assert_eq!((start, next), (0, 4));
        assert!(
            metadata
                .take(records(4, &[(Stream::Stdout, "no\n")]))
                .is_none()
        );
        let sealed = metadata
            .take(Read {
                attempt: 1,
                part: Part::Sealed(5, None),
            })
            .unwrap();
        assert!(sealed.sealed);
        assert_eq!((sealed.start_record, sealed.next_record), (4, 5));
    }

    #[test]
    fn a_reader_resumes_before_a_line_that_is_not_whole() {
        let mut metadata = Metadata::new(0);
        let read = records(
            0,
            &[
                (Stream::Stdout, "{\"a\": 1}\n"),
                (Stream::Stdout, "{\"b\":"),
                (Stream::Stderr, "x\n"),
            ],
        );
        assert_eq!(told(metadata.take(read)).2, 1);
        let (found, start, next) = told(metadata.take(records(3, &[(Stream::Stdout, " 2}\n")])));
        assert_eq!(found, [(3, "{\"b\": 2}".to_owned())]);
        assert_eq!((start, next), (1, 4));

        let mut resumed = Metadata::new(1);
        let read = records(
            1,
            &[
                (Stream::Stdout, "{\"b\":"),
                (Stream::Stderr, "x\n"),
                (Stream::Stdout, " 2}\n"),
            ],
        );
        assert_eq!(told(resumed.take(read)).0, found);
    }

    #[test]
    fn a_last_line_without_an_end_counts() {
        let mut metadata = Metadata::new(0);
        assert!(
            metadata
                .take(records(0, &[(Stream::Stdout, "{\"a\": 1}")]))
                .is_none()
        );
        let (found, _, next) = told(metadata.take(Read {
            attempt: 1,
            part: Part::Sealed(1, None),
        }));
        assert_eq!((found.len(), next), (1, 1));
    }

    #[test]
    fn the_next_attempt_starts_over() {
        let mut metadata = Metadata::new(2);
        metadata.take(records(2, &[(Stream::Stdout, "{\"torn\":")]));
        let mut next = records(0, &[(Stream::Stdout, "{\"a\": 1}\n")]);
        next.attempt = 2;
        let message = metadata.take(next).unwrap();
        assert_eq!(
            (message.attempt, message.start_record, message.next_record),
            (2, 0, 1)
        );
    }
}
