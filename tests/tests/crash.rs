//! What is promised when processes are killed: nothing runs twice, nothing is lost, no line is missing or repeated.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

use cluster_tests::harness::{Log, Place, Process, Source};

/// The nodes of the digits example, in the order of their executions.
const NODES: [&str; 3] = ["preprocess", "train", "evaluate"];

/// The logs of the digits example when nothing happens to it.
static UNDISTURBED: LazyLock<Vec<Vec<(String, String)>>> = LazyLock::new(|| {
    let place = Place::new("undisturbed");
    place.example("digits");
    place.run(&["pipeline", "run", "digits"]).succeeds();
    (1..=3)
        .map(|number| place.log_of(number, None).records)
        .collect()
});

/// I-06, I-12, I-17, I-21: a killed command is continued by the next one; the steps have not noticed.
#[test]
fn ten_kills_of_the_whole_process_cost_no_attempt_and_no_line() {
    let place = Place::new("ten-kills");
    place.example("digits");
    let mut moments = Moments {
        seed: 0x0D16_1750,
        lines: 0..7,
    };
    let (mut kills, mut pipelines) = (0, 0);
    while kills < 10 {
        pipelines += 1;
        kills += run_and_kill(&place, pipelines, 10 - kills, &mut moments, |shoal| {
            shoal.kill()
        });
        for (at, node) in NODES.iter().enumerate() {
            let number = (pipelines - 1) * 3 + at as i64 + 1;
            let log = check_node(&place, number, node);
            assert_eq!(
                log.attempt, 1,
                "I-12: {node} of pipeline {pipelines} was begun again"
            );
            assert_eq!(
                log.records, UNDISTURBED[at],
                "I-21: the log of {node} of pipeline {pipelines}"
            );
        }
    }
}

/// I-06, I-08: when the steps die too, new attempts take their place, and one result of each is accepted.
#[test]
fn kills_of_everything_cost_attempts_but_no_result() {
    let place = Place::new("kill-everything");
    place.example("digits");
    let mut moments = Moments {
        seed: 0x0A11_DEAD,
        lines: 4..14,
    };
    run_and_kill(&place, 1, 4, &mut moments, |shoal| {
        place.kill_all();
        shoal.kill();
    });
    for (at, node) in NODES.iter().enumerate() {
        let log = check_node(&place, at as i64 + 1, node);
        assert_eq!(
            log.records, UNDISTURBED[at],
            "I-21: the log of the accepted attempt of {node}"
        );
    }
}

/// Runs the digits pipeline; kills with `kill` up to `limit` times, at seeded moments, and goes on each time with a watch. How
/// often it was killed before it was complete.
fn run_and_kill(
    place: &Place,
    pipeline: i64,
    limit: usize,
    moments: &mut Moments,
    mut kill: impl FnMut(&mut Process),
) -> usize {
    let watch = ["pipeline", "watch", &pipeline.to_string()];
    let mut shoal = place.start(&["pipeline", "run", "digits"]);
    // From here on it is accepted, and must come to its end whatever happens.
    shoal.wait_for(&format!("pipeline #{pipeline}"));
    let mut seen = BTreeSet::new();
    let mut kills = 0;
    loop {
        let patience = if kills < limit {
            moments.next()
        } else {
            usize::MAX
        };
        if !prints_more(&mut shoal, &mut seen, patience) {
            assert_eq!(shoal.wait().code(), Some(0), "I-08: the pipeline completes");
            return kills;
        }
        kill(&mut shoal);
        kills += 1;
        shoal = place.start(&watch);
    }
}

/// Waits until a command has printed so many lines that were never seen before; with 0, until it prints any line.
fn prints_more(shoal: &mut Process, seen: &mut BTreeSet<String>, count: usize) -> bool {
    let mut news = 0;
    for line in shoal.by_ref().filter(|line| line.source == Source::Out) {
        news += usize::from(seen.insert(line.text));
        if news >= count {
            return true;
        }
    }
    false
}

/// A node's execution: complete, accepted once, its log whole up to the seal.
fn check_node(place: &Place, number: i64, node: &str) -> Log {
    let execution = place.execution(number);
    assert_eq!(
        execution["node"].as_str(),
        Some(node),
        "one execution a node"
    );
    assert_eq!(execution["state"].as_str(), Some("complete"), "{execution}");
    let attempts = execution["attempts"]
        .as_array()
        .expect("there are attempts");
    let accepted: Vec<_> = attempts
        .iter()
        .filter(|attempt| attempt["state"] == "complete")
        .collect();
    assert_eq!(
        accepted.len(),
        1,
        "I-06: one result is accepted: {attempts:#?}"
    );
    assert_eq!(
        accepted[0]["number"].as_u64(),
        Some(attempts.len() as u64),
        "I-06: the last attempt's: {attempts:#?}"
    );
    place.log_of(number, None)
}

/// Moments to kill at. The same seed gives the same ones.
struct Moments {
    seed: u64,
    /// After how many new lines.
    lines: Range<usize>,
}

impl Moments {
    fn next(&mut self) -> usize {
        // Knuth's constants; the upper bits are the good ones.
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.lines.start + (self.seed >> 33) as usize % self.lines.len()
    }
}
