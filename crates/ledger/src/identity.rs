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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use contract::ledger::{StepTemplate, TemplateParameter};

    use super::*;
    use crate::records::InputFile;

    fn recipe() -> Recipe {
        let value = |number| {
            Some(api::Value {
                kind: Some(api::value::Kind::Integer(number)),
            })
        };
        let parameter = |name: &str, value| TemplateParameter {
            name: name.to_owned(),
            value,
            ..TemplateParameter::default()
        };
        let template = StepTemplate {
            step: "train".to_owned(),
            image: "busybox".to_owned(),
            parameters: vec![
                parameter("a", value(1)),
                parameter("b", value(2)),
                parameter("c", None),
            ],
            environment_variables: BTreeMap::from([("X".to_owned(), "y".to_owned())]),
            ..StepTemplate::default()
        };
        let source = api::Source {
            digest: vec![1; 32].into(),
            ..api::Source::default()
        };
        let commands = vec!["run".to_owned(), "this".to_owned()];
        Recipe::new(Arc::new(template), commands, Some(source))
    }

    fn inputs() -> Vec<Input> {
        let file = |name: &str, byte| InputFile {
            file_name: name.to_owned(),
            digest: Some([byte; 32]),
            ..InputFile::default()
        };
        vec![
            Input {
                name: "data".to_owned(),
                files: vec![file("a", 1), file("b", 2)],
            },
            Input {
                name: "none".to_owned(),
                files: Vec::new(),
            },
        ]
    }

    #[test]
    fn what_matters_makes_another_identity() {
        type Change = fn(&mut Recipe, &mut Vec<Input>);
        let changes: [(&str, Change); 12] = [
            ("source", |recipe, _| recipe.source = None),
            ("image", |recipe, _| {
                Arc::make_mut(&mut recipe.template).image.push('x')
            }),
            ("command", |recipe, _| recipe.commands[0].push('x')),
            ("border of commands", |recipe, _| {
                recipe.commands = vec!["runthis".to_owned()]
            }),
            ("value", |recipe, _| {
                Arc::make_mut(&mut recipe.template).parameters[0].value = Some(api::Value {
                    kind: Some(api::value::Kind::Number(1.0)),
                })
            }),
            ("no value", |recipe, _| {
                Arc::make_mut(&mut recipe.template).parameters[0].value = None
            }),
            ("name of a parameter", |recipe, _| {
                Arc::make_mut(&mut recipe.template).parameters[0]
                    .name
                    .push('x')
            }),
            ("digest of a file", |_, inputs| {
                inputs[0].files[0].digest = Some([9; 32])
            }),
            ("name of a file", |_, inputs| {
                inputs[0].files[0].file_name.push('x')
            }),
            ("number of files", |_, inputs| drop(inputs[0].files.pop())),
            ("name of an input", |_, inputs| inputs[1].name.push('x')),
            ("variable", |recipe, _| {
                Arc::make_mut(&mut recipe.template)
                    .environment_variables
                    .clear()
            }),
        ];
        let mut seen = vec![of(&recipe(), &inputs()).unwrap()];
        for (what, change) in changes {
            let (mut recipe, mut inputs) = (recipe(), inputs());
            change(&mut recipe, &mut inputs);
            let identity = of(&recipe, &inputs).unwrap();
            assert!(
                !seen.contains(&identity),
                "another {what} is the same identity"
            );
            seen.push(identity);
        }
    }

    #[test]
    fn what_does_not_matter_makes_none() {
        let expected = of(&recipe(), &inputs());
        let (mut recipe, mut inputs) = (recipe(), inputs());
        let template = Arc::make_mut(&mut recipe.template);
        template.step = "renamed".to_owned();
        template.environment = "gpu".to_owned();
        template.parameters.reverse();
        inputs.reverse();
        inputs[1].files.reverse();
        inputs[1].files[0].uri = "https://elsewhere".to_owned();
        assert_eq!(of(&recipe, &inputs), expected);
        assert!(expected.is_some());
        inputs[1].files[0].digest = None;
        assert_eq!(of(&recipe, &inputs), None, "a file without a digest");
    }
}
