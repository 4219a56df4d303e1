//! How programs are started, and how they end by themselves.

use crate::fixture::{Host, is_alive, script};
use crate::harness::tests;
use runtime::{EndReason, Interpreter, LaunchError, Program};

tests![
    exits_are_told,
    items_are_lines_of_one_script,
    a_first_line_names_the_interpreter,
    what_cannot_start_says_why,
    the_environment_is_exact,
    a_script_may_be_longer_than_an_argument,
    background_processes_do_not_hold_the_end,
    daemons_do_not_outlive_the_attempt,
    standard_input_is_empty_and_no_descriptor_leaks,
    an_attempt_is_launched_once,
    a_thousand_arguments_and_a_direct_start,
];

fn exits_are_told() {
    use EndReason::{Exited, Signaled};
    let host = Host::new();
    let table = [
        ("true", Exited, Some(0), None),
        ("false", Exited, Some(1), None),
        ("false\ntrue", Exited, Some(0), None),
        ("exit 77", Exited, Some(77), None),
        ("no-such-command-at-all", Exited, Some(127), None),
        ("/etc/passwd", Exited, Some(126), None),
        ("kill -9 $$", Signaled, None, Some(9)),
        ("kill -SEGV $$", Signaled, None, Some(11)),
        ("kill -TERM $$", Signaled, None, Some(15)),
        ("bash -c 'kill -9 $$'\nexit $?", Exited, Some(137), None),
    ];
    for (n, (text, reason, code, signal)) in table.into_iter().enumerate() {
        let ran = host.run(&format!("exits.{n}"), &script(text));
        assert_eq!(ran.exit.reason, reason, "{text}");
        assert_eq!((ran.exit.code, ran.exit.signal), (code, signal), "{text}");
        assert!(ran.exit.started_us <= ran.exit.ended_us && !ran.exit.oom);
        assert_eq!(ran.status(), "started\n", "{text}");
    }
}

fn items_are_lines_of_one_script() {
    let host = Host::new();
    let items = [
        "if [ -d /etc ]; then",
        "  echo yes",
        "else",
        "  exit 1",
        "fi",
        "for i in 1 2; do",
        "echo $i",
        "done",
        "cd /",
        "pwd",
        "export A=b",
        "(echo late; exit 9) &",
        "wait $!",
        "echo $? $A",
    ];
    let ran = host.run("items", &script(&items.join("\n")));
    assert_eq!(ran.stdout(), "yes\n1\n2\n/\nlate\n9 b\n");
    assert_eq!(ran.exit.code, Some(0));
}

fn a_first_line_names_the_interpreter() {
    let host = Host::new();
    let ran = host.run("awk", &script("#!/usr/bin/awk -f\nBEGIN { print 6 * 7 }"));
    assert_eq!(ran.stdout(), "42\n");
    // Bash where there is one, `sh` where it is asked for or there is none.
    let which = "echo ${BASH_VERSION:+bash}";
    assert_eq!(host.run("bash", &script(which)).stdout(), "bash\n");
    let only_sh = host.data.path().join("bin");
    std::fs::create_dir(&only_sh).unwrap();
    std::os::unix::fs::symlink("/bin/sh", only_sh.join("sh")).unwrap();
    let mut program = script("echo $0");
    program.env = vec![("PATH".into(), only_sh.display().to_string())];
    assert_eq!(host.run("path", &program).stdout(), "sh\n");
    let asked = Program {
        interpreter: Interpreter::Sh,
        ..script("echo $0")
    };
    assert_eq!(host.run("sh", &asked).stdout(), "sh\n");
}

fn what_cannot_start_says_why() {
    let host = Host::new();
    let with_env = |name: &str, value: &str| Program {
        env: vec![(name.into(), value.into())],
        ..script("true")
    };
    let table = [
        (
            script("#!/no/such/interpreter\n"),
            "the interpreter named in",
        ),
        (script("#!/etc/passwd\n"), "Permission denied"),
        (with_env("PATH", "/nowhere"), "no bash or sh in /nowhere"),
        (with_env("A", "1\0b"), "holds a NUL byte, after `A=1`"),
        (script("echo \0"), "holds a NUL byte, after `echo `"),
        (with_env("A", &"x".repeat(200_000)), "too long"),
    ];
    for (n, (program, expected)) in table.into_iter().enumerate() {
        let ran = host.run(&format!("start.{n}"), &program);
        let EndReason::StartFailed { message } = &ran.exit.reason else {
            panic!("{expected}: {:?}", ran.exit);
        };
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(ran.status().contains(expected), "the feed says it too");
        assert_eq!((ran.exit.code, ran.exit.signal), (None, None));
    }
    let dir = host.dir("no-repository");
    std::fs::remove_dir(dir.repository()).unwrap();
    host.launcher.launch(&dir, &script("true")).unwrap();
    let ran = host.finish(dir);
    assert!(
        matches!(&ran.exit.reason, EndReason::StartFailed { message } if message.contains("repository"))
    );
}

fn the_environment_is_exact() {
    let host = Host::new();
    let program = Program {
        env: vec![
            ("A".into(), "first".into()),
            ("A".into(), "$(touch /tmp/x) `id` \"'\n;".into()),
            ("VH_INPUTS_DIR".into(), "/elsewhere".into()),
        ],
        pass_env: vec!["PATH".into(), "NOT_SET_ANYWHERE".into()],
        ..script("exec env -0")
    };
    let ran = host.run("environment", &program);
    let root = ran.dir.root().display().to_string();
    let expected = [
        "A=$(touch /tmp/x) `id` \"'\n;".to_owned(),
        format!("PATH={}", std::env::var("PATH").unwrap()),
        format!("SHOAL_ATTEMPT={}", ran.dir.path().display()),
        format!("VH_CONFIG_DIR={root}/config"),
        format!("VH_INPUTS_DIR={root}/inputs"),
        format!("VH_OUTPUTS_DIR={root}/outputs"),
        format!("VH_REPOSITORY_DIR={root}/repository"),
    ];
    let stdout = ran.stdout();
    let mut got: Vec<&str> = stdout.split_terminator('\0').collect();
    // What bash itself adds.
    got.retain(|v| {
        !["PWD=", "OLDPWD=", "SHLVL=", "_="]
            .iter()
            .any(|own| v.starts_with(own))
    });
    got.sort_unstable();
    assert_eq!(got, expected);
}

fn a_script_may_be_longer_than_an_argument() {
    let host = Host::new();
    let text = format!(": {}\necho done", "x".repeat(1 << 20));
    let ran = host.run("long", &script(&text));
    assert_eq!((ran.stdout().as_str(), ran.exit.code), ("done\n", Some(0)));
}

fn background_processes_do_not_hold_the_end() {
    let host = Host::new();
    let ran = host.run("background", &script("sleep 1000 &\necho $!"));
    assert_eq!(
        (&ran.exit.reason, ran.exit.code),
        (&EndReason::Exited, Some(0))
    );
    assert!(!is_alive(ran.stdout().trim().parse().unwrap()));
    assert_eq!(ran.status(), "started\nkilled 1 left in the background\n");
}

fn daemons_do_not_outlive_the_attempt() {
    let host = Host::new();
    // Another session, reparented, with signals ignored and the pipes closed.
    let text = "(trap '' TERM INT HUP; setsid sh -c 'echo $$ >daemon.pid; exec sleep 1000' >/dev/null 2>&1 </dev/null &)\n\
                until [ -s daemon.pid ]; do :; done";
    let ran = host.run("daemon", &script(text));
    let pid = std::fs::read_to_string(ran.dir.repository().join("daemon.pid")).unwrap();
    assert!(!is_alive(pid.trim().parse().unwrap()));
    assert_eq!(ran.exit.code, Some(0));
}

fn standard_input_is_empty_and_no_descriptor_leaks() {
    let host = Host::new();
    let ran = host.run(
        "descriptors",
        &script("cat\nls /proc/self/fd | tr '\\n' ' '"),
    );
    // `ls` itself has the directory open.
    assert_eq!(ran.stdout(), "0 1 2 3 ");
}

fn an_attempt_is_launched_once() {
    let host = Host::new();
    let ran = host.run("once", &script("echo one"));
    let again = host.launcher.launch(&ran.dir, &script("echo two"));
    assert!(
        matches!(again, Err(LaunchError::AlreadyLaunched)),
        "{again:?}"
    );
    let again = host.launcher.launch_direct(&ran.dir, &script("echo two"));
    assert!(
        matches!(again, Err(LaunchError::AlreadyLaunched)),
        "{again:?}"
    );
    assert_eq!(host.finish(ran.dir).stdout(), "one\n");
}

fn a_thousand_arguments_and_a_direct_start() {
    let host = Host::new();
    let dir = host.dir("direct");
    let mut program =
        script("echo ${!V*} | wc -w; test ! -e ../../program.json && echo secret gone");
    program.env = (0..1000)
        .map(|n| (format!("V{n:04}"), "x".repeat(100)))
        .collect();
    program.notify = Some(runtime::NotifySocket::path(host.data.path()));
    host.launcher.launch_direct(&dir, &program).unwrap();
    let ran = host.finish(dir);
    // The four directories begin with V as well.
    assert_eq!(ran.stdout(), "1004\nsecret gone\n");
}
