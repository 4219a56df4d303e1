//! Pools of machines in a coordinator's file: one section for each environment.
//!
//! ```toml
//! [pools.gpu]
//! command = ["/usr/local/bin/shoal-machines"] # or url = "https://…"
//! maximum = 4
//! gpus = 1
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use node::Pool;
use node::coordinator::{PoolConfig, PoolMaker};
use serde::Deserialize;
use toml::{Table, Value};

use crate::Failure;

/// The section that has them.
pub const SECTION: &str = "pools";

/// What stands in the section of a pool.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    /// Program that makes and ends machines, and its arguments.
    #[serde(default)]
    command: Vec<String>,
    /// Or an address that does.
    url: Option<String>,
    /// File with the bearer token that the address wants.
    token_file: Option<PathBuf>,
    /// Most machines.
    maximum: u32,
    /// Least.
    #[serde(default)]
    minimum: u32,
    /// Executions that a machine runs at once.
    #[serde(default = "one")]
    slots: u32,
    /// Its processors.
    cpu: Option<f64>,
    /// Its memory, in MB.
    memory: Option<u64>,
    /// Its GPUs.
    #[serde(default)]
    gpus: u32,
    /// Seconds in which nothing but more is asked for.
    #[serde(default = "minute")]
    cool_down: f64,
    /// Seconds without work after which a machine is given back.
    #[serde(default = "ten_minutes")]
    idle: f64,
    /// Seconds that the command or the address has.
    #[serde(default = "minute")]
    timeout: f64,
    /// Whether machines go though nobody else has the outputs that were made on them.
    #[serde(default)]
    drop_outputs: bool,
}

fn one() -> u32 {
    1
}

fn minute() -> f64 {
    60.0
}

fn ten_minutes() -> f64 {
    600.0
}

/// Checks what a file says of pools.
///
/// # Errors
/// When something in it is not known, is missing or is out of its range.
pub fn check(file: &Path, pools: Option<&Value>) -> Result<(), Failure> {
    match read(pools) {
        Ok(_) => Ok(()),
        Err(failure) => Err(Failure::usage(format!("{}: {failure}", file.display()))),
    }
}

/// The pools of a file.
///
/// # Errors
/// When something in it is not known, is missing or is out of its range.
pub fn read(pools: Option<&Value>) -> Result<Vec<PoolConfig>, Wrong> {
    let sections = match pools {
        None => &Table::new(),
        Some(Value::Table(sections)) => sections,
        Some(_) => {
            return Err(Wrong(
                "`pools` must have a section for each environment, [pools.NAME]".to_owned(),
            ));
        }
    };
    sections
        .iter()
        .map(|(environment, values)| {
            let wrong = |what: String| Wrong(format!("in [pools.{environment}]: {what}"));
            let section: Section = values
                .clone()
                .try_into()
                .map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
            section.pool(environment).map_err(wrong)
        })
        .collect()
}

/// What is wrong with a pool, for people.
#[derive(Debug)]
pub struct Wrong(String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Self {
        Self::usage(wrong.0)
    }
}

impl Section {
    fn pool(self, environment: &str) -> Result<PoolConfig, String> {
        let maker = match (self.command.is_empty(), self.url) {
            (false, None) if self.token_file.is_none() => PoolMaker::Command(self.command),
            (false, None) => return Err("token_file goes with url only".to_owned()),
            (true, Some(url)) if url.starts_with("http://") || url.starts_with("https://") => {
                PoolMaker::Url {
                    url,
                    token_file: self.token_file,
                }
            }
            (true, Some(_)) => {
                return Err("url must begin with http:// or https://".to_owned());
            }
            _ => {
                return Err(
                    "it must have either a command, with a program in it, or a url".to_owned(),
                );
            }
        };
        if self.maximum == 0 || self.minimum > self.maximum || self.slots == 0 {
            return Err(
                "minimum must be at most maximum, and maximum and slots at least 1".to_owned(),
            );
        }
        let seconds = |name: &str, seconds: f64| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| format!("{name} must be a number of seconds, 0 or more"))
        };
        let pool = Pool {
            environment: environment.to_owned(),
            minimum: self.minimum,
            maximum: self.maximum,
            slots: self.slots,
            cpu_millis: self.cpu.map(|cpu| (cpu.max(0.0) * 1_000.0) as u64),
            memory_bytes: self.memory.map(|mb| mb.saturating_mul(1_000_000)),
            devices: self.gpus,
            cool_down_us: seconds("cool_down", self.cool_down)?.as_micros() as u64,
            idle_us: seconds("idle", self.idle)?.as_micros() as u64,
            drop_outputs: self.drop_outputs,
        };
        Ok(PoolConfig {
            pool,
            maker,
            timeout: seconds("timeout", self.timeout)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of(text: &str) -> Result<Vec<PoolConfig>, String> {
        let file: Table = text.parse().unwrap();
        read(file.get(SECTION)).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn a_pool_is_read() {
        let pools = of(
            "[pools.gpu]\ncommand = ['make', '-v']\nmaximum = 4\ncpu = 2.5\nmemory = 8\ngpus = 1\nidle = 30",
        );
        let pool = pools.unwrap().pop().unwrap();
        let command = ["make", "-v"].map(str::to_owned).to_vec();
        assert_eq!(pool.maker, PoolMaker::Command(command));
        assert_eq!(pool.timeout, Duration::from_secs(60));
        let expected = Pool {
            environment: "gpu".to_owned(),
            minimum: 0,
            maximum: 4,
            slots: 1,
            cpu_millis: Some(2_500),
            memory_bytes: Some(8_000_000),
            devices: 1,
            cool_down_us: 60_000_000,
            idle_us: 30_000_000,
            drop_outputs: false,
        };
        assert_eq!(pool.pool, expected);
        assert!(of("").unwrap().is_empty());
        let pools = of(
            "[pools.gpu]\nurl = 'https://machines.example/gpu'\ntoken_file = '/etc/shoal/token'\nmaximum = 1",
        );
        let maker = PoolMaker::Url {
            url: "https://machines.example/gpu".to_owned(),
            token_file: Some(PathBuf::from("/etc/shoal/token")),
        };
        assert_eq!(pools.unwrap().pop().unwrap().maker, maker);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_pool() {
        let table = [
            (
                "pools = 1",
                "`pools` must have a section for each environment, [pools.NAME]",
            ),
            (
                "[pools.a]\ncommand = []\nmaximum = 1",
                "in [pools.a]: it must have either a command, with a program in it, or a url",
            ),
            (
                "[pools.a]\ncommand = ['x']\nurl = 'http://y'\nmaximum = 1",
                "in [pools.a]: it must have either a command, with a program in it, or a url",
            ),
            (
                "[pools.a]\nurl = 'machines.example'\nmaximum = 1",
                "in [pools.a]: url must begin with http:// or https://",
            ),
            (
                "[pools.a]\ncommand = ['x']\ntoken_file = 't'\nmaximum = 1",
                "in [pools.a]: token_file goes with url only",
            ),
            (
                "[pools.a]\ncommand = ['x']\nmaximum = 1\nminimum = 2",
                "in [pools.a]: minimum must be at most maximum, and maximum and slots at least 1",
            ),
            (
                "[pools.a]\ncommand = ['x']\nmaximum = 1\nidle = -1",
                "in [pools.a]: idle must be a number of seconds, 0 or more",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(of(text).unwrap_err(), expected, "{text}");
        }
        let unknown = of("[pools.a]\ncommand = ['x']\nmaximun = 1").unwrap_err();
        assert!(unknown.contains("maximun"), "{unknown}");
    }
}
