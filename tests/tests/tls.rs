//! Clusters with TLS, as people and attackers meet them: real processes on loopback.
//!
//! What needs no process is shown further down: handshakes in `crates/pki`, permissions and fences in `crates/net`, tokens in
//! `crates/ledger`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Command;

use cluster_tests::harness::{Finished, Place, Secure};

const STEP: &str = r#"
- step:
    name: produce
    image: busybox
    command:
      - echo a line
      - echo bytes > "$VH_OUTPUTS_DIR/file"
- step:
    name: consume
    image: busybox
    command: cat "$VH_INPUTS_DIR/data/file"
    inputs:
      - name: data
- pipeline:
    name: both
    nodes:
      - name: produce
        type: execution
        step: produce
      - name: consume
        type: execution
        step: consume
    edges:
      - [produce.output.file, consume.input.data]
"#;

fn said(finished: &Finished) -> String {
    String::from_utf8_lossy(&finished.stderr).into_owned()
}

#[track_caller]
fn says(finished: &Finished, part: &str) {
    let words = said(finished);
    assert!(words.contains(part), "expected {part:?} in:\n{words}");
}

#[test]
fn a_cluster_with_tls_runs_a_pipeline_for_a_user_who_logged_in() {
    let mut cluster = Secure::new("tls", &[]);
    let token = cluster.token(&["--role=worker", "--name=w1"]);
    let mut worker = cluster.start_worker("w1", Some(&token));
    let token = cluster.token(&["--role=user", "--name=ann"]);
    let login = ["login", &cluster.address, "--token", &token];
    let login = cluster.place.run(&login).succeeds();
    assert!(login.text().starts_with("you are user/ann (user) until "));

    // From now on the address is enough: it finds the context.
    cluster.place.config(STEP);
    let at = format!("--cluster={}", cluster.address);
    let place = &cluster.place;
    place.run(&[&at, "pipeline", "run", "both"]).succeeds();
    let logs = place.run(&[&at, "execution", "logs", "2"]).succeeds();
    assert_eq!(logs.text(), "bytes\n");
    let into = place.path().join("into");
    let into = into.to_str().unwrap();
    let outputs = ["execution", "outputs", "1", "--download", into];
    place.run(&[&[&*at], &outputs[..]].concat()).succeeds();
    assert_eq!(
        std::fs::read(Path::new(into).join("file")).unwrap(),
        b"bytes\n"
    );

    // Without a context there is no way in, and none for a user to what is an administrator's.
    let config = ("XDG_CONFIG_HOME", place.path().join("nobody"));
    let stranger = place
        .shoal(&[&at, "cluster", "status"])
        .env(config.0, &config.1)
        .output();
    let stranger = stranger.unwrap();
    assert_eq!(stranger.status.code(), Some(4), "{stranger:?}");
    let refused = place.run(&[&at, "token", "create", "--role=worker"]);
    says(
        &refused.ends_with(4),
        "shoal.v1.TokenService/CreateToken needs the permission ADMINISTER, which role user does not have",
    );

    // Everybody comes back with what it has: nobody needs a token twice.
    assert!(worker.terminate().success());
    cluster.restart_founder(&[]);
    let mut worker = cluster.start_worker("w1", None);
    let run = ["execution", "run", "produce"];
    cluster.place.run(&[&[&*at], &run[..]].concat()).succeeds();
    assert!(worker.terminate().success());
}

/// Attack 1: a server of another cluster gets no secret.
#[test]
fn a_worker_says_nothing_to_a_server_of_another_cluster() {
    let mut cluster = Secure::new("attack-1", &[]);
    let token = cluster.token(&["--role=worker"]);
    let (_, rest) = token.split_at("jt1.".len() + 64);
    let expected = "ab".repeat(32);
    let forged = format!("jt1.{expected}{rest}");
    let refused = cluster.run_worker("w1", Some(&forged)).ends_with(3);
    says(
        &refused,
        &format!(
            "CA hash mismatch: token expects {expected}, server has {}",
            &token[4..68]
        ),
    );
    let line = cluster.founder.wait_for("handshake").text;
    assert!(line.contains("a TLS handshake failed"), "{line}");
    // The token was not used, and is still good.
    let list = cluster.as_admin(&["token", "list"]).succeeds().text();
    assert!(list.contains("active"), "{list}");
    cluster.start_worker("w1", Some(&token));
}

/// Attack 2: a token used twice, for another role or name, expired, guessed; and guessed too often.
#[test]
fn a_token_lets_one_in_and_no_other() {
    let cluster = Secure::new("attack-2", &[]);
    let denied = |name: &str, token: &str, words: &str| {
        let refused = cluster.run_worker(name, Some(token)).ends_with(1);
        says(&refused, words);
        let keys = cluster.place.path().join(name).join("tls/node.pem");
        assert!(!keys.exists(), "no certificate was made");
    };
    let once = cluster.token(&["--role=worker"]);
    drop(cluster.start_worker("w1", Some(&once)));
    denied("w2", &once, "join token already used");
    let user = cluster.token(&["--role=user", "--name=w2"]);
    denied("w2", &user, "join token not for this role: it is for user");
    let named = cluster.token(&["--role=worker", "--name=w3"]);
    denied("w2", &named, "join token not for this name: it is for w3");
    let guessed = format!("{}{}", &named[..named.len() - 64], "00".repeat(32));
    denied("w3", &guessed, "join token unknown");
    let revoked = cluster.token(&["--role=worker"]);
    cluster.as_admin(&["token", "revoke", &revoked]).succeeds();
    denied("w2", &revoked, "join token revoked");
    // Five have failed within this minute: not even a good one is looked at.
    denied(
        "w3",
        &named,
        "joins from 127.0.0.1 have failed within a minute",
    );
    let list = cluster
        .as_admin(&["-o", "json", "token", "list"])
        .succeeds();
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let of = |token: &str| {
        let id = token.split('.').nth(2).unwrap();
        let found = list.as_array().unwrap().iter().find(|one| one["id"] == id);
        found.unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(of(&once), "used");
    assert_eq!(of(&user), "active");
    assert_eq!(of(&revoked), "revoked");
}

/// Attack 2: an expired token; and what has expired says when, and what to do.
#[test]
fn what_has_expired_says_so() {
    let cluster = Secure::new("expired", &["--user-certificates=2s"]);
    // The founder's own administrator is as short-lived as all users here: the key in its directory makes the next.
    let data = cluster.place.path().join("founder");
    let data = data.to_str().unwrap();
    let login = ["login", &cluster.address, "--data-dir", data, "--as=root"];
    cluster.place.run(&login).succeeds();
    let root = |arguments: &[&str]| cluster.as_whom("root", arguments);
    let token = root(&["token", "create", "--role=worker", "--ttl=1s"]);
    let token = token.succeeds().text().trim().to_owned();
    let user = root(&["token", "create", "--role=user", "--name=ann"]);
    let user = user.succeeds().text().trim().to_owned();
    // Time passes: a list shows it.
    while !root(&["token", "list"])
        .succeeds()
        .text()
        .contains("expired")
    {}
    let refused = cluster.run_worker("w1", Some(&token)).ends_with(1);
    says(&refused, "join token expired");

    let login = ["login", &cluster.address, "--token", &user, "--as=ann"];
    cluster.place.run(&login).succeeds();
    let refused = loop {
        let looked = cluster.as_whom("ann", &["cluster", "status"]);
        if looked.code != Some(0) {
            break looked.ends_with(4);
        }
    };
    says(&refused, "the certificate of user/ann expired on ");
    says(&refused, "shoal login ADDRESS --token TOKEN");
}

/// Who changed what and who was denied stands in the trail of the coordinator that answered, and cannot be changed there unnoticed.
#[test]
fn the_audit_trail_tells_who_did_what() {
    let cluster = Secure::new("audit", &[]);
    let token = cluster.token(&["--role=user", "--name=ann"]);
    let guessed = format!("{}{}", &token[..token.len() - 64], "00".repeat(32));
    let login = |token: &str| {
        let login = ["login", &cluster.address, "--token", token, "--as=ann"];
        cluster.place.run(&login)
    };
    login(&guessed).ends_with(1);
    login(&token).succeeds();
    let refused = cluster.as_whom("ann", &["token", "create", "--role=worker"]);
    refused.ends_with(4);
    cluster.place.config(STEP);
    let run = ["execution", "run", "produce", "--detach"];
    cluster.as_whom("ann", &run).succeeds();
    let backup = cluster.place.path().join("backup");
    let backup = ["cluster", "snapshot", backup.to_str().unwrap()];
    cluster.as_admin(&backup).succeeds();

    let data = cluster.place.path().join("founder");
    let audit = ["cluster", "audit", "--data-dir", data.to_str().unwrap()];
    let read = || -> serde_json::Value {
        let read = cluster.place.run(&[&["-o", "json"], &audit[..]].concat());
        serde_json::from_slice(&read.stdout).unwrap()
    };
    let is = |event: &serde_json::Value, of: &[(&str, &str)]| {
        of.iter().all(|(field, value)| event[field] == *value)
    };
    let expected: [&[(&str, &str)]; 6] = [
        &[
            ("event", "call"),
            ("principal", "user/admin"),
            ("method", "shoal.v1.TokenService/CreateToken"),
            ("outcome", "OK"),
        ],
        &[
            ("event", "join.denied"),
            ("principal", "user/ann"),
            ("outcome", "JOIN_DENIED"),
        ],
        &[
            ("event", "join"),
            ("principal", "user/ann"),
            ("outcome", "OK"),
        ],
        &[
            ("event", "auth.denied"),
            ("principal", "user/ann"),
            ("outcome", "NOT_PERMITTED"),
        ],
        &[
            ("event", "call"),
            ("principal", "user/ann"),
            ("method", "shoal.v1.ExecutionService/CreateExecution"),
            ("outcome", "OK"),
        ],
        &[
            ("event", "call"),
            ("principal", "user/admin"),
            ("method", "shoal.v1.ClusterService/ReadSnapshot"),
            ("outcome", "OK"),
        ],
    ];
    // The trail is written behind the answers.
    let whole = loop {
        let read = read();
        let events = read["events"].as_array().unwrap();
        let all = expected
            .iter()
            .all(|of| events.iter().any(|event| is(event, of)));
        if all {
            break read;
        }
    };
    assert_eq!(whole["valid"], true, "{whole:#}");
    let text = cluster.place.run(&audit).succeeds().text();
    assert!(
        text.contains("lines, nothing was changed in them; head "),
        "{text}"
    );

    let file = data.join("audit/00000001.jsonl");
    let changed = std::fs::read_to_string(&file)
        .unwrap()
        .replace("join.denied", "join.nothing");
    std::fs::write(&file, changed).unwrap();
    let found = cluster.place.run(&audit).ends_with(1);
    assert!(
        found.text().contains("CHANGED: 00000001.jsonl: line "),
        "{}",
        found.text()
    );
}

/// Attack 3: no certificate, one of another cluster, a revoked one.
#[test]
fn certificates_that_do_not_count_open_nothing() {
    let (cluster, other) = (Secure::new("attack-3", &[]), Secure::new("other", &[]));
    let at = format!("--cluster={}", cluster.address);
    let nobody = cluster.place.run(&[&at, "cluster", "status"]);
    assert_eq!(nobody.code, Some(4), "{}", said(&nobody));
    let stranger = other.admin().display().to_string();
    let stranger = cluster.as_whom(&stranger, &[&at, "cluster", "status"]);
    says(&stranger.ends_with(4), "coordinator/1 of another cluster");

    let token = cluster.token(&["--role=worker", "--name=w1"]);
    let mut worker = cluster.start_worker("w1", Some(&token));
    in_contact(&cluster);
    cluster
        .as_admin(&["token", "revoke", "worker/w1"])
        .succeeds();
    // The open connection is closed, and what comes after it is refused.
    let line = worker.wait_for("was revoked").text;
    assert!(
        line.contains("the certificate of worker/w1 was revoked"),
        "{line}"
    );
    worker.kill();
    // The same name with a new token is another: a machine that was set up again.
    let token = cluster.token(&["--role=worker", "--name=w1"]);
    std::fs::remove_dir_all(cluster.place.path().join("w1/tls")).unwrap();
    let _worker = cluster.start_worker("w1", Some(&token));
    in_contact(&cluster);
}

/// Waits until the worker is in contact.
fn in_contact(cluster: &Secure) {
    let contact = || {
        let list = cluster
            .as_admin(&["-o", "json", "worker", "list"])
            .succeeds();
        let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
        list[0]["connected"] == true
    };
    while !contact() {}
}

#[test]
fn certificates_renew_themselves_while_a_step_runs() {
    let lifetimes = ["--worker-certificates=6s", "--coordinator-certificates=6s"];
    let mut cluster = Secure::new("renewal", &lifetimes);
    let token = cluster.token(&["--role=worker", "--name=w1"]);
    let mut worker = cluster.start_worker("w1", Some(&token));
    let mut gate = cluster.place.gate("held");
    cluster.place.config(&format!(
        "- step:\n    name: held\n    image: busybox\n    command:\n      - {}\n      - echo done\n",
        gate.line()
    ));
    let run = ["execution", "run", "held", "--detach"];
    cluster.as_admin(&run).succeeds();
    gate.wait();
    // Twice each: what was renewed is renewed again.
    for _ in 0..2 {
        worker.wait_for("the certificate of worker/w1 was renewed");
    }
    for _ in 0..2 {
        cluster
            .founder
            .wait_for("the certificate of coordinator/1 was renewed");
    }
    gate.open();
    cluster.as_admin(&["execution", "watch", "1"]).succeeds();
    let shown = cluster.as_admin(&["-o", "json", "execution", "show", "1"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.succeeds().stdout).unwrap();
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 1, "{shown:#}");
}

#[test]
fn off_loopback_there_is_tls_or_none_is_started() {
    let cluster = Secure::new("insecure", &[]);
    let place = &cluster.place;
    let data = |name: &str| format!("--data-dir={}", place.path().join(name).display());
    // Never bound to: what is refused is refused before.
    let everywhere = "--listen=0.0.0.0:0";
    let worker = format!("--coordinator={}", cluster.address);
    let refused = place
        .run(&["worker", &worker, &data("w"), everywhere])
        .ends_with(1);
    says(&refused, "--join-token");
    let join = format!("--join={}", cluster.address);
    let refused = place
        .run(&["coordinator", &join, &data("c"), everywhere])
        .ends_with(2);
    says(
        &refused,
        "a coordinator that speaks TLS needs a token to join",
    );
}

/// `deploy/local/up`: three coordinators and two workers in one command, ended by another.
#[test]
fn a_cluster_on_one_machine_in_one_command() {
    let place = Place::new("local");
    let directory = place.path().join("cluster");
    let script = |name: &str| {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local");
        let shoal = place.shoal(&[]);
        let mut command = Command::new(scripts.join(name));
        command.arg(&directory).current_dir(place.project());
        for (name, value) in shoal.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.env("SHOAL", shoal.get_program()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let up = script("up");
    assert!(up.contains("export SHOAL_CONTEXT="), "{up}");
    let context = directory.join("admin.toml").display().to_string();
    let run = |arguments: &[&str]| {
        let context = format!("--context={context}");
        place.run(&[&[&*context], arguments].concat()).succeeds()
    };
    let status = run(&["-o", "json", "cluster", "status"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["members"].as_array().unwrap().len(), 3, "{status:#}");
    place.config(STEP);
    run(&["pipeline", "run", "both"]);

    let down = script("down");
    assert_eq!(down.matches("has ended").count(), 5, "{down}");
    // Everything is there again.
    script("up");
    let again = run(&["execution", "logs", "2"]);
    assert_eq!(again.text(), "bytes\n");
    script("down");
}
