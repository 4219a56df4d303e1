//! The devices of the machine: looked at again and again, for a GPU can fall off its bus under a program.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::link::Device;
use runtime::devices::{DeviceError, Inventory};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use worker::Input;

use super::engine::Engine;

/// How often they are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// A device counts as gone when the driver did not tell of it so many times, one after the other: while a driver sets itself up anew, it may
/// leave one out once, and what runs on it is worth a second look.
const LOOKS: u32 = 2;

/// Tells the loop whenever there are others, or others are gone.
pub(super) async fn watch(
    inventory: Inventory,
    mut known: Vec<Device>,
    engine: Engine,
    stopping: CancellationToken,
) {
    if !inventory.can_change() {
        return;
    }
    let looks_to_go = match inventory {
        Inventory::Driver => LOOKS,
        Inventory::Declared(_) | Inventory::File(_) => 1,
    };
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut missing = BTreeMap::new();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = looks.tick() => {}
        }
        let inventory = inventory.clone();
        let found = match tokio::task::spawn_blocking(move || look(&inventory)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!("the devices are not known now: {error}");
                continue;
            }
            Err(_) => return,
        };
        let now = still_there(&known, found, &mut missing, looks_to_go);
        if now != known {
            let is_there = |id: &str| now.iter().any(|device| device.device_id == id);
            for gone in known.iter().filter(|device| !is_there(&device.device_id)) {
                tracing::warn!("device {} ({}) is gone", gone.device_id, gone.name);
            }
            known = now;
            engine.input(Input::Devices(known.clone()));
        }
    }
}

/// All devices by now, as coordinators are told of them.
pub(super) fn look(inventory: &Inventory) -> Result<Vec<Device>, DeviceError> {
    let devices = inventory.look()?.into_iter();
    let told = devices.map(|device| Device {
        device_id: device.id,
        kind: device.kind,
        name: device.name,
        memory_bytes: device.memory_bytes,
        driver_version: device.driver_version,
        pci_bus_id: device.pci_bus_id,
    });
    Ok(told.collect())
}

/// What was found, and what was not but may be again at the next look.
fn still_there(
    known: &[Device],
    mut found: Vec<Device>,
    missing: &mut BTreeMap<String, u32>,
    looks_to_go: u32,
) -> Vec<Device> {
    missing.retain(|id, _| !found.iter().any(|device| device.device_id == *id));
    for (at, device) in known.iter().enumerate() {
        if found
            .iter()
            .any(|other| other.device_id == device.device_id)
        {
            continue;
        }
        let looks = missing.entry(device.device_id.clone()).or_default();
        *looks += 1;
        if *looks < looks_to_go {
            found.insert(at.min(found.len()), device.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(ids: &str) -> Vec<Device> {
        let device = |id| Device {
            device_id: id,
            ..Device::default()
        };
        ids.chars().map(String::from).map(device).collect()
    }

    #[test]
    fn a_device_is_gone_when_it_is_missed_twice_in_a_row() {
        let mut missing = BTreeMap::new();
        let mut known = devices("abc");
        let looks = ["ac", "abc", "ac", "ac", "acd", "", "d"];
        let expected = ["abc", "abc", "abc", "ac", "acd", "acd", "d"];
        for (look, expected) in looks.into_iter().zip(expected) {
            known = still_there(&known, devices(look), &mut missing, 2);
            assert_eq!(known, devices(expected), "{look}");
        }
    }
}
