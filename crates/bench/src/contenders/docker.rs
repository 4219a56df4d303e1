//! `docker run --rm`, as a person types it: the log to its standard output, the output into a mounted directory.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use super::Contender;
use crate::work::Work;

/// One network.
pub(crate) struct DockerRun {
    name: String,
    arguments: Vec<String>,
    _directory: TempDir,
}

impl DockerRun {
    pub(crate) fn new(image: &str, network: &str, directory: TempDir) -> Self {
        let mount = format!("--volume={}:/out", directory.path().display());
        let network_argument = format!("--network={network}");
        let script = "echo a line; echo result > /out/result";
        let arguments = [
            "run",
            "--rm",
            &network_argument,
            &mount,
            image,
            "sh",
            "-c",
            script,
        ];
        Self {
            name: format!("docker run, network {network}"),
            arguments: arguments.map(str::to_owned).to_vec(),
            _directory: directory,
        }
    }

    fn once(&self) -> anyhow::Result<()> {
        let output = Command::new("docker")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .output()
            .context("cannot start docker")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "docker run: {said}");
        ensure!(output.stdout == b"a line\n", "docker run printed nothing");
        Ok(())
    }

    /// So many, so many at once.
    fn many(&self, count: usize, slots: usize) -> anyhow::Result<f64> {
        let start = Instant::now();
        let mut xargs = Command::new("xargs")
            .args(["-P", &slots.to_string(), "-I{}", "docker"])
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start xargs")?;
        if let Some(mut stdin) = xargs.stdin.take() {
            stdin.write_all("x\n".repeat(count).as_bytes())?;
        }
        let status = xargs.wait()?;
        ensure!(status.success(), "xargs ended with {status}");
        Ok(start.elapsed().as_secs_f64())
    }
}

impl Contender for DockerRun {
    fn name(&self) -> &str {
        &self.name
    }

    fn round(&mut self, work: Work) -> anyhow::Result<Vec<f64>> {
        match work {
            Work::Single { count, .. } => (0..count)
                .map(|_| {
                    let start = Instant::now();
                    self.once()?;
                    Ok(start.elapsed().as_secs_f64())
                })
                .collect(),
            Work::Many { count, slots, .. } => Ok(vec![self.many(count, slots)?]),
            Work::Chain { .. } => anyhow::bail!("docker runs no chains"),
        }
    }
}
