//! What many executions have in common: the step, its values, its commands, its source tree.

use std::sync::Arc;

use contract::{api, ledger as pb};
use prost::Message as _;

use crate::needs::Needs;

/// A step with every value fixed and its commands built. Equal ones are held once.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The step, parameters and environment variables with the values they have.
    pub template: Arc<pb::StepTemplate>,
    /// Shell lines with the values in.
    pub commands: Vec<String>,
    /// The source tree.
    pub source: Option<api::Source>,
    /// What the template asks of a machine.
    pub needs: Arc<Needs>,
}

impl Recipe {
    /// A template with its commands built, and the tree that it is run in.
    pub fn new(
        template: Arc<pb::StepTemplate>,
        commands: Vec<String>,
        source: Option<api::Source>,
    ) -> Self {
        let needs = Arc::new(Needs::of(&template));
        Self {
            template,
            commands,
            source,
            needs,
        }
    }

    /// The value of a parameter; none when it has no value or does not exist.
    pub fn parameter(&self, name: &str) -> Option<&api::Value> {
        let mut parameters = self.template.parameters.iter();
        let parameter = parameters.find(|parameter| parameter.name == name)?;
        parameter
            .value
            .as_ref()
            .filter(|value| value.kind.is_some())
    }

    /// Digest by which equal recipes are found.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut bytes = self.template.encode_length_delimited_to_vec();
        if let Some(source) = &self.source {
            bytes.extend(source.encode_length_delimited_to_vec());
        }
        for command in &self.commands {
            bytes.extend((command.len() as u64).to_le_bytes());
            bytes.extend(command.as_bytes());
        }
        *blake3::hash(&bytes).as_bytes()
    }
}
