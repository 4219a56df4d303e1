//! What workers grant the containers of their steps. What none of them would is refused when it is asked for, instead of when it would run; the
//! worker checks again, with what only it can see (where a link on its machine leads).

use contract::api::ErrorReason;
use contract::ledger::{Command, StepTemplate, command::Kind};
use ledger::{Ledger, Needs, Worker};

use crate::Refusal;

/// Refuses a command that makes executions which every worker that may run them refuses. While there is none, everything waits.
pub(crate) fn check(tip: &Ledger, command: &Command) -> Result<(), Refusal> {
    match &command.kind {
        Some(Kind::CreateExecution(create)) => {
            let template = create.template.as_ref();
            template.map_or(Ok(()), |template| check_template(tip, template))
        }
        Some(Kind::CreatePipeline(create)) => {
            let nodes = create.plan.iter().flat_map(|plan| &plan.nodes);
            let mut templates = nodes.filter_map(|node| node.template.as_ref());
            templates.try_for_each(|template| check_template(tip, template))
        }
        _ => Ok(()),
    }
}

fn check_template(tip: &Ledger, template: &StepTemplate) -> Result<(), Refusal> {
    let serves = |worker: &&Worker| {
        let served = &worker.offer.environments;
        !worker.lost && (template.environment.is_empty() || served.contains(&template.environment))
    };
    let needs = Needs::of(template);
    let mut rules = Vec::new();
    for worker in tip.workers().filter(serves) {
        match needs.refused_by(&worker.offer) {
            None => return Ok(()),
            Some(rule) => rules.push(format!("{}: {rule}", worker.name)),
        }
    }
    match rules.len() {
        0 => Ok(()),
        count => {
            let more = count.saturating_sub(3);
            rules.truncate(3);
            if more > 0 {
                rules.push(format!("and {more} more"));
            }
            let rules = rules.join("; ");
            let message = format!(
                "the step `{}` asks for what no worker grants: {rules}",
                template.step
            );
            Err(Refusal::new(ErrorReason::NotExecutable, message)
                .with("step", template.step.as_str())
                .with("rules", rules))
        }
    }
}
