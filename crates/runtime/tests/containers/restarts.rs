//! The engine goes down under running containers, and comes back. Each test has an engine of its own for that; where this cannot be, it says
//! that it is skipped.

use crate::harness::tests;
use crate::machine::{Machine, Ran, script};
use crate::own_engine::Daemon;
use runtime::{AttemptDir, AttemptState, EndReason, Stop};

tests![
    an_engine_that_stops_lets_programs_save_their_work,
    an_engine_that_is_killed_and_comes_back_takes_its_containers_along,
    with_live_restore_nothing_happens,
    what_ends_while_the_engine_is_away_is_removed_when_it_is_back,
];

const SAVES: &str = "trap 'echo saved; exit 0' TERM\necho ready\nwhile [ ! -e go ]; do sleep 0.05; done\necho went on\nexit 5";

fn begin(machine: &Machine) -> AttemptDir {
    let dir = machine.start("long.1.7", &script(SAVES));
    machine.wait_for_output(&dir, "ready");
    dir
}

fn let_go(machine: &Machine, dir: AttemptDir) -> Ran {
    std::fs::write(dir.repository().join("go"), "").unwrap();
    machine.finish(dir)
}

fn an_engine_that_stops_lets_programs_save_their_work() {
    let Some(mut daemon) = Daemon::start(&[]) else {
        return;
    };
    let machine = daemon.machine();
    let dir = begin(&machine);
    daemon.stop();
    let ran = machine.finish(dir);
    assert_eq!(ran.exit.reason, EndReason::EngineStopped);
    assert_eq!(ran.stdout(), "ready\nsaved\n");
    daemon.bring_up().unwrap();
    machine.forget(ran);
    assert_eq!(machine.containers(), Vec::<String>::new());
    // The same runtime goes on with the engine that came back.
    let ran = machine.run("again.1.7", &script("echo again"));
    assert_eq!(ran.stdout(), "again\n");
    machine.forget(ran);
}

fn an_engine_that_is_killed_and_comes_back_takes_its_containers_along() {
    let Some(mut daemon) = Daemon::start(&[]) else {
        return;
    };
    let machine = daemon.machine();
    let dir = begin(&machine);
    daemon.kill();
    // The shim needs no engine: the program runs, is followed, and could be stopped.
    let state = machine.runtime.look(&dir).unwrap();
    assert!(matches!(state, AttemptState::Running { .. }), "{state:?}");
    daemon.bring_up().unwrap();
    let ran = machine.finish(dir);
    assert_eq!(
        ran.exit.reason,
        EndReason::EngineStopped,
        "{}",
        ran.status()
    );
    machine.forget(ran);
    assert_eq!(machine.containers(), Vec::<String>::new());
}

fn with_live_restore_nothing_happens() {
    let Some(mut daemon) = Daemon::start(&["--live-restore"]) else {
        return;
    };
    let machine = daemon.machine();
    let dir = begin(&machine);
    daemon.kill();
    daemon.bring_up().unwrap();
    let ran = let_go(&machine, dir);
    assert_eq!(
        (ran.exit.reason.clone(), ran.exit.code),
        (EndReason::Exited, Some(5))
    );
    assert_eq!(ran.stdout(), "ready\nwent on\n");
    machine.forget(ran);
    // Gracefully as well, and one can be stopped while there is no engine at all.
    let dir = machine.attempts.create("other.1.7").unwrap();
    machine
        .launch(&dir, &script(SAVES), &Default::default())
        .unwrap();
    machine.wait_for_output(&dir, "ready");
    daemon.stop();
    assert!(machine.runtime.stop(&dir, Stop::Graceful).unwrap());
    let ran = machine.finish(dir);
    assert_eq!(
        (ran.exit.reason.clone(), ran.stdout().as_str()),
        (EndReason::Stopped, "ready\nsaved\n")
    );
    daemon.bring_up().unwrap();
    machine.forget(ran);
    assert_eq!(machine.containers(), Vec::<String>::new());
}

fn what_ends_while_the_engine_is_away_is_removed_when_it_is_back() {
    let Some(mut daemon) = Daemon::start(&["--live-restore"]) else {
        return;
    };
    let machine = daemon.machine();
    let dir = begin(&machine);
    daemon.kill();
    let ran = let_go(&machine, dir);
    assert_eq!(ran.exit.code, Some(5));
    std::thread::scope(|scope| {
        let forgotten = scope.spawn(|| machine.runtime.forget(&ran.dir));
        daemon.bring_up().unwrap();
        forgotten.join().unwrap().unwrap();
    });
    assert_eq!(machine.containers(), Vec::<String>::new());
}
