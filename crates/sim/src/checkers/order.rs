//! I-09: a step starts only when every step before it has completed and what it takes from them can be read.

use contract::api::State;
use contract::ledger::OnError;
use ledger::{Ledger, Uuid};

use super::{Checker, Fact, Moment};
use crate::clients::PROJECT;

/// The newest ledger that was published.
#[derive(Debug, Default)]
pub(super) struct Order(Ledger);

impl Checker for Order {
    fn code(&self) -> &'static str {
        "I-09"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let (fence, assignment) = match fact {
            Fact::Published { ledger, .. } => {
                if ledger.revision() > self.0.revision() {
                    self.0 = (*ledger).clone();
                }
                return Ok(());
            }
            Fact::Started {
                fence, assignment, ..
            } => (fence, assignment),
            _ => return Ok(()),
        };
        let id = Uuid::from_bytes(fence.execution_id);
        let execution = self
            .0
            .execution_by_id(&id)
            .ok_or(format!("{fence} runs, and nobody was told of it"))?;
        for file in assignment.inputs.iter().flat_map(|input| &input.files) {
            let mut data = self.0.data(PROJECT);
            if !data.any(|datum| datum.digest[..] == file.digest[..]) {
                return Err(format!(
                    "{fence} takes {}, which nobody published",
                    file.uri
                ));
            }
        }
        let Some(pipeline) = self.0.pipeline(PROJECT, execution.pipeline) else {
            return Ok(());
        };
        let blueprint = &pipeline.blueprint;
        for edge in blueprint
            .edges
            .iter()
            .filter(|edge| *edge.target_node == *execution.node)
        {
            let Some(source) = blueprint.position(&edge.source_node) else {
                continue;
            };
            let fails_well = blueprint.nodes[source].on_error == OnError::Continue;
            match pipeline.nodes[source].state {
                State::Complete => {}
                State::Error if fails_well => {}
                state => {
                    return Err(format!(
                        "node {} runs, and {} is {state:?}",
                        execution.node, edge.source_node
                    ));
                }
            }
        }
        Ok(())
    }
}
