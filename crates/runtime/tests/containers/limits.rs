//! Programs that take more than they are given.

use crate::harness::tests;
use crate::machine::{Machine, policy, script};
use runtime::docker::Policy;
use runtime::{EndReason, Stop};

tests![
    who_eats_memory_is_told_apart_from_who_is_killed,
    a_fork_bomb_is_held_and_ends,
    shared_memory_and_processors_are_as_granted,
    what_is_written_is_counted_wherever_it_is,
];

fn who_eats_memory_is_told_apart_from_who_is_killed() {
    let small = Policy {
        memory: Some(64 << 20),
        ..policy()
    };
    let Some(machine) = Machine::of_containers(small) else {
        return;
    };
    // `tail` of a stream without lines keeps all of it.
    let hog = "tail /dev/zero";
    let table = [
        (
            format!("exec {hog}"),
            EndReason::OomKilled,
            None,
            Some(9),
            true,
        ),
        (
            format!("{hog}\nexit $?"),
            EndReason::OomKilled,
            Some(137),
            None,
            true,
        ),
        // It failed, though not by the signal itself.
        (
            format!("{hog} || exit 1"),
            EndReason::OomKilled,
            Some(1),
            None,
            true,
        ),
        // It did without the process that was killed.
        (
            format!("{hog}\ntrue"),
            EndReason::Exited,
            Some(0),
            None,
            false,
        ),
        (
            "kill -9 $$".to_owned(),
            EndReason::Signaled,
            None,
            Some(9),
            false,
        ),
        (
            "exit 137".to_owned(),
            EndReason::Exited,
            Some(137),
            None,
            false,
        ),
    ];
    for (n, (text, reason, code, signal, oom)) in table.into_iter().enumerate() {
        let ran = machine.run(&format!("memory{n}.1.7"), &script(&text));
        assert_eq!(ran.exit.reason, reason, "{text}: {:?}", ran.exit);
        assert_eq!(
            (ran.exit.code, ran.exit.signal, ran.exit.oom),
            (code, signal, oom),
            "{text}"
        );
        let told = ran.status().contains("the limit of memory was reached");
        assert_eq!(told, text.contains(hog), "{}", ran.status());
        machine.forget(ran);
    }
}

fn a_fork_bomb_is_held_and_ends() {
    let few = Policy {
        pids: 64,
        ..policy()
    };
    let Some(machine) = Machine::of_containers(few) else {
        return;
    };
    let bomb = "bomb() { bomb | bomb & }\nbomb\nsleep 1";
    let ran = machine.run("bomb.1.7", &script(bomb));
    assert!(
        matches!(ran.exit.reason, EndReason::Exited | EndReason::Signaled),
        "{:?}",
        ran.exit
    );
    assert!(
        ran.status().contains("the limit of processes was reached"),
        "{}",
        ran.status()
    );
    machine.forget(ran);
    let after = machine.run("after.1.7", &script("echo well"));
    assert_eq!(after.stdout(), "well\n");
    machine.forget(after);
}

fn shared_memory_and_processors_are_as_granted() {
    let some = Policy {
        shm: Some(32 << 20),
        cpus: Some(0.5),
        ..policy()
    };
    let Some(machine) = Machine::of_containers(some) else {
        return;
    };
    let text = "df -m /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2\n\
                cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max\nulimit -c";
    let ran = machine.run("granted.1.7", &script(text));
    assert_eq!(ran.stdout(), "32\n50000\n0\n", "{}", ran.stderr());
    machine.forget(ran);
}

fn what_is_written_is_counted_wherever_it_is() {
    let little = Policy {
        disk: Some(8 << 20),
        ..policy()
    };
    let Some(machine) = Machine::of_containers(little) else {
        return;
    };
    let table = [
        ("within", "head -c 4000000 /dev/zero >/tmp/x", false),
        (
            "in-the-container",
            "head -c 12000000 /dev/zero >/tmp/x",
            true,
        ),
        (
            "outputs",
            "head -c 12000000 /dev/zero >$VH_OUTPUTS_DIR/x",
            true,
        ),
        // Empty ones are a burden as well.
        (
            "many-files",
            "i=0; while [ $i -lt 2500 ]; do : >$VH_OUTPUTS_DIR/$i; i=$((i+1)); done",
            true,
        ),
    ];
    for (name, text, expected) in table {
        let dir = machine.start(
            &format!("{name}.1.7"),
            &script(&format!("{text}\necho ready\nsleep 1000")),
        );
        machine.wait_for_output(&dir, "ready");
        let over = machine.runtime.over_quota(&dir);
        assert_eq!(over.is_some(), expected, "{name}: {over:?}");
        assert!(over.is_none_or(|over| over.used > over.limit && over.limit == 8 << 20));
        assert!(machine.runtime.stop(&dir, Stop::Kill).unwrap());
        let ran = machine.finish(dir);
        machine.forget(ran);
    }
}
