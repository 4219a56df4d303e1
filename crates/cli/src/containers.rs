//! The settings of a worker that runs steps in containers: on the command line, and in the section `containers` of its file.
//!
//! ```toml
//! [worker]
//! runtime = "docker"
//!
//! [containers]
//! allow_mounts = ["/data:ro"]
//! memory = 65536
//! ```

use clap::Args;
use node::embedded::Options;
use node::worker::RuntimeChoice;
use runtime::docker::{DockerConfig, GrantedMount, Network, Policy, Profile, PullPolicy};

use crate::Failure;
use crate::settings::Section;

/// Says what steps of the embedded node run in.
const VARIABLE: &str = "SHOAL_RUNTIME";

/// Keys of the section.
pub(crate) const KEYS: &[&str] = &[
    "docker_host",
    "image_pull",
    "image_cache",
    "profile",
    "network",
    "allow_host_network",
    "allow_mounts",
    "allow_images",
    "require_digest",
    "memory",
    "cpus",
    "shm",
    "pids",
    "disk",
    "oci_runtime",
];

/// What steps are run in, and what is granted to them there.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What steps run in")]
pub struct Containers {
    /// `process`, plain processes of the machine, or `docker`, containers of their image [default: process]
    #[arg(long, value_name = "RUNTIME", value_parser = runtime_name)]
    pub runtime: Option<String>,
    /// Where the container engine is, unix:///PATH [default: DOCKER_HOST, or the usual socket]
    #[arg(long, value_name = "URL")]
    pub docker_host: Option<String>,
    /// When images are fetched: `missing`, `always` (so that a tag means what it means now), or `never` [default: missing]
    #[arg(long, value_name = "WHEN")]
    pub image_pull: Option<PullPolicy>,
    /// Most that images may take which this worker has fetched, in MiB: the longest unused go first [default: no bound, but some go when the
    /// disk is full]
    #[arg(long, value_name = "MIB")]
    pub image_cache: Option<u64>,
    /// `standard`, in which programs written for Valohai just work, or `strict`: no root, no capabilities, no network, nothing writable but
    /// the step's own directories and /tmp [default: standard]
    #[arg(long, value_name = "PROFILE")]
    pub container_profile: Option<Profile>,
    /// Network of steps: `bridge`, `none` (quickest to start), or `host` [default: bridge; none if strict]
    #[arg(long, value_name = "NETWORK")]
    pub container_network: Option<Network>,
    /// Let steps have the machine's own network, by VH_DOCKER_NETWORK=host
    #[arg(long)]
    pub allow_host_network: bool,
    /// Let steps mount this directory and what is below it, for reading only with `:ro`; repeat for several
    #[arg(long = "allow-mount", value_name = "DIR[:ro]")]
    pub allow_mounts: Vec<GrantedMount>,
    /// Run only images whose names begin so; repeat for several [default: any]
    #[arg(long = "allow-image", value_name = "PREFIX")]
    pub allow_images: Vec<String>,
    /// Run only images that are named by their digest
    #[arg(long)]
    pub require_digest: bool,
    /// Most memory of a step, in MiB [default: nine tenths of the machine's]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(6..))]
    pub container_memory: Option<u64>,
    /// Most processors of a step, also parts of one [default: all]
    #[arg(long, value_name = "COUNT")]
    pub container_cpus: Option<f64>,
    /// Shared memory (/dev/shm) of a step, in MiB [default: half of its memory]
    #[arg(long, value_name = "MIB")]
    pub container_shm: Option<u64>,
    /// Most processes and threads of a step [default: 4096]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(2..))]
    pub container_pids: Option<u32>,
    /// Most that a step may write to disk, in MiB [default: no limit but the worker's reserve]
    #[arg(long, value_name = "MIB")]
    pub container_disk: Option<u64>,
    /// The engine's own runtime, where it has several: runsc, say
    #[arg(long, value_name = "NAME")]
    pub oci_runtime: Option<String>,
}

fn runtime_name(text: &str) -> Result<String, String> {
    match text {
        "process" | "docker" => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is none of process, docker")),
    }
}

impl Containers {
    /// Puts what the file says where the command line says nothing.
    ///
    /// # Errors
    /// When a value is of another kind than its key needs.
    pub(crate) fn fill(&mut self, section: &Section) -> Result<(), Failure> {
        section.text("docker_host", &mut self.docker_host)?;
        section.parsed(
            "image_pull",
            "missing, always or never",
            &mut self.image_pull,
        )?;
        section.parsed("profile", "standard or strict", &mut self.container_profile)?;
        section.parsed(
            "network",
            "bridge, none or host",
            &mut self.container_network,
        )?;
        section.switch("allow_host_network", &mut self.allow_host_network)?;
        let mut mounts = Vec::new();
        section.list("allow_mounts", &mut mounts)?;
        if self.allow_mounts.is_empty() {
            let read = mounts.iter().map(|mount| mount.parse());
            self.allow_mounts = read
                .collect::<Result<_, String>>()
                .map_err(|error| Failure::usage(format!("containers.allow_mounts: {error}")))?;
        }
        section.list("allow_images", &mut self.allow_images)?;
        section.switch("require_digest", &mut self.require_digest)?;
        let count = |key: &str, given: Option<u64>| match given {
            None => section.count(key),
            given => Ok(given),
        };
        self.image_cache = count("image_cache", self.image_cache)?;
        self.container_memory = count("memory", self.container_memory)?;
        self.container_shm = count("shm", self.container_shm)?;
        self.container_disk = count("disk", self.container_disk)?;
        let pids = count("pids", self.container_pids.map(u64::from))?;
        self.container_pids = pids.map(|pids| u32::try_from(pids).unwrap_or(u32::MAX));
        self.container_cpus = match self.container_cpus {
            None => section.seconds("cpus")?,
            given => given,
        };
        section.text("oci_runtime", &mut self.oci_runtime)
    }

    /// What the worker is to run steps in.
    pub(crate) fn choice(self) -> RuntimeChoice {
        if self.runtime.as_deref() != Some("docker") {
            return RuntimeChoice::Process;
        }
        let defaults = Policy::default();
        let bytes = |mib: Option<u64>| mib.map(|mib| mib.saturating_mul(1 << 20));
        let profile = self.container_profile.unwrap_or_default();
        let network = self.container_network.unwrap_or(match profile {
            Profile::Standard => Network::Bridge,
            Profile::Strict => Network::None,
        });
        RuntimeChoice::Docker(Box::new(DockerConfig {
            host: self.docker_host,
            pull: self.image_pull.unwrap_or_default(),
            image_cache: bytes(self.image_cache),
            policy: Policy {
                profile,
                network,
                may_use_host_network: self.allow_host_network,
                mounts: self.allow_mounts,
                images: self.allow_images,
                needs_digest: self.require_digest,
                memory: bytes(self.container_memory),
                cpus: self.container_cpus.filter(|cpus| *cpus > 0.0),
                shm: bytes(self.container_shm),
                pids: self.container_pids.unwrap_or(defaults.pids),
                disk: bytes(self.container_disk),
                oci_runtime: self.oci_runtime,
            },
            // Known to the worker, which asks for their addresses.
            coordinators: Vec::new(),
        }))
    }
}

/// How the node inside this command is run: without a worker to give flags to, `SHOAL_RUNTIME` says what steps run in.
///
/// # Errors
/// When it names no runtime; in words for people.
pub(crate) fn embedded() -> Result<Options, String> {
    let runtime = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
    if let Some(name) = &runtime {
        runtime_name(name).map_err(|error| format!("{VARIABLE}: {error}"))?;
    }
    let containers = Containers {
        runtime,
        ..Containers::default()
    };
    Ok(Options {
        runtime: containers.choice(),
        ..Options::default()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn given(arguments: &[&str]) -> Containers {
        let typed = ["shoal", "worker", "--coordinator=c:1", "--data-dir=d"];
        let all = typed.iter().chain(arguments);
        match Cli::parse_from(all).command {
            Command::Worker(worker) => *worker.containers,
            _ => panic!("another command"),
        }
    }

    #[test]
    fn the_command_line_counts_more_than_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "[worker]\nruntime = 'docker'\n[containers]\nprofile = 'strict'\nimage_cache = 512\nmemory = 64\ncpus = 1.5\nallow_mounts = ['/data:ro']\nrequire_digest = true\n";
        std::fs::write(file.path(), text).unwrap();
        let section = Section::read(file.path(), "containers").unwrap();
        let mut containers = given(&["--runtime=docker", "--container-memory=128"]);
        containers.fill(&section).unwrap();
        let RuntimeChoice::Docker(config) = containers.choice() else {
            panic!("no containers");
        };
        assert_eq!(config.image_cache, Some(512 << 20));
        assert_eq!(config.policy.memory, Some(128 << 20));
        assert_eq!(config.policy.cpus, Some(1.5));
        assert_eq!(config.policy.network, Network::None, "strict has none");
        assert!(config.policy.needs_digest && config.policy.mounts[0].read_only);
        assert_eq!(given(&[]).choice(), RuntimeChoice::Process);
    }

    #[test]
    fn a_mount_that_is_none_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[containers]\nallow_mounts = ['data']\n").unwrap();
        let section = Section::read(file.path(), "containers").unwrap();
        let failure = given(&[]).fill(&section).unwrap_err().to_string();
        assert!(failure.contains("no absolute path"), "{failure}");
    }
}
