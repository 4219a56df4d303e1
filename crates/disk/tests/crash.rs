//! Writers that are killed in the middle: what they were told is durable is there afterwards.
//!
//! The test program is its own child: started with `write KIND DIR` it appends for ever and prints each number once it
//! is durable. `check KIND DIR NUMBER` opens the directory again; `power_cut.py` beside this file uses both over a file
//! system that loses its cache.

use bytes::Bytes;
use disk::feeds::{FeedKey, Feeds};
use disk::raft_log::{self, LogConfig, LogKind};
use feed::{Batch, Stream, encode_parts};
use raft::eraftpb::{Entry, HardState};
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["write", kind, dir] => kind
            .parse()
            .and_then(|kind: Kind| kind.write(Path::new(dir))),
        ["check", kind, dir, told] => check(kind, Path::new(dir), told),
        _ => run_tests(&words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let source = error
                .source()
                .map_or(String::new(), |source| format!(": {source}"));
            eprintln!("{error}{source}");
            ExitCode::FAILURE
        }
    }
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    RaftLog(LogKind),
    Feeds,
}

impl std::str::FromStr for Kind {
    type Err = Box<dyn Error>;

    fn from_str(text: &str) -> Outcome<Kind> {
        match text {
            "raft-log" => Ok(Kind::RaftLog(LogKind::File)),
            "raft-log-in-sled" => Ok(Kind::RaftLog(LogKind::Sled)),
            "feeds" => Ok(Kind::Feeds),
            other => Err(format!("unknown kind {other}").into()),
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::RaftLog(LogKind::File) => "raft-log",
            Kind::RaftLog(LogKind::Sled) => "raft-log-in-sled",
            Kind::Feeds => "feeds",
        }
    }

    /// Appends until killed; prints a number when everything up to it is durable.
    fn write(self, dir: &Path) -> Outcome<()> {
        let mut out = std::io::stdout().lock();
        match self {
            Kind::RaftLog(kind) => {
                let mut log = raft_log::open(dir, Some(kind), LogConfig::default())?;
                let last = log.load()?.entries.last().map_or(0, |entry| entry.index);
                for first in (last + 1..).step_by(3) {
                    let entries: Vec<Entry> = (first..first + 3).map(entry).collect();
                    log.append(&entries, Some(&hard_state(first)))?;
                    writeln!(out, "{}", first + 2)?;
                }
            }
            Kind::Feeds => {
                let feeds = Feeds::open(dir)?;
                for round in feeds.length(feed_key(0)).. {
                    let batches: Vec<_> = (0..5).map(|n| (feed_key(n), batch(n, round))).collect();
                    feeds.append(&batches)?;
                    writeln!(out, "{}", round + 1)?;
                }
            }
        }
        Ok(())
    }

    /// Opens what a killed writer left, compares every byte, and gives how far it goes.
    fn read(self, dir: &Path) -> Outcome<u64> {
        match self {
            Kind::RaftLog(kind) => {
                let mut log = raft_log::open(dir, Some(kind), LogConfig::default())?;
                let recovered = log.load()?;
                let count = recovered.entries.len() as u64;
                for (index, found) in (1..).zip(&recovered.entries) {
                    ensure(*found == entry(index), || format!("entry {index} differs"))?;
                }
                let of_last_append = hard_state((count / 3).max(1) * 3 - 2);
                let whole = count.is_multiple_of(3)
                    && (count == 0 || recovered.hard_state == of_last_append);
                ensure(whole, || {
                    format!("torn: {count} entries, {:?}", recovered.hard_state)
                })?;
                Ok(count)
            }
            Kind::Feeds => {
                let feeds = Feeds::open(dir)?;
                ensure(feeds.damage().is_empty(), || {
                    format!("damage: {:?}", feeds.damage())
                })?;
                let count = feeds.length(feed_key(0));
                for n in 0..5 {
                    let length = feeds.length(feed_key(n));
                    ensure(length == count, || {
                        format!("torn: feed {n} has {length} of {count} records")
                    })?;
                    let mut next = 0;
                    while next < count {
                        for found in feeds.read(feed_key(n), next, 1 << 20)? {
                            ensure(found == batch(n, next), || {
                                format!("feed {n}, record {next} differs")
                            })?;
                            next = found.end_record();
                        }
                    }
                }
                Ok(count)
            }
        }
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Outcome<()> {
    if holds { Ok(()) } else { Err(why().into()) }
}

fn check(kind: &str, dir: &Path, told: &str) -> Outcome<()> {
    let (told, found) = (told.parse::<u64>()?, kind.parse::<Kind>()?.read(dir)?);
    ensure(found >= told, || {
        format!("LOST: {told} were acknowledged, {found} are there")
    })?;
    println!("{found}");
    Ok(())
}

/// An entry whose bytes follow from its index; some need several values.
fn entry(index: u64) -> Entry {
    let len = if index.is_multiple_of(50) {
        100_000
    } else {
        200
    };
    let data = Bytes::from(vec![index as u8; len]);
    Entry {
        index,
        term: index / 10,
        data,
        ..Entry::default()
    }
}

fn hard_state(first: u64) -> HardState {
    HardState {
        term: first / 10,
        vote: 1 + first % 3,
        commit: first,
        ..HardState::default()
    }
}

fn feed_key(n: u8) -> FeedKey {
    FeedKey {
        execution: [n; 16],
        attempt: 1,
    }
}

/// One record of feed `n`, whose bytes follow from its number.
fn batch(n: u8, number: u64) -> Batch {
    let text = format!(
        "{n}:{number}:{}\n",
        "x".repeat((number * 37 % 3000) as usize)
    );
    let mut frames = Vec::new();
    encode_parts(Stream::Stdout, false, number, text.as_bytes(), &mut frames);
    Batch {
        first_record: number,
        count: 1,
        frames: frames.into(),
    }
}

/// Lets a writer come to `until`, kills it, and compares: several times in the same directory.
fn acknowledged_writes_survive_a_kill(kind: Kind) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let mut before = 0;
    for rounds in [40, 1, 120, 300, 7] {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["write", kind.name()])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or("the child has no output")?;
        let mut lines = BufReader::new(out).lines();
        let mut told = 0;
        for _ in 0..rounds {
            told = lines.next().ok_or("the writer ended by itself")??.parse()?;
        }
        child.kill()?;
        // Some more may have been told between our last reading and the kill.
        for line in lines {
            told = line?.parse().unwrap_or(told);
        }
        child.wait()?;
        ensure(told > before, || {
            format!("no progress: {before} before, {told} now")
        })?;
        let found = kind.read(dir.path())?;
        ensure(found >= told, || {
            format!("LOST: {told} were acknowledged, {found} are there")
        })?;
        before = found;
    }
    Ok(())
}

/// Runs the tests as cargo's own harness would: with an optional filter, one line each and a sum.
fn run_tests(words: &[&str]) -> Outcome<()> {
    let tests = [
        ("raft_log_survives_kill", Kind::RaftLog(LogKind::File)),
        (
            "raft_log_in_sled_survives_kill",
            Kind::RaftLog(LogKind::Sled),
        ),
        ("feeds_survive_kill", Kind::Feeds),
    ];
    let filter = words.iter().find(|word| !word.starts_with("--"));
    if words.contains(&"--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return Ok(());
    }
    let wanted = tests
        .iter()
        .filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter)));
    let (mut passed, mut failed) = (0, 0);
    for (name, kind) in wanted {
        match acknowledged_writes_survive_a_kill(*kind) {
            Ok(()) => {
                println!("test {name} ... ok");
                passed += 1;
            }
            Err(error) => {
                println!("test {name} ... FAILED: {error}");
                failed += 1;
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out\n"
    );
    ensure(failed == 0, || format!("{failed} failed"))
}
