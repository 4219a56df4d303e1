//! The scheduler's own reasoning about one execution, in words.

use std::fmt;
use std::sync::Arc;

use ledger::{Device, Execution, Needs};

use crate::machines::Machines;
use crate::problem::{Machine, Problem, is_plain};
use crate::solve::{Next, input_bytes, next_in_line, shares, solve};

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
    let kept = kept(problem);
    let workers: Vec<Verdict> = machines
        .iter()
        .map(|machine| verdict(problem, machine, execution, kept.as_ref()))
        .collect();
    Some(Explanation {
        standing: standing(problem, execution, &workers, kept.as_ref()),
        workers,
    })
}

/// Where an execution that waits stands.
fn standing(
    problem: &Problem<'_>,
    execution: &Execution,
    workers: &[Verdict],
    kept: Option<&Kept<'_>>,
) -> String {
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
    let needs = &execution.recipe.needs;
    let lane = problem
        .lanes
        .iter()
        .find(|lane| lane.needs() == needs && *lane.project() == execution.project);
    let ahead = lane.map_or(0, |lane| {
        lane.executions().take_while(|other| *other < age).count()
    });
    let live = problem
        .ledger
        .project(&execution.project)
        .map_or(0, |project| project.live_count());
    if let Some(kept) = kept.filter(|kept| kept.is_for(execution)) {
        let devices = match needs.device_count() {
            0 => String::new(),
            count => format!(
                "; {} of {count} devices are free there",
                kept.useful_devices
            ),
        };
        return format!(
            "queued: it is next on worker {}, which is kept for it{devices}",
            kept.worker
        );
    }
    let why = match workers.iter().any(Verdict::fits) {
        true => "other executions are due first",
        false
            if problem
                .machines
                .iter()
                .any(|machine| machine.could_fit(needs)) =>
        {
            "no worker can take it now"
        }
        false => "no worker there is could ever take it",
    };
    format!(
        "queued: {why}; {ahead} of its project are before it, {live} of its project are with workers, attempts so far: {}",
        execution.attempts.len()
    )
}

/// A machine that is kept for who needs it next.
struct Kept<'a> {
    worker: &'a Arc<str>,
    useful_devices: usize,
    next: Next<'a>,
}

impl Kept<'_> {
    fn is_for(&self, execution: &Execution) -> bool {
        self.next.age == (execution.create_index, execution.number)
            && *self.next.project == execution.project
    }
}

fn kept<'a>(problem: &Problem<'a>) -> Option<Kept<'a>> {
    let waiting = problem.lanes.iter().map(|lane| &**lane.needs());
    let mut machines = Machines::new(&problem.machines, waiting);
    let next = next_in_line(&mut shares(problem), &machines)?;
    let machine = machines.keep(Some(next.needs))?;
    Some(Kept {
        worker: machine.name(),
        useful_devices: machine.useful_devices(next.needs),
        next,
    })
}

fn verdict(
    problem: &Problem<'_>,
    machine: &Machine<'_>,
    execution: &Execution,
    kept: Option<&Kept<'_>>,
) -> Verdict {
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
    let needs = &execution.recipe.needs;
    let mut requirements = vec![
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
    requirements.extend(resources(machine, needs));
    if let Some(kept) = kept.filter(|kept| kept.worker == machine.name() && !kept.is_for(execution))
    {
        let (project, (_, number)) = (kept.next.project, kept.next.age);
        requirements.push(Requirement {
            met: is_plain(needs) && machine.used + 1 < machine.slots,
            detail: format!("kept for {project}#{number}, which is next there"),
        });
    }
    let bytes = input_bytes(problem.ledger, Some(execution));
    Verdict {
        worker: machine.name().clone(),
        requirements,
        input_bytes: bytes.get(&**machine.name()).copied().unwrap_or_default(),
    }
}

/// What is asked for beside a slot.
fn resources(machine: &Machine<'_>, needs: &Needs) -> Vec<Requirement> {
    let mut all = Vec::new();
    let offer = &machine.worker.offer;
    if needs.cpu_millis > 0 {
        all.push(Requirement {
            met: machine.has_processors(needs),
            detail: format!(
                "{} of {} processors taken, {} needed",
                processors(machine.taken.cpu_millis),
                processors(offer.cpu_millis),
                processors(needs.cpu_millis)
            ),
        });
    }
    if needs.memory_bytes > 0 {
        all.push(Requirement {
            met: machine.has_memory(needs),
            detail: format!(
                "{} of {} MB taken, {} needed",
                machine.taken.memory_bytes / 1_000_000,
                offer.memory_bytes / 1_000_000,
                needs.memory_bytes / 1_000_000
            ),
        });
    }
    for need in &needs.devices {
        let answers = |device: &&Device| need.is_answered_by(device);
        let here = offer.devices.iter().filter(answers).count();
        let free = machine.free.iter().copied().filter(answers).count();
        let memory = match need.memory_bytes {
            0 => String::new(),
            bytes => format!(" of {} MiB or more", bytes >> 20),
        };
        all.push(Requirement {
            met: free >= need.count as usize,
            detail: format!(
                "{free} of {here} {}{memory} free, {} needed",
                need.kind, need.count
            ),
        });
    }
    all
}

/// Thousandths as a number for people.
fn processors(millis: u64) -> String {
    match millis % 1_000 {
        0 => (millis / 1_000).to_string(),
        _ => format!("{:.1}", millis as f64 / 1_000.0),
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
