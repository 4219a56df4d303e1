//! What must hold in either runtime: one table, each row run in both.

use crate::harness::tests;
use crate::machine::{Machine, script};
use feed::Stream;
use runtime::{AttemptState, EndReason, LaunchError, Program, Stop};

tests![
    every_row_holds_in_both,
    bytes_come_as_they_were_printed,
    programs_are_stopped,
    an_attempt_is_launched_once,
    what_cannot_start_says_why,
];

/// A script, and what comes of it.
struct Row {
    name: &'static str,
    program: Program,
    reason: EndReason,
    code: Option<i32>,
    signal: Option<i32>,
    stdout: &'static str,
    /// In what Shoal itself says.
    status: &'static str,
}

fn row(name: &'static str, text: &str) -> Row {
    Row {
        name,
        program: script(text),
        reason: EndReason::Exited,
        code: Some(0),
        signal: None,
        stdout: "",
        status: "started\n",
    }
}

fn rows() -> Vec<Row> {
    vec![
        row("true", "true"),
        Row {
            code: Some(1),
            ..row("false", "false")
        },
        Row {
            code: Some(77),
            ..row("exit", "exit 77")
        },
        Row {
            code: Some(127),
            ..row("not-found", "no-such-command-at-all")
        },
        Row {
            code: Some(137),
            ..row("exit-137", "exit 137")
        },
        Row {
            reason: EndReason::Signaled,
            code: None,
            signal: Some(9),
            ..row("kill", "kill -9 $$")
        },
        Row {
            reason: EndReason::Signaled,
            code: None,
            signal: Some(11),
            ..row("segv", "kill -11 $$")
        },
        Row {
            stdout: "one\n9 b\n/\n",
            ..row(
                "lines-of-one-script",
                "if [ -d / ]; then\n  echo one\nelse\n  exit 1\nfi\nexport A=b\n(exit 9) &\nwait $!\necho $? $A\ncd /\npwd",
            )
        },
        Row {
            stdout: "/valohai/repository\n/valohai/inputs /valohai/outputs /valohai/config /valohai/repository\n",
            ..row(
                "directories",
                "pwd\necho $VH_INPUTS_DIR $VH_OUTPUTS_DIR $VH_CONFIG_DIR $VH_REPOSITORY_DIR",
            )
        },
        Row {
            program: Program {
                env: vec![
                    ("A".into(), "first".into()),
                    ("A".into(), "$(id) `id` \"'\n;".into()),
                    ("VH_INPUTS_DIR".into(), "/elsewhere".into()),
                ],
                ..script("echo \"$A\"\necho $VH_INPUTS_DIR")
            },
            stdout: "$(id) `id` \"'\n;\n/valohai/inputs\n",
            ..row("environment", "")
        },
        Row {
            stdout: "0\n",
            ..row("standard-input-is-empty", "cat | wc -c | tr -d ' '")
        },
        Row {
            stdout: "done\n",
            ..row(
                "long-script",
                &format!(": {}\necho done", "x".repeat(1 << 20)),
            )
        },
        Row {
            stdout: "by the interpreter\n",
            // It prints itself but for its first line.
            ..row("first-line", "#!/bin/sed 1d\nby the interpreter\n")
        },
        Row {
            status: "killed 1 left in the background\n",
            ..row("background", "sleep 1000 &")
        },
        Row {
            reason: EndReason::TimeLimit,
            program: Program {
                time_limit_ms: Some(150),
                ..script("sleep 1000")
            },
            code: None,
            signal: Some(15),
            status: "time limit of 0.1 s reached: stopping",
            ..row("time-limit", "")
        },
        Row {
            reason: EndReason::NoOutput,
            program: Program {
                no_output_timeout_ms: Some(1000),
                ..script("echo once\nsleep 1000")
            },
            code: None,
            signal: Some(15),
            stdout: "once\n",
            status: "no output for 1 s: stopping",
            ..row("silence", "")
        },
        Row {
            stdout: "kept\n",
            ..row(
                "writable-directories",
                "touch $VH_REPOSITORY_DIR/a $VH_INPUTS_DIR/b && echo kept | tee $VH_OUTPUTS_DIR/c",
            )
        },
        Row {
            program: Program {
                notices: vec!["to be told first".to_owned()],
                ..script("true")
            },
            status: "to be told first\nstarted\n",
            ..row("notices", "")
        },
    ]
}

fn every_row_holds_in_both() {
    for machine in Machine::each() {
        for row in rows() {
            let what = format!("{} in {}", row.name, machine.runtime.name());
            let ran = machine.run(&format!("{}.1.7", row.name), &row.program);
            assert_eq!(
                ran.exit.reason,
                row.reason,
                "{what}: {}{}",
                ran.stderr(),
                ran.status()
            );
            assert_eq!(
                (ran.exit.code, ran.exit.signal),
                (row.code, row.signal),
                "{what}"
            );
            assert_eq!(ran.stdout(), row.stdout, "{what}");
            assert!(
                ran.status().contains(row.status),
                "{what}: {}",
                ran.status()
            );
            assert!(
                ran.exit.started_us <= ran.exit.ended_us && !ran.exit.oom,
                "{what}"
            );
            machine.forget(ran);
        }
        if machine.is_docker() {
            assert_eq!(machine.containers(), Vec::<String>::new());
        }
    }
}

fn bytes_come_as_they_were_printed() {
    let text = "printf '\\r%d%%' 1 2 3\nprintf 'not text \\377\\376\\000 \\303('\n\
                head -c 1048576 /dev/zero | tr '\\0' x; echo\n\
                head -c 3000000 /dev/urandom | tee $VH_OUTPUTS_DIR/random\nprintf 'other \\377' >&2";
    for machine in Machine::each() {
        let ran = machine.run("bytes.1.7", &script(text));
        let mut expected = b"\r1%\r2%\r3%not text \xff\xfe\0 \xc3(".to_vec();
        expected.extend(vec![b'x'; 1 << 20]);
        expected.push(b'\n');
        expected.extend(std::fs::read(ran.dir.outputs().join("random")).unwrap());
        assert!(
            ran.bytes(Stream::Stdout) == expected,
            "{}",
            machine.runtime.name()
        );
        assert_eq!(ran.bytes(Stream::Stderr), b"other \xff");
        machine.forget(ran);
    }
}

/// A program that prints `ready`, how it is stopped then, and what comes of it.
struct Stopped {
    name: &'static str,
    text: &'static str,
    grace_ms: u64,
    how: &'static [Stop],
    code: Option<i32>,
    signal: Option<i32>,
    status: &'static str,
}

const DEAF: &str = "trap '' TERM INT\necho ready\nwhile :; do sleep 0.1; done";

const STOPPED: [Stopped; 3] = [
    Stopped {
        name: "cleans-up",
        text: "trap 'echo cleaned; exit 3' TERM\necho ready\nwhile :; do sleep 0.05; done",
        grace_ms: 60_000,
        how: &[Stop::Graceful],
        code: Some(3),
        signal: None,
        status: "asked to stop",
    },
    Stopped {
        name: "deaf",
        text: DEAF,
        grace_ms: 200,
        how: &[Stop::Graceful],
        code: None,
        signal: Some(9),
        status: "killed\n",
    },
    Stopped {
        name: "deaf-and-in-a-hurry",
        text: DEAF,
        grace_ms: 60_000,
        how: &[Stop::Graceful, Stop::Kill],
        code: None,
        signal: Some(9),
        status: "asked to kill",
    },
];

fn programs_are_stopped() {
    for machine in Machine::each() {
        for row in STOPPED {
            let name = row.name;
            let program = Program {
                grace_ms: row.grace_ms,
                ..script(row.text)
            };
            let dir = machine.start(&format!("{name}.1.7"), &program);
            machine.wait_for_output(&dir, "ready");
            for how in row.how {
                assert!(machine.runtime.stop(&dir, *how).unwrap(), "{name}");
            }
            let ran = machine.finish(dir);
            assert_eq!(ran.exit.reason, EndReason::Stopped, "{name}");
            assert_eq!(
                (ran.exit.code, ran.exit.signal),
                (row.code, row.signal),
                "{name}"
            );
            assert!(
                ran.status().contains(row.status),
                "{name}: {}",
                ran.status()
            );
            assert!(!machine.runtime.stop(&ran.dir, Stop::Kill).unwrap());
            machine.forget(ran);
        }
    }
}

fn an_attempt_is_launched_once() {
    for machine in Machine::each() {
        let ran = machine.run("once.1.7", &script("echo one"));
        let again = machine.launch(&ran.dir, &script("echo two"), &Default::default());
        assert!(
            matches!(again, Err(LaunchError::AlreadyLaunched)),
            "{again:?}"
        );
        let state = machine.runtime.look(&ran.dir).unwrap();
        assert!(matches!(state, AttemptState::Ended(_)), "{state:?}");
        assert_eq!(ran.stdout(), "one\n");
        machine.forget(ran);
    }
}

fn what_cannot_start_says_why() {
    let with_path = |path: &str| Program {
        env: vec![("PATH".into(), path.into())],
        ..script("echo $HOME")
    };
    let table = [
        (
            script("#!/no/such/interpreter\n"),
            "the interpreter named in",
        ),
        (with_path("/nowhere"), "no bash or sh in /nowhere"),
        (script("echo \0"), "holds a NUL byte, after `echo `"),
    ];
    for machine in Machine::each() {
        for (n, (program, expected)) in table.iter().enumerate() {
            let ran = machine.run(&format!("start{n}.1.7"), program);
            let EndReason::StartFailed { message } = &ran.exit.reason else {
                panic!("{expected}: {:?}", ran.exit);
            };
            assert!(message.contains(expected), "{expected}: {message}");
            assert!(ran.status().contains(expected), "the feed says it too");
            machine.forget(ran);
        }
    }
}
