//! What a worker says, turned into commands: each thing it says that the ledger does not know yet is one. What the ledger
//! knows already, or no longer wants to know, is nothing; so a state may be repeated without harm.

use std::collections::BTreeSet;

use contract::api::{EndReason, ErrorReason, State};
use contract::ledger::{
    Command, FinishAttempt, LoseAttempt, PublishOutputs, RegisterWorker, ReleaseDevices,
    StartAttempt, command::Kind,
};
use contract::link::{AttemptPhase, AttemptReport, OutputFile, SynchronizeRequest};
use ledger::{Attempt, Execution, Fence, Ledger, Worker};

use crate::coordinator::Config;
use crate::session::Session;
use crate::{Refusal, disconnect};

/// Longest name of a worker, in bytes.
const MAX_WORKER_NAME: usize = 63;

/// Refuses a state that nothing should be believed of.
pub(crate) fn check(
    tip: &Ledger,
    state: &SynchronizeRequest,
    config: &Config,
) -> Result<(), Refusal> {
    let name = &state.worker;
    let good = !name.is_empty()
        && name.len() <= MAX_WORKER_NAME
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !good {
        let expected = format!(
            "a worker is named by 1 to {MAX_WORKER_NAME} of letters, digits, -, _ and .; got {name:?}"
        );
        return Err(Refusal::invalid_field("worker", expected));
    }
    let Some(offer) = &state.offer else {
        return Err(Refusal::invalid_field(
            "offer",
            "a worker must say what it offers",
        ));
    };
    disconnect::check(offer, config)?;
    let Some(known) = tip.worker(name) else {
        return Ok(());
    };
    let why = if known.incarnation > state.incarnation {
        "has started again since"
    } else if known.incarnation == state.incarnation && is_other(&known.instance_id, state) {
        "is another daemon, with the same name or a copy of this one's data directory"
    } else {
        return Ok(());
    };
    Err(Refusal::new(
        ErrorReason::StaleIncarnation,
        format!("worker {name} {why}; this daemon must stop"),
    )
    .with("worker", name)
    .with("current", known.incarnation.to_string()))
}

/// Whether another daemon speaks than the one that drew this. Of one that does not say, nothing is concluded.
pub(crate) fn is_other(instance_id: &[u8], state: &SynchronizeRequest) -> bool {
    !instance_id.is_empty() && !state.instance_id.is_empty() && *instance_id != *state.instance_id
}

/// Sends away one that would take the place of a daemon that lives: a directory that was copied must not take what the original runs (I-16).
pub(crate) fn duplicate(worker: &str) -> Refusal {
    let words = format!(
        "another daemon is in contact as worker {worker}: two have the same name, or copies of one data directory; stop one of them, or give it \
         a name and a data directory of its own"
    );
    Refusal::new(ErrorReason::DuplicateWorker, words).with("worker", worker)
}

/// Whether the worker counted these coordinators when it found the feeds of what it finished on the disks of a majority: what others have stored
/// says nothing of these (I-21). It is told who they are, and counts again.
fn counts(state: &SynchronizeRequest, voters: &[u64]) -> bool {
    let counted = &state.coordinator_ids;
    counted.is_empty()
        || (counted.len() == voters.len() && voters.iter().all(|id| counted.contains(id)))
}

/// The commands that bring the ledger up to what the worker says, on a session that has taken it in. The coordinators that vote are these.
pub(crate) fn commands(
    tip: &Ledger,
    session: &Session,
    state: &SynchronizeRequest,
    voters: &[u64],
) -> Vec<Command> {
    let is_counted = counts(state, voters);
    let mut commands = Vec::new();
    let known = tip.worker(&state.worker);
    if known.is_none_or(|known| {
        known.lost
            || known.incarnation != state.incarnation
            || Some(&*known.offer) != state.offer.as_ref()
    }) {
        commands.push(Kind::RegisterWorker(RegisterWorker {
            name: state.worker.clone(),
            incarnation: state.incarnation,
            offer: state.offer.clone(),
            instance_id: state.instance_id.clone(),
        }));
    }
    if known.is_some_and(|known| known.incarnation != state.incarnation) {
        commands.extend(forgotten(tip, state));
    }
    commands.extend(known.and_then(|known| released(known, session)));
    for report in &state.attempts {
        let Some(fence) = report
            .fence
            .as_ref()
            .and_then(|fence| Fence::try_from(fence).ok())
        else {
            continue;
        };
        let Some((execution, attempt)) = live(tip, fence, &state.worker) else {
            continue;
        };
        let is_early = report
            .result
            .as_ref()
            .is_some_and(|result| result.record_count > 0 && !is_counted);
        if !is_early {
            commands.extend(of_attempt(tip, execution, attempt, &state.worker, report));
        }
    }
    commands
        .into_iter()
        .map(|kind| Command { kind: Some(kind) })
        .collect()
}

/// Attempts that ran under an earlier incarnation and that the new one does not have: the machine went down and took them and
/// what it had on its disk. To send such an attempt again would start a second program under the same fence.
fn forgotten(tip: &Ledger, state: &SynchronizeRequest) -> Vec<Kind> {
    let reported: BTreeSet<Fence> = state
        .attempts
        .iter()
        .filter_map(|report| Fence::try_from(report.fence.as_ref()?).ok())
        .collect();
    tip.assigned(&state.worker)
        .filter(|fence| !reported.contains(fence))
        .filter(|fence| {
            let execution = tip.execution_by_id(&fence.execution_id);
            let attempt = execution.and_then(|execution| execution.live_attempt());
            attempt.is_some_and(|attempt| attempt.start_time_us != 0)
        })
        .map(|fence| {
            Kind::LoseAttempt(LoseAttempt {
                fence: Some(fence.into()),
                message: format!("worker {} started again without it", state.worker),
                reason: EndReason::Lost.into(),
            })
        })
        .collect()
}

/// Devices of attempts that are over and that the worker has no more: their programs are dead, or never were and never will be.
fn released(known: &Worker, session: &Session) -> Option<Kind> {
    let over: BTreeSet<Fence> = known
        .holds()
        .values()
        .filter(|fence| !known.attempts().contains(fence) && session.is_rid_of(fence))
        .copied()
        .collect();
    (!over.is_empty()).then(|| {
        Kind::ReleaseDevices(ReleaseDevices {
            worker: session.worker.clone(),
            incarnation: session.incarnation,
            fences: over.into_iter().map(Into::into).collect(),
        })
    })
}

/// What ends at a worker that is waited for: only what somebody wants to end.
pub(crate) fn waited_for(tip: &Ledger, worker: &Worker) -> Vec<Kind> {
    let stopping = tip.assigned(&worker.name).filter(|fence| {
        tip.execution_by_id(&fence.execution_id)
            .is_some_and(|execution| execution.state() == State::Stopping)
    });
    stopping
        .map(|fence| {
            Kind::LoseAttempt(LoseAttempt {
                fence: Some(fence.into()),
                message: format!("worker {} is out of contact", worker.name),
                reason: EndReason::Lost.into(),
            })
        })
        .collect()
}

/// The attempt that a fence names, if it is still this worker's to speak of.
fn live<'a>(tip: &'a Ledger, fence: Fence, worker: &str) -> Option<(&'a Execution, &'a Attempt)> {
    let execution = tip.execution_by_id(&fence.execution_id)?;
    let attempt = execution.live_attempt()?;
    (execution.fence(attempt) == fence && &*attempt.worker == worker)
        .then_some((execution, attempt))
}

fn of_attempt(
    tip: &Ledger,
    execution: &Execution,
    attempt: &Attempt,
    worker: &str,
    report: &AttemptReport,
) -> Vec<Kind> {
    let mut kinds = Vec::new();
    let fresh: Vec<_> = report
        .live_outputs
        .iter()
        .filter(|output| !is_published(tip, execution, output))
        .cloned()
        .collect();
    if !fresh.is_empty() {
        kinds.push(Kind::PublishOutputs(PublishOutputs {
            worker: worker.to_owned(),
            fence: report.fence.clone(),
            outputs: fresh,
        }));
    }
    match (report.phase(), &report.result) {
        (AttemptPhase::Finished, Some(result)) => kinds.push(Kind::FinishAttempt(FinishAttempt {
            worker: worker.to_owned(),
            fence: report.fence.clone(),
            prepare_time_us: report.prepare_time_us,
            start_time_us: report.start_time_us,
            inputs: report.inputs.clone(),
            result: Some(result.clone()),
            image_digest: report.image_digest.clone(),
        })),
        (AttemptPhase::Running | AttemptPhase::Finishing, _)
            if attempt.start_time_us == 0 && report.start_time_us != 0 =>
        {
            kinds.push(Kind::StartAttempt(StartAttempt {
                worker: worker.to_owned(),
                fence: report.fence.clone(),
                prepare_time_us: report.prepare_time_us,
                start_time_us: report.start_time_us,
                inputs: report.inputs.clone(),
                image_digest: report.image_digest.clone(),
            }));
        }
        _ => {}
    }
    kinds
}

/// Whether a live output has become a datum already.
fn is_published(tip: &Ledger, execution: &Execution, output: &OutputFile) -> bool {
    execution
        .outputs
        .iter()
        .filter_map(|id| tip.datum(id))
        .any(|datum| datum.file_name == output.file_name && datum.digest[..] == output.digest[..])
}
