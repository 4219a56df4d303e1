//! How a try ends, and what that means for its execution.

use std::sync::Arc;

use contract::api::{EndReason, State};
use contract::{ledger as pb, link};
use uuid::Uuid;

use crate::ids::{self, Fence};
use crate::ledger::Ledger;
use crate::outcome::{Refused, malformed};
use crate::records::{self, Datum, Execution};
use crate::{MAX_ATTEMPTS, identity};

/// A live attempt that somebody speaks of.
pub(crate) struct Live {
    pub project: Arc<str>,
    pub number: i64,
    pub fence: Fence,
}

/// Finds the live attempt that a fence names. A fence that was replaced, has ended or never was is refused (I-07).
pub(crate) fn live(ledger: &Ledger, fence: Option<&link::Fence>) -> Result<Live, Refused> {
    let fence = fence.ok_or_else(|| malformed("fence is missing"))?;
    let fence =
        Fence::try_from(fence).map_err(|_| malformed("fence.execution_id is not 16 bytes"))?;
    let execution = ledger.execution_by_id(&fence.execution_id);
    let current = execution.and_then(Execution::live_fence);
    match execution {
        Some(execution) if current == Some(fence) => Ok(Live {
            project: execution.project.clone(),
            number: execution.number,
            fence,
        }),
        _ => Err(Refused::StaleFence { current }),
    }
}

/// The same for what a worker says; another worker's attempt is not for it to speak of.
pub(crate) fn of_worker(
    ledger: &Ledger,
    fence: Option<&link::Fence>,
    worker: &str,
) -> Result<Live, Refused> {
    let live = live(ledger, fence)?;
    let execution = ledger.execution(&live.project, live.number);
    match execution.and_then(Execution::live_attempt) {
        Some(attempt) if *attempt.worker != *worker => Err(Refused::NotYours {
            worker: attempt.worker.clone(),
        }),
        _ => Ok(live),
    }
}

/// Takes in the inputs as the worker resolved them.
pub(crate) fn resolve(execution: &mut Execution, found: &[link::ResolvedInput]) {
    if found.is_empty() {
        return;
    }
    let inputs = execution.inputs.iter().map(|input| {
        match found.iter().find(|found| found.name == input.name) {
            Some(found) => input.resolved(found),
            None => input.clone(),
        }
    });
    execution.inputs = inputs.collect();
}

/// Refuses outputs that nobody could store under their name or verify.
pub(crate) fn check_outputs(outputs: &[link::OutputFile]) -> Result<(), String> {
    for output in outputs {
        if let Err(error) = blob::OutputName::new(output.file_name.as_str()) {
            return Err(format!("output {:?}: {error}", output.file_name));
        }
        if records::digest(&output.digest).is_none() {
            return Err(format!("output {}: a digest is 32 bytes", output.file_name));
        }
    }
    Ok(())
}

/// Makes data of outputs that passed the check; what the execution has published already is not published twice.
/// Answers all outputs of the execution.
pub(crate) fn publish(
    ledger: &mut Ledger,
    live: &Live,
    outputs: &[link::OutputFile],
) -> Arc<[Uuid]> {
    let Some(execution) = ledger.execution(&live.project, live.number) else {
        return Arc::default();
    };
    let known = execution.outputs.clone();
    let worker = execution
        .live_attempt()
        .map(|attempt| attempt.worker.clone())
        .unwrap_or_default();
    let mut all = known.to_vec();
    for output in outputs {
        let Some(digest) = records::digest(&output.digest) else {
            continue;
        };
        let mut published = known.iter().filter_map(|id| ledger.datum(id));
        if published.any(|datum| datum.file_name == output.file_name && datum.digest == digest) {
            continue;
        }
        let datum_id = ledger.derive(ids::Kind::Datum);
        ledger.insert_datum(Datum {
            datum_id,
            project: live.project.clone(),
            file_name: output.file_name.clone(),
            size_bytes: output.size_bytes,
            digest,
            properties_json: output.properties_json.clone(),
            execution: live.number,
            create_time_ms: ledger.time_ms,
            worker: worker.clone(),
        });
        all.push(datum_id);
    }
    match all.len() == known.len() {
        true => known,
        false => all.into(),
    }
}

/// Ends the live attempt with the worker's result. It decides, whatever was asked meanwhile; only a fault of the machine
/// sends the execution back into the queue, and a program's own failure never does.
pub(crate) fn finish(
    ledger: &mut Ledger,
    live: &Live,
    command: &pb::FinishAttempt,
    result: &link::AttemptResult,
) {
    let end = result_end(result);
    let again = result.retryable && end.state == State::Error;
    let outputs = match again || end.outputs_refused {
        true => None,
        false => Some(publish(ledger, live, &result.outputs)),
    };
    let now = ledger.time_ms;
    ledger.update_execution(&live.project, live.number, |execution| {
        resolve(execution, &command.inputs);
        let Some(attempt) = execution.attempts.last_mut() else {
            return;
        };
        attempt.state = end.state;
        attempt.end_reason = end.reason;
        attempt.message = end.message.clone();
        attempt.prepare_time_us = command.prepare_time_us;
        attempt.start_time_us = command.start_time_us;
        attempt.image_digest = command.image_digest.as_str().into();
        attempt.exit_time_us = result.exit_time_us;
        attempt.end_time_ms = now;
        attempt.exit_code = result.exit_code;
        attempt.signal = result.signal;
        attempt.record_count = result.record_count;
        attempt.feed_digest = records::digest(&result.feed_digest);
        if again {
            return try_again(execution, end.reason, &end.message, now);
        }
        // Short steps are reported once, when they are over.
        let ran = command.start_time_us != 0 || end.state == State::Complete;
        if ran && execution.state() == State::Queued {
            execution.enter(State::Started);
        }
        execution.outputs = outputs.unwrap_or_default();
        execution.metadata_json = Arc::from(result.metadata_json.as_str());
        execution.identity = identity::of(&execution.recipe, &execution.inputs);
        execution.exit_code = result.exit_code;
        let reason = match (end.state, end.reason) {
            (State::Stopped, EndReason::Unspecified) => stop_reason(execution),
            (_, reason) => reason,
        };
        conclude(execution, end.state, reason, &end.message, now);
    });
}

struct End {
    state: State,
    reason: EndReason,
    message: String,
    outputs_refused: bool,
}

/// What a result says; one with outputs that nobody could store is an error.
fn result_end(result: &link::AttemptResult) -> End {
    if let Err(message) = check_outputs(&result.outputs) {
        return End {
            state: State::Error,
            reason: EndReason::OutputInvalid,
            message,
            outputs_refused: true,
        };
    }
    End {
        state: result.state(),
        reason: match result.state() {
            State::Complete => EndReason::Unspecified,
            _ => result.reason(),
        },
        message: result.message.clone(),
        outputs_refused: false,
    }
}

/// Ends the live attempt without a result. The execution waits for another one, if there may be one.
pub(crate) fn lose(
    ledger: &mut Ledger,
    project: &str,
    number: i64,
    reason: EndReason,
    message: &str,
) {
    let now = ledger.time_ms;
    ledger.update_execution(project, number, |execution| {
        let Some(attempt) = execution
            .attempts
            .last_mut()
            .filter(|attempt| attempt.is_live())
        else {
            return;
        };
        attempt.state = State::Error;
        attempt.end_reason = reason;
        attempt.message = message.to_owned();
        attempt.end_time_ms = now;
        try_again(execution, reason, message, now);
    });
}

/// After an attempt that ended through no fault of the program.
fn try_again(execution: &mut Execution, reason: EndReason, message: &str, now: i64) {
    // What a lost attempt published while it ran belongs to no accepted result.
    execution.outputs = Arc::default();
    if execution.state() == State::Stopping {
        let reason = stop_reason(execution);
        return conclude(execution, State::Stopped, reason, message, now);
    }
    let tried = execution.attempts.len() as u32;
    let why = match message {
        "" => reason.as_str_name().trim_start_matches("END_REASON_"),
        message => message,
    };
    if tried < MAX_ATTEMPTS {
        if execution.state() == State::Started {
            execution.enter(State::Queued);
        }
        execution.message = format!("attempt {tried} ended without a result: {why}");
        return;
    }
    let reason = match reason {
        EndReason::Unspecified => EndReason::Lost,
        reason => reason,
    };
    let message = format!("no result after {tried} attempts: {why}");
    conclude(execution, State::Error, reason, &message, now);
}

/// Asks an execution to stop. One that no worker has ends at once; one that has ended, or was asked before, stays as it is.
pub(crate) fn stop(
    ledger: &mut Ledger,
    project: &str,
    number: i64,
    reason: EndReason,
    message: &str,
) {
    let Some(execution) = ledger.execution(project, number) else {
        return;
    };
    if execution.is_final() || execution.state() == State::Stopping {
        return;
    }
    let now = ledger.time_ms;
    ledger.update_execution(project, number, |execution| {
        if execution.is_waiting() {
            return conclude(execution, State::Stopped, reason, message, now);
        }
        execution.enter(State::Stopping);
        execution.stop_reason = reason;
        execution.message = message.to_owned();
    });
}

/// Brings an execution to its end.
fn conclude(execution: &mut Execution, state: State, reason: EndReason, message: &str, now: i64) {
    execution.enter(state);
    execution.end_reason = reason;
    execution.stop_reason = EndReason::Unspecified;
    execution.message = message.to_owned();
    execution.end_time_ms = now;
}

/// Why an execution that was stopped was.
fn stop_reason(execution: &Execution) -> EndReason {
    match execution.stop_reason {
        EndReason::Unspecified => EndReason::Cancelled,
        reason => reason,
    }
}
