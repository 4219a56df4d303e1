//! What a step says of its files: JSON objects, carried by files beside them.
//!
//! Two carriers, which may be combined: `NAME.metadata.json` beside the file `NAME`, one object; and
//! `valohai.metadata.jsonl` in the root, one `{"file": NAME, "metadata": {…}}` a line. Keys are merged; the later wins:
//! the file beside first, then the lines in order. A carrier is no output, unless it carries nothing: a
//! `NAME.metadata.json` without a `NAME` is a file like any other.

use crate::outputs::{OutputFile, open_found};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::fd::OwnedFd;

/// The properties of one file.
pub type Properties = Map<String, Value>;

/// The ending of the carrier that is beside its file.
pub(super) const BESIDE: &str = ".metadata.json";
/// The carrier for many files.
const LINES: &str = "valohai.metadata.jsonl";

/// Most bytes of one object.
const MAX_BESIDE: u64 = 1 << 20;
/// Most bytes of the carrier for many files.
const MAX_LINES: u64 = 64 << 20;
/// Most warnings; a program that gets every line wrong does so in the same way.
const MAX_WARNINGS: usize = 20;

/// Reads the carriers among the files found.
pub(super) struct Reader<'a> {
    root: &'a OwnedFd,
    files: BTreeMap<&'a str, &'a OutputFile>,
    uploaded: &'a BTreeSet<String>,
    properties: BTreeMap<String, Properties>,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Line {
    file: String,
    metadata: Properties,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        root: &'a OwnedFd,
        files: &'a [OutputFile],
        uploaded: &'a BTreeSet<String>,
    ) -> Reader<'a> {
        Reader {
            root,
            files: files
                .iter()
                .map(|file| (file.name.as_str(), file))
                .collect(),
            uploaded,
            properties: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }

    /// The names of the carriers, the properties by file, and what was wrong.
    pub(super) fn read_all(
        mut self,
    ) -> (BTreeSet<String>, BTreeMap<String, Properties>, Vec<String>) {
        let mut carriers = BTreeSet::new();
        for (name, file) in self.files.clone() {
            let subject = name
                .strip_suffix(BESIDE)
                .filter(|subject| self.is_output(subject));
            if let Some(subject) = subject {
                carriers.insert(name.to_owned());
                self.read_beside(subject, file);
            }
        }
        if let Some(file) = self.files.get(LINES).copied() {
            carriers.insert(LINES.to_owned());
            self.read_lines(file, &carriers);
        }
        (carriers, self.properties, self.warnings)
    }

    /// The properties that are beside `subject`, for a file that is taken before the program has ended.
    pub(super) fn read_one(mut self, subject: &str) -> (Properties, Vec<String>) {
        if let Some(file) = self
            .files
            .get(format!("{subject}{BESIDE}").as_str())
            .copied()
        {
            self.read_beside(subject, file);
        }
        let properties = self.properties.remove(subject).unwrap_or_default();
        (properties, self.warnings)
    }

    fn is_output(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.uploaded.contains(name)
    }

    fn read_beside(&mut self, subject: &str, file: &OutputFile) {
        let Some(bytes) = self.read(file, MAX_BESIDE) else {
            return;
        };
        match serde_json::from_slice(&bytes) {
            Ok(properties) => self.merge(subject, properties),
            Err(error) => self.warn(format!("{}: not one JSON object: {error}", file.name)),
        }
    }

    fn read_lines(&mut self, file: &OutputFile, carriers: &BTreeSet<String>) {
        let Some(bytes) = self.read(file, MAX_LINES) else {
            return;
        };
        for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
            let number = number + 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice::<Line>(line) {
                Ok(line) => {
                    let subject = line.file.trim_start_matches("./");
                    if self.is_output(subject) && !carriers.contains(subject) {
                        self.merge(subject, line.metadata);
                    } else {
                        self.warn(format!("{LINES}:{number}: no output {:?}", line.file));
                    }
                }
                Err(error) => self.warn(format!(
                    "{LINES}:{number}: not {{\"file\": …, \"metadata\": {{…}}}}: {error}"
                )),
            }
        }
    }

    fn read(&mut self, file: &OutputFile, limit: u64) -> Option<Vec<u8>> {
        if file.size > limit {
            self.warn(format!("{}: longer than {limit} bytes", file.name));
            return None;
        }
        let mut bytes = Vec::new();
        let read = open_found(self.root, file).and_then(|opened| {
            opened.take(limit).read_to_end(&mut bytes)?;
            Ok(())
        });
        match read {
            Ok(()) => Some(bytes),
            Err(error) => {
                self.warn(error.to_string());
                None
            }
        }
    }

    fn merge(&mut self, subject: &str, properties: Properties) {
        let known = self.properties.entry(subject.to_owned()).or_default();
        known.extend(properties);
    }

    fn warn(&mut self, warning: String) {
        match self.warnings.len() {
            n if n < MAX_WARNINGS => self.warnings.push(warning),
            MAX_WARNINGS => self.warnings.push("and more of that kind".to_owned()),
            _ => {}
        }
    }
}
