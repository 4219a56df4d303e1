//! Devices that an engine knows by CDI are handed to who has them, and to nobody else.

use std::process::Command;

use runtime::devices::Device;
use tempfile::TempDir;

use crate::harness::tests;
use crate::machine::{Machine, Wanted, policy, script};
use crate::own_engine::Daemon;

tests![
    a_device_that_the_engine_describes_is_there_and_no_other_is,
    a_gpu_that_no_engine_can_hand_on_is_an_error_that_says_what_to_do,
];

/// Two devices, which are others of the machine's under new names.
const DESCRIBED: &str = r#"{
  "cdiVersion": "0.6.0",
  "kind": "shoal.test/gpu",
  "devices": [
    {"name": "a", "containerEdits": {"deviceNodes": [{"path": "/dev/shoal-a", "hostPath": "/dev/null"}]}},
    {"name": "b", "containerEdits": {"deviceNodes": [{"path": "/dev/shoal-b", "hostPath": "/dev/zero"}]}}
  ]
}"#;

fn device(kind: &str, id: &str) -> Device {
    Device {
        id: id.to_owned(),
        kind: kind.to_owned(),
        ..Device::default()
    }
}

fn a_device_that_the_engine_describes_is_there_and_no_other_is() {
    let help = Command::new("dockerd").arg("--help").output();
    if !help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("cdi-spec-dir")) {
        println!(
            "SKIPPED, as it needs an engine that knows CDI and says of what: Docker does since 28.2"
        );
        return;
    }
    let place = TempDir::new().unwrap();
    std::fs::write(place.path().join("shoal.json"), DESCRIBED).unwrap();
    let switch = place.path().join("engine.json");
    std::fs::write(&switch, r#"{"features": {"cdi": true}}"#).unwrap();
    let directory = format!("--cdi-spec-dir={}", place.path().display());
    let switch = format!("--config-file={}", switch.display());
    let Some(daemon) = Daemon::start(&[&directory, &switch]) else {
        return;
    };
    let engine = daemon.engine();
    let info = engine.pool.block_on(engine.docker.info()).unwrap();
    if info.discovered_devices.is_none_or(|found| found.is_empty()) {
        println!(
            "SKIPPED, as this engine does not say what it knows by CDI: Docker does since 28.2"
        );
        return;
    }
    let machine = daemon.machine();
    for (id, seen) in [("b", "/dev/shoal-b\n"), ("a", "/dev/shoal-a\n"), ("c", "")] {
        let wanted = Wanted {
            devices: vec![device("shoal.test/gpu", id)],
            ..Wanted::default()
        };
        let list = script("for each in /dev/shoal-*; do [ ! -e $each ] || echo $each; done");
        let ran = machine.run_in(&format!("{id}.1.7"), &list, &wanted);
        assert_eq!(ran.stdout(), seen, "{id}: {}", ran.status());
        machine.forget(ran);
    }
}

fn a_gpu_that_no_engine_can_hand_on_is_an_error_that_says_what_to_do() {
    let Some(machine) = Machine::of_containers(policy()) else {
        return;
    };
    // Nobody has this one, whatever is installed.
    let wanted = Wanted {
        devices: vec![device(
            "nvidia.com/gpu",
            "GPU-00000000-0000-0000-0000-000000000000",
        )],
        ..Wanted::default()
    };
    let dir = machine.attempts.create("gpu.1.7").unwrap();
    let error = machine.launch(&dir, &script("true"), &wanted).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("container could not be started"), "{words}");
    assert_eq!(machine.containers(), Vec::<String>::new());
}
