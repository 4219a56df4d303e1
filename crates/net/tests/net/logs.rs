//! Logs and metadata: every record once, in order, whatever is cut.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use client::{Client, LogEvent, LogStart, MetadataEvent, StreamExt as _};
use contract::api::{ErrorReason, LogGapCause};
use net::ports::FeedKey;

use crate::support::host::Host;
use crate::support::proxy::Proxy;
use crate::support::{impatient, ledgers, soon};

const NAME: &str = "projects/p/executions/1";

/// A host with an execution whose first attempt runs.
fn running() -> (Arc<Host>, FeedKey) {
    let host = Host::new();
    host.apply(vec![ledgers::create_execution("e")]);
    host.apply(vec![ledgers::assign(1, "w")]);
    let key = key(&host, 1);
    (host, key)
}

fn key(host: &Host, attempt: u32) -> FeedKey {
    let id = host.ledger().execution("p", 1).unwrap().execution_id;
    FeedKey {
        execution: *id.as_bytes(),
        attempt,
    }
}

fn print_lines(host: &Host, key: FeedKey, from: usize, to: usize) {
    for number in from..to {
        host.print(
            key,
            &[&format!("line {number} of attempt {}\n", key.attempt)],
        );
    }
}

/// Attempt, number and text of every record.
fn texts(events: &[LogEvent]) -> Vec<(i32, i64, String)> {
    let batches = events.iter().filter_map(|event| match event {
        LogEvent::Records { attempt, records } => Some((*attempt, records)),
        _ => None,
    });
    let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
    batches
        .flat_map(|(attempt, records)| {
            records
                .iter()
                .map(move |record| (attempt, record.number, text(&record.data)))
        })
        .collect()
}

fn expected(attempt: i32, from: i64, to: i64) -> Vec<(i32, i64, String)> {
    (from..to)
        .map(|number| {
            (
                attempt,
                number,
                format!("line {number} of attempt {attempt}\n"),
            )
        })
        .collect()
}

async fn read(client: &Client, start: LogStart, follow: bool) -> Vec<LogEvent> {
    let events: Vec<_> = soon(client.read_log(NAME, start, follow).collect()).await;
    events.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn as_far_as_it_is_stored() {
    let (host, key) = running();
    print_lines(&host, key, 0, 10);
    let server = host.serve().await;
    let client = impatient(&server.address);
    let events = read(&client, LogStart::Record(0), false).await;
    assert_eq!(texts(&events), expected(1, 0, 10));
    assert_eq!(
        events.last(),
        Some(&LogEvent::InSync {
            attempt: 1,
            next_record: 10
        })
    );
    assert_eq!(
        texts(&read(&client, LogStart::Record(7), false).await),
        expected(1, 7, 10)
    );
    assert_eq!(
        texts(&read(&client, LogStart::Tail(2), false).await),
        expected(1, 8, 10)
    );
    assert_eq!(
        texts(&read(&client, LogStart::Tail(99), false).await),
        expected(1, 0, 10)
    );

    let seal = host.seal(key);
    let events = read(&client, LogStart::Record(10), false).await;
    let sealed = LogEvent::Sealed {
        attempt: 1,
        record_count: 10,
        digest: seal.digest.to_vec(),
    };
    assert_eq!(events, [sealed]);
    let mut past = client.read_log(NAME, LogStart::Record(11), false);
    assert_eq!(
        soon(past.next()).await.unwrap().unwrap_err().reason,
        Some(ErrorReason::PastEnd)
    );
    let mut unknown = client.read_log(
        "projects/p/executions/1/attempts/2",
        LogStart::Record(0),
        false,
    );
    assert_eq!(
        soon(unknown.next()).await.unwrap().unwrap_err().reason,
        Some(ErrorReason::ResourceNotFound)
    );
    server.stop().await;
}

/// I-21, the last hop, over real sockets.
#[tokio::test]
async fn no_gap_and_no_repeat_wherever_connections_are_cut() {
    let (host, key) = running();
    print_lines(&host, key, 0, 300);
    let server = host.serve().await;
    let proxy = Proxy::to(&server.address).await;
    proxy.budgets((0..12).map(|step| 700 + 911 * step));
    let client = Client::new(client::Fixed::one(proxy.address.clone()));
    let mut log = client.read_log(NAME, LogStart::Record(0), true);
    let mut events = Vec::new();
    // It grows, is cut at moments tied to what was read, and is sealed at last.
    let mut printed = 300;
    while let Some(event) = soon(log.next()).await {
        events.push(event.unwrap());
        let read = texts(&events).len();
        if printed < 600 && read == printed {
            proxy.cut();
            print_lines(&host, key, printed, printed + 100);
            printed += 100;
        } else if printed == 600
            && read == 600
            && host
                .ledger()
                .execution("p", 1)
                .unwrap()
                .live_attempt()
                .is_some()
        {
            let seal = host.seal(key);
            host.apply(vec![ledgers::finish("w", host.fence(1), seal, &[])]);
        }
    }
    assert_eq!(texts(&events), expected(1, 0, 600));
    let sealed: Vec<_> = events
        .iter()
        .filter(|event| matches!(event, LogEvent::Sealed { .. }))
        .collect();
    assert_eq!(sealed.len(), 1);
    assert!(proxy.connections() > 5, "{}", proxy.connections());
    server.stop().await;
}

/// I-23. What a reader does not take stays where it is stored: the server holds little of it, others get all, and when the reader goes on nothing was
/// skipped.
#[tokio::test]
async fn who_does_not_read_holds_nobody_up_and_misses_nothing() {
    const BATCHES: usize = 320;
    const LINES: usize = 100;
    let (host, key) = running();
    let line = format!("{}\n", "x".repeat(1_023));
    let batch = [line.as_str(); LINES];
    host.print(key, &batch);
    let server = host.serve().await;
    let client = Client::new(client::Fixed::one(server.address.clone()));
    let mut slow = client.read_log(NAME, LogStart::Record(0), true);
    let mut slow_events = vec![soon(slow.next()).await.unwrap().unwrap()];
    for _ in 1..BATCHES {
        host.print(key, &batch);
    }
    let seal = host.seal(key);
    host.apply(vec![ledgers::finish("w", host.fence(1), seal, &[])]);

    let all: Vec<i64> = (0..(BATCHES * LINES) as i64).collect();
    let numbers = |events: &[LogEvent]| -> Vec<i64> {
        texts(events).iter().map(|(_, number, _)| *number).collect()
    };
    let other = Client::new(client::Fixed::one(server.address.clone()));
    assert_eq!(numbers(&read(&other, LogStart::Record(0), true).await), all);
    let written = seal.record_count * 1_024;
    let for_slow = host.read_bytes.load(Ordering::SeqCst) - written;
    assert!(
        for_slow < written / 4,
        "{for_slow} of {written} bytes are held for a reader that takes nothing"
    );

    while let Some(event) = soon(slow.next()).await {
        slow_events.push(event.unwrap());
    }
    assert_eq!(numbers(&slow_events), all);
    server.stop().await;
}

#[tokio::test]
async fn following_an_execution_goes_over_to_its_next_attempt() {
    for cuts in [false, true] {
        let (host, first) = running();
        print_lines(&host, first, 0, 5);
        let server = host.serve().await;
        let proxy = Proxy::to(&server.address).await;
        let client = Client::new(client::Fixed::one(proxy.address.clone()));
        let mut log = client.read_log(NAME, LogStart::Record(0), true);
        let mut events = Vec::new();
        while texts(&events).len() < 5 {
            events.push(soon(log.next()).await.unwrap().unwrap());
        }
        // The worker is lost without a word, and another attempt gets it done.
        if cuts {
            proxy.cut();
        }
        host.apply(vec![ledgers::lose(host.fence(1))]);
        host.apply(vec![ledgers::assign(1, "w")]);
        let second = key(&host, 2);
        print_lines(&host, second, 0, 3);
        let seal = host.seal(second);
        host.apply(vec![ledgers::finish("w", host.fence(1), seal, &[])]);
        while let Some(event) = soon(log.next()).await {
            events.push(event.unwrap());
        }
        assert_eq!(
            texts(&events),
            [expected(1, 0, 5), expected(2, 0, 3)].concat(),
            "cuts: {cuts}"
        );
        let sealed: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                LogEvent::Sealed {
                    attempt,
                    record_count,
                    digest,
                } => Some((*attempt, *record_count, digest.len())),
                _ => None,
            })
            .collect();
        assert_eq!(sealed, [(1, 5, 0), (2, 3, 32)], "cuts: {cuts}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_log_that_has_not_begun_is_waited_for() {
    let host = Host::new();
    host.apply(vec![ledgers::create_execution("e")]);
    let server = host.serve().await;
    let client = impatient(&server.address);
    assert_eq!(read(&client, LogStart::Record(0), false).await, []);
    let reading = tokio::spawn(async move { read(&client, LogStart::Record(0), true).await });
    host.apply(vec![ledgers::assign(1, "w")]);
    let key = key(&host, 1);
    print_lines(&host, key, 0, 2);
    let seal = host.seal(key);
    host.apply(vec![ledgers::finish("w", host.fence(1), seal, &[])]);
    assert_eq!(texts(&soon(reading).await.unwrap()), expected(1, 0, 2));
    server.stop().await;
}

/// I-21: what was removed is told, never passed over.
#[tokio::test]
async fn a_log_whose_time_was_over_says_so() {
    let (host, key) = running();
    let server = host.serve().await;
    let client = Client::new(client::Fixed::one(server.address.clone()));
    print_lines(&host, key, 0, 3);
    let seal = host.seal(key);
    host.apply(vec![ledgers::finish("w", host.fence(1), seal, &[])]);
    let removed = std::sync::atomic::Ordering::SeqCst;
    host.absent_until_ms.store(i64::MAX, removed);
    for (start, expected) in [
        (LogStart::Record(0), Some((0, 3))),
        (LogStart::Record(2), Some((2, 3))),
        (LogStart::Tail(2), Some((1, 3))),
        (LogStart::Record(3), None),
    ] {
        let mut log = client.read_log(NAME, start, true);
        let mut gaps = Vec::new();
        let mut sealed = None;
        while let Some(event) = soon(log.next()).await {
            match event.unwrap() {
                LogEvent::Gap {
                    start_record,
                    end_record,
                    cause,
                    ..
                } => gaps.push((start_record, end_record, cause)),
                LogEvent::Sealed { record_count, .. } => sealed = Some(record_count),
                LogEvent::Records { records, .. } => panic!("{records:?} are gone"),
                LogEvent::InSync { .. } => {}
            }
        }
        let expected = expected.map(|(start, end)| (start, end, LogGapCause::Purged));
        assert_eq!(gaps, Vec::from_iter(expected), "{start:?}");
        assert_eq!(sealed, Some(3));
    }
    let mut series = client.read_metadata(NAME, 0, true);
    let first = soon(series.next()).await.unwrap().unwrap();
    let MetadataEvent::Gap { gap, .. } = first else {
        panic!("{first:?}");
    };
    assert_eq!((gap.end_record, gap.cause()), (3, LogGapCause::Purged));
    host.absent_until_ms.store(i64::MIN, removed);
    assert_eq!(
        texts(&read(&client, LogStart::Record(0), false).await),
        expected(1, 0, 3)
    );
    server.stop().await;
}

#[tokio::test]
async fn metadata_comes_once_across_cuts() {
    let (host, key) = running();
    let server = host.serve().await;
    let proxy = Proxy::to(&server.address).await;
    let client = Client::new(client::Fixed::one(proxy.address.clone()));
    for epoch in 0..50 {
        host.print(
            key,
            &[
                &format!("epoch {epoch}\n"),
                &format!("{{\"epoch\": {epoch},"),
                " \"loss\": NaN}\n",
            ],
        );
    }
    proxy.budgets((0..8).map(|step| 800 + 611 * step));
    let mut series = client.read_metadata(NAME, 0, true);
    let mut got = Vec::new();
    let mut ended = false;
    while let Some(event) = soon(series.next()).await {
        if let MetadataEvent::Records { records, .. } = event.unwrap() {
            got.extend(records);
        }
        if got.len() == 50 && !ended {
            ended = true;
            // The last object has no newline: it counts once the log is sealed.
            host.print(key, &["{\"accuracy\": 1}"]);
            let seal = host.seal(key);
            host.apply(vec![ledgers::finish("w", host.fence(1), seal, &[])]);
        }
    }
    let numbers: Vec<_> = got.iter().map(|record| record.record).collect();
    let expected: Vec<i64> = (0..50).map(|epoch| 3 * epoch + 2).collect();
    assert_eq!(numbers[..50], expected);
    assert_eq!(
        (got.len(), got[50].json.as_str()),
        (51, "{\"accuracy\": 1}")
    );
    // What was printed need not be JSON; what is answered is.
    assert_eq!(got[49].json, "{\"epoch\":49,\"loss\":\"NaN\"}");
    server.stop().await;
}
