//! What is killed, and what goes on: the host, the spawner, the shim.

use crate::fixture::{Gate, Host, is_alive, read_all, script, wait_until_dead};
use crate::harness::tests;
use feed::Stream;
use runtime::{AttemptDir, AttemptState, Attempts, EndReason, FeedTail, Launcher, Program, Stop};
use rustix::process::{Pid, Signal};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

tests![
    a_killed_host_finds_its_attempts_again,
    limits_hold_while_the_host_is_down,
    a_killed_spawner_is_replaced_and_its_shims_go_on,
    a_killed_shim_is_buried_with_all_it_left,
    a_copied_directory_ends_nothing_of_the_original,
    a_torn_frame_is_cut_off,
    states_of_a_directory,
];

fn kill_9(pid: u32) {
    let pid = Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

/// A host to be killed: `host DATA PROGRAM` launches the attempt `a.1`, says so, and waits for ever.
pub(crate) fn host(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let data = PathBuf::from(&args[0]);
    let program: Program = serde_json::from_str(args[1].to_str().unwrap()).unwrap();
    let launcher = Launcher::new(&std::env::current_exe().unwrap(), &data).unwrap();
    let attempts = Attempts::open(&data.join("attempts")).unwrap();
    let dir = attempts.create("a.1").unwrap();
    launcher.launch(&dir, &program).unwrap();
    match dir.state().unwrap() {
        AttemptState::Running { pid } => println!("{pid}"),
        other => panic!("{other:?}"),
    }
    loop {
        std::thread::park();
    }
}

/// Has another process launch the program, and kills that.
fn launch_by_a_host_that_is_killed(here: &Host, program: &Program) -> (AttemptDir, u32) {
    let mut other = Command::new(std::env::current_exe().unwrap())
        .arg("host")
        .arg(here.data.path())
        .arg(serde_json::to_string(program).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    (here.attempts.get("a.1"), line.trim().parse().unwrap())
}

fn a_killed_host_finds_its_attempts_again() {
    let here = Host::new();
    let gate = Gate::new(&here, "gate");
    let text = format!("echo before\n{}\nseq 1 20000\nexit 4", gate.wait());
    let (dir, pid) = launch_by_a_host_that_is_killed(&here, &script(&text));
    let found = here.attempts.scan().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.to_str(), &found[0].dir), (Some("a.1"), &dir));
    assert_eq!(found[0].state, AttemptState::Running { pid });
    let mut tail = here.wait_for_output(&dir, "before");
    let read_before = tail.next_record();
    gate.open();
    let ran = here.finish(dir);
    assert_eq!(ran.exit.code, Some(4));
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    assert!(ran.stdout() == format!("before\n{expected}"));
    // Read on from where the first reader came: no gap, no repeat.
    assert_eq!(read_all(&mut tail), ran.records[read_before as usize..]);
    let again = here.attempts.scan().unwrap();
    assert_eq!(again[0].state, AttemptState::Ended(ran.exit));
}

fn limits_hold_while_the_host_is_down() {
    let here = Host::new();
    let program = Program {
        time_limit_ms: Some(300),
        notify: Some("/nowhere/at/all".into()),
        ..script("sleep 1000")
    };
    let (dir, pid) = launch_by_a_host_that_is_killed(&here, &program);
    wait_until_dead(pid as i32);
    assert_eq!(here.finish(dir).exit.reason, EndReason::TimeLimit);
}

fn a_killed_spawner_is_replaced_and_its_shims_go_on() {
    let host = Host::new();
    let gate = Gate::new(&host, "gate");
    let first = host.start("first", &script(&format!("{}\necho survived", gate.wait())));
    let first_spawner = host.launcher.spawner_pid().unwrap();
    kill_9(first_spawner);
    wait_until_dead(first_spawner as i32);
    assert_eq!(host.run("second", &script("echo two")).stdout(), "two\n");
    let spawner = host.launcher.spawner_pid().unwrap();
    assert!(!is_alive(first_spawner as i32) && spawner != first_spawner);
    gate.open();
    assert_eq!(host.finish(first).stdout(), "survived\n");
}

fn a_killed_shim_is_buried_with_all_it_left() {
    let host = Host::new();
    // One in the group of the main process, one that has left it.
    let text = "trap '' PIPE TERM\nsleep 1000 & echo $! >pids\n(setsid sh -c 'echo $$ >>pids; exec sleep 1000' &)\n\
                until [ $(wc -l <pids) = 2 ]; do :; done; echo $$ >>pids; echo ready; wait";
    let dir = host.start("gone", &script(text));
    host.wait_for_output(&dir, "ready");
    let AttemptState::Running { pid } = dir.state().unwrap() else {
        panic!("not running");
    };
    assert!(dir.bury().is_err(), "the living are not buried");
    kill_9(pid);
    wait_until_dead(pid as i32);
    assert_eq!(dir.state().unwrap(), AttemptState::Gone);
    assert!(!dir.stop(Stop::Kill).unwrap());
    let pids = std::fs::read_to_string(dir.repository().join("pids")).unwrap();
    let pids: Vec<i32> = pids.lines().map(|line| line.parse().unwrap()).collect();
    assert!(pids.len() == 3 && pids.iter().all(|pid| is_alive(*pid)));
    let exit = dir.bury().unwrap();
    assert_eq!(exit.reason, EndReason::Gone);
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert_eq!(dir.bury().unwrap(), exit, "once buried, it has ended");
    let ran = host.finish(dir);
    assert_eq!((ran.stdout().as_str(), ran.exit), ("ready\n", exit));
}

/// I-16: whoever finds the copy finds no shim that holds it.
fn a_copied_directory_ends_nothing_of_the_original() {
    let host = Host::new();
    let gate = Gate::new(&host, "gate");
    let text = format!("echo $$ >main\necho ready\n{}\necho went on", gate.wait());
    let dir = host.start("copied", &script(&text));
    host.wait_for_output(&dir, "ready");
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("attempts");
    let from = dir.path().parent().unwrap();
    let copied = Command::new("cp").arg("-a").args([from, &copy]).status();
    assert!(copied.unwrap().success());
    let found = Attempts::open(&copy).unwrap().scan().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].dir.state().unwrap(), AttemptState::Gone);
    assert_eq!(found[0].dir.bury().unwrap().reason, EndReason::Gone);
    let main = std::fs::read_to_string(dir.repository().join("main")).unwrap();
    assert!(is_alive(main.trim().parse().unwrap()));
    gate.open();
    assert_eq!(host.finish(dir).stdout(), "ready\nwent on\n");
}

fn a_torn_frame_is_cut_off() {
    let host = Host::new();
    let dir = host.start("torn", &script("echo whole; sleep 1000"));
    let mut tail = host.wait_for_output(&dir, "whole");
    let AttemptState::Running { pid } = dir.state().unwrap() else {
        panic!("not running");
    };
    kill_9(pid);
    wait_until_dead(pid as i32);
    let mut frame = Vec::new();
    feed::encode_parts(Stream::Stdout, false, 1, b"torn", &mut frame);
    let mut bytes = std::fs::read(dir.feed()).unwrap();
    bytes.extend(&frame[..frame.len() - 1]);
    std::fs::write(dir.feed(), &bytes).unwrap();
    let exit = dir.bury().unwrap();
    assert_eq!(exit.feed_bytes as usize, bytes.len() - frame.len() + 1);
    assert_eq!(exit.record_count, tail.next_record());
    assert!(read_all(&mut tail).is_empty());
    host.finish(dir);
}

fn states_of_a_directory() {
    let host = Host::new();
    let dir = host.dir("states");
    assert_eq!(dir.state().unwrap(), AttemptState::New);
    assert_eq!(read_all(&mut FeedTail::new(&dir, 0, 0)), []);
    // Launched, and dead before it could write anything; then a power cut that left an empty `exit.json`.
    std::fs::write(dir.path().join("shim.lock"), "").unwrap();
    assert_eq!(dir.state().unwrap(), AttemptState::Gone);
    std::fs::write(dir.path().join("exit.json"), "").unwrap();
    assert_eq!(dir.state().unwrap(), AttemptState::Gone);
    let exit = dir.bury().unwrap();
    assert_eq!((&exit.reason, exit.record_count), (&EndReason::Gone, 0));
    assert_eq!(dir.state().unwrap(), AttemptState::Ended(exit));
    host.attempts.retire(&dir).unwrap();
    assert_eq!(host.attempts.scan().unwrap(), []);
}
