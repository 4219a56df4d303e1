//! The audit trail's thread: events become lines, written as they come and put on the disk once a second.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use disk::DiskError;
use disk::audit::{AuditLog, Keep};
use net::audit::{Audit, Event};
use serde::Serialize;

use crate::Fault;

/// Events that wait for a slow disk. More are counted and left out: a change must not wait for its trail.
const QUEUE: usize = 10_000;

/// How often what was written is put on the disk.
const SYNC: Duration = Duration::from_secs(1);

/// Takes events to the trail.
pub(super) struct AuditTrail {
    lines: Mutex<Option<SyncSender<String>>>,
    left_out: Arc<AtomicU64>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl AuditTrail {
    /// Opens the trail in a directory.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(super) fn open(dir: &Path, keep: Keep) -> Result<Arc<Self>, Fault> {
        let log = AuditLog::open(dir, keep)?;
        let (lines, queue) = sync_channel(QUEUE);
        let left_out = Arc::new(AtomicU64::new(0));
        let thread = thread::Builder::new().name("audit".to_owned()).spawn({
            let left_out = Arc::clone(&left_out);
            move || write(log, &queue, &left_out)
        })?;
        Ok(Arc::new(Self {
            lines: Mutex::new(Some(lines)),
            left_out,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Ends it once everything is on the disk.
    pub(super) fn stop(&self) {
        drop(
            self.lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}

impl Audit for AuditTrail {
    fn record(&self, event: Event) {
        let line = line(&event, SystemTime::now());
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = &*lines
            && let Err(TrySendError::Full(_)) = lines.try_send(line)
        {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A line of the trail; its fields in this order, the empty ones left out.
#[derive(Serialize)]
struct Line<'event> {
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    principal: &'event str,
    #[serde(skip_serializing_if = "str::is_empty")]
    certificate: &'event str,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: &'event str,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'event str,
    #[serde(skip_serializing_if = "str::is_empty")]
    object: &'event str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'event str,
    #[serde(skip_serializing_if = "str::is_empty")]
    digest: &'event str,
    #[serde(skip_serializing_if = "str::is_empty")]
    outcome: &'event str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'event str,
}

fn line(event: &Event, now: SystemTime) -> String {
    let line = Line {
        time: date(now),
        event: event.kind.as_str(),
        principal: &event.principal,
        certificate: &event.certificate,
        source: &event.source,
        method: &event.method,
        object: &event.object,
        request_id: &event.request_id,
        digest: &event.digest,
        outcome: &event.outcome,
        message: &event.message,
    };
    // Strings and nothing else: that always works.
    serde_json::to_string(&line).unwrap_or_default()
}

/// RFC 3339, to the millisecond.
fn date(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = since.subsec_millis() * 1_000_000;
    prost_types::Timestamp {
        seconds: since.as_secs().cast_signed(),
        nanos: nanos.cast_signed(),
    }
    .to_string()
}

fn write(mut log: AuditLog, queue: &Receiver<String>, left_out: &AtomicU64) {
    let (mut synced, mut is_dirty) = (Instant::now(), false);
    loop {
        let wait = match is_dirty {
            true => SYNC.saturating_sub(synced.elapsed()),
            false => Duration::from_secs(3_600),
        };
        let mut lines = Vec::new();
        let is_over = match queue.recv_timeout(wait) {
            Ok(line) => {
                lines.push(line);
                lines.extend(queue.try_iter().take(1_000));
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let missing = left_out.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let time = date(SystemTime::now());
            lines.push(format!(
                "{{\"time\":\"{time}\",\"event\":\"left.out\",\"message\":\"{missing} events came faster than the disk took them\"}}"
            ));
        }
        if !lines.is_empty() {
            is_dirty = true;
            tell(log.append(&lines));
        }
        if is_dirty && (is_over || synced.elapsed() >= SYNC) {
            tell(log.sync());
            (synced, is_dirty) = (Instant::now(), false);
        }
        if is_over {
            return;
        }
    }
}

/// A trail that cannot be written stops nothing: what it tells of is in the Raft log too, but for the denials.
fn tell(written: Result<(), DiskError>) {
    if let Err(error) = written {
        tracing::error!("the audit trail lacks lines: {error}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use net::audit::EventKind;

    use super::*;

    #[test]
    fn events_become_lines_that_verify() {
        let dir = tempfile::tempdir().unwrap();
        let trail = AuditTrail::open(dir.path(), Keep::default()).unwrap();
        trail.record(Event {
            kind: EventKind::Call,
            principal: "user/ann".to_owned(),
            certificate: String::new(),
            source: "10.0.0.1:5000".to_owned(),
            method: "shoal.v1.ExecutionService/CreateExecution".to_owned(),
            object: "projects/p/executions/1".to_owned(),
            request_id: String::new(),
            digest: String::new(),
            outcome: "OK".to_owned(),
            message: "says \"no\"\nand more".to_owned(),
        });
        trail.stop();
        let mut lines = Vec::new();
        let verified = disk::audit::verify(dir.path(), |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(verified.damage, [""; 0]);
        let line: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!(line["principal"], "user/ann");
        assert_eq!(line["message"], "says \"no\"\nand more");
        assert_eq!(line["certificate"], serde_json::Value::Null);
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}
