//! The scheduler's own reasoning about one execution, in words.

use std::fmt;
use std::sync::Arc;

use ledger::Execution;

use crate::problem::{Machine, Problem};
use crate::solve::{input_bytes, solve};

/// Why an execution runs where it does, or waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Where it stands, in a sentence.
    pub standing: String,
    /// Every worker that was considered, by name; empty when the execution does not wait.
    pub workers: Vec<Verdict>,
}

/// What speaks for and against one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its name.
    pub worker: Arc<str>,
    /// What is asked of it, in the order in which it is looked at.
    pub requirements: Vec<Requirement>,
    /// Bytes of the inputs that it has.
    pub input_bytes: u64,
}

/// One thing asked of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Whether it is so.
    pub met: bool,
    /// What is so, in words.
    pub detail: String,
}

impl Verdict {
    /// Whether nothing speaks against the worker.
    pub fn fits(&self) -> bool {
        self.requirements.iter().all(|requirement| requirement.met)
    }
}

/// Explains one execution. None when it does not exist.
pub fn explain(problem: &Problem<'_>, project: &str, execution: i64) -> Option<Explanation> {
    let execution = problem.ledger.execution(project, execution)?;
    if !execution.is_waiting() {
        let state = execution
            .state()
            .as_str_name()
            .trim_start_matches("STATE_")
            .to_lowercase();
        let standing = match execution.live_attempt() {
            Some(attempt) => format!(
                "{state}: attempt {} is with worker {}",
                attempt.number, attempt.worker
            ),
            None => format!("{state}: it does not wait for a worker"),
        };
        return Some(Explanation {
            standing,
            workers: Vec::new(),
        });
    }
    let mut machines: Vec<&Machine<'_>> = problem.machines.iter().collect();
    machines.sort_by_key(|machine| machine.name());
    let workers: Vec<Verdict> = machines
        .iter()
        .map(|machine| verdict(problem, machine, execution))
        .collect();
    Some(Explanation {
        standing: standing(problem, execution, &workers),
        workers,
    })
}

/// Where an execution that waits stands.
fn standing(problem: &Problem<'_>, execution: &Execution, workers: &[Verdict]) -> String {
    let placed = solve(problem).into_iter().find(|placement| {
        placement.project == execution.project && placement.execution == execution.number
    });
    if let Some(placement) = placed {
        return format!("queued: it goes to worker {} next", placement.worker);
    }
    if workers.is_empty() {
        return "queued: there is no worker".to_owned();
    }
    let age = (execution.create_index, execution.number);
    let environment = execution.template().environment.as_str();
    let lane = problem
        .lanes
        .iter()
        .find(|lane| lane.environment() == environment && *lane.project() == execution.project);
    let ahead = lane.map_or(0, |lane| {
        lane.executions().take_while(|other| *other < age).count()
    });
    let live = problem
        .ledger
        .project(&execution.project)
        .map_or(0, |project| project.live_count());
    let why = match workers.iter().any(Verdict::fits) {
        true => "other executions are due first",
        false => "no worker can take it now",
    };
    format!(
        "queued: {why}; {ahead} of its project are before it, {live} of its project are with workers, attempts so far: {}",
        execution.attempts.len()
    )
}

fn verdict(problem: &Problem<'_>, machine: &Machine<'_>, execution: &Execution) -> Verdict {
    let environment = execution.template().environment.as_str();
    let requirement = |met, yes: &str, no: String| Requirement {
        met,
        detail: if met { yes.to_owned() } else { no },
    };
    let served: Vec<&str> = machine.environments().collect();
    let served = match served.is_empty() {
        true => "no environment".to_owned(),
        false => served.join(", "),
    };
    let slots = format!("{} of {} slots taken", machine.used, machine.slots);
    let contact = machine.connected && !machine.worker.lost;
    let silence = if machine.worker.lost {
        "declared lost"
    } else {
        "out of contact"
    };
    let requirements = vec![
        requirement(contact, "in contact", silence.to_owned()),
        requirement(
            !machine.draining && !machine.disk_full,
            "takes new attempts",
            if machine.draining {
                "drains"
            } else {
                "its disk is full"
            }
            .to_owned(),
        ),
        requirement(
            machine.serves(environment),
            "serves the environment",
            format!("serves {served}, not {environment}"),
        ),
        Requirement {
            met: machine.slots > 0 && machine.has_room(),
            detail: slots,
        },
    ];
    let bytes = input_bytes(problem.ledger, Some(execution));
    Verdict {
        worker: machine.name().clone(),
        requirements,
        input_bytes: bytes.get(&**machine.name()).copied().unwrap_or_default(),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.standing)?;
        for verdict in &self.workers {
            write!(f, "\n  {}: ", verdict.worker)?;
            let mut separator = "";
            for requirement in &verdict.requirements {
                let mark = if requirement.met { "+" } else { "-" };
                write!(f, "{separator}{mark} {}", requirement.detail)?;
                separator = ", ";
            }
            if verdict.input_bytes > 0 {
                write!(f, "; has {} bytes of its inputs", verdict.input_bytes)?;
            }
        }
        Ok(())
    }
}
