//! Resource names, read once at the border and written back as they were.

use std::fmt;

use coordinator::Refusal;
use uuid::Uuid;

/// Longest name of a project or worker, in bytes.
const MAX_NAME: usize = 63;

/// `projects/{project}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProjectName(pub(crate) String);

/// `projects/{project}/pipelines/{number}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PipelineName {
    pub(crate) project: String,
    pub(crate) number: i64,
}

/// `projects/{project}/executions/{number}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecutionName {
    pub(crate) project: String,
    pub(crate) number: i64,
}

/// `projects/{project}/executions/{number}`, for its newest attempt, or with `/attempts/{number}` for a certain one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogName {
    pub(crate) execution: ExecutionName,
    pub(crate) attempt: Option<u32>,
}

/// `projects/{project}/data/{uuid}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatumName {
    pub(crate) project: String,
    pub(crate) id: Uuid,
}

/// `workers/{worker}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkerName(pub(crate) String);

impl ProjectName {
    /// Reads a name from the field of a request.
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Refusal> {
        match parts(text)[..] {
            ["projects", project] => Ok(Self(checked_project(field, project)?)),
            _ => Err(expected(field, "projects/PROJECT", text)),
        }
    }
}

impl PipelineName {
    /// Reads a name from the field of a request.
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Refusal> {
        match (&parts(text)[..], number(text)) {
            (["projects", project, "pipelines", _], Some(number)) => Ok(Self {
                project: checked_project(field, project)?,
                number,
            }),
            _ => Err(expected(field, "projects/PROJECT/pipelines/NUMBER", text)),
        }
    }
}

impl ExecutionName {
    /// Reads a name from the field of a request.
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Refusal> {
        match (&parts(text)[..], number(text)) {
            (["projects", project, "executions", _], Some(number)) => Ok(Self {
                project: checked_project(field, project)?,
                number,
            }),
            _ => Err(expected(field, "projects/PROJECT/executions/NUMBER", text)),
        }
    }
}

impl LogName {
    /// Reads a name from the field of a request.
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Refusal> {
        let Some((execution, attempt)) = text.split_once("/attempts/") else {
            return Ok(Self {
                execution: ExecutionName::parse(field, text)?,
                attempt: None,
            });
        };
        let execution = ExecutionName::parse(field, execution)?;
        match attempt.parse() {
            Ok(attempt) if attempt > 0 => Ok(Self {
                execution,
                attempt: Some(attempt),
            }),
            _ => Err(expected(
                field,
                "projects/PROJECT/executions/NUMBER/attempts/NUMBER",
                text,
            )),
        }
    }
}

impl DatumName {
    /// Reads a name from the field of a request.
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Refusal> {
        let refused = || expected(field, "projects/PROJECT/data/UUID", text);
        match parts(text)[..] {
            ["projects", project, "data", id] => {
                let id = Uuid::try_parse(id).map_err(|_| refused())?;
                Ok(Self {
                    project: checked_project(field, project)?,
                    id,
                })
            }
            _ => Err(refused()),
        }
    }
}

impl WorkerName {
    /// Reads a name from the field of a request.
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Refusal> {
        match parts(text)[..] {
            ["workers", worker] if !worker.is_empty() => Ok(Self(worker.to_owned())),
            _ => Err(expected(field, "workers/WORKER", text)),
        }
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "projects/{}", self.0)
    }
}

impl fmt::Display for PipelineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&pipeline(&self.project, self.number))
    }
}

impl fmt::Display for ExecutionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&execution(&self.project, self.number))
    }
}

impl fmt::Display for DatumName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&datum(&self.project, &self.id))
    }
}

/// The name of a pipeline.
pub(crate) fn pipeline(project: &str, number: i64) -> String {
    format!("projects/{project}/pipelines/{number}")
}

/// The name of an execution.
pub(crate) fn execution(project: &str, number: i64) -> String {
    format!("projects/{project}/executions/{number}")
}

/// The name of a datum.
pub(crate) fn datum(project: &str, id: &Uuid) -> String {
    format!("projects/{project}/data/{id}")
}

fn parts(text: &str) -> Vec<&str> {
    text.split('/').collect()
}

/// The number that a name ends in, if it is one and written as we write it.
fn number(text: &str) -> Option<i64> {
    let digits = text.rsplit('/').next()?;
    let number = digits.parse::<i64>().ok().filter(|number| *number > 0)?;
    (number.to_string() == digits).then_some(number)
}

fn expected(field: &str, form: &str, text: &str) -> Refusal {
    Refusal::invalid_field(field, format!("expected {form}, got {text:?}"))
}

/// A project's name is 1 to 63 of `a-z`, `0-9` and `-`, starting with a letter.
fn checked_project(field: &str, name: &str) -> Result<String, Refusal> {
    let good = name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if good {
        return Ok(name.to_owned());
    }
    let rule = format!(
        "a project is named by 1 to {MAX_NAME} of a-z, 0-9 and -, starting with a letter; got {name:?}"
    );
    Err(Refusal::invalid_field(field, rule))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_they_were_read() {
        assert_eq!(
            ProjectName::parse("f", "projects/a-1").unwrap().to_string(),
            "projects/a-1"
        );
        assert_eq!(
            PipelineName::parse("f", "projects/a/pipelines/7")
                .unwrap()
                .to_string(),
            "projects/a/pipelines/7"
        );
        assert_eq!(
            ExecutionName::parse("f", "projects/a/executions/42")
                .unwrap()
                .to_string(),
            "projects/a/executions/42"
        );
        let datum = "projects/a/data/0191f1a2-0000-7000-8000-000000000001";
        assert_eq!(DatumName::parse("f", datum).unwrap().to_string(), datum);
        assert_eq!(
            LogName::parse("f", "projects/a/executions/4/attempts/2")
                .unwrap()
                .attempt,
            Some(2)
        );
        assert_eq!(
            LogName::parse("f", "projects/a/executions/4")
                .unwrap()
                .attempt,
            None
        );
        assert_eq!(WorkerName::parse("f", "workers/w 1").unwrap().0, "w 1");
    }

    #[test]
    fn anything_else_is_refused_with_what_was_expected() {
        for bad in [
            "",
            "projects/",
            "projects/A",
            "projects/1a",
            "projects/a/b",
            &format!("projects/{}", "a".repeat(64)),
        ] {
            let refusal = ProjectName::parse("parent", bad).unwrap_err();
            assert_eq!(refusal.violations[0].field, "parent", "{bad}");
        }
        for bad in [
            "projects/a/executions/0",
            "projects/a/executions/-1",
            "projects/a/executions/01",
            "projects/a/executions/x",
            "projects/a/pipelines/1",
            "projects/a/executions/1/",
            "projects/a/executions/99999999999999999999",
        ] {
            assert!(
                ExecutionName::parse("name", bad)
                    .unwrap_err()
                    .message
                    .contains("executions/NUMBER"),
                "{bad}"
            );
        }
        for bad in [
            "projects/a/executions/1/attempts/0",
            "projects/a/executions/1/attempts/x",
        ] {
            assert!(
                LogName::parse("name", bad)
                    .unwrap_err()
                    .message
                    .contains("attempts/NUMBER"),
                "{bad}"
            );
        }
        assert!(WorkerName::parse("name", "workers/").is_err());
        assert!(DatumName::parse("name", "projects/a/data/7").is_err());
    }
}
