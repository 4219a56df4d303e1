//! The devices of this machine: those that its driver tells of, or those that its operator declares.
//!
//! The driver is asked by its own program, `nvidia-smi`: it is there wherever the driver is, and unlike the library behind it, it can
//! be asked by a program that loads no libraries. A declared inventory stands in where there is no GPU, and is how a machine says what its driver
//! does not.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use thiserror::Error;

/// A driver that has not answered after this long hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether it has.
const ROUND: Duration = Duration::from_millis(20);
/// What every whole GPU of the vendor can be asked for as.
const NVIDIA_GPU: &str = "nvidia.com/gpu";

/// A device, which one program has at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// What names it for good: the UUID that the driver gives a GPU or a part of one.
    pub id: String,
    /// What it is asked for as: `nvidia.com/gpu`, or `nvidia.com/mig-1g.5gb` for a part of one.
    pub kind: String,
    /// Name of the product.
    pub name: String,
    /// Memory in bytes; 0 means that it has none of its own.
    pub memory_bytes: u64,
    /// Version of its driver; empty when that is not told.
    pub driver_version: String,
    /// Where it is on its machine, as the driver names PCI devices: `00000000:17:00.0`; empty when that is not told.
    pub pci_bus_id: String,
}

/// Where the devices of a machine are told from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Inventory {
    /// From the driver, where there is one.
    #[default]
    Driver,
    /// From whoever started the daemon.
    Declared(Vec<Device>),
    /// From a file with a device a line, which is read again and again.
    File(PathBuf),
}

/// Why the devices are not known now.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// A declaration cannot be read.
    #[error(
        "device {text:?}: {why}; expected KIND=ID[,name=NAME][,memory=MIB], as in nvidia.com/gpu=gpu-0,name=Tesla T4,memory=15360"
    )]
    Declaration {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// The driver's program failed, or hangs.
    #[error("{0}")]
    Driver(String),
}

impl Inventory {
    /// All devices by now, in the order in which they are given out.
    ///
    /// # Errors
    /// When they are not known now. That says nothing of them: what is running goes on.
    pub fn look(&self) -> Result<Vec<Device>, DeviceError> {
        match self {
            Inventory::Driver => driver(),
            Inventory::Declared(devices) => Ok(devices.clone()),
            Inventory::File(path) => {
                let text = fs::read_to_string(path).map_err(|error| DeviceError::File {
                    path: path.clone(),
                    error,
                })?;
                text.lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty() && !line.starts_with('#'))
                    .map(declared)
                    .collect()
            }
        }
    }

    /// Whether the devices can change while the daemon runs.
    pub fn can_change(&self) -> bool {
        !matches!(self, Inventory::Declared(_))
    }
}

/// Reads a declaration: `KIND=ID[,name=NAME][,memory=MIB]`.
///
/// # Errors
/// What is wrong with it.
pub fn declared(text: &str) -> Result<Device, DeviceError> {
    let wrong = |why| DeviceError::Declaration {
        text: text.to_owned(),
        why,
    };
    let mut parts = text.split(',');
    let (kind, id) = parts
        .next()
        .and_then(|first| first.split_once('='))
        .ok_or_else(|| wrong("the first part is KIND=ID"))?;
    let is_word = |word: &str| {
        let mut bytes = word.bytes();
        !word.is_empty() && bytes.all(|b| b.is_ascii_graphic() && !b",=".contains(&b))
    };
    if !is_word(kind) || !is_word(id) {
        return Err(wrong("kind and id are words without spaces"));
    }
    if !kind.contains('/') {
        return Err(wrong("a kind has a vendor: nvidia.com/gpu"));
    }
    let mut device = Device {
        id: id.to_owned(),
        kind: kind.to_owned(),
        ..Device::default()
    };
    for part in parts {
        match part.split_once('=') {
            Some(("name", name)) => device.name = name.to_owned(),
            Some(("memory", mib)) => {
                let mib: u64 = mib
                    .parse()
                    .map_err(|_| wrong("memory is a number of MiB"))?;
                device.memory_bytes = mib.saturating_mul(1 << 20);
            }
            _ => return Err(wrong("parts are name= and memory=")),
        }
    }
    Ok(device)
}

/// Asks the driver. No driver is no device.
fn driver() -> Result<Vec<Device>, DeviceError> {
    let query = "--query-gpu=uuid,name,memory.total,driver_version,pci.bus_id";
    let Some(table) = ask(&[query, "--format=csv,noheader,nounits"])? else {
        return Ok(Vec::new());
    };
    let gpus = gpus(&table);
    // Which of them are divided, only the list tells.
    let list = ask(&["-L"])?.unwrap_or_default();
    Ok(divided(gpus, &list))
}

/// What the driver's program prints; none when there is no such program.
fn ask(arguments: &[&str]) -> Result<Option<String>, DeviceError> {
    output_of("nvidia-smi".as_ref(), arguments, PATIENCE)
}

/// What a program that tells of devices prints, no more than a pipe holds; none when there is no such program.
pub(crate) fn output_of(
    program: &Path,
    arguments: &[&str],
    patience: Duration,
) -> Result<Option<String>, DeviceError> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let told = |words: String| DeviceError::Driver(format!("{name}: {words}"));
    let failed = |error: io::Error| told(error.to_string());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // A pipe holds more than such a table has.
    let deadline = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if Instant::now() > deadline {
            drop((child.kill(), child.wait()));
            let patience = patience.as_secs();
            return Err(told(format!("no answer within {patience} s")));
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "the end of a child is asked for: signals of children are the runtime's"
        )]
        std::thread::sleep(ROUND);
    };
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text).map_err(failed)?;
    }
    match status.success() {
        true => Ok(Some(text)),
        false => Err(told(format!("{status}: {}", text.trim()))),
    }
}

/// GPUs that answer. One that has fallen off the bus has no numbers.
fn gpus(table: &str) -> Vec<Device> {
    let row = |line: &str| {
        let mut fields = line.split(',').map(str::trim);
        let (id, name, mib) = (fields.next()?, fields.next()?, fields.next()?);
        let mib: u64 = mib.parse().ok()?;
        // In brackets stands what the driver does not know.
        let mut more = fields.map(|field| match field.starts_with('[') {
            true => String::new(),
            false => field.to_owned(),
        });
        id.starts_with("GPU-").then(|| Device {
            id: id.to_owned(),
            kind: NVIDIA_GPU.to_owned(),
            name: name.to_owned(),
            memory_bytes: mib << 20,
            driver_version: more.next().unwrap_or_default(),
            pci_bus_id: more.next().unwrap_or_default(),
        })
    };
    table.lines().filter_map(row).collect()
}

/// With the parts of divided GPUs in place of the whole.
fn divided(gpus: Vec<Device>, list: &str) -> Vec<Device> {
    let mut all = Vec::new();
    for gpu in gpus {
        let parts = parts(&gpu, list);
        match parts.is_empty() {
            true => all.push(gpu),
            false => all.extend(parts),
        }
    }
    all
}

/// The parts of one GPU, from lines like `  MIG 1g.5gb     Device  0: (UUID: MIG-…)` below its own.
fn parts(gpu: &Device, list: &str) -> Vec<Device> {
    let mut lines = list.lines();
    if !lines.any(|line| line.contains(&gpu.id)) {
        return Vec::new();
    }
    let own = lines.take_while(|line| line.starts_with(char::is_whitespace));
    own.filter_map(|line| {
        let line = line.trim_start().strip_prefix("MIG ")?;
        let profile = line.split_whitespace().next()?;
        let (_, id) = line.split_once("(UUID: ")?;
        Some(Device {
            id: id.trim_end().trim_end_matches(')').to_owned(),
            kind: format!("nvidia.com/mig-{profile}"),
            name: format!("{} MIG {profile}", gpu.name),
            memory_bytes: memory_of(profile),
            driver_version: gpu.driver_version.clone(),
            pci_bus_id: gpu.pci_bus_id.clone(),
        })
    })
    .collect()
}

/// The memory in a profile's name: `1g.5gb` has 5 GB.
fn memory_of(profile: &str) -> u64 {
    let digits = profile
        .split('.')
        .find_map(|part| part.split_once("gb"))
        .and_then(|(number, _)| number.parse::<u64>().ok());
    digits.unwrap_or_default().saturating_mul(1_000_000_000)
}

/// Processors in thousandths and bytes of memory that programs of this machine can use; 0 where that is not known.
pub fn capacity() -> (u64, u64) {
    let processors = std::thread::available_parallelism().map_or(0, |count| count.get() as u64);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    (processors * 1_000, memory_total(&memory))
}

fn memory_total(meminfo: &str) -> u64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(devices: &[Device]) -> Vec<String> {
        let show = |d: &Device| {
            let Device { kind, id, name, .. } = d;
            let mib = d.memory_bytes >> 20;
            let place = match (d.driver_version.as_str(), d.pci_bus_id.as_str()) {
                ("", "") => String::new(),
                (driver, bus) => format!(", driver {driver} at {bus}"),
            };
            format!("{kind} {id} [{name}] {mib} MiB{place}")
        };
        devices.iter().map(show).collect()
    }

    #[test]
    fn a_driver_tells_of_gpus_and_of_parts_of_gpus() {
        let table = "GPU-aa, NVIDIA A100-SXM4-80GB, 81920, 570.124.06, 00000000:17:00.0\n\
                     GPU-bb, NVIDIA A100-SXM4-80GB, 81920, 570.124.06, [N/A]\n\
                     GPU-cc, [Unknown Error], [Unknown Error], 570.124.06, 00000000:19:00.0\n\n";
        let list = "GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-aa)\n\
                    GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-bb)\n  \
                    MIG 3g.40gb     Device  0: (UUID: MIG-11)\n  \
                    MIG 1g.10gb+me  Device  1: (UUID: MIG-22)\n";
        assert_eq!(
            shown(&divided(gpus(table), list)),
            [
                "nvidia.com/gpu GPU-aa [NVIDIA A100-SXM4-80GB] 81920 MiB, driver 570.124.06 at 00000000:17:00.0",
                "nvidia.com/mig-3g.40gb MIG-11 [NVIDIA A100-SXM4-80GB MIG 3g.40gb] 38146 MiB, driver 570.124.06 at ",
                "nvidia.com/mig-1g.10gb+me MIG-22 [NVIDIA A100-SXM4-80GB MIG 1g.10gb+me] 9536 MiB, driver 570.124.06 at ",
            ]
        );
        assert_eq!(divided(gpus("No devices were found\n"), ""), []);
    }

    #[test]
    fn declarations_are_read_or_refused_in_words() {
        let device = declared("nvidia.com/gpu=gpu-0,name=Tesla T4,memory=15360").unwrap();
        assert_eq!(
            shown(&[device]),
            ["nvidia.com/gpu gpu-0 [Tesla T4] 15360 MiB"]
        );
        let plain = declared("amd.com/gpu=x").unwrap();
        assert_eq!(shown(&[plain]), ["amd.com/gpu x [] 0 MiB"]);
        for (text, why) in [
            ("", "the first part is KIND=ID"),
            ("gpu=1", "a kind has a vendor: nvidia.com/gpu"),
            ("nvidia.com/gpu=", "kind and id are words without spaces"),
            ("nvidia.com/gpu=a b", "kind and id are words without spaces"),
            ("nvidia.com/gpu=a,memory=much", "memory is a number of MiB"),
            ("nvidia.com/gpu=a,colour=red", "parts are name= and memory="),
        ] {
            let error = declared(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_file_is_read_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("devices");
        let inventory = Inventory::File(path.clone());
        assert!(inventory.look().is_err());
        fs::write(
            &path,
            "# of this machine\n\nnvidia.com/gpu=a\n nvidia.com/gpu=b\n",
        )
        .unwrap();
        assert_eq!(inventory.look().unwrap().len(), 2);
        fs::write(&path, "nvidia.com/gpu=b\n").unwrap();
        assert_eq!(
            shown(&inventory.look().unwrap()),
            ["nvidia.com/gpu b [] 0 MiB"]
        );
        fs::write(&path, "nonsense").unwrap();
        assert!(inventory.look().is_err());
    }

    #[test]
    fn this_machine_has_processors_and_memory() {
        let (cpu_millis, memory_bytes) = capacity();
        assert!(cpu_millis >= 1_000 && memory_bytes > 1 << 20);
        assert_eq!(memory_total("MemFree: 1 kB\nMemTotal:  2048 kB\n"), 2 << 20);
    }
}
