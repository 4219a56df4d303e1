//! The latest value of every metadata key: what edges, conditions and listings ask for.

use serde_json::{Map, Value};

/// Most bytes that the keys and values of one attempt may take together.
const MAX_BYTES: usize = 256 * 1024;

/// The latest value per key, in the order in which the keys first came; bounded.
///
/// A value that does not fit is not taken, and an older value of that key is let go: no value misleads less than an old
/// one. [`observe`](Latest::observe) says so the first time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latest {
    values: Map<String, Value>,
    bytes: usize,
    refused: u64,
}

/// What became of one metadata record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// All its values are the latest now.
    Taken,
    /// The bound was met for the first time, at this key: tell the user.
    FirstRefusal {
        /// The key whose value was not taken.
        key: String,
    },
    /// Some values were not taken, as told before.
    Refused,
}

impl Latest {
    /// No values yet.
    pub fn new() -> Latest {
        Latest::default()
    }

    /// Takes one metadata record.
    pub fn observe(&mut self, record: Map<String, Value>) -> Observed {
        let mut refused = Vec::new();
        for (key, value) in record {
            if let Some(key) = self.set(key, value) {
                refused.push(key);
            }
        }
        let first = self.refused == 0;
        self.refused += refused.len() as u64;
        match refused.into_iter().next() {
            None => Observed::Taken,
            Some(key) if first => Observed::FirstRefusal { key },
            Some(_) => Observed::Refused,
        }
    }

    /// The latest value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// All latest values.
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// Values that did not fit, so far.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Gives the key back if its value does not fit.
    fn set(&mut self, key: String, value: Value) -> Option<String> {
        let old = self.values.get(&key).map_or(0, |old| cost(&key, old));
        let bytes = self.bytes - old + cost(&key, &value);
        if bytes > MAX_BYTES {
            self.bytes -= old;
            self.values.shift_remove(&key);
            return Some(key);
        }
        self.bytes = bytes;
        self.values.insert(key, value);
        None
    }
}

/// About what one key and its value take when printed.
fn cost(key: &str, value: &Value) -> usize {
    key.len() + 4 + weight(value)
}

fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 16,
        Value::String(text) => 2 + text.len(),
        Value::Array(items) => 2 + items.iter().map(|item| 1 + weight(item)).sum::<usize>(),
        Value::Object(map) => 2 + map.iter().map(|(k, v)| cost(k, v)).sum::<usize>(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::metadata::parse_metadata;
    use proptest::prelude::*;

    fn record(text: &str) -> Map<String, Value> {
        parse_metadata(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_latest_value_counts_and_keys_keep_their_order() {
        let mut latest = Latest::new();
        assert_eq!(
            latest.observe(record(r#"{"epoch": 1, "loss": 0.9}"#)),
            Observed::Taken
        );
        assert_eq!(
            latest.observe(record(r#"{"loss": 0.5, "acc": 0.7}"#)),
            Observed::Taken
        );
        assert_eq!(
            Value::Object(latest.values().clone()).to_string(),
            r#"{"epoch":1,"loss":0.5,"acc":0.7}"#
        );
        assert_eq!(latest.get("loss"), Some(&Value::from(0.5)));
        assert_eq!(latest.get("nothing"), None);
    }

    #[test]
    fn the_bound_is_told_once_and_an_old_value_does_not_stay() {
        let mut latest = Latest::new();
        let big = "x".repeat(200 * 1024);
        latest.observe(record(r#"{"loss": 1, "note": "short"}"#));
        assert_eq!(
            latest.observe(record(&format!(r#"{{"a": "{big}"}}"#))),
            Observed::Taken
        );
        let refused = latest.observe(record(&format!(r#"{{"note": "{big}", "loss": 2}}"#)));
        assert_eq!(refused, Observed::FirstRefusal { key: "note".into() });
        assert_eq!(
            (latest.get("note"), latest.get("loss")),
            (None, Some(&Value::from(2)))
        );
        assert_eq!(
            latest.observe(record(&format!(r#"{{"b": "{big}"}}"#))),
            Observed::Refused
        );
        assert_eq!(latest.refused(), 2);
        // A key that shrinks makes room again.
        latest.observe(record(r#"{"a": 1}"#));
        assert_eq!(
            latest.observe(record(&format!(r#"{{"b": "{big}"}}"#))),
            Observed::Taken
        );
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_the_count_is_right(steps in proptest::collection::vec((0..6u8, 0..120_000usize), 0..30)) {
            let mut latest = Latest::new();
            for (key, len) in steps {
                latest.observe(Map::from_iter([(format!("k{key}"), Value::from("x".repeat(len)))]));
                let counted: usize = latest.values.iter().map(|(k, v)| cost(k, v)).sum();
                prop_assert_eq!(latest.bytes, counted);
                prop_assert!(latest.bytes <= MAX_BYTES);
            }
        }
    }
}
