//! What an execution needs of a machine, and which devices answer that. Who decides and who checks the decision use the same rules.

use std::collections::BTreeSet;

use contract::ledger as pb;
use contract::link::Device;

/// Everything that an execution needs of a machine beside a slot. Executions with equal needs can take each other's place.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needs {
    /// Slug of the environment; empty means any worker.
    pub environment: String,
    /// Processors kept for it, in thousandths.
    pub cpu_millis: u64,
    /// Memory kept for it, in bytes.
    pub memory_bytes: u64,
    /// Devices for itself, those that fewer devices answer first.
    pub devices: Vec<DeviceNeed>,
    /// Container image; counts where a worker grants only some.
    pub image: String,
    /// Whether it asks for the machine's own network.
    pub host_network: bool,
    /// Directories of the machine that it asks for.
    pub mounts: Vec<MountNeed>,
}

/// A directory of the machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MountNeed {
    /// Which: absolute.
    pub source: String,
    /// Whether for reading only.
    pub read_only: bool,
}

/// What one device weighs, in thousandths of a processor.
const DEVICE_WEIGHT: u64 = 8_000;
/// How much memory weighs as much as a processor, in bytes.
const MEMORY_OF_A_PROCESSOR: u64 = 4 << 30;
/// The variable by which programs written for Valohai ask for a network.
pub(crate) const NETWORK: &str = "VH_DOCKER_NETWORK";

/// Devices of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceNeed {
    /// `nvidia.com/gpu`, or a product.
    pub kind: String,
    /// Least memory of each, in bytes.
    pub memory_bytes: u64,
    /// How many.
    pub count: u32,
}

impl Needs {
    /// What a template asks for.
    pub fn of(template: &pb::StepTemplate) -> Self {
        let asked = template.needs.as_ref();
        let devices = asked.map(|needs| needs.devices.as_slice());
        let mut devices: Vec<DeviceNeed> = devices
            .unwrap_or_default()
            .iter()
            .filter(|need| need.count > 0)
            .map(|need| DeviceNeed {
                kind: need.kind.clone(),
                memory_bytes: need.memory_bytes,
                count: need.count,
            })
            .collect();
        // What asks for a product must not find that another need, which any would have answered, has it.
        devices.sort_by_cached_key(|need| {
            let rank = (!need.is_general(), need.memory_bytes);
            (std::cmp::Reverse(rank), need.kind.clone())
        });
        Self {
            environment: template.environment.clone(),
            cpu_millis: asked.map_or(0, |needs| needs.cpu_millis),
            memory_bytes: asked.map_or(0, |needs| needs.memory_bytes),
            devices,
            image: template.image.clone(),
            host_network: template
                .environment_variables
                .get(NETWORK)
                .is_some_and(|network| network == "host"),
            mounts: template
                .mounts
                .iter()
                .map(|mount| MountNeed {
                    source: mount.source.clone(),
                    read_only: mount.read_only,
                })
                .collect(),
        }
    }

    /// What running it weighs when projects are given equal shares: in thousandths of a processor, 1,000 for its slot, what it has of processors,
    /// 1,000 for each 4 GiB of its memory and 8,000 for each of its devices.
    pub fn weight(&self) -> u64 {
        let memory = self.memory_bytes / (MEMORY_OF_A_PROCESSOR / 1_000);
        let devices = DEVICE_WEIGHT.saturating_mul(self.device_count() as u64);
        1_000_u64
            .saturating_add(self.cpu_millis)
            .saturating_add(memory)
            .saturating_add(devices)
            .min(1 << 40)
    }

    /// How many devices it needs in all.
    pub fn device_count(&self) -> usize {
        self.devices.iter().map(|need| need.count as usize).sum()
    }

    /// Devices of `free` that answer the needs, for each need the smallest and of those the first; none when they are too few.
    pub fn choose<'a>(&self, free: &[&'a Device]) -> Option<Vec<&'a Device>> {
        let mut taken = BTreeSet::new();
        let mut chosen = Vec::new();
        if self.device_count() > free.len() {
            return None;
        }
        for need in &self.devices {
            let answers = free.iter().enumerate();
            let mut answers: Vec<(u64, usize)> = answers
                .filter(|(at, device)| !taken.contains(at) && need.is_answered_by(device))
                .map(|(at, device)| (device.memory_bytes, at))
                .collect();
            answers.sort_unstable();
            let count = need.count as usize;
            if answers.len() < count {
                return None;
            }
            for (_, at) in answers.into_iter().take(count) {
                taken.insert(at);
                chosen.push(free[at]);
            }
        }
        Some(chosen)
    }
}

impl DeviceNeed {
    /// Whether any GPU will do, whatever its product.
    fn is_general(&self) -> bool {
        self.kind.ends_with("/gpu")
    }

    /// Whether a device is what is needed. A kind is met by the device's own kind, and one that names a product by every device
    /// whose name has all its words: `nvidia.com/a100` by `NVIDIA A100-SXM4-80GB`.
    pub fn is_answered_by(&self, device: &Device) -> bool {
        if device.memory_bytes < self.memory_bytes {
            return false;
        }
        if self.kind == device.kind {
            return true;
        }
        let (Some((vendor, product)), Some((own_vendor, _))) =
            (self.kind.split_once('/'), device.kind.split_once('/'))
        else {
            return false;
        };
        // A part of a GPU is asked for by its own kind only.
        vendor == own_vendor
            && device.kind.ends_with("/gpu")
            && !self.is_general()
            && words(product).all(|word| words(&device.name).any(|own| own == word))
    }
}

fn words(name: &str) -> impl Iterator<Item = String> + '_ {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn device(id: &str, kind: &str, name: &str, gib: u64) -> Device {
        Device {
            device_id: id.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            memory_bytes: gib * GIB,
            ..Device::default()
        }
    }

    fn machine() -> Vec<Device> {
        vec![
            device("a", "nvidia.com/gpu", "NVIDIA A100-SXM4-80GB", 80),
            device("t", "nvidia.com/gpu", "Tesla T4", 15),
            device("b", "nvidia.com/gpu", "NVIDIA A100-SXM4-80GB", 80),
            device(
                "m",
                "nvidia.com/mig-1g.10gb",
                "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
                10,
            ),
        ]
    }

    /// `2 nvidia.com/gpu>=40` and so on.
    fn needs(text: &[(u32, &str, u64)]) -> Needs {
        Needs::of(&pb::StepTemplate {
            needs: Some(pb::Needs {
                devices: text
                    .iter()
                    .map(|(count, kind, gib)| pb::DeviceNeed {
                        kind: (*kind).to_owned(),
                        count: *count,
                        memory_bytes: gib * GIB,
                    })
                    .collect(),
                ..pb::Needs::default()
            }),
            ..pb::StepTemplate::default()
        })
    }

    #[track_caller]
    fn check(text: &[(u32, &str, u64)], expected: Option<&str>) {
        let machine = machine();
        let free: Vec<&Device> = machine.iter().collect();
        let chosen = needs(text).choose(&free);
        let ids = chosen.map(|devices| {
            let ids: Vec<&str> = devices.iter().map(|d| d.device_id.as_str()).collect();
            ids.join("")
        });
        assert_eq!(ids.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn the_smallest_device_that_answers_is_taken() {
        check(&[], Some(""));
        check(&[(1, "nvidia.com/gpu", 0)], Some("t"));
        check(&[(1, "nvidia.com/gpu", 40)], Some("a"));
        check(&[(3, "nvidia.com/gpu", 0)], Some("tab"));
        check(&[(4, "nvidia.com/gpu", 0)], None);
        check(&[(1, "nvidia.com/gpu", 81)], None);
        check(&[(1, "amd.com/gpu", 0)], None);
        check(&[(1, "gpu", 0)], None);
    }

    #[test]
    fn a_product_is_asked_for_by_words_of_its_name() {
        check(&[(2, "nvidia.com/a100", 0)], Some("ab"));
        check(&[(1, "nvidia.com/A100-SXM4-80GB", 0)], Some("a"));
        check(&[(1, "nvidia.com/t4", 0)], Some("t"));
        check(&[(1, "nvidia.com/h100", 0)], None);
        check(&[(1, "amd.com/a100", 0)], None);
    }

    #[test]
    fn a_part_of_a_gpu_is_asked_for_by_its_kind_alone() {
        check(&[(1, "nvidia.com/mig-1g.10gb", 0)], Some("m"));
        check(&[(2, "nvidia.com/mig-1g.10gb", 0)], None);
    }

    #[test]
    fn the_choosy_choose_first() {
        check(
            &[(1, "nvidia.com/gpu", 0), (1, "nvidia.com/t4", 0)],
            Some("ta"),
        );
        check(
            &[(1, "nvidia.com/gpu", 0), (2, "nvidia.com/gpu", 80)],
            Some("abt"),
        );
        check(&[(2, "nvidia.com/gpu", 0), (2, "nvidia.com/a100", 0)], None);
    }
}
