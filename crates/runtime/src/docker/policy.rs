//! What a worker grants the containers of its steps. Whatever is not granted is refused by name; nothing is left out in silence.

use spec::confinement::{check_image_name, check_mount, is_plain};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// How containers are confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// As programs written for Valohai expect: the image's user, a writable container, those capabilities that package managers need.
    #[default]
    Standard,
    /// No capability, no root, nothing writable but the step's own directories and `/tmp`, no network.
    Strict,
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Profile, String> {
        match text {
            "standard" => Ok(Profile::Standard),
            "strict" => Ok(Profile::Strict),
            _ => Err(format!("`{text}` is none of standard, strict")),
        }
    }
}

/// The network of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// A bridge to the outside, on which steps do not see each other.
    #[default]
    Bridge,
    /// None.
    None,
    /// The machine's own.
    Host,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        match text {
            "bridge" => Ok(Network::Bridge),
            "none" => Ok(Network::None),
            "host" => Ok(Network::Host),
            _ => Err(format!("`{text}` is none of bridge, none, host")),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Network::Bridge => "bridge",
            Network::None => "none",
            Network::Host => "host",
        })
    }
}

/// A directory of the machine that steps may mount, with all below it: `/data`, or `/data:ro`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedMount {
    /// The directory.
    pub source: PathBuf,
    /// Steps may only read there.
    pub read_only: bool,
}

impl fmt::Display for GrantedMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.read_only { ":ro" } else { "" };
        write!(f, "{}{mode}", self.source.display())
    }
}

impl FromStr for GrantedMount {
    type Err = String;

    fn from_str(text: &str) -> Result<GrantedMount, String> {
        let (path, read_only) = match text.strip_suffix(":ro") {
            Some(path) => (path, true),
            None => (text.strip_suffix(":rw").unwrap_or(text), false),
        };
        let source = PathBuf::from(path);
        match is_plain(&source) {
            true => Ok(GrantedMount { source, read_only }),
            false => Err(format!("`{path}` is no absolute path without `..`")),
        }
    }
}

/// What a worker grants.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How containers are confined.
    pub profile: Profile,
    /// The network of steps that ask for none in particular.
    pub network: Network,
    /// Steps may ask for the machine's own network.
    pub may_use_host_network: bool,
    /// Directories that steps may mount.
    pub mounts: Vec<GrantedMount>,
    /// Registries and repositories that images may come from, by how their names begin; empty means any.
    pub images: Vec<String>,
    /// Images have to be named by their digest.
    pub needs_digest: bool,
    /// Most bytes of memory of one container, swap included; none means nine tenths of the machine's.
    pub memory: Option<u64>,
    /// Most processors of one container; none means all.
    pub cpus: Option<f64>,
    /// Bytes of `/dev/shm`; none means half of the memory.
    pub shm: Option<u64>,
    /// Most processes and threads of one container.
    pub pids: u32,
    /// Most bytes that one step may write: in its own directories and elsewhere in its container; none means no limit.
    pub disk: Option<u64>,
    /// The engine's runtime, where it has several: `runsc`, say; none means its default.
    pub oci_runtime: Option<String>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            profile: Profile::Standard,
            network: Network::Bridge,
            may_use_host_network: false,
            mounts: Vec::new(),
            images: Vec::new(),
            needs_digest: false,
            memory: None,
            cpus: None,
            shm: None,
            pids: 4096,
            disk: None,
            oci_runtime: None,
        }
    }
}

/// What a step asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// Its image.
    pub image: String,
    /// The value of `VH_DOCKER_NETWORK`, if it has one.
    pub network: Option<String>,
    /// The value of `VH_CPU_LIMIT`, if it has one: a count, or numbers of processors.
    pub cpu_limit: Option<String>,
    /// Most processors, by `resources`.
    pub cpus: Option<f64>,
    /// Most bytes of memory, by `resources`.
    pub memory: Option<u64>,
    /// Directories of the machine.
    pub mounts: Vec<AskedMount>,
}

/// A directory of the machine that a step asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedMount {
    /// On the machine.
    pub source: String,
    /// In the container.
    pub destination: String,
    /// For reading only.
    pub read_only: bool,
    /// Kind of file system; empty means a directory of the machine.
    pub kind: String,
}

/// What a step is not given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("refused by the worker's policy: {field}: {rule}")]
pub struct Refusal {
    /// What asks for it.
    pub field: String,
    /// Why it is not given.
    pub rule: String,
}

/// What the container of a step is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// Its network.
    pub network: Network,
    /// Most processors; 0 means all.
    pub cpus: f64,
    /// Which processors, as the engine takes them; empty means any.
    pub cpuset: String,
    /// Most bytes of memory, swap included.
    pub memory: u64,
    /// Bytes of `/dev/shm`.
    pub shm: u64,
    /// Directories of the machine.
    pub mounts: Vec<AskedMount>,
}

impl Policy {
    /// Checks what a step asks for, on a machine with that many bytes of memory.
    ///
    /// # Errors
    /// The first thing that is not granted.
    pub fn grant(&self, ask: &Ask, machine_memory: u64) -> Result<Grant, Refusal> {
        self.check_image(&ask.image)?;
        let mounts = ask.mounts.iter().map(|mount| self.check_mount(mount));
        let mounts = mounts.collect::<Result<Vec<_>, _>>()?;
        let (cpus, cpuset) = self.processors(ask)?;
        let most = self.memory.unwrap_or(machine_memory / 10 * 9);
        let memory = match ask.memory {
            Some(bytes) if bytes > most => {
                return Err(refusal(
                    "resources.memory",
                    format!("{} MB are asked for, {} granted", bytes >> 20, most >> 20),
                ));
            }
            asked => asked.unwrap_or(most),
        };
        Ok(Grant {
            network: self.network(ask)?,
            cpus,
            cpuset,
            memory,
            shm: self.shm.unwrap_or(memory / 2),
            mounts,
        })
    }

    fn check_image(&self, name: &str) -> Result<(), Refusal> {
        let no = |rule: String| Err(refusal("image", rule));
        check_image_name(name).map_err(|rule| refusal("image", rule))?;
        if self.needs_digest && !name.contains("@sha256:") {
            return no(format!(
                "`{name}` has no digest, and this worker runs images by digest only"
            ));
        }
        if !self.images.is_empty() && !self.images.iter().any(|from| begins_with(name, from)) {
            return no(format!(
                "`{name}` is none of those that this worker runs: {}",
                self.images.join(", ")
            ));
        }
        Ok(())
    }

    fn check_mount(&self, mount: &AskedMount) -> Result<AskedMount, Refusal> {
        let no = |rule: &str| {
            let field = format!("mounts: {}", mount.source.escape_debug());
            Err(refusal(&field, rule))
        };
        if !matches!(mount.kind.as_str(), "" | "bind") {
            return no("only directories of the machine can be mounted");
        }
        if let Err(rule) = check_mount(&mount.source, &mount.destination) {
            return no(&rule);
        }
        // What a link on the machine leads to counts, not its name.
        let Ok(source) = std::fs::canonicalize(&mount.source) else {
            return no("there is no such directory on this worker");
        };
        let granted = self.mounts.iter().find(|granted| {
            let root = std::fs::canonicalize(&granted.source);
            root.is_ok_and(|root| source.starts_with(root))
        });
        match granted {
            None => no("this worker grants no mount of it"),
            Some(granted) if granted.read_only && !mount.read_only => {
                no("this worker grants it for reading only: say `readonly: true`")
            }
            Some(_) => Ok(AskedMount {
                source: source.display().to_string(),
                ..mount.clone()
            }),
        }
    }

    fn network(&self, ask: &Ask) -> Result<Network, Refusal> {
        const FIELD: &str = "VH_DOCKER_NETWORK";
        let Some(text) = ask.network.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(self.network);
        };
        let asked: Network = text.parse().map_err(|rule: String| refusal(FIELD, rule))?;
        match asked {
            Network::Host if !self.may_use_host_network && self.network != Network::Host => {
                Err(refusal(
                    FIELD,
                    "this worker does not grant the machine's own network",
                ))
            }
            Network::Bridge if self.network == Network::None => {
                Err(refusal(FIELD, "this worker grants its steps no network"))
            }
            asked => Ok(asked),
        }
    }

    /// How many, and which.
    fn processors(&self, ask: &Ask) -> Result<(f64, String), Refusal> {
        const FIELD: &str = "VH_CPU_LIMIT";
        let most = self.cpus.unwrap_or(0.0);
        let within = |field: &str, count: f64| match most > 0.0 && count > most {
            true => Err(refusal(
                field,
                format!("{count} processors are asked for, {most} granted"),
            )),
            false => Ok(count),
        };
        if let Some(cpus) = ask.cpus {
            return Ok((within("resources.cpu", cpus)?, String::new()));
        }
        let Some(text) = ask.cpu_limit.as_deref().filter(|text| !text.is_empty()) else {
            return Ok((most, String::new()));
        };
        if let Ok(count) = text.parse::<f64>()
            && count.is_finite()
            && count > 0.0
        {
            return Ok((within(FIELD, count)?, String::new()));
        }
        let numbers = text.split(',').map(|number| number.trim().parse::<u16>());
        match numbers.collect::<Result<Vec<_>, _>>() {
            Ok(numbers) if numbers.len() > 1 => {
                within(FIELD, numbers.len() as f64)?;
                let texts: Vec<String> = numbers.iter().map(u16::to_string).collect();
                Ok((most, texts.join(",")))
            }
            _ => Err(refusal(
                FIELD,
                format!("`{text}` is neither a count nor a list of processors"),
            )),
        }
    }
}

fn refusal(field: &str, rule: impl Into<String>) -> Refusal {
    Refusal {
        field: field.to_owned(),
        rule: rule.into(),
    }
}

/// Whether a name begins with `from`, up to one of the places where names are divided.
fn begins_with(name: &str, from: &str) -> bool {
    name.strip_prefix(from).is_some_and(|rest| {
        rest.is_empty() || from.ends_with('/') || rest.starts_with(['/', ':', '@'])
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::path::Path;

    const GIB: u64 = 1 << 30;

    fn ask(image: &str) -> Ask {
        Ask {
            image: image.into(),
            ..Ask::default()
        }
    }

    #[test]
    fn what_is_not_granted_is_refused_by_name() {
        let temp = tempfile::tempdir().unwrap();
        let data = temp.path().join("data");
        std::fs::create_dir_all(data.join("inner")).unwrap();
        std::fs::create_dir(temp.path().join("private")).unwrap();
        std::os::unix::fs::symlink(temp.path().join("private"), data.join("link")).unwrap();
        let policy = Policy {
            mounts: vec![GrantedMount {
                source: data.clone(),
                read_only: true,
            }],
            images: vec!["ghcr.io/us/".into(), "python".into()],
            cpus: Some(4.0),
            memory: Some(8 * GIB),
            ..Policy::default()
        };
        let mount = |source: &Path, destination: &str, read_only| Ask {
            mounts: vec![AskedMount {
                source: source.display().to_string(),
                destination: destination.into(),
                read_only,
                kind: String::new(),
            }],
            ..ask("python:3")
        };
        let variable = |network: Option<&str>, cpu: Option<&str>| Ask {
            network: network.map(str::to_owned),
            cpu_limit: cpu.map(str::to_owned),
            ..ask("python:3")
        };
        let refused = [
            (ask("pythonic"), "image: `pythonic` is none of those"),
            (ask("quay.io/a"), "image: `quay.io/a` is none of those"),
            (mount(&data, "/data", false), "for reading only"),
            (
                mount(&data.join("link"), "/d", true),
                "grants no mount of it",
            ),
            (mount(&data.join("no"), "/d", true), "no such directory"),
            (
                mount(&data, "/valohai/inputs/x", true),
                "nothing can be mounted on",
            ),
            (
                mount(Path::new("/var/run/docker.sock"), "/d", true),
                "the machine itself",
            ),
            (mount(Path::new("/"), "/host", true), "the machine itself"),
            (mount(&data.join("../private"), "/d", true), "without `..`"),
            (
                variable(Some("host"), None),
                "VH_DOCKER_NETWORK: this worker does not grant",
            ),
            (
                variable(Some("container:x"), None),
                "VH_DOCKER_NETWORK: `container:x` is none of",
            ),
            (variable(None, Some("8")), "VH_CPU_LIMIT: 8 processors"),
            (
                variable(None, Some("many")),
                "VH_CPU_LIMIT: `many` is neither",
            ),
            (
                Ask {
                    memory: Some(9 * GIB),
                    ..ask("python")
                },
                "resources.memory: 9216 MB are asked for, 8192 granted",
            ),
        ];
        for (ask, expected) in refused {
            let refusal = policy.grant(&ask, 16 * GIB).unwrap_err().to_string();
            assert!(refusal.contains(expected), "{expected}: {refusal}");
        }
        let grant = policy.grant(&mount(&data.join("inner"), "/d", true), GIB);
        assert_eq!(grant.unwrap().mounts.len(), 1);
        let grant = policy
            .grant(&variable(Some("none"), Some("0,2")), GIB)
            .unwrap();
        assert_eq!(
            (grant.network, grant.cpuset.as_str()),
            (Network::None, "0,2")
        );
        assert_eq!((grant.memory, grant.shm), (8 * GIB, 4 * GIB));
    }

    #[test]
    fn images_may_have_to_be_named_by_digest() {
        let policy = Policy {
            needs_digest: true,
            ..Policy::default()
        };
        assert!(policy.grant(&ask("a:1"), GIB).is_err());
        assert!(policy.grant(&ask("a@sha256:00ff"), GIB).is_ok());
    }
}
