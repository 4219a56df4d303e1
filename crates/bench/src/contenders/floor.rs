//! The floors: what the machine needs for the work when nobody schedules, records or promises anything.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use super::{Contender, processor};
use crate::work::Work;

/// The steps' shells alone, running a script.
pub(crate) struct Processes {
    name: String,
    script: &'static str,
    directory: TempDir,
    /// Processor time that each step of the last round took, in milliseconds.
    processor_ms: f64,
}

impl Processes {
    /// Shells that run `script`; those of a chain hand a file on instead.
    pub(crate) fn new(script: &'static str, directory: TempDir) -> anyhow::Result<Self> {
        std::fs::write(directory.path().join("0"), "0\n")?;
        Ok(Self {
            name: format!("floor: bash -c {script}"),
            script,
            directory,
            processor_ms: 0.0,
        })
    }

    /// `bash -c` of a script: the fastest that the standard library has, which is `posix_spawn`.
    fn bash(&self, script: &str) -> anyhow::Result<()> {
        let status = Command::new("bash")
            .args(["-c", script])
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .status()
            .context("cannot start bash")?;
        ensure!(status.success(), "bash ended with {status}");
        Ok(())
    }
}

impl Contender for Processes {
    fn name(&self) -> &str {
        &self.name
    }

    fn round(&mut self, work: Work) -> anyhow::Result<Vec<f64>> {
        match work {
            Work::Single { count, .. } => (0..count)
                .map(|_| {
                    let start = Instant::now();
                    self.bash(self.script)?;
                    Ok(start.elapsed().as_secs_f64())
                })
                .collect(),
            Work::Many { count, slots, .. } => {
                let before = processor::of_ended_children()?;
                let seconds = xargs(self.script, count, slots)?;
                let used = processor::of_ended_children()? - before;
                self.processor_ms = used * 1_000.0 / count as f64;
                Ok(vec![seconds])
            }
            Work::Chain { length } => {
                let start = Instant::now();
                for step in 0..length {
                    self.bash(&format!(
                        "read -r line < {step}; echo \"$line\" > {}",
                        step + 1
                    ))?;
                }
                Ok(vec![start.elapsed().as_secs_f64()])
            }
        }
    }

    fn parts(&mut self) -> Vec<(&'static str, f64)> {
        match self.processor_ms {
            0.0 => Vec::new(),
            used => vec![("processor, xargs and programs", used)],
        }
    }
}

/// `xargs -P SLOTS -n1 bash -c SCRIPT`, `count` times.
fn xargs(script: &str, count: usize, slots: usize) -> anyhow::Result<f64> {
    let lines = "x\n".repeat(count);
    let start = Instant::now();
    let mut xargs = Command::new("xargs")
        .args(["-P", &slots.to_string(), "-n1", "bash", "-c", script])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start xargs")?;
    if let Some(mut stdin) = xargs.stdin.take() {
        stdin.write_all(lines.as_bytes())?;
    }
    let status = xargs.wait()?;
    ensure!(status.success(), "xargs ended with {status}");
    Ok(start.elapsed().as_secs_f64())
}

/// One durable append of the size of a small ledger entry: what a promise costs on this disk.
pub(crate) struct Sync {
    file: File,
    _directory: TempDir,
}

/// Bytes of an entry.
const ENTRY: [u8; 512] = [7; 512];

impl Sync {
    pub(crate) fn new(directory: TempDir) -> anyhow::Result<Self> {
        let file = File::create(directory.path().join("log"))?;
        Ok(Self {
            file,
            _directory: directory,
        })
    }
}

impl Contender for Sync {
    fn name(&self) -> &str {
        "floor: one fdatasync"
    }

    fn round(&mut self, work: Work) -> anyhow::Result<Vec<f64>> {
        let Work::Single { count, .. } = work else {
            anyhow::bail!("only single appends are measured");
        };
        (0..count)
            .map(|_| {
                let start = Instant::now();
                self.file.write_all(&ENTRY)?;
                self.file.sync_data()?;
                Ok(start.elapsed().as_secs_f64())
            })
            .collect()
    }
}
