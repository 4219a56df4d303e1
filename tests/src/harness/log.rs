//! An attempt's log as programs see it.

use serde_json::Value;

/// The records of one attempt, checked to be numbered without a gap or a repeat up to the seal.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Number of the attempt.
    pub attempt: i64,
    /// Stream and text of each record that was printed, in order. Text that is not UTF-8 is in hexadecimal.
    pub records: Vec<(String, String)>,
    /// What was measured meanwhile, in order: records of the same log.
    pub samples: Vec<Value>,
}

impl Log {
    /// Reads what `shoal execution logs -o json` prints of a sealed log.
    #[track_caller]
    pub fn read(printed: &[u8]) -> Self {
        let text = std::str::from_utf8(printed).expect("JSON is UTF-8");
        let mut log = Self {
            attempt: 0,
            records: Vec::new(),
            samples: Vec::new(),
        };
        let mut sealed = None;
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).expect("every line is a JSON value");
            assert!(
                sealed.is_none(),
                "I-21: something follows the seal: {value}"
            );
            assert!(value["gap"].is_null(), "I-21: a gap: {value}");
            log.attempt = value["attempt"].as_i64().expect("the attempt is named");
            if !value["sealed"].is_null() {
                sealed = value["sealed"]["record_count"].as_u64();
                continue;
            }
            let expected = (log.records.len() + log.samples.len()) as u64;
            assert_eq!(
                value["number"].as_u64(),
                Some(expected),
                "I-21: records are numbered 0, 1, 2 …: {value}"
            );
            let data = value["text"]
                .as_str()
                .or(value["hex"].as_str())
                .expect("a record has its data");
            let stream = value["stream"].as_str().expect("a record has its stream");
            match stream {
                "metric" => log
                    .samples
                    .push(serde_json::from_str(data).expect("a sample is JSON")),
                _ => log.records.push((stream.to_owned(), data.to_owned())),
            }
        }
        assert_eq!(
            sealed,
            Some((log.records.len() + log.samples.len()) as u64),
            "I-21: the seal counts the records:\n{text}"
        );
        log
    }

    /// What the program printed to standard output.
    pub fn stdout(&self) -> String {
        self.records
            .iter()
            .filter(|(stream, _)| stream == "stdout")
            .map(|(_, text)| text.as_str())
            .collect()
    }
}
