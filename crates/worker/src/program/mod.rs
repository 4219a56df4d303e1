//! What a step's program finds: its script, its environment, its configuration files.
//!
//! Everything follows from the assignment, the inputs as they were resolved and where the program sees its directories; the
//! same arguments give the same bytes.

mod config;
mod environment;
mod inputs;
mod runtime;
mod values;
mod yaml;

use std::path::{Path, PathBuf};

use contract::link::Assignment;
use spec::command::join_script;

use crate::fence::Fence;

/// Where a program sees its directories, absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// `VH_CONFIG_DIR`.
    pub config_dir: PathBuf,
    /// `VH_INPUTS_DIR`.
    pub inputs_dir: PathBuf,
    /// `VH_OUTPUTS_DIR`.
    pub outputs_dir: PathBuf,
    /// `VH_REPOSITORY_DIR`, its working directory.
    pub repository_dir: PathBuf,
}

impl Layout {
    /// The four directories below `base`, which is `/valohai` where the runtime can give programs one of their own.
    pub fn below(base: &Path) -> Layout {
        Layout {
            config_dir: base.join("config"),
            inputs_dir: base.join("inputs"),
            outputs_dir: base.join("outputs"),
            repository_dir: base.join("repository"),
        }
    }
}

/// The machine that runs a program, as it is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Name of the worker.
    pub worker: String,
    /// Version of Shoal on it.
    pub version: String,
    /// Runtime it runs steps in: `process`.
    pub runtime: String,
    /// Its address in its network; empty when it is not known.
    pub local_ip: String,
    /// Whether it has, or can have, devices that programs get for themselves.
    pub has_devices: bool,
}

/// One file of an input as it was put in place, or as it would be when it is only listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputFile {
    /// Path below the input's directory, as [`placement`](crate::placement) gives it.
    pub name: String,
    /// Where it comes from.
    pub uri: String,
    /// Size in bytes; nothing when it is not known.
    pub size: Option<u64>,
    /// Digests of its bytes by algorithm (`md5`, `sha1`, `sha256`) in hexadecimal; those that are known.
    pub checksums: Vec<(String, String)>,
    /// Properties of the datum, one JSON object; empty when there are none.
    pub properties_json: String,
}

/// An input as it was resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// Its name: the directory below the inputs.
    pub name: String,
    /// Its files. None: the input is optional and was given nothing, and has no directory.
    pub files: Vec<InputFile>,
    /// Whether its files are listed only.
    pub on_demand: bool,
}

/// What a program finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramFiles {
    /// The one script of all its commands.
    pub script: String,
    /// Environment variables beside those of the machine, each name once, in the order of names.
    pub environment: Vec<(String, String)>,
    /// Files of the configuration directory: name, bytes.
    pub config: Vec<(String, Vec<u8>)>,
}

/// All that the program of an attempt finds.
pub fn build(
    fence: Fence,
    assignment: &Assignment,
    inputs: &[Input],
    layout: &Layout,
    machine: &Machine,
) -> ProgramFiles {
    ProgramFiles {
        script: join_script(&assignment.commands),
        environment: environment::variables(fence, assignment, layout, machine),
        config: config::files(fence, assignment, inputs, layout, machine),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
