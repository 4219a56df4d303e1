//! What programs print arrives exactly, and soon.

use crate::fixture::{Gate, Host, joined, read_all, script};
use crate::harness::tests;
use feed::Stream;
use runtime::{EndReason, FeedTail};

tests![
    bytes_are_exact,
    many_lines,
    an_unfinished_line_is_seen_while_the_program_waits,
    a_bar_that_never_rests_is_seen,
    streams_are_apart_and_last_words_are_kept,
    a_feed_that_cannot_grow_ends_the_attempt,
];

fn bytes_are_exact() {
    let host = Host::new();
    let table = [
        ("printf 'no newline'", b"no newline".to_vec()),
        (
            "printf '\\r10%%\\r20%%\\r100%%\\ndone\\n'",
            b"\r10%\r20%\r100%\ndone\n".to_vec(),
        ),
        (
            "printf '\\377\\376\\000\\n\\303'",
            b"\xff\xfe\x00\n\xc3".to_vec(),
        ),
        ("head -c 1048576 /dev/zero | tr '\\0' x; echo", {
            let mut line = vec![b'x'; 1 << 20];
            line.push(b'\n');
            line
        }),
    ];
    for (n, (text, expected)) in table.into_iter().enumerate() {
        let ran = host.run(&format!("bytes.{n}"), &script(text));
        assert!(joined(&ran.records, Stream::Stdout) == expected, "{text}");
        assert!(
            ran.records
                .iter()
                .all(|r| r.data.len() <= feed::MAX_RECORD_LEN)
        );
    }
}

fn many_lines() {
    let host = Host::new();
    let ran = host.run("many", &script("seq 1 300000"));
    let expected: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    assert!(ran.stdout() == expected);
    let times: Vec<u64> = ran.records.iter().map(|record| record.time_us).collect();
    assert!(times.is_sorted(), "records are in the order of their times");
}

fn an_unfinished_line_is_seen_while_the_program_waits() {
    let host = Host::new();
    let gate = Gate::new(&host, "gate");
    let dir = host.start(
        "prompt",
        &script(&format!("printf 'name? '\n{}\necho $x", gate.wait())),
    );
    host.wait_for_output(&dir, "name? ");
    gate.open();
    let ran = host.finish(dir);
    assert_eq!(ran.stdout(), "name? go\n");
    let partial: Vec<bool> = ran
        .records
        .iter()
        .filter(|r| r.stream == Stream::Stdout)
        .map(|r| r.partial)
        .collect();
    assert_eq!(partial, [true, false]);
}

fn a_bar_that_never_rests_is_seen() {
    let host = Host::new();
    let stop = host.data.path().join("stop");
    let text = format!(
        "until [ -e {} ]; do printf '\\r%s' $((i++)); sleep 0.01; done",
        stop.display()
    );
    let dir = host.start("bar", &script(&text));
    host.wait_for_output(&dir, "\r5");
    std::fs::write(&stop, "").unwrap();
    assert!(host.finish(dir).stdout().starts_with("\r0\r1\r2\r3"));
}

fn streams_are_apart_and_last_words_are_kept() {
    let host = Host::new();
    let text = "echo out; echo err >&2; head -c 200000 /dev/zero >&2; printf last; kill -9 $$";
    let ran = host.run("streams", &script(text));
    assert_eq!(ran.stdout(), "out\nlast");
    assert_eq!(ran.stderr(), format!("err\n{}", "\0".repeat(200_000)));
    assert_eq!(ran.exit.reason, EndReason::Signaled);
}

/// The limit on the size of files stands in for a full disk: a write goes in half, the next fails. The shim's own log is on that disk.
fn a_feed_that_cannot_grow_ends_the_attempt() {
    let host = Host::new();
    let dir = host.dir("full");
    let mut program = script("trap '' TERM INT\nwhile :; do echo 0123456789; done");
    program.notify = Some(runtime::NotifySocket::path(host.data.path()));
    std::fs::write(
        dir.path().join("program.json"),
        serde_json::to_vec(&program).unwrap(),
    )
    .unwrap();
    let mut shim = std::process::Command::new("bash")
        .args([
            "-c",
            "ulimit -f 100; trap '' XFSZ; exec \"$0\" shim --attempt \"$1\"",
        ])
        .arg(std::env::current_exe().unwrap())
        .arg(dir.path())
        .stdout(std::process::Stdio::null())
        .stderr(
            std::fs::File::options()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
        .spawn()
        .unwrap();
    assert!(shim.wait().unwrap().success());
    let ran = host.finish(dir);
    assert_eq!(ran.exit.reason, EndReason::DiskFull);
    assert_eq!(ran.exit.signal, Some(9));
    let lines = ran
        .stdout()
        .lines()
        .filter(|line| *line == "0123456789")
        .count();
    // 100 KiB hold some 3,500 frames of these lines.
    assert!(lines > 3000, "{lines}");
    assert!(read_all(&mut FeedTail::new(&ran.dir, 0, 0)).len() == ran.records.len());
}
