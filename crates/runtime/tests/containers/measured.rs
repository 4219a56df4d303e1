//! What is measured of programs, and how much of what they print is kept: the same in both runtimes.

use crate::engine::engine;
use crate::harness::tests;
use crate::machine::{Machine, Ran, policy, script};
use feed::{Reading, Sample, Stream};
use runtime::docker::{Network, Policy};
use runtime::measure::Board;
use runtime::{AttemptDir, EndReason, FeedTail, Metrics, Program, Stop};
use std::time::{Duration, SystemTime};

tests![
    what_a_program_uses_is_seen_to,
    what_goes_over_its_own_network_is_seen_to,
    devices_are_seen_while_the_daemon_tells_of_them,
    a_short_program_is_not_measured,
    a_flood_is_cut_off_and_the_log_says_so,
];

const SPAN_MS: u64 = 100;

fn measured(text: &str, metrics: Metrics) -> Program {
    Program {
        metrics: Some(metrics),
        ..script(text)
    }
}

fn samples(dir: &AttemptDir) -> Vec<Sample> {
    let batch = FeedTail::new(dir, 0, 0).read(16 << 20).unwrap();
    let frames = feed::frames(&batch.frames).map(|frame| frame.unwrap());
    let metrics = frames.filter(|frame| frame.stream == Stream::Metric);
    metrics
        .map(|frame| Sample::of_data(frame.data).unwrap())
        .collect()
}

fn killed(machine: &Machine, dir: AttemptDir) -> Ran {
    assert!(machine.runtime.stop(&dir, Stop::Kill).unwrap());
    machine.finish(dir)
}

fn what_a_program_uses_is_seen_to() {
    // 32 MiB of text, and a processor.
    let text = "head -c 1000000 /dev/zero >$VH_OUTPUTS_DIR/x\n\
                exec awk 'BEGIN { x = \"0123456789abcdef\"; for (i = 0; i < 21; i++) x = x x; while (1) y++ }'";
    for machine in Machine::each() {
        let name = machine.runtime.name();
        let metrics = Metrics {
            span_ms: SPAN_MS,
            ..Metrics::default()
        };
        let dir = machine.start("burns.1.7", &measured(text, metrics));
        // How much of a processor it gets is the machine's matter.
        let busy = |sample: &Sample| {
            sample.cpu_us.unwrap_or(0) > 0 && sample.memory_bytes.unwrap_or(0) > 30 << 20
        };
        let seen = machine.wait_for(|| {
            let seen = samples(&dir);
            (seen.iter().filter(|sample| busy(sample)).count() > 2).then_some(seen)
        });
        for sample in &seen {
            assert!(sample.span_us >= SPAN_MS * 1_000, "{name}: {sample:?}");
            let processors = std::thread::available_parallelism().unwrap().get() as u64;
            assert!(
                sample.cpu_us.unwrap() <= sample.span_us * (processors + 1),
                "{name}: {sample:?}"
            );
            assert!(sample.process_count.unwrap() >= 1, "{name}: {sample:?}");
            let limit = machine.is_docker().then_some(256 << 20);
            assert_eq!(sample.memory_limit_bytes, limit, "{name}");
            assert_eq!(
                sample.network_sent_bytes, None,
                "{name}: it has none of its own"
            );
        }
        let ran = killed(&machine, dir);
        assert_eq!(ran.exit.reason, EndReason::Stopped);
        machine.forget(ran);
    }
}

/// Needs the packet filter, as does the engine's own bridge.
fn what_goes_over_its_own_network_is_seen_to() {
    let Some(engine) = engine() else {
        return;
    };
    let bridged = Policy {
        network: Network::Bridge,
        ..policy()
    };
    let machine = match Machine::at(engine, tempfile::tempdir().unwrap(), bridged) {
        Ok(machine) => machine,
        Err(error) => {
            println!("SKIPPED, as it needs a bridge: {error}");
            return;
        }
    };
    let metrics = Metrics {
        span_ms: SPAN_MS,
        own_network: true,
        ..Metrics::default()
    };
    // Nobody answers; what is asked counts all the same.
    let text = "gateway=$(ip route | awk '/^default/ { print $3 }')\n\
                while :; do nc -w 1 $gateway 9 </dev/null; done";
    let dir = machine.start("sends.1.7", &measured(text, metrics));
    machine.wait_for(|| {
        let sent = samples(&dir)
            .iter()
            .filter_map(|one| one.network_sent_bytes)
            .sum::<u64>();
        (sent > 0).then_some(())
    });
    let ran = killed(&machine, dir);
    machine.forget(ran);
}

fn devices_are_seen_while_the_daemon_tells_of_them() {
    for machine in Machine::each() {
        let path = machine.data.path().join("board");
        let board = Board::open(&path).unwrap();
        let metrics = Metrics {
            span_ms: SPAN_MS,
            devices: vec!["gpu-a".to_owned()],
            board: path,
            ..Metrics::default()
        };
        let dir = machine.start("devices.1.7", &measured("sleep 1000", metrics));
        let reading = |id: &str, percent| Reading {
            device_id: id.to_owned(),
            utilization_percent: Some(percent),
            ..Reading::default()
        };
        for percent in [10, 90] {
            let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
            let readings = [reading("gpu-a", percent), reading("gpu-b", 1)];
            board.show(since.as_micros() as u64, &readings).unwrap();
            machine.wait_for(|| {
                let last = samples(&dir).pop()?;
                (last.devices == readings[..1]).then_some(())
            });
        }
        // A daemon that is away tells nothing, and so does a sample.
        let long_ago = SystemTime::UNIX_EPOCH.elapsed().unwrap() - Duration::from_secs(60);
        board
            .show(long_ago.as_micros() as u64, &[reading("gpu-a", 50)])
            .unwrap();
        machine.wait_for(|| samples(&dir).pop()?.devices.is_empty().then_some(()));
        let ran = killed(&machine, dir);
        machine.forget(ran);
    }
}

fn a_short_program_is_not_measured() {
    for machine in Machine::each() {
        let metrics = Metrics {
            span_ms: 600_000,
            ..Metrics::default()
        };
        let ran = machine.run("short.1.7", &measured("echo done", metrics));
        assert_eq!(ran.bytes(Stream::Metric), b"");
        assert_eq!(ran.stdout(), "done\n");
        machine.forget(ran);
        let off = measured("sleep 0.3", Metrics::default());
        let ran = machine.run("off.1.7", &off);
        assert_eq!(ran.bytes(Stream::Metric), b"");
        machine.forget(ran);
    }
}

/// Row 22 of the attack table.
fn a_flood_is_cut_off_and_the_log_says_so() {
    const KEPT: u64 = 1 << 20;
    for machine in Machine::each() {
        let program = Program {
            log_limit_bytes: Some(KEPT),
            ..script("echo first; yes flood | head -c 50000000; echo last >&2; exit 3")
        };
        let ran = machine.run("flood.1.7", &program);
        let name = machine.runtime.name();
        assert_eq!(ran.exit.code, Some(3), "{name}: it does not hear of it");
        let (stdout, stderr) = (ran.bytes(Stream::Stdout), ran.stderr());
        assert!(stdout.starts_with(b"first\nflood\n"), "{name}");
        let kept = (stdout.len() + stderr.len()) as u64;
        assert!(kept <= KEPT && kept > KEPT - 100, "{name}: {kept}");
        assert_eq!(stderr, "", "{name}: nothing follows a hole");
        let status = ran.status();
        let told = status
            .matches("TRUNCATED: the program has printed more than the 1 MiB")
            .count();
        assert_eq!(told, 1, "{name}: {status}");
        assert!(
            status.contains("46 MiB of what the program printed were left out"),
            "{status}"
        );
        machine.forget(ran);
    }
}
