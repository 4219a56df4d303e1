//! Machines that come for what waits, and go when nothing does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use cluster_tests::harness::{BUSYBOX, Cluster, Engine, PATIENCE, shoal};
use serde_json::Value;

/// A directory for the machines of a pool, and the file of its coordinators. The command fails as long as there is a file `broken`.
struct Pool {
    directory: tempfile::TempDir,
}

impl Pool {
    fn new() -> Self {
        Self::of(|pool| {
            let script = pool.script().display().to_string();
            let (shoal, at) = (shoal().display(), pool.directory.path().display());
            let line = format!(
                "if [ -e {at}/broken ]; then echo the quota is exceeded >&2; exit 1; fi; exec {script} {shoal} {at}/machines"
            );
            format!("command = ['sh', '-c', '{line}']")
        })
    }

    /// A pool whose machines are made by what these lines of its section say.
    fn of(maker: impl FnOnce(&Self) -> String) -> Self {
        let pool = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let maker = maker(&pool);
        let file = format!("[pools.burst]\n{maker}\nmaximum = 2\ncool_down = 1\nidle = 1\n");
        fs::write(pool.path("shoal.toml"), file).unwrap();
        pool
    }

    /// An example of who makes machines.
    fn example(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../deploy/pools")
            .join(name)
    }

    fn script(&self) -> PathBuf {
        Self::example("processes")
    }

    fn cluster(&self, name: &str, coordinators: usize) -> Cluster {
        let config = format!("--config={}", self.path("shoal.toml").display());
        let cluster = Cluster::of_arguments(name, coordinators, &[&config]);
        cluster.place.config(
            r#"
- step:
    name: hello
    image: busybox
    environment: burst
    command: echo hello
- step:
    name: keep
    image: busybox
    environment: burst
    command: echo kept > "$VH_OUTPUTS_DIR/kept"
"#,
        );
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Looks until what is looked for is there. Every look is a command that waits for an answer.
#[track_caller]
fn wait_for(cluster: &Cluster, command: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = cluster.place.json(command);
        if wanted(&said) {
            return said;
        }
        assert!(Instant::now() < until, "it stays as it is: {said:#}");
    }
}

fn workers(said: &Value) -> &[Value] {
    said.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[test]
fn a_machine_comes_for_an_execution_and_goes_after_it() {
    let pool = Pool::new();
    let cluster = pool.cluster("pools", 3);
    let list = ["worker", "list"];
    cluster.place.run(&["execution", "run", "hello"]).succeeds();
    let execution = cluster.place.execution(1);
    let worker = execution["attempts"][0]["worker"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(worker.starts_with("burst-"), "{worker}");
    // It was drained before it was ended, and nothing else was made.
    let said = wait_for(&cluster, &list, |said| {
        workers(said)
            .iter()
            .all(|worker| worker["connected"] == false)
    });
    assert_eq!(workers(&said).len(), 1, "{said:#}");
    assert_eq!(workers(&said)[0]["draining"], true, "{said:#}");
    // Another one comes for what is asked for next.
    cluster.place.run(&["execution", "run", "hello"]).succeeds();
    let execution = cluster.place.execution(2);
    assert_ne!(execution["attempts"][0]["worker"], worker.as_str());
}

/// The same by an address: a service that hands each call to the script, and the first of them to nobody.
#[test]
fn an_address_makes_machines_as_a_command_does() {
    const TOKEN: &str = "of-the-service";
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/burst", service.local_addr().unwrap());
    let pool = Pool::of(|pool| {
        fs::write(pool.path("token"), TOKEN).unwrap();
        let token_file = pool.path("token");
        format!("url = '{url}'\ntoken_file = '{}'", token_file.display())
    });
    let script = pool.script();
    let machines = pool.path("machines");
    std::thread::spawn(move || {
        let mut calls = service.incoming().map(Result::unwrap);
        let mut first = BufReader::new(calls.next().unwrap());
        request(&mut first);
        answer(first.into_inner(), "503 Service Unavailable", "no room");
        for call in calls {
            let mut child = Command::new(&script)
                .args([shoal(), &machines])
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            let mut call = BufReader::new(call);
            let (head, body) = request(&mut call);
            assert!(head.contains(&format!("Bearer {TOKEN}")), "{head}");
            child.stdin.take().unwrap().write_all(&body).unwrap();
            assert!(child.wait().unwrap().success());
            answer(call.into_inner(), "200 OK", "");
        }
    });
    let cluster = pool.cluster("pools-address", 1);
    cluster
        .place
        .run(&["execution", "run", "hello", "--detach"])
        .succeeds();
    let status = cluster.wait_for(|status| status["pools"][0]["failure_count"].as_i64() >= Some(1));
    let failure = status["pools"][0]["failure"].as_str().unwrap_or_default();
    assert!(
        failure.contains("503 Service Unavailable: no room"),
        "{status:#}"
    );
    assert!(!status.to_string().contains(TOKEN), "{status:#}");
    cluster.place.run(&["execution", "watch", "1"]).succeeds();
    wait_for(&cluster, &["worker", "list"], |said| {
        workers(said)
            .iter()
            .all(|worker| worker["connected"] == false)
    });
}

/// The same with workers in containers, which run their steps in containers beside them.
#[test]
fn a_machine_of_a_pool_can_be_a_container() {
    let Some(engine) = Engine::get() else {
        return;
    };
    let image = format!("shoal-pool-{}:test", std::process::id());
    engine.make_image(&image);
    let pool = Pool::of(|pool| {
        let script = Pool::example("containers").display().to_string();
        let machines = pool.path("machines").display().to_string();
        format!(
            "command = ['{script}', '{image}', '{machines}', '--env=SHOAL_LOG=info', '--', '--container-network=none']"
        )
    });
    let machines = pool.path("machines");
    let made = Made {
        engine,
        label: format!("label=io.shoal.pool=burst {}", machines.display()),
        image,
    };
    let cluster = pool.cluster("pools-containers", 1);
    cluster.place.config(&format!(
        "- step:\n    name: hello\n    image: {BUSYBOX}\n    environment: burst\n    command: echo hello\n"
    ));
    cluster.place.run(&["execution", "run", "hello"]).succeeds();
    let execution = cluster.place.execution(1);
    let attempt = &execution["attempts"][0];
    let worker = attempt["worker"].as_str().unwrap();
    assert!(worker.starts_with("burst-"), "{execution:#}");
    assert!(attempt["image_digest"].is_string(), "{execution:#}");
    // It goes, and with it its container, those of its steps, and what it had on the disk.
    let until = Instant::now() + PATIENCE;
    while machines.join(worker).exists() || !made.containers().is_empty() {
        assert!(Instant::now() < until, "{}", made.containers());
        cluster.place.run(&["worker", "list"]).succeeds();
    }
    assert!(engine.containers(&machines.join(worker)).is_empty());
}

/// What such a pool makes: none of it is left, whatever becomes of the test.
struct Made {
    engine: &'static Engine,
    label: String,
    image: String,
}

impl Made {
    fn containers(&self) -> String {
        let list = ["ps", "--all", "--quiet", "--filter", &self.label];
        self.engine.docker(&list)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for container in self.containers().lines() {
            self.engine.docker(&["rm", "--force", container]);
        }
        self.engine.docker(&["image", "rm", &self.image]);
    }
}

/// Head and body of a request.
fn request(call: &mut impl BufRead) -> (String, Vec<u8>) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        call.read_line(&mut head).unwrap();
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap()];
    call.read_exact(&mut body).unwrap();
    (head, body)
}

/// Answers a request.
fn answer(mut call: TcpStream, status: &str, words: &str) {
    let length = words.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{words}"
    );
    call.write_all(text.as_bytes()).unwrap();
}

#[test]
fn what_is_wrong_with_who_makes_machines_is_told_and_it_is_asked_again() {
    let pool = Pool::new();
    fs::write(pool.path("broken"), "").unwrap();
    let cluster = pool.cluster("pools-broken", 1);
    cluster
        .place
        .run(&["execution", "run", "hello", "--detach"])
        .succeeds();
    let status = cluster.wait_for(|status| status["pools"][0]["failure_count"].as_i64() >= Some(2));
    let failure = status["pools"][0]["failure"].as_str().unwrap_or_default();
    assert!(failure.contains("the quota is exceeded"), "{status:#}");
    let explained = cluster.place.run(&["explain", "1"]).succeeds();
    let text = explained.text();
    assert!(text.contains("1 machines in all were asked for"), "{text}");
    assert!(text.contains("the quota is exceeded"), "{text}");
    fs::remove_file(pool.path("broken")).unwrap();
    wait_for(&cluster, &["execution", "show", "1"], |said| {
        said["state"] == "complete"
    });
}

/// Nobody could take them.
#[test]
fn a_machine_that_alone_has_outputs_is_not_given_back() {
    let pool = Pool::new();
    let cluster = pool.cluster("pools-outputs", 1);
    cluster.place.run(&["execution", "run", "keep"]).succeeds();
    let status = cluster.wait_for(|status| status["pools"][0]["holding_workers"][0].is_string());
    assert_eq!(status["pools"][0]["present"], 1, "{status:#}");
    let execution = cluster.place.execution(1);
    let worker = format!(
        "workers/{}",
        execution["attempts"][0]["worker"].as_str().unwrap()
    );
    assert_eq!(status["pools"][0]["holding_workers"][0], worker.as_str());
}

/// It is drained, hands over what only it has, and then goes.
#[test]
fn a_machine_goes_once_somebody_who_stays_has_what_it_made() {
    let pool = Pool::new();
    let mut cluster = pool.cluster("pools-copies", 1);
    cluster.add_worker("stays", None);
    cluster.place.run(&["execution", "run", "keep"]).succeeds();
    let worker = cluster.place.execution(1)["attempts"][0]["worker"].clone();
    assert_ne!(worker, "stays");
    wait_for(&cluster, &["worker", "list"], |said| {
        let gone = |one: &&Value| one["name"] == worker && one["connected"] == false;
        workers(said).iter().any(|one| gone(&one))
    });
    let directory = cluster.place.path().join("downloaded");
    let to = directory.to_str().unwrap();
    cluster
        .place
        .run(&["execution", "outputs", "1", "--download", to])
        .succeeds();
    assert_eq!(fs::read(directory.join("kept")).unwrap(), b"kept\n");
}

/// What waits starts as soon as a worker joins: nobody looks from time to time.
#[test]
fn a_worker_that_joins_is_used() {
    let mut cluster = Cluster::of("joins", 1);
    cluster
        .place
        .config("- step:\n    name: hello\n    image: busybox\n    command: echo hello\n");
    let waits = ["execution", "run", "hello", "--detach", "--priority", "7"];
    cluster.place.run(&waits).succeeds();
    assert_eq!(cluster.place.execution(1)["priority"], 7);
    let explained = cluster.place.run(&["explain", "1"]).succeeds();
    assert!(
        explained.text().contains("there is no worker"),
        "{}",
        explained.text()
    );
    cluster.add_worker("joins", None);
    cluster.place.run(&["execution", "watch", "1"]).succeeds();
    assert_eq!(cluster.place.execution(1)["attempts"][0]["worker"], "joins");
}
