//! `shoal execution logs`: what a program printed, record by record.

use std::io::IsTerminal as _;

use client::{LogEvent, LogStart};
use contract::api::{LogRecord, LogStream};
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::Context;
use crate::args::{Logs, StreamName};
use crate::commands::write_out;
use crate::print::{self, escape};
use crate::{Exit, Failure, json};

pub(super) async fn logs(context: &Context, arguments: &Logs) -> Result<Exit, Failure> {
    let mut name = context.execution(arguments.number.number);
    if let Some(attempt) = arguments.attempt {
        name = format!("{name}/attempts/{attempt}");
    }
    let start = match (arguments.from, arguments.tail) {
        (_, Some(count)) => LogStart::Tail(count),
        (from, None) => LogStart::Record(from.unwrap_or(0)),
    };
    let printer = Printer {
        json: context.json(),
        // A file or a pipe gets the bytes exactly; a terminal only what cannot harm it.
        exact: arguments.raw || !std::io::stdout().is_terminal(),
        only: arguments.stream,
        // Shoal's own words are not what the program printed: they go to standard error unless asked for.
        status_apart: arguments.stream.is_none(),
        quiet: context.global.quiet,
    };
    let connection = context.connect_to_look()?;
    let mut log = connection.client.read_log(&name, start, arguments.follow);
    let result = loop {
        let Some(event) = log.next().await else {
            break Ok(Exit::Done);
        };
        let printed = match event {
            Ok(event) => printer.print(event),
            Err(error) => Err(error.into()),
        };
        if let Err(failure) = printed {
            break Err(failure);
        }
    };
    context.close(connection).await;
    result
}

struct Printer {
    json: bool,
    exact: bool,
    only: Option<StreamName>,
    status_apart: bool,
    quiet: bool,
}

impl Printer {
    fn print(&self, event: LogEvent) -> Result<(), Failure> {
        match event {
            LogEvent::Records { attempt, records } => {
                let mut out = Vec::new();
                for record in records.iter().filter(|record| self.wants(record.stream())) {
                    self.one(attempt, record, &mut out);
                }
                write_out(&out)
            }
            LogEvent::Gap {
                attempt,
                start_record,
                end_record,
                reason,
                cause,
            } if self.json => {
                let cause = cause.as_str_name().trim_start_matches("LOG_GAP_CAUSE_");
                let value = json!({"attempt": attempt, "gap": {"start": start_record, "end": end_record, "reason": reason, "cause": cause}});
                write_out(format!("{value}\n").as_bytes())
            }
            LogEvent::Gap {
                start_record,
                end_record,
                reason,
                ..
            } => {
                let reason = escape::for_line(&reason.to_string());
                let what = match end_record - start_record {
                    0 => "what was printed is gone".to_owned(),
                    1 => format!("record {start_record} is gone"),
                    _ => format!("records {start_record} to {} are gone", end_record - 1),
                };
                print::tell(&format!("note: {what}: {reason}\n"));
                Ok(())
            }
            LogEvent::Sealed {
                attempt,
                record_count,
                digest,
            } if self.json => {
                let value = json!({"attempt": attempt, "sealed": {"record_count": record_count, "digest": json::hex(&digest)}});
                write_out(format!("{value}\n").as_bytes())
            }
            LogEvent::Sealed { .. } | LogEvent::InSync { .. } => Ok(()),
        }
    }

    fn wants(&self, stream: LogStream) -> bool {
        match self.only {
            // Programs get all, so that they see the numbers without a gap; people see what was printed.
            None => self.json || stream != LogStream::Metric,
            Some(StreamName::Stdout) => stream == LogStream::Stdout,
            Some(StreamName::Stderr) => stream == LogStream::Stderr,
            Some(StreamName::Status) => stream == LogStream::Status,
            Some(StreamName::Metric) => stream == LogStream::Metric,
        }
    }

    fn one(&self, attempt: i32, record: &LogRecord, out: &mut Vec<u8>) {
        if self.json {
            out.extend_from_slice(format!("{}\n", value(attempt, record)).as_bytes());
        } else if self.status_apart && record.stream() == LogStream::Status {
            if !self.quiet {
                eprint!("{}", escape::for_terminal(&record.data));
            }
        } else if self.exact {
            out.extend_from_slice(&record.data);
            if record.stream() == LogStream::Metric {
                out.push(b'\n');
            }
        } else {
            out.extend_from_slice(escape::for_terminal(&record.data).as_bytes());
        }
    }
}

/// A record for programs: text where it is UTF-8, else the bytes in hexadecimal.
fn value(attempt: i32, record: &LogRecord) -> Value {
    let mut value = json!({
        "attempt": attempt,
        "number": record.number,
        "time": json::time(record.time.as_ref()),
        "stream": record.stream().as_str_name().trim_start_matches("LOG_STREAM_").to_lowercase(),
        "partial": record.partial,
    });
    match std::str::from_utf8(&record.data) {
        Ok(text) => value["text"] = Value::from(text),
        Err(_) => value["hex"] = Value::from(json::hex_text(&record.data)),
    }
    value
}
