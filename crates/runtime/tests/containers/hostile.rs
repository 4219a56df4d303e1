//! Programs that try to get out. Each attempt to is an error that the program sees; what lies outside stays as it was.

use crate::engine::engine;
use crate::harness::tests;
use crate::machine::{Machine, policy, script};
use feed::Stream;
use runtime::FeedTail;
use runtime::docker::{Network, Policy};
use std::net::{TcpListener, TcpStream};

tests![
    nothing_that_a_program_tries_reaches_the_machine,
    the_engine_is_told_no_secret_and_no_privilege,
    directories_cannot_be_replaced_by_links,
    on_the_bridge_neither_the_machine_nor_other_steps_are_reached,
];

/// Row 21 of the attack table, command by command.
fn nothing_that_a_program_tries_reaches_the_machine() {
    let Some(machine) = Machine::of_containers(policy()) else {
        return;
    };
    let canary = machine.data.path().join("canary");
    std::fs::write(&canary, "untouched").unwrap();
    let attacks = [
        ("mount", "mount -t tmpfs none /mnt"),
        ("bind", "mount -o bind / /tmp"),
        (
            "mknod",
            "mknod /tmp/disk b 254 0 && cat /tmp/disk | head -c 1",
        ),
        ("unshare", "unshare -m true"),
        ("namespace", "nsenter -t 1 -m true"),
        ("chroot-out", "cd /proc/1/root/.. && cd /proc/1/cwd/"),
        (
            "shim-files",
            "readlink /proc/1/fd/0 || cat /proc/1/fd/3 || echo x >/proc/1/fd/4",
        ),
        ("shim-memory", "head -c 1 /proc/1/mem"),
        ("shim-environment", "cat /proc/1/environ"),
        ("shim-itself", "echo x >/.shoal/shoal"),
        ("shim-by-proc", "echo x >/proc/1/exe"),
        ("shim-socket", "ls /.shoal/launch/socket"),
        ("shim-kill", "kill -9 1; sleep 0.2; false"),
        ("shim-ask", "kill -TERM 1; kill -USR1 1; sleep 0.2; false"),
        ("sysctl", "echo 1 >/proc/sys/kernel/sysrq"),
        ("sysrq", "echo b >/proc/sysrq-trigger"),
        (
            "cgroup",
            "cd /sys/fs/cgroup/memory || cd /sys/fs/cgroup; mkdir out || echo 0 >cgroup.procs",
        ),
        ("hostname", "hostname elsewhere"),
        ("time", "date -s 2001-01-01; date +%Y | grep 2001"),
        ("module", "insmod /bin/busybox"),
        ("config", "echo x >/valohai/config/execution.json"),
        ("metadata-address", "wget -T 2 -O - http://169.254.169.254/"),
        ("canary", &format!("cat {}", canary.display())),
    ];
    let mut text = String::new();
    for (name, attack) in &attacks {
        text.push_str(&format!(
            "if ( {attack} ) >/dev/null 2>&1; then echo {name}: DONE; else echo {name}: refused; fi\n"
        ));
    }
    text.push_str("echo went on\n");
    let ran = machine.run("hostile.1.7", &script(&text));
    let mut expected: String = attacks
        .iter()
        .map(|(name, _)| format!("{name}: refused\n"))
        .collect();
    expected.push_str("went on\n");
    assert_eq!(ran.stdout(), expected, "{:?} {}", ran.exit, ran.status());
    assert_eq!(ran.exit.code, Some(0));
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "untouched");
    machine.forget(ran);
}

fn the_engine_is_told_no_secret_and_no_privilege() {
    let Some(machine) = Machine::of_containers(policy()) else {
        return;
    };
    let mut program = script("echo ready\nsleep 1000");
    program.env.push(("PASSWORD".into(), "open-sesame".into()));
    let dir = machine.start("told.1.7", &program);
    machine.wait_for_output(&dir, "ready");
    let told = engine().unwrap().inspect("shoal-told.1.7");
    assert!(!told.to_string().contains("open-sesame"));
    let host = &told["HostConfig"];
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert_eq!(host["LogConfig"]["Type"], "none");
    assert_eq!(
        host["SecurityOpt"],
        serde_json::json!(["no-new-privileges"])
    );
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
    for shared in ["PidMode", "IpcMode", "UTSMode", "UsernsMode"] {
        let mode = host[shared].as_str().unwrap_or_default();
        assert!(matches!(mode, "" | "private"), "{shared}: {mode}");
    }
    let labels = &told["Config"]["Labels"];
    let expected = [
        ("io.shoal.fence", "told.1.7"),
        ("io.shoal.execution", "told"),
        ("io.shoal.attempt", "1"),
        ("io.shoal.cluster", "a-cluster"),
        ("io.shoal.worker", "a-worker"),
    ];
    for (label, value) in expected {
        assert_eq!(labels[label], value, "{label}");
    }
    // Nobody else of the machine finds the way to what the program may write.
    use std::os::unix::fs::MetadataExt;
    assert_eq!(dir.path().metadata().unwrap().mode() & 0o777, 0o700);
    assert!(machine.runtime.stop(&dir, runtime::Stop::Kill).unwrap());
    let ran = machine.finish(dir);
    machine.forget(ran);
}

fn directories_cannot_be_replaced_by_links() {
    let Some(machine) = Machine::of_containers(policy()) else {
        return;
    };
    let text = "for part in outputs inputs repository config; do\n\
                cd /; mv /valohai/$part /valohai/gone 2>/dev/null && echo moved $part\n\
                rmdir /valohai/$part 2>/dev/null && echo removed $part\ndone\n\
                ln -s /etc/shadow /valohai/outputs/stolen\nmkfifo /valohai/outputs/pipe\necho went on";
    let ran = machine.run("links.1.7", &script(text));
    assert_eq!(ran.stdout(), "went on\n");
    let found = runtime::outputs::collect(
        &ran.dir.outputs(),
        runtime::outputs::Limits::default(),
        &Default::default(),
    );
    assert!(found.is_err(), "a link is no output");
    machine.forget(ran);
}

/// Row 21: the metadata address, a port of the machine, another step's network. Needs the packet filter, as does the engine's own bridge.
fn on_the_bridge_neither_the_machine_nor_other_steps_are_reached() {
    let bridged = Policy {
        network: Network::Bridge,
        ..policy()
    };
    let Some(engine) = engine() else {
        return;
    };
    let machine = match Machine::at(engine, tempfile::tempdir().unwrap(), bridged) {
        Ok(machine) => machine,
        Err(error) => {
            println!("SKIPPED, as it needs a bridge: {error}");
            return;
        }
    };
    // The canary: whoever is on the machine reaches it.
    let canary = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = canary.local_addr().unwrap().port();
    drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    let other = machine.start(
        "other.1.7",
        &script("hostname -i\nnc -l -p 7777 -e /bin/cat & echo ready\nsleep 1000"),
    );
    machine.wait_for_output(&other, "ready");
    let mut tail = FeedTail::new(&other, 0, 0);
    let batch = tail.read(1 << 20).unwrap();
    let address = feed::frames(&batch.frames)
        .map(|frame| frame.unwrap().to_record())
        .find(|record| record.stream == Stream::Stdout)
        .map(|record| String::from_utf8_lossy(&record.data).trim().to_owned())
        .unwrap();
    let text = format!(
        "gateway=$(ip route | awk '/^default/ {{print $3}}')\n\
         test -n \"$gateway\" && echo on a bridge\n\
         reach() {{ if nc -w 3 $1 $2 </dev/null >/dev/null 2>&1; then echo $3: REACHED; else echo $3: not reached; fi; }}\n\
         reach $gateway {port} machine\nreach 169.254.169.254 80 metadata\nreach {address} 7777 neighbour\n\
         nc -l -p 7777 & sleep 0.2; reach 127.0.0.1 7777 itself"
    );
    let ran = machine.run("reaches.1.7", &script(&text));
    assert_eq!(
        ran.stdout(),
        "on a bridge\nmachine: not reached\nmetadata: not reached\nneighbour: not reached\nitself: REACHED\n",
        "{}",
        ran.stderr()
    );
    machine.forget(ran);
    assert!(machine.runtime.stop(&other, runtime::Stop::Kill).unwrap());
    let other = machine.finish(other);
    machine.forget(other);
}
