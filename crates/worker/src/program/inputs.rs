//! `inputs.json`: every input with its files.

use std::path::Path;

use blob::Digest;
use spec::Value;

use crate::fence::{Fence, uuid_text};
use crate::json;
use crate::program::values::{map, text_or_null};
use crate::program::{Input, InputFile, Layout};

/// The document of `inputs`.
///
/// An input without files is there with an empty list and without an id: `valohai-utils` then finds no files. Left out, it would use the
/// default address that the program's own code names; with an id, it would ask the platform for addresses to fetch. For the same reason inputs on
/// demand have no id: `valohai-utils` then fetches their files from their own addresses.
pub(super) fn document(fence: Fence, inputs: &[Input], layout: &Layout) -> Value {
    map(inputs.iter().map(|input| {
        let id = input_id(fence, &input.name);
        let directory = layout.inputs_dir.join(&input.name);
        let files = input
            .files
            .iter()
            .map(|one| file(input, one, &id, &directory));
        let files = Value::List(files.collect());
        let has_id = !input.files.is_empty() && !input.on_demand;
        let id = has_id.then_some(("input_id", Value::Str(id)));
        (
            input.name.clone(),
            map(id.into_iter().chain([("files", files)])),
        )
    }))
}

fn file(input: &Input, file: &InputFile, input_id: &str, directory: &Path) -> Value {
    let path = directory.join(&file.name).to_string_lossy().into_owned();
    let size = file
        .size
        .map_or(Value::None, |size| Value::Int(size.into()));
    let checksums = file.checksums.iter();
    let checksums = map(checksums.map(|(name, hex)| (name.as_str(), Value::Str(hex.clone()))));
    let datum_id = file.uri.strip_prefix("datum://").unwrap_or_default();
    let intent = if input.on_demand {
        "on-demand"
    } else {
        "always"
    };
    map([
        ("name", Value::Str(file.name.clone())),
        ("path", Value::Str(path)),
        ("size", size),
        ("uri", Value::Str(file.uri.clone())),
        ("checksums", checksums),
        ("metadata", metadata(&file.properties_json)),
        ("datum_id", text_or_null(datum_id)),
        ("input_id", Value::Str(input_id.to_owned())),
        ("download_intent", Value::Str(intent.to_owned())),
    ])
}

/// The list of the objects that are attached to a file.
fn metadata(properties_json: &str) -> Value {
    let objects = serde_json::from_str(properties_json).ok();
    Value::List(
        objects
            .iter()
            .filter(|object: &&serde_json::Value| object.is_object())
            .map(json::read)
            .collect(),
    )
}

/// A UUID (version 8: made from a digest) that is the same for every attempt of an execution.
fn input_id(fence: Fence, name: &str) -> String {
    let digest = Digest::of(&[&fence.execution_id, name.as_bytes()].concat());
    let mut id = [0; 16];
    id.copy_from_slice(&digest.as_bytes()[..16]);
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    uuid_text(&id)
}
