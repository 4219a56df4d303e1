//! Actions of nodes: what else happens when one starts or ends.

use contract::ledger::PlanAction;
use spec::Value;
use spec::expression::Expression;

use crate::json;
use crate::records::{Execution, Recipe};

/// When an action may fire.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    Starting,
    Complete,
    Error,
}

/// What an action does to the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Stop,
    Error,
}

/// What the conditions of actions may speak of.
pub(crate) struct Universe<'a> {
    recipe: &'a Recipe,
    metadata: serde_json::Value,
}

impl<'a> Universe<'a> {
    /// Of a node that is about to start: it has no metadata yet.
    pub(crate) fn starting(recipe: &'a Recipe) -> Self {
        Self {
            recipe,
            metadata: serde_json::Value::Null,
        }
    }

    /// Of a node that ended.
    pub(crate) fn ended(execution: &'a Execution) -> Self {
        let metadata = serde_json::from_str(&execution.metadata_json).unwrap_or_default();
        Self {
            recipe: &execution.recipe,
            metadata,
        }
    }

    fn value(&self, name: &str) -> Option<Value> {
        if let Some(key) = name.strip_prefix("metadata.") {
            return self.metadata.get(key).map(json::of);
        }
        let parameter = name.strip_prefix("parameter.")?;
        Value::try_from(self.recipe.parameter(parameter)?).ok()
    }

    /// A condition that cannot be read or has no value does not hold.
    fn holds(&self, condition: &str) -> bool {
        let Ok(expression) = Expression::parse(condition) else {
            return false;
        };
        expression.holds(&|name| self.value(name)).unwrap_or(false)
    }
}

/// The first effect of the actions that fire, if any has one. A node without an execution has no universe: only actions
/// without conditions fire.
pub(crate) fn fired(
    actions: &[PlanAction],
    moment: Moment,
    universe: Option<&Universe<'_>>,
) -> Option<Effect> {
    let when = match moment {
        Moment::Starting => "node-starting",
        Moment::Complete => "node-complete",
        Moment::Error => "node-error",
    };
    let due = actions.iter().filter(|action| {
        action
            .when
            .iter()
            .any(|word| word.eq_ignore_ascii_case(when))
    });
    let mut firing = due.filter(|action| {
        action
            .conditions
            .iter()
            .all(|condition| universe.is_some_and(|universe| universe.holds(condition)))
    });
    firing.find_map(|action| {
        action.then.iter().find_map(|then| match then.as_str() {
            "stop-pipeline" => Some(Effect::Stop),
            "error-pipeline" => Some(Effect::Error),
            _ => None,
        })
    })
}
