//! A coordinator and a worker of the measured `shoal`, each a process of its own, as they run on a fleet.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::processor;
use crate::args;

/// A directory for data, removed at the end.
pub(crate) fn scratch(common: &args::Common) -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("shoal-bench-");
    let made = match &common.directory {
        Some(directory) => builder.tempdir_in(directory),
        None => builder.tempdir(),
    };
    made.context("cannot make a directory for data")
}

/// The `shoal` to measure.
pub(crate) fn program(common: &args::Common) -> anyhow::Result<PathBuf> {
    let path = match &common.shoal {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("shoal"),
    };
    path.canonicalize().with_context(|| {
        format!(
            "there is no {}; build it, or name it with --shoal",
            path.display()
        )
    })
}

/// A cluster that runs.
pub(crate) struct Cluster {
    // Ended before their data is removed.
    worker: Daemon,
    coordinator: Daemon,
    address: String,
    directory: TempDir,
}

impl Cluster {
    /// Starts one coordinator and one worker with so many slots and more arguments. The worker may not be connected yet.
    pub(crate) async fn start(
        common: &args::Common,
        slots: usize,
        more: &[String],
    ) -> anyhow::Result<Self> {
        let program = program(common)?;
        let directory = scratch(common)?;
        let root = directory.path();
        let told = root.join("coordinator.address");
        let mut command = Command::new(&program);
        command.args([
            "coordinator",
            "--bootstrap",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
        ]);
        command
            .arg(root.join("coordinator"))
            .arg("--address-file")
            .arg(&told);
        let mut coordinator = Daemon::spawn(command)?;
        let address = coordinator.address(&told).await?;
        let told = root.join("worker.address");
        let mut command = Command::new(&program);
        command.args([
            "worker",
            "--name",
            "bench",
            "--coordinator",
            &address,
            "--slots",
            &slots.to_string(),
        ]);
        command
            .arg("--data-dir")
            .arg(root.join("worker"))
            .arg("--address-file")
            .arg(&told)
            .args(more);
        let mut worker = Daemon::spawn(command)?;
        worker.address(&told).await?;
        Ok(Self {
            worker,
            coordinator,
            address,
            directory,
        })
    }

    /// Where its coordinator serves.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Resident memory of its worker, in bytes.
    pub(crate) fn worker_memory(&self) -> anyhow::Result<u64> {
        resident(self.worker.process.id())
    }

    /// Resident memory of its coordinator, in bytes.
    pub(crate) fn coordinator_memory(&self) -> anyhow::Result<u64> {
        resident(self.coordinator.process.id())
    }

    /// Processor seconds of everything of the cluster that lives: who, and how much.
    pub(crate) fn processor(&self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let worker = self.worker.process.id();
        let (mut spawners, mut shims, mut programs) = (0.0, 0.0, 0.0);
        for spawner in processor::children(worker)? {
            spawners += processor::of(spawner)?.own;
            for shim in processor::children(spawner)? {
                let used = processor::of(shim)?;
                shims += used.own;
                programs += used.children;
            }
        }
        Ok(vec![
            ("processor, programs", programs),
            ("processor, shims", shims),
            ("processor, spawner", spawners),
            ("processor, worker", processor::of(worker)?.own),
            (
                "processor, coordinator",
                processor::of(self.coordinator.process.id())?.own,
            ),
            ("processor, client", processor::of(std::process::id())?.own),
        ])
    }

    /// Bytes that the coordinator's data takes on the disk.
    pub(crate) fn coordinator_disk(&self) -> anyhow::Result<u64> {
        disk_usage(&self.directory.path().join("coordinator"))
    }
}

/// A process that serves, killed when dropped.
struct Daemon {
    process: Child,
}

impl Daemon {
    fn spawn(mut command: Command) -> anyhow::Result<Self> {
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        Ok(Self { process })
    }

    /// Waits until it has said where it serves.
    async fn address(&mut self, file: &Path) -> anyhow::Result<String> {
        loop {
            match std::fs::read_to_string(file) {
                Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("a daemon ended with {status}");
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing is left to be told if it had ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1_024)
}

/// Bytes that the files under a directory take on the disk.
fn disk_usage(path: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    /// `st_blocks` counts in these, whatever the file system's own blocks are.
    const BLOCK: u64 = 512;
    let mut total = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() {
            disk_usage(&entry.path())?
        } else {
            metadata.blocks() * BLOCK
        };
    }
    Ok(total)
}
