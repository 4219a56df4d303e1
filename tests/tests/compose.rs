//! `deploy/compose.yaml` as its readers use it: one command brings up three coordinators and two workers, a pipeline runs through them while
//! the one that leads is killed, and nothing is left when it is taken down. Where there is no container engine or no compose, it says so.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use cluster_tests::harness::{BUSYBOX, Composed, Log};
use serde_json::Value;

/// The image of the example, made of Debian's packages.
const SKLEARN: &str = "shoal-example:digits-sklearn";

/// Stands in for the example where its image was not made.
const SMALL: &str = "
- step:
    name: preprocess
    image: shoal-test:busybox
    command:
      - echo rows >/valohai/outputs/train.npz
      - echo rows >/valohai/outputs/test.npz
- step:
    name: train
    image: shoal-test:busybox
    command:
      - test -s /valohai/inputs/rows/train.npz && echo '3 support vectors'
      - 'for fold in 0 1 2; do echo \"{\\\"fold\\\": $fold, \\\"accuracy\\\": 0.97}\"; sleep 1; done'
      - echo model >/valohai/outputs/model.joblib
    inputs:
      - name: rows
- step:
    name: evaluate
    image: shoal-test:busybox
    command:
      - 'echo \"{\\\"accuracy\\\": 0.98}\"'
      - cat /valohai/inputs/model/model.joblib /valohai/inputs/rows/test.npz >/valohai/outputs/confusion.json
    inputs:
      - name: model
      - name: rows
- pipeline:
    name: digits-sklearn
    nodes:
      - {name: preprocess, type: execution, step: preprocess}
      - {name: train, type: execution, step: train}
      - {name: evaluate, type: execution, step: evaluate}
    edges:
      - [preprocess.output.train.npz, train.input.rows]
      - [preprocess.output.test.npz, evaluate.input.rows]
      - [train.output.model.joblib, evaluate.input.model]
";

/// Whether three coordinators vote and are well.
fn is_whole(status: &Value) -> bool {
    let members = status["members"].as_array().unwrap();
    let well = |member: &&Value| {
        let role = member["role"].as_str().unwrap_or_default();
        member["ready"] == true && ["leader", "follower"].contains(&role)
    };
    members.iter().filter(well).count() == 3
}

/// The service of the coordinator that leads.
fn leader(status: &Value) -> Option<String> {
    let members = status["members"].as_array()?;
    let leader = members.iter().find(|member| member["role"] == "leader")?;
    let address = leader["address"].as_str()?;
    Some(address.split(':').next()?.to_owned())
}

#[test]
fn a_pipeline_runs_through_the_loss_of_the_leader_and_nothing_is_left() {
    let Some(mut composed) = Composed::up("compose") else {
        return;
    };
    let found = composed.docker(&["images", "--quiet", SKLEARN]);
    if found.trim().is_empty() {
        eprintln!(
            "there is no {SKLEARN} (examples/digits-sklearn/make-image makes it): {BUSYBOX} stands in"
        );
        composed.place.config(SMALL);
    } else {
        composed.place.example("digits-sklearn");
    }
    let status = composed.wait_for(is_whole);
    let workers = composed.json(&["worker", "list"]);
    assert_eq!(workers.as_array().unwrap().len(), 2, "{workers:#}");

    let mut run = composed.start(&["pipeline", "run", "digits-sklearn"]);
    run.wait_for("fold");
    let lost = leader(&status).unwrap();
    let container = composed.container(&lost);
    composed.docker(&["kill", &container]);
    run.ends_with(0);

    let pipeline = composed.json(&["pipeline", "show", "1"]);
    assert_eq!(pipeline["state"], "complete", "{pipeline:#}");
    let execution = |number: i64| composed.json(&["execution", "show", &number.to_string()]);
    let names = |execution: &Value| -> Vec<String> {
        let outputs = execution["outputs"].as_array().unwrap().iter();
        outputs
            .map(|output| output["file_name"].as_str().unwrap().to_owned())
            .collect()
    };
    let [preprocess, train, evaluate] = [1, 2, 3].map(execution);
    for (execution, outputs) in [
        (&preprocess, &["test.npz", "train.npz"][..]),
        (&train, &["model.joblib"][..]),
        (&evaluate, &["confusion.json"][..]),
    ] {
        assert_eq!(names(execution), outputs, "{execution:#}");
        let attempts = execution["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1, "nothing ran twice: {execution:#}");
    }
    let accuracy = evaluate["metadata"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.95, "accuracy {accuracy}");
    let log = composed.shoal(&["-o", "json", "execution", "logs", "2"]);
    let log = Log::read(&log.succeeds().stdout);
    let folds = log.records.iter();
    let folds = folds.filter(|(_, text)| text.contains("\"fold\"")).count();
    assert_eq!(folds, 3, "{log:?}");
    assert!(
        log.records
            .iter()
            .any(|(_, text)| text.contains("support vectors")),
        "{log:?}"
    );
    let download = ["execution", "outputs", "3", "--download", "results"];
    composed.shoal(&download).succeeds();
    let fetched = composed.place.project().join("results/confusion.json");
    assert!(std::fs::metadata(fetched).unwrap().len() > 0);

    composed.docker(&["start", &container]);
    composed.wait_for(is_whole);
    for service in ["coordinator-2", "worker-1"] {
        let container = composed.container(service);
        let ask = ["exec", &container, "/usr/local/bin/shoal", "probe"];
        let said = composed.docker(&[&ask[..], &["127.0.0.1:9461", "--ready"]].concat());
        assert_eq!(said, "ready\n", "{service}");
    }
    // Brought up once more, with nothing lost and nobody let in twice.
    composed.run(&["up", "--detach"]).succeeds();
    let tokens = composed.json(&["token", "list"]);
    assert_eq!(tokens.as_array().unwrap().len(), 4, "{tokens:#}");
    assert_eq!(composed.down(), Vec::<String>::new(), "nothing is left");
}
