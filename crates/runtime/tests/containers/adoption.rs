//! A daemon that was killed and one that takes over; what belongs to nobody.

use crate::engine::engine;
use crate::harness::tests;
use crate::machine::{Machine, open, policy, script};
use runtime::docker::{Container, Image};
use runtime::{AttemptState, Attempts, EndReason, Launched, Runtime, Stop};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;

tests![
    a_killed_host_leaves_its_containers_to_the_next,
    what_belongs_to_nobody_is_removed_before_anything_else,
    a_killed_container_is_found_out_and_told,
];

/// A host to kill: starts the scripts that it is given by lines, and says when each runs.
pub(crate) fn host(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let data = PathBuf::from(args.next().unwrap());
    let engine = engine().unwrap();
    let docker = open(engine, &data, policy(), |_| {}).unwrap();
    let attempts = Attempts::open(&data.join("attempts")).unwrap();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (name, text) = line.split_once(' ').unwrap();
        let ask = runtime::docker::Ask {
            image: crate::engine::BUSYBOX.to_owned(),
            ..Default::default()
        };
        let image: Image = engine
            .pool
            .block_on(docker.image(&ask.image, &|_| {}))
            .unwrap();
        let container = Container {
            image,
            grant: docker.grant(&ask).unwrap(),
            devices: Vec::new(),
            cluster: String::new(),
            worker: String::new(),
        };
        let dir = attempts.create(name).unwrap();
        let (tell, told) = mpsc::channel();
        let told_by = Box::new(move |outcome| drop(tell.send(outcome)));
        let program = script(&text.replace("; ", "\n"));
        match docker.launch(&dir, &program, Some(container), told_by) {
            Launched::Now(outcome) => outcome.unwrap(),
            Launched::Later => told.recv().unwrap().unwrap(),
        }
        println!("{name}");
        std::io::stdout().flush().unwrap();
    }
    ExitCode::SUCCESS
}

fn start_host(data: &std::path::Path, lines: &[&str]) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("host")
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines {
        writeln!(child.stdin.as_mut().unwrap(), "{line}").unwrap();
        assert_eq!(
            told.next().unwrap().unwrap(),
            line.split(' ').next().unwrap()
        );
    }
    child
}

fn a_killed_host_leaves_its_containers_to_the_next() {
    let Some(engine) = engine() else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let lines = [
        "goes-on.1.7 echo one; trap 'echo last; exit 4' TERM; while :; do sleep 0.05; done",
        "ends.1.7 echo short; exit 6",
        "orphan.1.7 sleep 1000",
    ];
    let mut host = start_host(data.path(), &lines);
    host.kill().unwrap();
    host.wait().unwrap();

    let machine = Machine::at(engine, data, policy()).unwrap();
    assert_eq!(machine.containers().len(), 3);
    let kept = ["goes-on.1.7", "ends.1.7"].map(|name| machine.attempts.get(name));
    machine.runtime.adopt(&kept).unwrap();
    let mut left = machine.containers();
    left.sort();
    assert_eq!(left, ["shoal-ends.1.7", "shoal-goes-on.1.7"]);
    let [goes_on, ends] = kept;
    assert!(goes_on.was_given() && ends.was_given());
    let ran = machine.finish(ends);
    assert_eq!((ran.exit.code, ran.stdout().as_str()), (Some(6), "short\n"));
    machine.forget(ran);
    assert!(matches!(
        machine.runtime.look(&goes_on).unwrap(),
        AttemptState::Running { .. }
    ));
    assert!(machine.runtime.stop(&goes_on, Stop::Graceful).unwrap());
    let ran = machine.finish(goes_on);
    assert_eq!(
        (
            ran.exit.reason.clone(),
            ran.exit.code,
            ran.stdout().as_str()
        ),
        (EndReason::Stopped, Some(4), "one\nlast\n")
    );
    machine.forget(ran);
    assert_eq!(machine.containers(), Vec::<String>::new());
}

fn what_belongs_to_nobody_is_removed_before_anything_else() {
    let Some(machine) = Machine::of_containers(policy()) else {
        return;
    };
    let dir = machine.start("nobodys.1.7", &script("sleep 1000"));
    assert_eq!(machine.containers().len(), 1);
    machine.runtime.adopt(&[]).unwrap();
    assert_eq!(machine.containers(), Vec::<String>::new());
    assert_eq!(machine.finish(dir).exit.reason, EndReason::Gone);
}

fn a_killed_container_is_found_out_and_told() {
    let Some(machine) = Machine::of_containers(policy()) else {
        return;
    };
    let dir = machine.start("killed.1.7", &script("echo ready\nsleep 1000"));
    machine.wait_for_output(&dir, "ready");
    let engine = engine().unwrap();
    let options = None::<bollard::query_parameters::KillContainerOptions>;
    let killed = engine.docker.kill_container("shoal-killed.1.7", options);
    engine.pool.block_on(killed).unwrap();
    let ran = machine.finish(dir);
    assert_eq!(
        (ran.exit.reason.clone(), ran.exit.code),
        (EndReason::Gone, None)
    );
    assert_eq!(ran.stdout(), "ready\n");
    machine.forget(ran);
    // The engine's own way to end one is told apart: it asks first.
    let dir = machine.start(
        "engine.1.7",
        &script("trap 'echo saved; exit 0' TERM\necho ready\nwhile :; do sleep 0.05; done"),
    );
    machine.wait_for_output(&dir, "ready");
    let options = None::<bollard::query_parameters::StopContainerOptions>;
    let stopped = engine.docker.stop_container("shoal-engine.1.7", options);
    engine.pool.block_on(stopped).unwrap();
    let ran = machine.finish(dir);
    assert_eq!(ran.exit.reason, EndReason::EngineStopped);
    assert_eq!(ran.stdout(), "ready\nsaved\n");
    machine.forget(ran);
}
