//! A peer: another system, driven by a script that is told its work a JSON line at a time.
//!
//! The script is started with the number of slots as its last argument. It prints `{"ready": true, "version": "…"}` once it
//! can work; then for each line such as `{"work":"many","count":2000,"slots":2,"script":"true"}` it does the work and prints
//! `{"seconds": [0.5]}`. It ends when its standard input does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::Contender;
use crate::args::PeerCommand;
use crate::work::Work;

/// A peer that runs.
pub(crate) struct Peer {
    name: String,
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Ready {
    version: String,
}

#[derive(Deserialize)]
struct Answer {
    seconds: Vec<f64>,
}

impl Peer {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(peer: &PeerCommand, slots: usize) -> anyhow::Result<Self> {
        let (program, arguments) = peer
            .command
            .split_first()
            .context("a peer needs a command")?;
        let mut process = Command::new(program)
            .args(arguments)
            .arg(slots.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut started = Self {
            name: peer.name.clone(),
            process,
            input,
            output,
        };
        let ready: Ready = serde_json::from_str(&started.line()?).context("it is not ready")?;
        started.name = format!("{} {}", peer.name, ready.version);
        Ok(started)
    }

    /// Its next line that is JSON; what else its libraries print is passed over.
    fn line(&mut self) -> anyhow::Result<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                bail!("the peer ended: {}", self.process.wait()?);
            }
            if line.starts_with('{') {
                return Ok(line);
            }
        }
    }
}

impl Contender for Peer {
    fn name(&self) -> &str {
        &self.name
    }

    fn round(&mut self, work: Work) -> anyhow::Result<Vec<f64>> {
        let line = serde_json::to_string(&work)? + "\n";
        self.input
            .as_mut()
            .context("its input is closed")?
            .write_all(line.as_bytes())?;
        let answer: Answer = serde_json::from_str(&self.line()?)?;
        Ok(answer.seconds)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.input.take());
        // It ends by itself; should that fail there is nobody left to tell.
        let _ = self.process.wait();
    }
}
