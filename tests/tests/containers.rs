//! What is promised of steps in containers: the same as of all steps, and that a worker lets no more be done than it grants. Where there is no
//! container engine each test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use std::path::Path;

use cluster_tests::harness::{BARE, BUSYBOX, Cluster, Engine, Log, OwnEngine, PATIENCE, Place};
use expect_test::expect_file;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// A cluster whose one worker runs steps in containers, and a directory of the machine that it grants.
fn cluster(name: &str, more: &[&str]) -> Option<(Cluster, &'static Engine)> {
    let engine = Engine::get()?;
    let mut cluster = Cluster::new(name);
    let shared = cluster.place.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let mount = format!("--allow-mount={}", shared.display());
    let mut arguments = vec!["--runtime=docker", "--container-network=none", &mount];
    arguments.extend(more);
    if !more.iter().any(|one| one.starts_with("--container-memory")) {
        arguments.push("--container-memory=128");
    }
    cluster.add_worker_with("boxer", &arguments);
    Some((cluster, engine))
}

fn attempts(execution: &Value) -> usize {
    execution["attempts"].as_array().unwrap().len()
}

/// Waits until the worker has forgotten all it had, and so has the engine.
fn nothing_is_left(cluster: &Cluster, engine: &Engine) {
    let data = cluster.place.path().join("boxer");
    let until = std::time::Instant::now() + PATIENCE;
    while !engine.containers(&data).is_empty() {
        assert!(
            std::time::Instant::now() < until,
            "left: {:?}",
            engine.containers(&data)
        );
    }
}

#[test]
fn a_pipeline_runs_in_containers_and_leaves_nothing() {
    let Some((cluster, engine)) = cluster("boxes", &[]) else {
        return;
    };
    let place = &cluster.place;
    place.config(&format!(
        r#"
- step:
    name: make
    image: {BUSYBOX}
    command:
      - 'echo "{{\"letters\": 5}}"'
      - test -x /bin/busybox && test ! -e /usr/bin/python3 && echo in the image
      - echo made by {{parameter-value:who}} >$VH_OUTPUTS_DIR/note.txt
    parameters:
      - name: who
        type: string
        default: it's me
- step:
    name: read
    image: {BUSYBOX}
    command: cat /valohai/inputs/notes/note.txt
    inputs:
      - name: notes
- pipeline:
    name: both
    nodes:
      - {{name: make, type: execution, step: make}}
      - {{name: read, type: execution, step: read}}
    edges:
      - [make.output.*, read.input.notes]
"#
    ));
    place.run(&["pipeline", "run", "both"]).succeeds();
    let make = place.execution(1);
    assert_eq!(make["metadata"]["letters"], 5);
    assert_eq!(attempts(&make), 1);
    let digest = make["attempts"][0]["image_digest"].as_str().unwrap();
    let known = engine.docker(&["image", "inspect", "--format", "{{.Id}}", BUSYBOX]);
    assert_eq!(
        digest,
        known.trim(),
        "an image of no registry is named by its id"
    );
    let log = |number| place.log_of(number, None);
    let printed = |log: &Log, stream: &str| -> String {
        let of_stream = log.records.iter().filter(|(from, _)| from == stream);
        of_stream.map(|(_, text)| text.as_str()).collect()
    };
    let told = printed(&log(1), "status");
    assert!(
        told.contains(&format!("image {BUSYBOX}, {digest}")) && told.contains("started"),
        "{told}"
    );
    assert!(printed(&log(1), "stdout").contains("in the image"));
    assert!(printed(&log(2), "stdout").contains("made by it's me"));
    let worker = place.json(&["worker", "show", "boxer"]);
    assert_eq!(worker["runtime"], "docker", "{worker}");
    nothing_is_left(&cluster, engine);
}

/// Without a cluster, on one machine.
#[test]
fn the_embedded_node_runs_containers_where_it_is_told_to() {
    if Engine::get().is_none() {
        return;
    }
    let place = Place::new("embedded-box");
    write(&place, BUSYBOX, "ls /.shoal", "");
    let run = |runtime: &str| {
        let mut command = place.shoal(&["execution", "run", "it"]);
        let output = command.env("SHOAL_RUNTIME", runtime).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let said = run("docker");
    assert!(said.contains("launch") && said.contains("shoal"), "{said}");
    let said = run("dokcer");
    assert!(
        said.contains("SHOAL_RUNTIME: `dokcer` is none of process, docker"),
        "{said}"
    );
}

/// The example of the docs, in an image that was made of Debian's packages.
#[test]
fn the_sklearn_example_learns_in_its_image() {
    const IMAGE: &str = "shoal-example:digits-sklearn";
    let more = ["--container-memory=1024", "--image-pull=never"];
    let Some((cluster, engine)) = cluster("sklearn", &more) else {
        return;
    };
    let listed = engine.docker(&["images", "--quiet", IMAGE]);
    if listed.trim().is_empty() {
        eprintln!("SKIPPED, as there is no {IMAGE}: examples/digits-sklearn/make-image makes it");
        return;
    }
    cluster.place.example("digits-sklearn");
    cluster
        .place
        .run(&["pipeline", "run", "digits-sklearn"])
        .succeeds();
    let evaluate = cluster.place.execution(3);
    let accuracy = evaluate["metadata"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.95, "accuracy {accuracy}");
    let names = |number: i64| -> Vec<String> {
        let execution = cluster.place.execution(number);
        let outputs = execution["outputs"].as_array().unwrap().iter();
        outputs
            .map(|output| output["file_name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(1), ["test.npz", "train.npz"]);
    assert_eq!(names(2), ["model.joblib"]);
    assert_eq!(names(3), ["confusion.json"]);
    let log = cluster.place.log_of(2, None);
    let said = |part: &str| log.records.iter().any(|(_, text)| text.contains(part));
    assert!(said("support vectors") && said("Python 3"), "{log:?}");
    nothing_is_left(&cluster, engine);
}

/// I-06, I-12, I-17, I-21.
#[test]
fn a_killed_worker_takes_its_containers_back() {
    let Some((mut cluster, engine)) = cluster("adopts", &[]) else {
        return;
    };
    let shared = cluster.place.path().join("shared");
    cluster.place.config(&format!(
        "- step:\n    name: long\n    image: {BUSYBOX}\n    mounts: ['{}:/shared']\n    command:\n      - echo before\n      - touch /shared/begun\n      \
         - until [ -e /shared/go ]; do sleep 0.05; done\n      - echo after\n      - exit 3\n",
        shared.display()
    ));
    cluster
        .place
        .run(&["execution", "run", "long", "--detach"])
        .succeeds();
    let until = std::time::Instant::now() + PATIENCE;
    while !shared.join("begun").exists() {
        assert!(std::time::Instant::now() < until, "the step does not begin");
    }
    cluster.workers[0].kill();
    let data = cluster.place.path().join("boxer");
    assert_eq!(engine.containers(&data).len(), 1, "it runs on");
    fs::write(shared.join("go"), "").unwrap();
    cluster.workers[0].restart(&cluster.place);
    cluster.place.run(&["execution", "watch", "1"]).ends_with(1);
    let execution = cluster.place.execution(1);
    assert_eq!(execution["exit_code"], 3, "{execution}");
    assert_eq!(attempts(&execution), 1);
    let log = cluster.place.log_of(1, None);
    let lines: Vec<&str> = log.records.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        lines[1..],
        ["started\n", "before\n", "after\n"],
        "{lines:?}"
    );
    nothing_is_left(&cluster, engine);
}

/// A way to fail, and what is told of it.
struct Failure {
    /// As the table in the docs names it.
    name: &'static str,
    image: &'static str,
    command: &'static str,
    more: &'static str,
    reason: &'static str,
    exit_code: Option<i64>,
    /// Of the sentence about it, what does not differ from run to run.
    message: &'static str,
    /// In the log.
    log: &'static str,
    /// Cancelled once this is printed.
    cancel_at: &'static str,
}

const NOTHING: Failure = Failure {
    name: "",
    image: BUSYBOX,
    command: "true",
    more: "",
    reason: "exit_code",
    exit_code: None,
    message: "",
    log: "",
    cancel_at: "",
};

const FAILURES: [Failure; 9] = [
    Failure {
        name: "an image that is not there",
        image: "shoal-test:never-made",
        reason: "image_failed",
        message: "the image shoal-test:never-made is not on this worker, which fetches none (load it there with `docker pull` or `docker load`, or let the worker pull with `--image-pull missing`)",
        ..NOTHING
    },
    Failure {
        name: "an image without a shell",
        image: BARE,
        command: "echo a && echo b",
        reason: "start_failed",
        message: "the image has no shell (no bash or sh in /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin), and the command needs one: it has a `&`",
        ..NOTHING
    },
    Failure {
        name: "a command that is not found",
        command: "no-such-command",
        exit_code: Some(127),
        message: "the program exited with code 127: a command was not found",
        log: "no-such-command: not found",
        ..NOTHING
    },
    Failure {
        name: "a step that forks without end",
        command: "f() { f | f & }; f; sleep 1; exit 1",
        // Which of its processes is refused the fork is chance.
        message: "the program exited with code",
        log: "the limit of processes was reached",
        ..NOTHING
    },
    Failure {
        name: "one that eats memory",
        command: "tail /dev/zero",
        reason: "out_of_memory",
        message: "the program was killed for its use of memory",
        log: "the limit of memory was reached: the kernel killed a process",
        ..NOTHING
    },
    Failure {
        name: "one that fills the disk",
        command: "head -c 40000000 /dev/zero >/tmp/x; sleep 1000",
        reason: "disk_quota",
        message: "and this worker grants 16; none of its outputs are kept",
        ..NOTHING
    },
    Failure {
        name: "one that ignores SIGTERM, cancelled",
        command: "trap '' TERM; echo deaf; while true; do sleep 0.1; done",
        reason: "cancelled",
        message: "the program was stopped",
        log: "killed",
        cancel_at: "deaf",
        ..NOTHING
    },
    Failure {
        name: "one that kills itself",
        command: "kill -9 $$",
        reason: "signal",
        message: "the program was ended by signal 9 (SIGKILL)",
        ..NOTHING
    },
    Failure {
        name: "a mount that leads to where none is granted",
        more: "    mounts: ['SHARED/link:/data']\n",
        reason: "policy_refused",
        message: "this worker grants no mount of it",
        ..NOTHING
    },
];

/// Row 22 of the attack table, and what newcomers meet: each ends with the right reason and words; the worker is well throughout.
#[test]
fn every_way_to_fail_says_why_and_the_docs_know_it() {
    let more = [
        "--image-pull=never",
        "--container-pids=64",
        "--container-disk=16",
    ];
    let Some((cluster, engine)) = cluster("failures", &more) else {
        return;
    };
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/containers.md");
    let docs = fs::read_to_string(docs).unwrap();
    let mut shown = SHOWN.to_owned();
    let shared = cluster.place.path().join("shared");
    std::os::unix::fs::symlink("/srv", shared.join("link")).unwrap();
    for (at, failure) in FAILURES.iter().enumerate() {
        let number = at as i64 + 1;
        shown += &fail(&cluster.place, failure, number);
        let execution = cluster.place.execution(number);
        let told = |key: &str| execution[key].as_str().unwrap_or_default().to_owned();
        let (name, message) = (failure.name, told("message"));
        assert_eq!(told("end_reason"), failure.reason, "{name}: {execution:#}");
        assert!(message.contains(failure.message), "{name}: {message}");
        if failure.exit_code.is_some() {
            assert_eq!(execution["exit_code"].as_i64(), failure.exit_code, "{name}");
        }
        assert_eq!(attempts(&execution), 1, "{name}: it is nobody else's fault");
        let log = cluster.place.log_of(number, None);
        let printed: String = log.records.iter().map(|(_, text)| text.as_str()).collect();
        assert!(printed.contains(failure.log), "{name}: {printed}");
        for words in [
            name,
            failure.message,
            failure.log,
            &failure.reason.to_uppercase(),
        ] {
            assert!(
                docs.contains(&words.replace('|', "\\|")),
                "docs/containers.md lacks: {words}"
            );
        }
    }
    expect_file!["../../docs/failures.md"].assert_eq(&shown);
    let host = "    environment-variables: [{name: VH_DOCKER_NETWORK, default: host}]\n";
    let socket = "    mounts: ['/var/run/docker.sock:/var/run/docker.sock']\n";
    let refused = [
        (socket, BUSYBOX, "it would hand over the machine itself"),
        (
            "    mounts: ['/etc:/host']\n",
            BUSYBOX,
            "it would hand over the machine itself",
        ),
        ("", "-v /:/host", "is no name of an image"),
        ("", "169.254.169.254/latest:meta-data", "link-local address"),
        (
            "    mounts: ['/srv:/data']\n",
            BUSYBOX,
            "the step `it` asks for what no worker grants: boxer: mounts: /srv for writing",
        ),
        (
            host,
            BUSYBOX,
            "the step `it` asks for what no worker grants: boxer: VH_DOCKER_NETWORK: not the machine's own network",
        ),
    ];
    for (more, image, expected) in refused {
        write(&cluster.place, image, "true", more);
        let refused = cluster.place.run(&["execution", "run", "it"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.code != Some(0) && said.contains(expected), "{said}");
        assert!(
            docs.contains(expected),
            "docs/containers.md lacks: {expected}"
        );
    }
    nothing_is_left(&cluster, engine);
}

fn write(place: &Place, image: &str, command: &str, more: &str) {
    let command = command.replace('\'', "''");
    place.config(&format!(
        "- step:\n    name: it\n    image: '{image}'\n    command: '{command}'\n{more}"
    ));
}

/// What stands before all of it.
const SHOWN: &str = "\
# How steps fail, as people see it

What `shoal execution run` says at the end of each way to fail of `docs/containers.md`, and what is in the log, on a worker with `--container-memory=128 --container-pids=64 --container-disk=16 --image-pull=never`. Written by
`UPDATE_EXPECT=1 cargo test -p cluster-tests --test containers`, and compared with what is printed now by the same test. Times are not shown as they were.
";

/// Lets a step fail; gives what a person sees of it.
fn fail(place: &Place, failure: &Failure, number: i64) -> String {
    let shared = place.path().join("shared");
    let more = failure
        .more
        .replace("SHARED", &shared.display().to_string());
    write(place, failure.image, failure.command, &more);
    let (command, ran) = if failure.cancel_at.is_empty() {
        let ran = place.run(&["execution", "run", "it"]);
        assert_ne!(ran.code, Some(0), "{}", failure.name);
        ("shoal execution run it".to_owned(), ran)
    } else {
        place
            .run(&["execution", "run", "it", "--detach"])
            .succeeds();
        let typed = number.to_string();
        let mut log = place.start(&["execution", "logs", &typed, "--follow"]);
        log.wait_for(failure.cancel_at);
        place.run(&["execution", "cancel", &typed]).succeeds();
        let ran = place.run(&["execution", "watch", &typed]);
        (format!("shoal execution watch {number}"), ran)
    };
    let printed = [ran.stdout, ran.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    // What was seen while it ran comes in whatever order it came; what is said at the end does not.
    let ending = printed.rfind("\nexecution #").map_or(0, |at| at + 1);
    let log = place.log_of(number, None);
    let logged: String = log.records.iter().map(|(_, text)| text.as_str()).collect();
    // Empty lines are what is left where many spoke at once.
    let logged: Vec<&str> = logged
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let logged = logged.join("\n");
    let shared = shared.display().to_string();
    let (ended, logged) = (
        unchanging(&printed[ending..].replace(&shared, "/shared")),
        unchanging(&logged.replace(&shared, "/shared")),
    );
    let (name, image) = (failure.name, failure.image);
    let more = failure.more.trim_start();
    let yaml = format!("image: {image}\ncommand: {}\n{more}", failure.command);
    let yaml = yaml.trim_end();
    let logged = match logged.as_str() {
        "" => String::new(),
        logged => format!("\n$ shoal execution logs {number}\n{logged}"),
    };
    format!(
        "\n## {name}\n\n```yaml\n{yaml}\n```\n\n```text\n$ {command}\n…\n{ended}{logged}\n```\n"
    )
}

/// A text without what differs from run to run; what is said again and again is said once, for how often is chance, and so is what of a crowd
/// is left at the end.
fn unchanging(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.trim_end().lines().map(unchanging_line) {
        if line.ends_with(" left in the background") || line.trim() == "sh:" {
            continue;
        }
        if line.trim().is_empty() || !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// A line without what differs from run to run.
fn unchanging_line(line: &str) -> String {
    // Many say it at once, into each other's lines.
    if line.contains("can't fork") || line.contains("temporarily unavailable") {
        return "sh: can't fork: Resource temporarily unavailable".to_owned();
    }
    let mut line = line.to_owned();
    let units = [" s", " ms", " s)"];
    if let Some(at) = line.rfind(" in ")
        && line[at + 4..].starts_with(|first: char| first.is_ascii_digit())
        && let Some(unit) = units.iter().find(|unit| line.ends_with(*unit))
    {
        let end = if unit.ends_with(')') { ")" } else { "" };
        line.replace_range(at.., &format!(" in 1.0 s{end}"));
    }
    for (before, after, instead) in [
        ("the limit of processes was reached ", " times", "87"),
        ("the program wrote ", " MiB", "38"),
        ("exited with code ", "", "1"),
        ("sha256:", "", "…"),
    ] {
        // The code of a command that is not found is what is to be shown.
        if line.contains("code 127") || line.contains("code 137") {
            continue;
        }
        let Some(at) = line.find(before).map(|at| at + before.len()) else {
            continue;
        };
        let word = line[at..].find(|letter: char| !letter.is_ascii_alphanumeric());
        let end = word.map_or(line.len(), |word| at + word);
        if line[end..].starts_with(after) {
            line.replace_range(at..end, instead);
        }
    }
    line
}

/// Kills in seeded orders: I-06, I-12, I-15, I-17, I-21. So many by default; `SHOAL_KILL_ORDERS` says otherwise.
const ORDERS: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Worker,
    Engine,
    Coordinator,
}

#[test]
fn kills_of_everything_but_the_container_cost_no_attempt_and_no_line() {
    let Some(mut engine) = OwnEngine::start() else {
        return;
    };
    let orders = std::env::var("SHOAL_KILL_ORDERS").ok();
    let orders = orders.map_or(ORDERS, |orders| orders.parse().unwrap());
    let mut cluster = Cluster::of("kill-orders", 3);
    let shared = cluster.place.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let mount = format!("--allow-mount={}", shared.display());
    let host = format!("--docker-host={}", engine.host());
    let arguments = [
        "--runtime=docker",
        "--container-network=none",
        "--device=nvidia.com/gpu=a",
        &mount,
        &host,
    ];
    cluster.add_worker_with("boxer", &arguments);
    // Whoever finds the one device in somebody's hands ends with 9.
    let script = "mkdir /shared/held-$CUDA_VISIBLE_DEVICES || exit 9; \
                  i=0; while [ ! -e /shared/go ]; do echo line $i; i=$((i+1)); sleep 0.02; done; \
                  rmdir /shared/held-$CUDA_VISIBLE_DEVICES; echo $i >/valohai/outputs/lines";
    let more = format!(
        "    mounts: ['{}:/shared']\n    resources:\n      devices: {{nvidia.com/gpu: 1}}\n",
        shared.display()
    );
    write(&cluster.place, BUSYBOX, script, &more);
    for seed in 0..orders {
        let mut chance = StdRng::seed_from_u64(seed);
        // The second one waits for the device of the first.
        let [number, next] = [1, 2].map(|turn| 2 * seed as i64 + turn);
        for _ in [number, next] {
            cluster
                .place
                .run(&["execution", "run", "it", "--detach"])
                .succeeds();
        }
        let mut log = cluster
            .place
            .start(&["execution", "logs", &number.to_string(), "--follow"]);
        log.wait_for(&format!("line {}", chance.random_range(0..20)));
        let mut victims = [Victim::Worker, Victim::Engine, Victim::Coordinator];
        victims.shuffle(&mut chance);
        let count = chance.random_range(1..=victims.len());
        let victims = &mut victims[..count];
        let member = chance.random_range(0..3);
        for victim in victims.iter() {
            match victim {
                Victim::Worker => cluster.workers[0].kill(),
                Victim::Engine => engine.kill(),
                Victim::Coordinator => cluster.coordinator_at(member).kill(),
            }
        }
        let goes_early = chance.random_bool(0.5);
        if goes_early {
            // It ends while nobody looks.
            fs::write(shared.join("go"), "").unwrap();
        }
        victims.shuffle(&mut chance);
        // A worker is not up before it has spoken to its engine.
        victims.sort_by_key(|victim| *victim == Victim::Worker);
        for victim in victims.iter() {
            match victim {
                Victim::Worker => cluster.workers[0].restart(&cluster.place),
                Victim::Engine => engine.bring_up().unwrap(),
                Victim::Coordinator => cluster.restart_coordinator(member),
            }
        }
        fs::write(shared.join("go"), "").unwrap();
        for number in [number, next] {
            cluster
                .place
                .run(&["execution", "watch", &number.to_string()])
                .succeeds();
            let execution = cluster.place.execution(number);
            assert_eq!(
                attempts(&execution),
                1,
                "seed {seed}: {victims:?} {execution:#}"
            );
            let log = cluster.place.log_of(number, None);
            let printed = log.records.iter().filter(|(from, _)| from == "stdout");
            for (at, (_, text)) in printed.enumerate() {
                assert_eq!(
                    *text,
                    format!("line {at}\n"),
                    "I-21: seed {seed}: {victims:?}"
                );
            }
        }
        fs::remove_file(shared.join("go")).unwrap();
    }
    nothing_is_left(&cluster, engine.engine());
}
