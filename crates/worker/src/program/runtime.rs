//! `execution.json` and `runtime.json`: what runs, and where.

use contract::link::Assignment;
use spec::Value;

use crate::fence::Fence;
use crate::program::Machine;
use crate::program::values::{map, text_or_null};

/// What is known of the execution when its program starts. There are no users here, so the creator's keys are null.
pub(super) fn execution(fence: Fence, assignment: &Assignment) -> Value {
    let environment = text_or_null(&assignment.environment);
    let mut entries = vec![
        ("valohai.commit-identifier", Value::Str(commit(assignment))),
        ("valohai.creator-email", Value::None),
        ("valohai.creator-id", Value::None),
        ("valohai.creator-name", Value::None),
        ("valohai.environment-id", Value::None),
        ("valohai.environment-name", environment.clone()),
        ("valohai.environment-slug", environment),
        (
            "valohai.execution-counter",
            Value::Int(assignment.execution_number.into()),
        ),
        (
            "valohai.execution-ctime",
            Value::Str(iso_8601(assignment.create_time_ms)),
        ),
        ("valohai.execution-duration", Value::None),
        ("valohai.execution-id", Value::Str(fence.execution_uuid())),
        (
            "valohai.execution-image",
            Value::Str(assignment.image.clone()),
        ),
        ("valohai.execution-qtime", Value::None),
        ("valohai.execution-status", Value::Str("created".to_owned())),
        (
            "valohai.execution-step",
            Value::Str(assignment.step.clone()),
        ),
        ("valohai.execution-tags", Value::List(Vec::new())),
        ("valohai.execution-title", text_or_null(&assignment.title)),
    ];
    if !assignment.pipeline_id.is_empty() {
        entries.extend([
            (
                "valohai.pipeline-counter",
                Value::Int(assignment.pipeline_number.into()),
            ),
            (
                "valohai.pipeline-id",
                Value::Str(assignment.pipeline_id.clone()),
            ),
            (
                "valohai.pipeline-node-id",
                Value::Str(assignment.node.clone()),
            ),
            ("valohai.pipeline-tags", Value::List(Vec::new())),
            (
                "valohai.pipeline-title",
                text_or_null(&assignment.pipeline_title),
            ),
        ]);
    }
    entries.extend([
        (
            "valohai.project-id",
            Value::Str(assignment.project_id.clone()),
        ),
        (
            "valohai.project-name",
            Value::Str(assignment.project.clone()),
        ),
    ]);
    map(entries)
}

/// What is known of the machine; the keys are our own, nobody documents others.
pub(super) fn runtime(fence: Fence, machine: &Machine) -> Value {
    map([
        ("shoal.attempt", Value::Int(fence.attempt.into())),
        ("shoal.runtime", Value::Str(machine.runtime.clone())),
        ("shoal.version", Value::Str(machine.version.clone())),
        ("shoal.worker", Value::Str(machine.worker.clone())),
    ])
}

/// The commit of a clean tree; otherwise, as for every tree that is no commit, a tilde and the digest of its bytes.
fn commit(assignment: &Assignment) -> String {
    let source = assignment.source.clone().unwrap_or_default();
    if !source.commit.is_empty() && !source.dirty {
        return source.commit;
    }
    let digest = source.digest.iter().map(|byte| format!("{byte:02x}"));
    format!("~{}", digest.collect::<String>())
}

/// `2025-06-07T18:49:43.984000+00:00`, as Python's `isoformat` writes a time in UTC.
fn iso_8601(unix_ms: i64) -> String {
    let (days, ms) = (
        unix_ms.div_euclid(86_400_000),
        unix_ms.rem_euclid(86_400_000),
    );
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let date = format!("{year:04}-{month:02}-{day:02}");
    let time = format!("{hour:02}:{minute:02}:{second:02}");
    match ms % 1000 {
        0 => format!("{date}T{time}+00:00"),
        part => format!("{date}T{time}.{part:03}000+00:00"),
    }
}

/// Year, month and day of a day counted from 1970-01-01: whole eras of 400 years, with years that begin in March so that the leap
/// day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let leaps = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leaps) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::iso_8601;

    #[test]
    fn times_as_python_writes_them() {
        let table = [
            (0, "1970-01-01T00:00:00+00:00"),
            (1_749_322_183_984, "2025-06-07T18:49:43.984000+00:00"),
            (951_782_400_000, "2000-02-29T00:00:00+00:00"),
            (951_868_799_001, "2000-02-29T23:59:59.001000+00:00"),
            (4_107_542_400_000, "2100-03-01T00:00:00+00:00"),
            (-1, "1969-12-31T23:59:59.999000+00:00"),
        ];
        for (ms, text) in table {
            assert_eq!(iso_8601(ms), text);
        }
    }
}
