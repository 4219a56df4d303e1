//! The scheduler's own reasoning about one execution, in words.

use std::fmt;
use std::sync::Arc;

use ledger::{Device, Execution, Ledger, Needs};

use crate::facts::Facts;
use crate::machine::{Machine, NEVER};
use crate::queue::Queue;
use crate::scheduler::{Scheduler, input_bytes};

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
pub fn explain(
    ledger: &Ledger,
    facts: &Facts,
    project: &str,
    execution: i64,
) -> Option<Explanation> {
    let execution = ledger.execution(project, execution)?;
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
    let mut scheduler = Scheduler::new(facts.clone());
    scheduler.follow(ledger);
    let machines = scheduler.fleet.machines().to_vec();
    let plan = scheduler.plan(ledger);
    let kept: Vec<Kept<'_>> = scheduler
        .held
        .values()
        .map(|held| {
            let lane = scheduler.queue.lane(held.lane);
            Kept {
                worker: &scheduler.fleet.machine(held.at).name,
                start_ms: held.start_ms,
                project: &lane.project,
                number: held.number,
                needs: &lane.needs,
            }
        })
        .collect();
    let workers: Vec<Verdict> = machines
        .iter()
        .map(|machine| verdict(ledger, machine, execution, &kept))
        .collect();
    let placed = plan.placements.iter().find(|placement| {
        placement.project == execution.project && placement.execution == execution.number
    });
    let promised = kept.iter().find(|kept| kept.is_for(execution));
    let standing = match (placed, promised) {
        (Some(placement), _) => format!("it goes to worker {} next", placement.worker),
        _ if workers.is_empty() => "there is no worker".to_owned(),
        (None, Some(kept)) => {
            let machine = machines.iter().find(|machine| machine.name == *kept.worker);
            promised_start(ledger, kept, machine)
        }
        (None, None) => {
            let could = |machine: &Machine| machine.could_fit(&execution.recipe.needs);
            let why = match workers.iter().any(Verdict::fits) {
                true => "other executions are due first",
                false if machines.iter().any(could) => "no worker can take it now",
                false => "no worker there is could ever take it",
            };
            format!(
                "{why}; {}",
                place_in_line(ledger, &scheduler.queue, execution)
            )
        }
    };
    Some(Explanation {
        standing: format!("queued: {standing}"),
        workers,
    })
}

/// A worker that is kept for who was promised its start.
struct Kept<'a> {
    worker: &'a Arc<str>,
    /// Unix time in milliseconds; [`NEVER`] when it is not known.
    start_ms: i64,
    project: &'a Arc<str>,
    number: i64,
    needs: &'a Needs,
}

impl Kept<'_> {
    fn is_for(&self, execution: &Execution) -> bool {
        self.number == execution.number && *self.project == execution.project
    }
}

/// Where one stands that was promised its start.
fn promised_start(ledger: &Ledger, kept: &Kept<'_>, machine: Option<&Machine>) -> String {
    let devices = match kept.needs.device_count() {
        0 => String::new(),
        count => format!(
            "; {} of {count} devices are free there",
            machine.map_or(0, |machine| machine.useful_devices(kept.needs))
        ),
    };
    let start = match kept.start_ms {
        NEVER => "; what is in its way has no time limit".to_owned(),
        start_ms => format!(
            "; what is in its way has reached its time limit in {}",
            duration(start_ms - ledger.time_ms())
        ),
    };
    format!(
        "it is next on worker {}, which is kept for it{devices}{start}",
        kept.worker
    )
}

/// Where one stands among those that wait.
fn place_in_line(ledger: &Ledger, queue: &Queue, execution: &Execution) -> String {
    let (project, priority) = (&execution.project, execution.priority);
    let age = (execution.create_index, execution.number);
    let ahead: usize = ledger
        .lanes()
        .filter(|lane| {
            let same = *lane.needs() == execution.recipe.needs;
            same && lane.project() == project && lane.priority() >= priority
        })
        .map(|lane| match lane.priority() == priority {
            true => lane.executions().take_while(|other| *other < age).count(),
            false => lane.len(),
        })
        .sum();
    let owner = ledger.project(project);
    let live = owner.map_or(0, |project| project.live_count());
    let weight = owner.map_or(0, |project| project.live_weight());
    let level = queue.level(&execution.recipe.needs, project, priority);
    let waited = match level - i64::from(priority) {
        0 => String::new(),
        hours => format!(" and {hours} for being passed over"),
    };
    let (projects, before) = queue.standing(level, weight);
    let projects = match projects {
        0 | 1 => String::new(),
        _ => format!(", {before} of {projects} projects that wait are due before it"),
    };
    format!(
        "priority {priority}{waited}; {ahead} of its project are before it, {live} of its project are with workers (weight {}){projects}, attempts so far: {}",
        thousandths(weight),
        execution.attempts.len()
    )
}

/// A time for people, in at most two units.
fn duration(ms: i64) -> String {
    let minutes = ms.max(0) / 60_000;
    match (minutes / 1_440, minutes / 60, minutes) {
        (0, 0, 0) => format!("{} s", ms.max(0) / 1_000),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, _) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

fn verdict(
    ledger: &Ledger,
    machine: &Machine,
    execution: &Execution,
    kept: &[Kept<'_>],
) -> Verdict {
    let environment = execution.template().environment.as_str();
    let requirement = |met, yes: &str, no: String| Requirement {
        met,
        detail: if met { yes.to_owned() } else { no },
    };
    let (offer, needs) = (&machine.offer, &execution.recipe.needs);
    let served = match offer.environments.is_empty() {
        true => "no environment".to_owned(),
        false => offer.environments.join(", "),
    };
    let slots = format!("{} of {} slots taken", machine.used, offer.slot_count);
    let silence = if machine.lost {
        "declared lost"
    } else {
        "out of contact"
    };
    let mut requirements = vec![
        requirement(machine.connected, "in contact", silence.to_owned()),
        requirement(
            !machine.draining && !offer.disk_full,
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
            met: offer.slot_count > 0 && machine.has_room(),
            detail: slots,
        },
    ];
    let refused = needs.refused_by(offer);
    requirements.extend(refused.map(|rule| Requirement {
        met: false,
        detail: format!("does not grant {rule}"),
    }));
    requirements.extend(resources(machine, needs));
    let kept = kept.iter().find(|kept| *kept.worker == machine.name);
    if let Some(kept) = kept.filter(|kept| !kept.is_for(execution)) {
        requirements.push(Requirement {
            met: machine.fits(needs) && machine.fits_both(kept.needs, needs),
            detail: format!(
                "kept for {}#{}, which is next there",
                kept.project, kept.number
            ),
        });
    }
    let bytes = input_bytes(ledger, Some(execution));
    Verdict {
        worker: machine.name.clone(),
        requirements,
        input_bytes: bytes.get(&*machine.name).copied().unwrap_or_default(),
    }
}

/// What is asked for beside a slot.
fn resources(machine: &Machine, needs: &Needs) -> Vec<Requirement> {
    let mut all = Vec::new();
    let offer = &machine.offer;
    if needs.cpu_millis > 0 {
        all.push(Requirement {
            met: machine.has_processors(needs),
            detail: format!(
                "{} of {} processors taken, {} needed",
                thousandths(machine.taken.cpu_millis),
                thousandths(offer.cpu_millis),
                thousandths(needs.cpu_millis)
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
        let free = machine.free_devices().filter(answers).count();
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
fn thousandths(millis: u64) -> String {
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
