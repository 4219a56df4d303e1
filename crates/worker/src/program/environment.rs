//! The environment variables of a program.

use std::collections::BTreeMap;
use std::path::Path;

use contract::link::Assignment;

use crate::fence::Fence;
use crate::program::{Layout, Machine};

/// What the user gave, and above it what names the execution: programs and `valohai-utils` rely on the latter.
pub(super) fn variables(
    fence: Fence,
    assignment: &Assignment,
    layout: &Layout,
    machine: &Machine,
) -> Vec<(String, String)> {
    let mut variables = BTreeMap::new();
    // A log that is followed should not wait in a buffer.
    variables.insert("PYTHONUNBUFFERED".to_owned(), "1".to_owned());
    let given = assignment.environment_variables.iter();
    variables.extend(given.map(|(name, value)| (name.clone(), value.clone())));

    let execution = fence.execution_uuid();
    let mut ours = vec![
        // For systems outside that are to refuse an attempt which was replaced: the parts only rise.
        (
            "ATTEMPT_TOKEN",
            format!("{execution}.{}.{}", fence.attempt, fence.index),
        ),
        ("VH_JOB_ID", format!("exec-{execution}")),
        ("VH_EXECUTION_ID", execution),
        ("VH_PROJECT_ID", assignment.project_id.clone()),
        ("VH_CONFIG_DIR", text(&layout.config_dir)),
        ("VH_INPUTS_DIR", text(&layout.inputs_dir)),
        ("VH_OUTPUTS_DIR", text(&layout.outputs_dir)),
        ("VH_REPOSITORY_DIR", text(&layout.repository_dir)),
    ];
    if !assignment.pipeline_id.is_empty() {
        ours.push(("VH_PIPELINE_ID", assignment.pipeline_id.clone()));
        ours.push(("VH_PIPELINE_NODE_ID", assignment.node.clone()));
    }
    if machine.has_devices {
        ours.extend(devices(assignment));
    }
    if !machine.local_ip.is_empty() {
        // The public address falls back to the private one.
        ours.push(("VH_LOCAL_IP", machine.local_ip.clone()));
        ours.push(("VH_PUBLIC_IP", machine.local_ip.clone()));
    }
    variables.extend(
        ours.into_iter()
            .map(|(name, value)| (name.to_owned(), value)),
    );
    variables.into_iter().collect()
}

/// The devices that the program may see, as the libraries of each vendor are told. One that has none is shown none: those of the
/// machine are others'.
fn devices(assignment: &Assignment) -> [(&'static str, String); 3] {
    let of = |vendor: &str| {
        let devices = assignment.devices.iter();
        let ids: Vec<&str> = devices
            .filter(|device| device.kind.starts_with(vendor))
            .map(|device| device.device_id.as_str())
            .collect();
        ids.join(",")
    };
    let nvidia = of("nvidia.com/");
    let in_containers = match nvidia.as_str() {
        "" => "void".to_owned(),
        ids => ids.to_owned(),
    };
    [
        ("CUDA_VISIBLE_DEVICES", nvidia),
        ("NVIDIA_VISIBLE_DEVICES", in_containers),
        ("ROCR_VISIBLE_DEVICES", of("amd.com/")),
    ]
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
