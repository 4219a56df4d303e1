//! Programs that are stopped: asked first, each process by the signal it listens to, then killed.

use crate::fixture::{Gate, Host, is_alive, script};
use crate::harness::tests;
use runtime::{AttemptState, EndReason, Program, Stop};

tests![
    a_program_that_ignores_everything_is_killed_after_its_grace,
    an_interrupted_program_saves_its_work_while_its_shell_is_gone,
    a_script_with_a_trap_cleans_up,
    kill_does_not_wait,
    a_stop_in_the_first_moment_is_not_lost,
    the_time_limit_holds,
    silence_is_ended_and_output_prolongs,
    a_stop_reaches_daemons,
    forks_do_not_escape_a_kill,
    nothing_is_stopped_that_does_not_run,
];

fn a_program_that_ignores_everything_is_killed_after_its_grace() {
    let host = Host::new();
    let program = Program {
        grace_ms: 200,
        ..script("trap '' TERM INT\necho ready\nwhile :; do sleep 0.1; done")
    };
    let dir = host.start("ignores", &program);
    host.wait_for_output(&dir, "ready");
    assert!(dir.stop(Stop::Graceful).unwrap());
    let ran = host.finish(dir);
    assert_eq!(
        (ran.exit.reason, ran.exit.signal),
        (EndReason::Stopped, Some(9))
    );
    let status = host_status(&ran.records);
    assert_eq!(
        status,
        [
            "started\n",
            "asked to stop: stopping, to be killed after 0.2 s\n",
            "killed\n"
        ]
    );
    assert!(ran.exit.ended_us - ran.exit.started_us >= 200_000);
}

fn host_status(records: &[feed::Record]) -> Vec<String> {
    let status = records.iter().filter(|r| r.stream == feed::Stream::Status);
    status
        .map(|r| String::from_utf8(r.data.to_vec()).unwrap())
        .collect()
}

/// A program as Python is one: it catches SIGINT and not SIGTERM, and is not a shell by name.
fn trainer(host: &Host) -> String {
    let path = host.data.path().join("trainer");
    std::fs::copy("/bin/bash", &path).unwrap();
    path.display().to_string()
}

fn an_interrupted_program_saves_its_work_while_its_shell_is_gone() {
    let host = Host::new();
    let gate = Gate::new(&host, "gate");
    let text = format!(
        "{} -c 'trap \"echo interrupted; saving=1\" INT; echo ready; until [ \"$saving\" ]; do sleep 0.05; done; {}; echo saved; exit 0'\n\
         echo the next line must not run",
        trainer(&host),
        gate.wait(),
    );
    let dir = host.start("interrupted", &script(&text));
    host.wait_for_output(&dir, "ready");
    assert!(dir.stop(Stop::Graceful).unwrap());
    host.wait_for_output(&dir, "interrupted");
    assert!(matches!(dir.state().unwrap(), AttemptState::Running { .. }));
    // Asked again: nothing changes.
    assert!(dir.stop(Stop::Graceful).unwrap());
    gate.open();
    let ran = host.finish(dir);
    assert_eq!(ran.stdout(), "ready\ninterrupted\nsaved\n");
    assert_eq!(
        (ran.exit.reason, ran.exit.signal),
        (EndReason::Stopped, Some(15))
    );
}

fn a_script_with_a_trap_cleans_up() {
    let host = Host::new();
    let text = "trap 'echo cleaned; exit 3' TERM\necho ready\nwhile :; do sleep 0.05; done";
    let dir = host.start("trap", &script(text));
    host.wait_for_output(&dir, "ready");
    assert!(dir.stop(Stop::Graceful).unwrap());
    let ran = host.finish(dir);
    assert_eq!(ran.stdout(), "ready\ncleaned\n");
    assert_eq!(
        (ran.exit.reason, ran.exit.code),
        (EndReason::Stopped, Some(3))
    );
}

fn kill_does_not_wait() {
    let host = Host::new();
    let dir = host.start(
        "kill",
        &script("trap '' TERM INT\necho ready\nwhile :; do sleep 0.1; done"),
    );
    host.wait_for_output(&dir, "ready");
    assert!(dir.stop(Stop::Graceful).unwrap());
    assert!(dir.stop(Stop::Kill).unwrap());
    let ran = host.finish(dir);
    assert_eq!(
        (ran.exit.reason, ran.exit.signal),
        (EndReason::Stopped, Some(9))
    );
}

fn a_stop_in_the_first_moment_is_not_lost() {
    let host = Host::new();
    for n in 0..20 {
        let dir = host.start(&format!("first.{n}"), &script("sleep 1000"));
        assert!(dir.stop(Stop::Graceful).unwrap());
        assert_eq!(host.finish(dir).exit.reason, EndReason::Stopped);
    }
}

fn the_time_limit_holds() {
    let host = Host::new();
    let program = Program {
        time_limit_ms: Some(150),
        ..script("sleep 1000")
    };
    let ran = host.run("time-limit", &program);
    assert_eq!(
        (ran.exit.reason.clone(), ran.exit.signal),
        (EndReason::TimeLimit, Some(15))
    );
    assert!(
        ran.status()
            .contains("time limit of 0.1 s reached: stopping"),
        "{}",
        ran.status()
    );
    assert!(ran.exit.ended_us - ran.exit.started_us >= 150_000);
}

fn silence_is_ended_and_output_prolongs() {
    let host = Host::new();
    // Prints for longer than the limit, with pauses that are a fortieth of it.
    let program = Program {
        no_output_timeout_ms: Some(2000),
        ..script("for i in {1..50}; do echo $i; sleep 0.05; done\nsleep 1000")
    };
    let ran = host.run("silence", &program);
    assert_eq!(ran.exit.reason, EndReason::NoOutput);
    assert!(ran.stdout().ends_with("\n49\n50\n"));
    assert!(ran.status().contains("no output for 2 s: stopping"));
}

fn a_stop_reaches_daemons() {
    let host = Host::new();
    let text = "(setsid sh -c 'echo $$ >daemon.pid; exec sleep 1000' &)\n\
                until [ -s daemon.pid ]; do :; done; echo ready; sleep 1000";
    let dir = host.start("stop-daemon", &script(text));
    host.wait_for_output(&dir, "ready");
    assert!(dir.stop(Stop::Graceful).unwrap());
    let ran = host.finish(dir);
    let pid = std::fs::read_to_string(ran.dir.repository().join("daemon.pid")).unwrap();
    assert!(!is_alive(pid.trim().parse().unwrap()));
    // It was asked, not killed: the grace of a minute was not used up.
    assert!(!ran.status().contains("killed\n"), "{}", ran.status());
}

fn forks_do_not_escape_a_kill() {
    let host = Host::new();
    // Each generation leaves its child behind and is gone: there is always one, and never the same.
    let text = "echo 'trap \"\" TERM INT; echo $$ >>pids; sh chain & exit' >chain\n(sh chain &)\n\
                until [ $(wc -l <pids || echo 0) -gt 20 ]; do :; done 2>/dev/null\nexit 5";
    let ran = host.run("chain", &script(text));
    assert_eq!(ran.exit.code, Some(5));
    let pids = std::fs::read_to_string(ran.dir.repository().join("pids")).unwrap();
    let last: i32 = pids.lines().last().unwrap().parse().unwrap();
    assert!(!is_alive(last));
    assert!(
        ran.status().contains("left in the background"),
        "{}",
        ran.status()
    );
}

fn nothing_is_stopped_that_does_not_run() {
    let host = Host::new();
    assert!(!host.dir("new").stop(Stop::Kill).unwrap());
    let ran = host.run("ended", &script("true"));
    assert!(!ran.dir.stop(Stop::Kill).unwrap());
}
