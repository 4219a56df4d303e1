//! Rows 18 to 20 and 22 of the attack table, as whoever submits hostile steps meets them: through the binary, on both runtimes. What lies
//! outside of a step stays as it was, and the worker is well. Row 21 and single limits are tested beside the runtime (`crates/runtime`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::PathBuf;

use cluster_tests::harness::{BUSYBOX, Cluster, Engine, Place};
use serde_json::Value;

/// A cluster with one worker, and a file of the machine that nobody but its owner may touch.
struct Target {
    cluster: Cluster,
    runtime: &'static str,
    canary: PathBuf,
}

impl Target {
    /// One for each runtime that can be had.
    fn each(name: &str, more: &[&str]) -> Vec<Self> {
        let container = [
            "--runtime=docker",
            "--container-network=none",
            "--image-pull=never",
        ];
        let docker = Engine::get().map(|_| Self::new(name, "docker", &[&container, more].concat()));
        let process = Self::new(name, "process", more);
        [Some(process), docker].into_iter().flatten().collect()
    }

    fn new(name: &str, runtime: &'static str, arguments: &[&str]) -> Self {
        let mut cluster = Cluster::new(&format!("{name}-{runtime}"));
        cluster.add_worker_with("target", arguments);
        let canary = cluster.place.path().join("canary");
        fs::write(&canary, "untouched").unwrap();
        Self {
            cluster,
            runtime,
            canary,
        }
    }

    fn place(&self) -> &Place {
        &self.cluster.place
    }

    /// Runs a step to its end, whatever that is, and gives what is recorded of it.
    fn run(&self, command: &str) -> Value {
        self.config(command);
        self.place().run(&["execution", "run", "it"]);
        self.place().newest()
    }

    fn config(&self, command: &str) {
        let command = command.replace('\'', "''");
        self.place().config(&format!(
            "- step:\n    name: it\n    image: '{BUSYBOX}'\n    command: '{command}'\n"
        ));
    }

    /// The machine outside and the worker are as they were.
    #[track_caller]
    fn is_well(&self) {
        assert_eq!(fs::read_to_string(&self.canary).unwrap(), "untouched");
        let left: Vec<_> = fs::read_dir(self.place().path()).unwrap().collect();
        let strays = left.iter().map(|entry| entry.as_ref().unwrap().file_name());
        for name in strays {
            assert!(!name.to_string_lossy().starts_with("stray"), "{name:?}");
        }
        let after = self.run("echo well");
        assert_eq!(after["state"], "complete", "{}: {after:#}", self.runtime);
    }
}

/// Row 18: what a file asks for that would open the machine. It never gets as far as a worker.
#[test]
fn row_18_what_would_open_the_machine_is_refused_by_its_name() {
    let fields = [
        ("privileged: true", "privileged"),
        ("cap-add: [SYS_ADMIN]", "cap-add"),
        ("devices: [/dev/sda]", "devices"),
        ("security-opt: [seccomp=unconfined]", "security-opt"),
        ("network: host", "network"),
        ("pid: host", "pid"),
    ];
    let mounts = [
        "/var/run/docker.sock",
        "/etc",
        "/proc/1",
        "/dev/kmem",
        "/boot",
    ];
    let images = [
        ("-v /:/host", "is no name of an image"),
        ("$(touch stray)", "is no name of an image"),
        ("169.254.169.254/latest:meta-data", "link-local address"),
    ];
    for target in Target::each("row-18", &[]) {
        let refuse = |image: &str, more: &str, expected: &str| {
            target.place().config(&format!(
                "- step:\n    name: it\n    image: '{image}'\n    command: touch {}\n    {more}\n",
                target.place().path().join("stray").display()
            ));
            let refused = target.place().run(&["execution", "run", "it"]);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(refused.code != Some(0), "{}: {more}", target.runtime);
            assert!(
                said.contains(expected),
                "{}: {more}: {said}",
                target.runtime
            );
        };
        for (field, name) in fields {
            refuse(BUSYBOX, field, &format!("a step has no field `{name}`"));
        }
        for source in mounts {
            let mount = format!("mounts: ['{source}:/data']");
            refuse(BUSYBOX, &mount, "it would hand over the machine itself");
        }
        for (image, expected) in images {
            refuse(image, "", expected);
        }
        if target.runtime == "docker" {
            let host = "environment-variables: [{name: VH_DOCKER_NETWORK, default: host}]";
            refuse(BUSYBOX, host, "asks for what no worker grants");
            refuse(
                BUSYBOX,
                "mounts: ['/srv:/data']",
                "asks for what no worker grants",
            );
        }
        let list = target.place().json(&["execution", "list"]);
        assert_eq!(list, serde_json::json!([]), "nothing was stored");
        target.is_well();
    }
    if Engine::get().is_some() {
        let strict = Target::new(
            "row-18-digest",
            "docker",
            &["--runtime=docker", "--require-digest"],
        );
        strict.config("true");
        let refused = strict.place().run(&["execution", "run", "it"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.code != Some(0) && said.contains("digest"), "{said}");
    }
}

/// Row 19: text that would be a command if anybody took it for one.
#[test]
fn row_19_values_are_text_wherever_they_go() {
    const TEXTS: [&str; 5] = [
        "$(touch stray-1)",
        "`touch stray-2`; touch stray-3 #",
        "' && touch stray-4; echo '",
        "\" && touch stray-5; echo \"",
        "-v /:/host\ntouch stray-6",
    ];
    for target in Target::each("row-19", &[]) {
        let place = target.place();
        place.config(&format!(
            "- step:\n    name: \"it\\n$(touch stray-7)\"\n    image: '{BUSYBOX}'\n    \
             command: cd /tmp; printf '%s|' {{parameter-value:p}} \"$E\"; ls\n    \
             parameters:\n      - {{name: p, type: string, default: x}}\n"
        ));
        for text in TEXTS {
            let arguments = [
                "execution".to_owned(),
                "run".to_owned(),
                "it".to_owned(),
                format!("--p={text}"),
                format!("--env=E={text}"),
                format!("--title={text}"),
            ];
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            place.run(&arguments).succeeds();
            let ran = place.newest();
            let printed = place.log_of(ran["number"].as_i64().unwrap(), None).stdout();
            let expected = format!("{text}|{text}|");
            assert!(
                printed.starts_with(&expected),
                "{}: {printed}",
                target.runtime
            );
            let rest = &printed[expected.len()..];
            assert!(!rest.contains("stray"), "{}: {rest}", target.runtime);
        }
        // What no program can be given is said to be so.
        let nul = place.project().join("nul.json");
        fs::write(&nul, r#"{"p": "a\u0000b"}"#).unwrap();
        place.run(&["execution", "run", "it", "--parameter-file", "nul.json"]);
        let ended = place.newest();
        assert_eq!(ended["end_reason"], "start_failed", "{ended:#}");
        assert!(
            ended["message"]
                .as_str()
                .unwrap()
                .contains("holds a NUL byte"),
            "{ended:#}"
        );
        target.is_well();
    }
}

/// Row 20: what a program leaves that is no output. Each beside good ones, of which then none is published.
#[test]
fn row_20_what_is_no_output_fails_the_step_by_its_name_and_publishes_nothing() {
    let name_too_long = format!(
        "d={}; mkdir -p $d/$d/$d/$d/$d; echo x >$d/$d/$d/$d/$d/{}",
        "d".repeat(200),
        "f".repeat(30)
    );
    let hostile = [
        ("ln -s /etc/shadow evil", "evil", "is a symbolic link"),
        ("ln -s CANARY evil", "evil", "is a symbolic link"),
        ("ln -s ../../.. evil", "evil", "is a symbolic link"),
        ("ln -s nowhere evil", "evil", "is a symbolic link"),
        (
            "mkdir deep; ln -s / deep/evil",
            "deep/evil",
            "is a symbolic link",
        ),
        ("echo x >a; ln a evil", "", "is a hard link"),
        ("mkfifo evil", "evil", "is a FIFO"),
        (
            "echo x >\"$(printf 'ev\\nil')\"",
            "ev\\nil",
            "holds a control character",
        ),
        (
            "mkdir \"$(printf 'ev\\033il')\"",
            "ev",
            "holds a control character",
        ),
        ("echo x >\"$(printf 'evil\\377')\"", "evil", "is not UTF-8"),
        (&name_too_long, "ddd", "is longer than"),
    ];
    for target in Target::each("row-20", &[]) {
        let canary = target.canary.display().to_string();
        for (command, name, reason) in &hostile {
            let what = format!("{}: {command}", target.runtime);
            let command = command.replace("CANARY", &canary);
            let ended = target.run(&format!(
                "cd $VH_OUTPUTS_DIR; echo good >good.txt; {command}; exit 0"
            ));
            assert_eq!(ended["end_reason"], "output_invalid", "{what}: {ended:#}");
            let message = ended["message"].as_str().unwrap();
            assert!(
                message.contains(name) && message.contains(reason),
                "{what}: {message}"
            );
            assert_eq!(ended["outputs"], serde_json::json!([]), "I-18: {what}");
            assert_eq!(ended["attempts"].as_array().unwrap().len(), 1, "{what}");
        }
        target.is_well();
    }
}

/// Row 22: more files than anybody would look at, and a log without end; the neighbour does not notice.
#[test]
fn row_22_floods_of_files_and_of_lines_are_bounded_and_say_so() {
    let files = "cd $VH_OUTPUTS_DIR; awk 'BEGIN { for (i = 0; i <= 100000; i++) { printf \"\" > i; close(i) } }'";
    for target in Target::each("row-22", &["--log-limit=1"]) {
        let runtime = target.runtime;
        let place = target.place();
        let mut gate = place.gate("neighbour");
        // A plain process comes to the gate by itself; a container does not, and waits for its time.
        let neighbour = match runtime {
            "process" => gate.line(),
            _ => "sleep 3".to_owned(),
        };
        target.config(&neighbour);
        place
            .run(&["execution", "run", "it", "--detach"])
            .succeeds();
        if runtime == "process" {
            gate.wait();
        }
        let ended = target.run(files);
        assert_eq!(
            ended["end_reason"], "output_invalid",
            "{runtime}: {ended:#}"
        );
        let message = ended["message"].as_str().unwrap();
        assert!(
            message.contains("more than 100000 files"),
            "{runtime}: {message}"
        );

        let ended = target.run("echo first; yes flood | head -c 100000000; echo last");
        assert_eq!(ended["state"], "complete", "{runtime}: {ended:#}");
        let log = place.log_of(ended["number"].as_i64().unwrap(), None);
        let stdout = log.stdout();
        assert!(stdout.starts_with("first\nflood\n"), "{runtime}");
        assert!(
            !stdout.contains("last"),
            "{runtime}: nothing follows a hole"
        );
        assert!(stdout.len() <= 1 << 20, "{runtime}: {}", stdout.len());
        let told = log.records.iter().filter(|(from, text)| {
            from == "status"
                && text.starts_with("TRUNCATED: the program has printed more than the 1 MiB")
        });
        assert_eq!(told.count(), 1, "{runtime}: {:?}", log.records.last());

        if runtime == "process" {
            gate.open();
        }
        place.run(&["execution", "watch", "1"]).succeeds();
        target.is_well();
    }
}
