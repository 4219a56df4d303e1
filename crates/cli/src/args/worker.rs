//! What a worker is told, and what is asked about workers.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Security;
use crate::containers::Containers;

/// Workers: running one, or looking at them.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Worker {
    /// What to look at.
    #[command(subcommand)]
    pub command: Option<WorkerCommand>,
    /// Read settings from this TOML file, its section `worker`; what is given here counts more
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of a coordinator, HOST:PORT; repeat for several
    #[arg(
        long,
        required_unless_present = "config",
        value_delimiter = ',',
        value_name = "ADDRESS"
    )]
    pub coordinator: Vec<String>,
    /// Where it keeps attempts and blobs
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub data_dir: Option<PathBuf>,
    /// Its name, unique in the cluster; by default that of the machine
    #[arg(long)]
    pub name: Option<String>,
    /// Where it serves its blobs to others, HOST:PORT; port 0 takes a free one [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Address at which others reach it, if it is not the one it listens on
    #[arg(long, value_name = "ADDRESS")]
    pub advertise: Option<String>,
    /// How many attempts it runs at once; by default one for each processor
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: Option<u32>,
    /// Environment it serves; repeat for several
    #[arg(long = "environment", value_name = "SLUG")]
    pub environments: Vec<String>,
    /// It was made for a pool: when it has had nothing to do for long enough, it is drained and given back
    #[arg(long)]
    pub provisioned: bool,
    /// What becomes of its steps when no coordinator hears it: `keep_running`, `wait` (never given to others), or `stop_after=35s`; by
    /// default what the coordinators say
    #[arg(long, value_name = "POLICY")]
    pub on_disconnect: Option<node::OnDisconnect>,
    /// A device that steps can have for themselves: KIND=ID, and after commas name=NAME and memory=MIB, as in `nvidia.com/gpu=gpu-0,memory=15360`;
    /// repeat for several, `none` for none; by default what `nvidia-smi` tells of
    #[arg(long = "device", value_name = "DEVICE")]
    pub devices: Vec<String>,
    /// Read the devices from this file, one a line; it is read again every few seconds
    #[arg(long, value_name = "FILE", conflicts_with = "devices")]
    pub devices_file: Option<PathBuf>,
    /// Where it is told how busy the devices are, a line for each: ID, busy percent, MiB of memory, degrees Celsius, watts, with commas between. A file
    /// that can be run is run, and what it prints is read; by default what `nvidia-smi` tells
    #[arg(long, value_name = "FILE")]
    pub device_readings: Option<PathBuf>,
    /// How often steps and the machine are measured, in seconds; 0 for never [default: 1]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub measure_every: Option<f64>,
    /// Most that is kept of what a step prints, in MiB; the log says where it was cut off; 0 for all [default: 4096]
    #[arg(long, value_name = "MIB")]
    pub log_limit: Option<u64>,
    /// Room to keep free on its disk, in MiB: with less it takes no new steps; by default a twentieth of the disk, at most 1024
    #[arg(long, value_name = "MIB")]
    pub disk_reserve: Option<u64>,
    /// Most that blobs may take which this worker has only fetched, inputs and source trees, in MiB: the longest unused go first, never what
    /// was made here [default: no bound, but some go when the disk is full]
    #[arg(long, value_name = "MIB")]
    pub blob_cache: Option<u64>,
    /// What steps run in.
    #[command(flatten)]
    pub containers: Box<Containers>,
    /// TLS.
    #[command(flatten)]
    pub security: Security,
    /// Serve /metrics, /healthz and /readyz by plain HTTP at this address, HOST:PORT [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<String>,
    /// Write its address to this file once it serves
    #[arg(long, value_name = "FILE")]
    pub address_file: Option<PathBuf>,
}

/// Workers.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// List the workers
    List,
    /// Show what the workers are doing, again and again: processors, memory, disks, devices, executions
    Top {
        /// Show it once
        #[arg(long)]
        once: bool,
        /// How often, in seconds
        #[arg(long, default_value_t = 2.0, value_name = "SECONDS", value_parser = seconds)]
        every: f64,
    },
    /// Show one worker, with its devices and who has them
    Show {
        /// Its name
        name: String,
    },
    /// Give a worker nothing new; what it has goes on to its end
    Drain {
        /// Its name
        name: String,
    },
    /// Let a drained worker take new attempts again
    Undrain {
        /// Its name
        name: String,
    },
}

/// A number of seconds, 0 or more and at most a day.
fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok();
    let fits = number.filter(|seconds| (0.0..=86_400.0).contains(seconds));
    fits.ok_or_else(|| "expected a number of seconds, 0 to 86400".to_owned())
}
