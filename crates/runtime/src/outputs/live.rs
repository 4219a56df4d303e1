//! Outputs that are taken while the program runs: it has made them read-only, so they are finished.

use crate::beneath;
use crate::outputs::properties::{BESIDE, Properties, Reader};
use crate::outputs::{CollectError, Identity, Limits, OutputFile, open_found, remove_found, walk};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Looks for finished files again and again. A file is given out when two looks find it read-only and unchanged, so that
/// one whose writer changes the mode first and writes on is not taken half done.
#[derive(Debug)]
pub struct LiveScan {
    root: OwnedFd,
    limits: Limits,
    before: BTreeMap<String, Identity>,
}

impl LiveScan {
    /// A scan of the directory `outputs`.
    pub fn new(outputs: &Path, limits: Limits) -> io::Result<LiveScan> {
        Ok(LiveScan {
            root: beneath::open_dir(outputs)?,
            limits,
            before: BTreeMap::new(),
        })
    }

    /// The files that are finished, by name, with what the program says of them in a file beside. What is not an output is
    /// passed over: the collection at the end names it. A file comes again until it is [removed](Self::remove).
    pub fn look(&mut self) -> Result<Vec<(OutputFile, Properties)>, CollectError> {
        let mut files = Vec::new();
        walk::walk(&self.root, self.limits.max_files, |found| {
            files.extend(found.check().ok());
            Ok(())
        })?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let finished = |file: &&OutputFile| {
            let subject = file.name.strip_suffix(BESIDE);
            let carrier = subject.is_some_and(|subject| names.contains(subject));
            file.mode & 0o222 == 0 && !carrier && file.name != "valohai.metadata.jsonl"
        };
        let now: Vec<&OutputFile> = files.iter().filter(finished).collect();
        let stable = now
            .iter()
            .filter(|file| self.before.get(&file.name) == Some(&file.identity))
            .map(|file| {
                let none = BTreeSet::new();
                let reader = Reader::new(&self.root, &files, &none);
                ((**file).clone(), reader.read_one(&file.name).0)
            })
            .collect();
        self.before = now
            .iter()
            .map(|file| (file.name.clone(), file.identity))
            .collect();
        Ok(stable)
    }

    /// Opens a finished file for reading.
    pub fn open(&self, file: &OutputFile) -> Result<File, CollectError> {
        open_found(&self.root, file)
    }

    /// Removes a file that has been stored; the program may make another of its name. `false` if it already has.
    pub fn remove(&self, file: &OutputFile) -> io::Result<bool> {
        remove_found(&self.root, file)
    }
}
