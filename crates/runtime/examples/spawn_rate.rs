//! How many trivial programs a second, two at a time: through shims, beside `xargs -P2 -n1 bash -c true`.
//!
//! `cargo run --release -p runtime --example spawn_rate [PROGRAMS] [ROUNDS]` prints one line per round and the medians.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use runtime::{AttemptState, Attempts, Launcher, NotifySocket, Program};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

const SLOTS: usize = 2;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.peek().is_some_and(|arg| arg == "shim") {
        return runtime::shim::main(args.skip(1));
    }
    let mut numbers = args.filter_map(|arg| arg.to_str()?.parse().ok());
    let programs: usize = numbers.next().unwrap_or(1000);
    let rounds: usize = numbers.next().unwrap_or(5);
    let mut ratios: [Vec<f64>; 2] = Default::default();
    for round in 0..rounds {
        let floor = xargs(programs);
        print!("round {round}: xargs {floor:.0}/s");
        for (namespace, ratios) in [false, true].into_iter().zip(&mut ratios) {
            let rate = shims(programs, namespace);
            ratios.push(rate / floor);
            let view = if namespace {
                "own /valohai"
            } else {
                "real directories"
            };
            print!(", {view} {rate:.0}/s ({:.2})", rate / floor);
        }
        println!();
    }
    for (view, ratios) in ["real directories", "own /valohai"].iter().zip(&mut ratios) {
        ratios.sort_by(f64::total_cmp);
        println!("{view}: median {:.2} of xargs", ratios[ratios.len() / 2]);
    }
    ExitCode::SUCCESS
}

fn xargs(programs: usize) -> f64 {
    let begun = Instant::now();
    let status = Command::new("bash")
        .arg("-c")
        .arg(format!(
            "yes true | head -n {programs} | xargs -P{SLOTS} -n1 bash -c"
        ))
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    programs as f64 / begun.elapsed().as_secs_f64()
}

/// All that a host does for an attempt: directories, launch, end, feed, removal.
fn shims(programs: usize, want_namespace: bool) -> f64 {
    let data = tempfile::tempdir().unwrap();
    let launcher = Launcher::new(&std::env::current_exe().unwrap(), data.path()).unwrap();
    let attempts = Attempts::open(&data.path().join("attempts")).unwrap();
    let notify = NotifySocket::bind(data.path()).unwrap().into_socket();
    notify.set_nonblocking(false).unwrap();
    let program = Program {
        script: "true".into(),
        pass_env: vec!["PATH".into(), "HOME".into()],
        want_namespace,
        ..Program::default()
    };
    let begun = Instant::now();
    let (mut started, mut running) = (0, 0);
    let mut name = [0; 64];
    while running > 0 || started < programs {
        while running < SLOTS && started < programs {
            let dir = attempts.create(&started.to_string()).unwrap();
            launcher.launch(&dir, &program).unwrap();
            started += 1;
            running += 1;
        }
        let n = notify.recv(&mut name).unwrap();
        let name = std::str::from_utf8(&name[..n]).unwrap();
        let dir = attempts.get(name);
        if let AttemptState::Ended(exit) = dir.state().unwrap() {
            assert_eq!(exit.code, Some(0));
            let mut tail = runtime::FeedTail::new(&dir, 0, 0);
            assert_eq!(
                u64::from(tail.read(1 << 20).unwrap().count),
                exit.record_count
            );
            attempts.retire(&dir).unwrap();
            running -= 1;
        }
    }
    programs as f64 / begun.elapsed().as_secs_f64()
}
