//! From how a program ended to what is said of its attempt: one table.

use contract::api::{EndReason, State};
use contract::link::{Assignment, AttemptResult};

use crate::input::{CollectError, Exit, ExitReason, PrepareError};

/// A result without what only the end of the feed and of the collecting can tell.
pub(crate) fn of_exit(
    exit: &Exit,
    stop: Option<EndReason>,
    assignment: &Assignment,
) -> AttemptResult {
    let mut result = match &exit.reason {
        ExitReason::Exited => match exit.code {
            Some(0) => ending(State::Complete, EndReason::Unspecified, ""),
            Some(code) => {
                let message = format!("the program exited with code {code}{}", code_words(code));
                ending(State::Error, EndReason::ExitCode, message)
            }
            None => ending(
                State::Error,
                EndReason::Internal,
                "the program's exit has no code",
            ),
        },
        ExitReason::Signaled => {
            let message = format!("the program was ended by {}", signal_words(exit.signal));
            ending(State::Error, EndReason::Signal, message)
        }
        ExitReason::TimeLimit => {
            let message = format!(
                "the time limit of {} passed",
                seconds(assignment.time_limit_ms)
            );
            ending(State::Stopped, EndReason::TimeLimit, message)
        }
        ExitReason::NoOutput => {
            let limit = seconds(assignment.no_output_timeout_ms);
            ending(
                State::Stopped,
                EndReason::NoOutput,
                format!("nothing was printed for {limit}"),
            )
        }
        ExitReason::Stopped => of_stop(stop, assignment),
        // Who wanted it stopped does not want it run again.
        ExitReason::Gone | ExitReason::EngineStopped
            if stop.is_some_and(|stop| {
                !matches!(
                    stop,
                    EndReason::StopCondition | EndReason::Lost | EndReason::DeviceLost
                )
            }) =>
        {
            of_stop(stop, assignment)
        }
        ExitReason::StartFailed(message) => ending(State::Error, EndReason::StartFailed, message),
        ExitReason::DiskFull => ending(
            State::Error,
            EndReason::DiskFull,
            "the worker's disk is full: the log could not be written",
        ),
        ExitReason::OutOfMemory => ending(
            State::Error,
            EndReason::OutOfMemory,
            "the program was killed for its use of memory",
        ),
        ExitReason::EngineStopped => {
            let message = "the container engine went down and took the program along";
            retryable(ending(State::Error, EndReason::RuntimeRestarted, message))
        }
        ExitReason::Gone => {
            let message = "the program's supervisor was lost, and with it how the program ended";
            retryable(ending(State::Error, EndReason::Lost, message))
        }
    };
    result.exit_code = exit.code;
    result.signal = exit.signal;
    result.exit_time_us = signed(exit.time_us);
    result
}

/// It was stopped because it had written too much.
pub(crate) fn of_quota(exit: &Exit, used: u64, limit: u64) -> AttemptResult {
    let message = format!(
        "the program wrote {} MiB, and this worker grants {}; none of its outputs are kept",
        used >> 20,
        limit >> 20
    );
    AttemptResult {
        exit_code: exit.code,
        signal: exit.signal,
        exit_time_us: signed(exit.time_us),
        ..ending(State::Error, EndReason::DiskQuota, message)
    }
}

/// It was asked to stop while it ran.
fn of_stop(stop: Option<EndReason>, assignment: &Assignment) -> AttemptResult {
    let reason = stop_reason(stop);
    if let Some(message) = fault_of_machine(reason, "and stopped the program") {
        return retryable(ending(State::Error, reason, message));
    }
    let message = match reason {
        EndReason::StopCondition => {
            format!(
                "the stop condition came true: {}",
                assignment.stop_condition
            )
        }
        _ => "the program was stopped".to_owned(),
    };
    ending(State::Stopped, reason, message)
}

/// The worker itself wanted it to stop, for no fault of the program.
fn fault_of_machine(reason: EndReason, done: &str) -> Option<String> {
    match reason {
        EndReason::Lost => Some(format!("the worker was out of contact for too long {done}")),
        EndReason::DeviceLost => {
            Some("a device that the attempt had is not there any more".to_owned())
        }
        _ => None,
    }
}

/// It was asked to stop before its program started.
pub(crate) fn of_stop_before_start(stop: EndReason) -> AttemptResult {
    if let Some(message) = fault_of_machine(stop, "to start the program") {
        return retryable(ending(State::Error, stop, message));
    }
    ending(
        State::Stopped,
        stop_reason(Some(stop)),
        "it was stopped before its program started",
    )
}

/// It could not be prepared.
pub(crate) fn of_prepare_error(error: &PrepareError) -> AttemptResult {
    match error {
        PrepareError::Fetch {
            message,
            retryable: again,
        } => AttemptResult {
            retryable: *again,
            ..ending(State::Error, EndReason::InputFailed, message)
        },
        PrepareError::DiskFull(message) => ending(State::Error, EndReason::DiskFull, message),
        PrepareError::Image {
            message,
            retryable: again,
        } => AttemptResult {
            retryable: *again,
            ..ending(State::Error, EndReason::ImageFailed, message)
        },
        PrepareError::Refused(message) => ending(State::Error, EndReason::PolicyRefused, message),
    }
}

/// Its shim could not be started: the machine's fault, not the step's.
pub(crate) fn of_launch_error(message: &str) -> AttemptResult {
    retryable(ending(State::Error, EndReason::StartFailed, message))
}

/// What becomes of `result` when the outputs could not be stored: none of them is published. A program that failed or was
/// stopped anyway keeps its own reason.
pub(crate) fn without_outputs(result: AttemptResult, error: &CollectError) -> AttemptResult {
    let (reason, message, again) = match error {
        CollectError::Invalid(message) => (EndReason::OutputInvalid, message, false),
        CollectError::DiskFull(message) => (EndReason::DiskFull, message, false),
        CollectError::Failed(message) => (EndReason::Internal, message, true),
    };
    if result.state() == State::Complete {
        AttemptResult {
            state: State::Error.into(),
            reason: reason.into(),
            message: message.clone(),
            retryable: again,
            ..result
        }
    } else {
        let message = format!("{}; its outputs were not stored: {message}", result.message);
        AttemptResult { message, ..result }
    }
}

/// Adds that the log has fewer records than were written: its file was damaged.
pub(crate) fn with_lost_records(result: AttemptResult, lost: u64) -> AttemptResult {
    let note = format!("{lost} records at the end of its log were lost on the worker's disk");
    let message = match result.message.as_str() {
        "" => note,
        before => format!("{before}; {note}"),
    };
    AttemptResult { message, ..result }
}

/// Whether the program of such an end may have left outputs to store: it ran, and nobody runs it again.
pub(crate) fn leaves_outputs(exit: &Exit) -> bool {
    !matches!(
        exit.reason,
        ExitReason::StartFailed(_) | ExitReason::Gone | ExitReason::EngineStopped
    )
}

/// Unix microseconds as the contract has them.
pub(crate) fn signed(time_us: u64) -> i64 {
    i64::try_from(time_us).unwrap_or(i64::MAX)
}

fn ending(state: State, reason: EndReason, message: impl Into<String>) -> AttemptResult {
    AttemptResult {
        state: state.into(),
        reason: reason.into(),
        message: message.into(),
        ..AttemptResult::default()
    }
}

fn retryable(result: AttemptResult) -> AttemptResult {
    AttemptResult {
        retryable: true,
        ..result
    }
}

/// A stop that nobody gave a reason for is a cancel.
fn stop_reason(stop: Option<EndReason>) -> EndReason {
    match stop {
        None | Some(EndReason::Unspecified) => EndReason::Cancelled,
        Some(reason) => reason,
    }
}

fn seconds(ms: u64) -> String {
    format!("{} s", ms as f64 / 1000.0)
}

/// What shells mean by some codes, for who does not know.
fn code_words(code: i32) -> String {
    match code {
        126 => ": a command could not be run".to_owned(),
        127 => ": a command was not found".to_owned(),
        129..=192 => format!(
            ": a command was ended by {}",
            signal_words(code.saturating_sub(128))
        ),
        _ => String::new(),
    }
}

/// Linux numbers, as every architecture that Shoal is built for has them.
fn signal_words(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name})")
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
