//! How a container is given its devices. An engine that knows them by the names of the Container Device Interface (CDI) is asked for these: vendors' tools
//! describe their devices so (`nvidia-ctk cdi generate`, for one), and it needs no runtime of the vendor's. NVIDIA's are else asked for in the
//! older way, which its container toolkit sees to. Any other device is its operator's to hand on: the container is told of it, in its environment and its labels.
//!
//! CDI: <https://github.com/cncf-tags/container-device-interface>, version 1.0; engines tell what they have found since Docker 28.2.

use std::collections::BTreeSet;

use bollard::models::{DeviceRequest, SystemInfo};

use crate::devices::Device;

/// Name under which engines tell of, and are asked for, devices of the interface.
const CDI: &str = "cdi";

/// Since this version Podman takes names of the interface from its Docker-compatible socket. Before, it takes no notice of any device that is asked for.
const PODMAN_HANDS: u32 = 5;

/// How the engine is asked for devices.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// By these names of the interface, and in NVIDIA's older way.
    Names(BTreeSet<String>),
    /// By names of the interface, of which it does not say which it knows.
    Unsaid,
}

impl Known {
    /// Of an engine that is Docker's.
    pub(super) fn of(info: SystemInfo) -> Self {
        let found = info.discovered_devices.unwrap_or_default().into_iter();
        let names = found
            .filter(|device| device.source.as_deref() == Some(CDI))
            .filter_map(|device| device.id);
        Self::Names(names.collect())
    }

    /// Of Podman of this version; an error for people where it cannot hand on any.
    pub(super) fn of_podman(version: u32) -> Result<Self, String> {
        match version {
            PODMAN_HANDS.. => Ok(Self::Unsaid),
            _ => Err(format!(
                "Podman {version} hands no devices to containers that it is asked for by its Docker-compatible socket; Podman {PODMAN_HANDS} does"
            )),
        }
    }

    /// What the engine calls a device. Vendors describe parts of a GPU beside whole ones, as `gpu`, whatever kind is asked for.
    fn name_of(&self, device: &Device) -> Option<String> {
        let vendor = device.kind.split('/').next().unwrap_or_default();
        let own = format!("{}={}", device.kind, device.id);
        let part = format!("{vendor}/gpu={}", device.id);
        match self {
            Self::Names(known) => [own, part].into_iter().find(|name| known.contains(name)),
            Self::Unsaid => is_uuid(&device.id).then_some(part),
        }
    }
}

/// What the engine is asked for.
pub(super) fn requests(devices: &[Device], known: &Known) -> Vec<DeviceRequest> {
    let mut described = Vec::new();
    let mut nvidia = Vec::new();
    for device in devices {
        if let Some(name) = known.name_of(device) {
            described.push(name);
        } else if is_uuid(&device.id) {
            nvidia.push(device.id.clone());
        }
    }
    let described = (!described.is_empty()).then(|| DeviceRequest {
        driver: Some(CDI.to_owned()),
        device_ids: Some(described),
        ..DeviceRequest::default()
    });
    let nvidia = (!nvidia.is_empty()).then(|| DeviceRequest {
        driver: Some("nvidia".to_owned()),
        device_ids: Some(nvidia),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    });
    described.into_iter().chain(nvidia).collect()
}

/// Whether it is what NVIDIA's driver calls a GPU or a part of one.
fn is_uuid(id: &str) -> bool {
    id.starts_with("GPU-") || id.starts_with("MIG-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bollard::models::DeviceInfo;

    fn device(kind: &str, id: &str) -> Device {
        Device {
            id: id.to_owned(),
            kind: kind.to_owned(),
            ..Device::default()
        }
    }

    fn asked(devices: &[Device], known: &[&str]) -> Vec<String> {
        let known = Known::Names(known.iter().map(|&name| name.to_owned()).collect());
        in_words(devices, &known)
    }

    fn in_words(devices: &[Device], known: &Known) -> Vec<String> {
        let words = |request: DeviceRequest| {
            let ids = request.device_ids.unwrap_or_default().join(" ");
            format!("{}: {ids}", request.driver.unwrap_or_default())
        };
        requests(devices, known).into_iter().map(words).collect()
    }

    #[test]
    fn a_device_is_asked_for_as_the_engine_knows_it() {
        let whole = device("nvidia.com/gpu", "GPU-1");
        let part = device("nvidia.com/mig-1g.5gb", "MIG-2");
        let other = device("amd.com/gpu", "0");
        let table: [(&[Device], &[&str], &[&str]); 7] = [
            (&[], &["nvidia.com/gpu=GPU-1"], &[]),
            (std::slice::from_ref(&whole), &[], &["nvidia: GPU-1"]),
            (
                std::slice::from_ref(&whole),
                &["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1"],
                &["cdi: nvidia.com/gpu=GPU-1"],
            ),
            (
                std::slice::from_ref(&part),
                &["nvidia.com/gpu=MIG-2"],
                &["cdi: nvidia.com/gpu=MIG-2"],
            ),
            (
                &[whole.clone(), part.clone()],
                &["nvidia.com/gpu=GPU-1"],
                &["cdi: nvidia.com/gpu=GPU-1", "nvidia: MIG-2"],
            ),
            (
                std::slice::from_ref(&other),
                &["amd.com/gpu=0"],
                &["cdi: amd.com/gpu=0"],
            ),
            (std::slice::from_ref(&other), &["nvidia.com/gpu=0"], &[]),
        ];
        for (devices, known, expected) in table {
            assert_eq!(asked(devices, known), expected, "{devices:?} of {known:?}");
        }
    }

    #[test]
    fn only_what_the_interface_describes_is_known_by_its_names() {
        let found = |source: &str, id: &str| DeviceInfo {
            source: Some(source.to_owned()),
            id: Some(id.to_owned()),
        };
        let info = SystemInfo {
            discovered_devices: Some(vec![found("cdi", "a.b/c=d"), found("other", "e")]),
            ..SystemInfo::default()
        };
        let names = BTreeSet::from(["a.b/c=d".to_owned()]);
        assert_eq!(Known::of(info), Known::Names(names));
        let none = Known::of(SystemInfo::default());
        assert_eq!(none, Known::Names(BTreeSet::new()));
    }

    #[test]
    fn podman_is_asked_by_the_interfaces_names_or_says_that_it_cannot() {
        assert!(Known::of_podman(4).unwrap_err().contains("Podman 5 does"));
        let known = Known::of_podman(5).unwrap();
        let devices = [
            device("nvidia.com/mig-1g.5gb", "MIG-2"),
            device("shoal.test/gpu", "declared"),
        ];
        assert_eq!(in_words(&devices, &known), ["cdi: nvidia.com/gpu=MIG-2"]);
    }
}
