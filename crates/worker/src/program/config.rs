//! The ten files of the configuration directory: five documents, each as JSON and as YAML.

use contract::link::Assignment;
use spec::Value;

use crate::fence::Fence;
use crate::json;
use crate::program::values::{from_wire, map};
use crate::program::{Input, Layout, Machine, inputs, runtime, yaml};

/// The files: name, bytes.
pub(super) fn files(
    fence: Fence,
    assignment: &Assignment,
    inputs: &[Input],
    layout: &Layout,
    machine: &Machine,
) -> Vec<(String, Vec<u8>)> {
    let documents = [
        // There is no service to call, so no calls are authorised.
        ("api", Value::Map(Vec::new())),
        ("execution", runtime::execution(fence, assignment)),
        ("inputs", inputs::document(fence, inputs, layout)),
        ("parameters", parameters(assignment)),
        ("runtime", runtime::runtime(fence, machine)),
    ];
    documents
        .iter()
        .flat_map(|(name, document)| {
            let json = json::write(document) + "\n";
            [
                (format!("{name}.json"), json.into_bytes()),
                (format!("{name}.yaml"), yaml::write(document).into_bytes()),
            ]
        })
        .collect()
}

/// Typed values by name; those without a value are absent.
fn parameters(assignment: &Assignment) -> Value {
    map(assignment.parameters.iter().filter_map(|parameter| {
        let value = parameter.value.as_ref()?;
        value.kind.as_ref()?;
        Some((parameter.name.clone(), from_wire(value)))
    }))
}
