//! `resources` of a step as what is kept of a machine for it.
//!
//! `devices` has free keys. One that ends in `.memory` is not a device but says how much memory, in MiB, each device of the other key must
//! have: `nvidia.com/gpu.memory: 40000`, as clusters of containers label their machines.

use crate::model::{Bounds, Resources, Step};
use crate::plan::refuse::Findings;
use crate::plan::{DeviceNeed, Needs};
use crate::span::Spanned;
use crate::value::Number;

/// What the key of a device ends in when it tells of memory.
const MEMORY: &str = ".memory";
/// Most devices of one kind; no machine has more.
const MAX_DEVICES: i128 = 1_024;

pub(super) fn needs(findings: &mut Findings, step: &Step) -> Needs {
    let Some(resources) = &step.resources else {
        return Needs::default();
    };
    let bound = |bounds: &Option<Bounds>, unit: f64| {
        let amount = |number: &Option<Spanned<Number>>| {
            let number = number.as_ref().map_or(0.0, |number| number.value.as_f64());
            // What is not a number, or less than nothing, is nothing.
            (number.max(0.0) * unit).ceil() as u64
        };
        let bounds = bounds.as_ref();
        bounds.map_or((0, 0), |b| (amount(&b.min), amount(&b.max)))
    };
    let (cpu_millis, cpu_limit_millis) = bound(&resources.cpu, 1e3);
    let (memory_bytes, memory_limit_bytes) = bound(&resources.memory, 1e6);
    Needs {
        cpu_millis,
        cpu_limit_millis,
        memory_bytes,
        memory_limit_bytes,
        devices: devices(findings, resources),
    }
}

fn devices(findings: &mut Findings, resources: &Resources) -> Vec<DeviceNeed> {
    let all = resources.devices.as_deref().unwrap_or_default();
    let mut needs: Vec<DeviceNeed> = Vec::new();
    for (key, number) in all {
        if key.value.ends_with(MEMORY) {
            continue;
        }
        let count = number
            .value
            .as_int()
            .filter(|n| (1..=MAX_DEVICES).contains(n));
        match count {
            Some(count) => needs.push(DeviceNeed {
                kind: key.value.clone(),
                count: count as u32,
                memory_bytes: 0,
            }),
            None => findings.refused(
                number.span,
                format!("a step gets whole devices, 1 to {MAX_DEVICES} of a kind"),
            ),
        }
    }
    for (key, number) in all {
        let Some(kind) = key.value.strip_suffix(MEMORY) else {
            continue;
        };
        let bytes = (number.value.as_f64().max(0.0) * f64::from(1 << 20)).ceil() as u64;
        match needs.iter_mut().find(|need| need.kind == kind) {
            Some(need) => need.memory_bytes = bytes,
            None => needs.push(DeviceNeed {
                kind: kind.to_owned(),
                count: 1,
                memory_bytes: bytes,
            }),
        }
    }
    needs
}
