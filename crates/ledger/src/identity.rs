//! The identity of an execution: what would have to differ for a run of it to be another run.

use contract::api;
use prost::Message as _;

use crate::records::{Input, Recipe};

/// Version of what is hashed; another one whenever that changes.
const DOMAIN: &str = "shoal execution identity v1";

/// The digest of source, image, commands, parameters with values, input digests and environment variables. None while a
/// file of an input has no digest.
pub(crate) fn of(recipe: &Recipe, inputs: &[Input]) -> Option<[u8; 32]> {
    let template = &recipe.template;
    let mut hasher = Hasher(blake3::Hasher::new_derive_key(DOMAIN));
    hasher.bytes(
        recipe
            .source
            .as_ref()
            .map(|source| &*source.digest)
            .unwrap_or_default(),
    );
    hasher.bytes(template.image.as_bytes());
    hasher.count(recipe.commands.len());
    for command in &recipe.commands {
        hasher.bytes(command.as_bytes());
    }
    let mut given: Vec<(&str, &api::Value)> = template
        .parameters
        .iter()
        .filter_map(|parameter| Some((parameter.name.as_str(), parameter.value.as_ref()?)))
        .filter(|(_, value)| value.kind.is_some())
        .collect();
    given.sort_by_key(|(name, _)| *name);
    hasher.count(given.len());
    for (name, value) in given {
        hasher.bytes(name.as_bytes());
        hasher.bytes(&value.encode_to_vec());
    }
    let mut by_name: Vec<&Input> = inputs.iter().collect();
    by_name.sort_by_key(|input| &input.name);
    hasher.count(by_name.len());
    for input in by_name {
        hasher.bytes(input.name.as_bytes());
        // A program may read the files of a directory in the order of their names only.
        let mut files = Vec::with_capacity(input.files.len());
        for file in &input.files {
            files.push((file.file_name.as_str(), file.digest?));
        }
        files.sort();
        hasher.count(files.len());
        for (name, digest) in files {
            hasher.bytes(name.as_bytes());
            hasher.bytes(&digest);
        }
    }
    hasher.count(template.environment_variables.len());
    for (name, value) in &template.environment_variables {
        hasher.bytes(name.as_bytes());
        hasher.bytes(value.as_bytes());
    }
    Some(*hasher.0.finalize().as_bytes())
}

/// Hashes parts with their lengths, so that no two lists of parts look the same.
struct Hasher(blake3::Hasher);

impl Hasher {
    fn count(&mut self, count: usize) {
        self.0.update(&(count as u64).to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.update(bytes);
    }
}
