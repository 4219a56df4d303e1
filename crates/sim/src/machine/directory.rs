//! An attempt's directory on a worker's disk: it outlives the daemon, and what runs in it does too.

use std::collections::BTreeMap;

use contract::link::{Assignment, OutputFile};
use feed::{Batch, Record, Stream};
use worker::{Exit, ExitReason, Fence, Prepared};

use super::program::Program;

/// See the module's words.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    pub(crate) assignment: Assignment,
    /// Written before the program is started.
    pub(crate) mark: Option<Mark>,
    /// The program, while it runs.
    pub(crate) program: Option<Program>,
    /// How it ended, written last of all.
    pub(crate) exit: Option<Exit>,
    file: Vec<u8>,
    records: u64,
    outputs: BTreeMap<String, OutputFile>,
}

/// The bytes of an output. They tell the attempt, so that no two attempts' outputs are the same. Large ones are of two chunks.
pub(crate) fn contents(fence: Fence, name: &str, is_large: bool) -> Vec<u8> {
    let words = format!("{name} of {fence}").into_bytes();
    match is_large {
        true => words
            .iter()
            .copied()
            .cycle()
            .take(blob::CHUNK + words.len())
            .collect(),
        false => words,
    }
}

/// What is known of a launch.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) prepared: Prepared,
    pub(crate) start_time_us: u64,
}

impl Directory {
    pub(crate) fn new(assignment: Assignment) -> Self {
        Self {
            assignment,
            ..Self::default()
        }
    }

    /// The program prints a line; what was added to the feed's file.
    pub(crate) fn print(&mut self, time_us: u64, line: String) -> Batch {
        let from = self.file.len();
        let record = Record {
            time_us,
            stream: Stream::Stdout,
            partial: false,
            data: line.into_bytes().into(),
        };
        feed::encode(&record, &mut self.file);
        self.records += 1;
        Batch {
            first_record: self.records - 1,
            count: 1,
            frames: self.file[from..].to_vec().into(),
        }
    }

    /// The program writes an output.
    pub(crate) fn write(&mut self, fence: Fence, name: &str, is_large: bool) -> OutputFile {
        let bytes = contents(fence, name, is_large);
        let output = OutputFile {
            file_name: name.to_owned(),
            digest: blob::Digest::of(&bytes).as_bytes().to_vec().into(),
            size_bytes: bytes.len() as u64,
            properties_json: String::new(),
        };
        self.outputs.insert(name.to_owned(), output.clone());
        output
    }

    pub(crate) fn outputs(&self) -> Vec<OutputFile> {
        self.outputs.values().cloned().collect()
    }

    /// Ends the program; what it ended with is on the disk.
    pub(crate) fn end(&mut self, time_us: u64, reason: ExitReason, code: Option<i32>) -> Exit {
        self.program = None;
        let start_time_us = self
            .mark
            .as_ref()
            .map_or(time_us, |mark| mark.start_time_us);
        let exit = Exit {
            reason,
            code,
            signal: 0,
            start_time_us,
            time_us,
            record_count: self.records,
        };
        self.exit = Some(exit.clone());
        exit
    }

    /// Records in the feed's file.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// The records of the file from `first_record` on.
    pub(crate) fn read_from(&self, first_record: u64) -> Option<Batch> {
        let all = Batch::of_frames(0, self.file.clone().into()).ok()?;
        all.from_record(first_record).ok()
    }

    /// The whole frames at `offset`, at most `max_bytes` of them.
    pub(crate) fn read_at(
        &self,
        first_record: u64,
        offset: u64,
        max_bytes: usize,
    ) -> Option<Batch> {
        let from = usize::try_from(offset).ok()?;
        let end = self.file.len().min(from.saturating_add(max_bytes));
        let bytes = self.file.get(from..end)?.to_vec();
        Batch::of_whole_prefix(first_record, bytes.into())
            .ok()
            .map(|(batch, _)| batch)
    }
}
