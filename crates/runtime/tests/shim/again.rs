//! A shim that serves one attempt after another, and when it does not.

use crate::fixture::{Gate, Host, is_alive, script, wait_until_dead};
use crate::harness::tests;
use runtime::{AttemptDir, AttemptState, EndReason, Launcher, Program, Stop, View};
use rustix::process::{Pid, Signal};

tests![
    a_free_shim_takes_the_next_attempt,
    attempts_at_the_same_time_have_shims_of_their_own,
    a_signal_for_one_attempt_does_not_reach_the_next,
    a_killed_free_shim_is_replaced,
    free_shims_end_with_their_host_and_busy_ones_do_not,
    what_is_mounted_in_a_namespace_is_not_handed_on,
];

/// Runs a program to its end, held until its shim is known.
fn run(host: &Host, name: &str, program: &Program) -> (crate::fixture::Ran, u32) {
    let gate = Gate::new(host, &format!("gate.{name}"));
    let held = Program {
        script: format!("{}\n{}", gate.wait(), program.script),
        ..program.clone()
    };
    let dir = host.start(name, &held);
    let pid = shim_of(&dir);
    gate.open();
    (host.finish(dir), pid)
}

fn shim_of(dir: &AttemptDir) -> u32 {
    match dir.state().unwrap() {
        AttemptState::Running { pid } => pid,
        other => panic!("{other:?}"),
    }
}

fn signal(pid: u32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

fn a_free_shim_takes_the_next_attempt() {
    let host = Host::new();
    let mut pids = Vec::new();
    for n in 0..5 {
        let program = Program {
            env: vec![(format!("ONLY_{n}"), n.to_string())],
            ..script("pwd; env | grep ONLY; echo $n >&2; sleep 1000 & exit 3")
        };
        let (ran, pid) = run(&host, &n.to_string(), &program);
        let repository = ran.dir.repository();
        assert_eq!(
            ran.stdout(),
            format!("{}\nONLY_{n}={n}\n", repository.display())
        );
        assert_eq!(
            (ran.exit.reason, ran.exit.code),
            (EndReason::Exited, Some(3))
        );
        pids.push(pid);
    }
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
}

fn attempts_at_the_same_time_have_shims_of_their_own() {
    let host = Host::new();
    let gate = Gate::new(&host, "gate");
    let first = host.start("first", &script(&gate.wait()));
    let (second, of_second) = run(&host, "second", &script("echo second"));
    assert_eq!(second.stdout(), "second\n");
    assert_ne!(of_second, shim_of(&first));
    let (_, of_third) = run(&host, "third", &script("true"));
    assert_eq!(of_third, of_second);
    gate.open();
    assert_eq!(host.finish(first).exit.code, Some(0));
}

fn a_signal_for_one_attempt_does_not_reach_the_next() {
    let host = Host::new();
    let (ran, pid) = run(&host, "first", &script("true"));
    assert!(!ran.dir.stop(Stop::Kill).unwrap(), "it has ended");
    // One that was on its way when the attempt ended.
    signal(pid, Signal::TERM);
    signal(pid, Signal::USR1);
    let (ran, of_second) = run(&host, "second", &script("echo whole"));
    assert_eq!(of_second, pid);
    assert_eq!(
        (ran.exit.reason.clone(), ran.stdout()),
        (EndReason::Exited, "whole\n".into())
    );
    let dir = host.start("third", &script("echo ready; sleep 1000"));
    host.wait_for_output(&dir, "ready");
    assert_eq!(shim_of(&dir), pid);
    signal(pid, Signal::TERM);
    assert_eq!(host.finish(dir).exit.reason, EndReason::Stopped, "by hand");
}

fn a_killed_free_shim_is_replaced() {
    let host = Host::new();
    let (_, pid) = run(&host, "first", &script("true"));
    signal(pid, Signal::KILL);
    wait_until_dead(pid as i32);
    let (ran, other) = run(&host, "second", &script("echo two"));
    assert_eq!(ran.stdout(), "two\n");
    assert_ne!(other, pid);
}

fn free_shims_end_with_their_host_and_busy_ones_do_not() {
    let mut host = Host::new();
    let gate = Gate::new(&host, "gate");
    let busy = host.start("busy", &script(&format!("{}\necho whole", gate.wait())));
    let (_, free) = run(&host, "free", &script("true"));
    let of_busy = shim_of(&busy);
    // What a new daemon is to an old one.
    host.launcher = Launcher::new(&std::env::current_exe().unwrap(), host.data.path()).unwrap();
    wait_until_dead(free as i32);
    assert!(is_alive(of_busy as i32));
    gate.open();
    assert_eq!(host.finish(busy).stdout(), "whole\n");
    wait_until_dead(of_busy as i32);
}

fn what_is_mounted_in_a_namespace_is_not_handed_on() {
    let host = Host::new();
    if host.launcher.probe_view().unwrap() == View::Direct || !rustix::process::geteuid().is_root()
    {
        return;
    }
    let own = |text: &str| Program {
        want_namespace: true,
        ..script(text)
    };
    let (ran, first) = run(&host, "first", &own("echo 1 >/valohai/outputs/a"));
    assert_eq!(ran.exit.view, View::Namespace);
    let look = "ls /valohai/outputs /valohai/inputs";
    let (ran, second) = run(&host, "second", &own(look));
    let shown = "/valohai/inputs:\n\n/valohai/outputs:\n";
    assert_eq!((ran.stdout().as_str(), second), (shown, first));
    let mount = "mount -t tmpfs none /valohai/inputs && echo 1 >/valohai/inputs/b";
    let (ran, third) = run(&host, "third", &own(mount));
    assert_eq!((ran.exit.code, third), (Some(0), first), "{}", ran.stderr());
    let (ran, fourth) = run(&host, "fourth", &own(look));
    assert_eq!(ran.stdout(), shown);
    assert_ne!(fourth, first);
    // One that has been in a namespace is not given to a program that wants none.
    let (ran, fifth) = run(&host, "fifth", &script("echo $VH_INPUTS_DIR"));
    assert_eq!(ran.stdout(), format!("{}\n", ran.dir.inputs().display()));
    assert_ne!(fifth, fourth);
}
