//! A step's stop condition over what its program printed.

use feed::Latest;
use spec::Value;
use spec::expression::Expression;

use crate::json;

/// An expression over the latest metadata, each key by itself and as `metadata.KEY`, and `execution.duration` in seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopCondition {
    expression: Option<Expression>,
    watches_time: bool,
}

const DURATION: &str = "execution.duration";

impl StopCondition {
    /// The condition of `text`. Empty text never holds; neither does text that is no expression: lint refuses such a file, and a
    /// program that runs is not stopped for it.
    pub(crate) fn new(text: &str) -> StopCondition {
        let expression = Some(text.trim())
            .filter(|text| !text.is_empty())
            .and_then(|text| Expression::parse(text).ok());
        StopCondition {
            watches_time: expression.is_some() && text.contains(DURATION),
            expression,
        }
    }

    /// Whether it may come true by time alone.
    pub(crate) fn watches_time(&self) -> bool {
        self.watches_time
    }

    /// Whether it is true now. A name without a value, or values that do not fit, make it false.
    pub(crate) fn holds(&self, latest: &Latest, after_us: u64) -> bool {
        let Some(expression) = &self.expression else {
            return false;
        };
        let universe = |name: &str| {
            if name == DURATION {
                return Some(Value::Float(after_us as f64 / 1e6));
            }
            let key = name.strip_prefix("metadata.").unwrap_or(name);
            latest.get(key).or_else(|| latest.get(name)).map(json::read)
        };
        expression.holds(&universe).unwrap_or(false)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn check(condition: &str, metadata: &str, seconds: u64, expected: bool) {
        let mut latest = Latest::new();
        latest.observe(feed::parse_metadata(metadata.as_bytes()).unwrap());
        let holds = StopCondition::new(condition).holds(&latest, seconds * 1_000_000);
        assert_eq!(
            holds, expected,
            "{condition} over {metadata} after {seconds} s"
        );
    }

    #[test]
    fn keys_by_themselves_and_under_metadata() {
        check("accuracy >= 0.99", r#"{"accuracy": 0.99}"#, 0, true);
        check("accuracy >= 0.99", r#"{"accuracy": "0.995"}"#, 0, true);
        check("accuracy >= 0.99", r#"{"accuracy": 0.98}"#, 0, false);
        check("metadata.val-loss < .5", r#"{"val-loss": 0.4}"#, 0, true);
        check("metadata.val-loss < .5", r#"{"loss": 0.4}"#, 0, false);
        check("done", r#"{"done": true}"#, 0, true);
        check("a.b > 1", r#"{"a.b": 2}"#, 0, true);
        check("metadata.x > 1", r#"{"metadata.x": 2}"#, 0, true);
    }

    #[test]
    fn the_duration_is_in_seconds() {
        check("execution.duration > 3600", "{}", 3600, false);
        check("execution.duration > 3600", "{}", 3601, true);
        assert!(StopCondition::new("execution.duration > 1").watches_time());
        assert!(!StopCondition::new("duration > 1").watches_time());
    }

    #[test]
    fn what_cannot_be_decided_does_not_stop_a_program() {
        check("", r#"{"a": 1}"#, 9, false);
        check("a >", r#"{"a": 1}"#, 9, false);
        check("a > 'x'", r#"{"a": [1]}"#, 9, false);
        check("unknown > 1", r#"{"a": 1}"#, 9, false);
    }
}
