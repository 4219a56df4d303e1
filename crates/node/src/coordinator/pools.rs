//! Who makes machines: a command of the operator's, which is told on its standard input how many there should be, or an address that is sent the same.
//!
//! It has done its part when it ends with 0, or answers with one of the 2xx, at the latest after its time-out; machines may come up later. What it prints on
//! its standard error, or answers, is what people are shown when it fails.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Input, PoolCall};
use ledger::Needs;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::runtime::Handle;

use super::hands::Reporter;

/// Version of what a command is told.
const VERSION: u32 = 1;
/// As much of its words as is kept, in bytes.
const MAX_WORDS: usize = 500;

/// A pool of machines, and who makes them.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// The pool.
    pub pool: coordinator::Pool,
    /// Who makes them.
    pub maker: PoolMaker,
    /// Time it has for a call.
    pub timeout: Duration,
}

/// Who is told how many machines there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolMaker {
    /// Program and arguments.
    Command(Vec<String>),
    /// An address.
    Url {
        /// `http://` or `https://`.
        url: String,
        /// File with the bearer token that it wants; read anew for each call, so that it can be replaced.
        token_file: Option<PathBuf>,
    },
}

/// Makes the calls of a mind.
pub(super) struct Pools {
    all: Arc<[PoolConfig]>,
    runtime: Handle,
    report: Reporter,
}

impl Pools {
    /// Calls the commands of these pools. Must be made on a thread of the runtime.
    pub(super) fn new(all: Arc<[PoolConfig]>, report: Reporter) -> Self {
        Self {
            all,
            runtime: Handle::current(),
            report,
        }
    }

    /// Makes a call beside the loop, and reports what became of it.
    pub(super) fn call(&self, call: PoolCall) {
        let (all, report) = (self.all.clone(), self.report.clone());
        self.runtime.spawn(async move {
            let config = all
                .iter()
                .find(|config| config.pool.environment == call.environment);
            let result = match config {
                Some(config) => run(config, &call).await,
                None => Err("nobody makes machines of this environment".to_owned()),
            };
            match &result {
                Ok(()) => tracing::info!(
                    environment = call.environment,
                    wanted = call.wanted,
                    present = call.present,
                    release = call.release.join(", "),
                    "machines were asked for"
                ),
                Err(failure) => tracing::warn!(
                    environment = call.environment,
                    failure,
                    "machines could not be asked for"
                ),
            }
            let call_id = call.call_id;
            report(Ok(Input::PoolAnswered { call_id, result }));
        });
    }
}

async fn run(config: &PoolConfig, call: &PoolCall) -> Result<(), String> {
    match &config.maker {
        PoolMaker::Command(command) => run_command(command, config.timeout, call).await,
        PoolMaker::Url { url, token_file } => {
            let token = match token_file {
                None => None,
                Some(file) => {
                    let text = tokio::fs::read_to_string(file).await;
                    Some(text.map_err(|error| format!("{}: {error}", file.display()))?)
                }
            };
            let token = token.as_deref().map(str::trim);
            let text = message(call).to_string();
            let sent = net::post_json(url, token, text, config.timeout).await;
            sent.map_err(|error| error.to_string())
        }
    }
}

async fn run_command(command: &[String], timeout: Duration, call: &PoolCall) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("its command is empty".to_owned());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let told = message(call).to_string();
    let stdin = child.stdin.take();
    let tell = async move {
        // One that does not listen may still know what to do.
        if let Some(mut stdin) = stdin {
            drop(stdin.write_all(told.as_bytes()).await);
        }
    };
    let ended = async { tokio::join!(tell, child.wait_with_output()).1 };
    match tokio::time::timeout(timeout, ended).await {
        Err(_) => Err(format!(
            "{program} did not end within {} s",
            timeout.as_secs_f64()
        )),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let words = String::from_utf8_lossy(&output.stderr);
            let words: String = words.trim().chars().take(MAX_WORDS).collect();
            Err(format!("{program} ended with {}: {words}", output.status))
        }
    }
}

/// What a command is told.
fn message(call: &PoolCall) -> Value {
    let workers = call.workers.iter().map(|worker| {
        json!({
            "name": worker.name, "attempts": worker.attempts, "draining": worker.draining, "provisioned": worker.provisioned,
            "idle_seconds": worker.idle_us / 1_000_000,
        })
    });
    let waiting = call.waiting.iter().map(|(needs, count)| {
        let mut told = needs_of(needs);
        told["count"] = json!(count);
        told
    });
    json!({
        "version": VERSION,
        "call_id": call.call_id,
        "environment": call.environment,
        "wanted": call.wanted,
        "present": call.present,
        "release": call.release,
        "coordinators": call.coordinators,
        "workers": workers.collect::<Vec<Value>>(),
        "waiting": waiting.collect::<Vec<Value>>(),
        "oldest_age_seconds": call.oldest_age_ms / 1_000,
    })
}

fn needs_of(needs: &Needs) -> Value {
    let devices = needs.devices.iter().map(
        |need| json!({"kind": need.kind, "count": need.count, "memory_bytes": need.memory_bytes}),
    );
    json!({
        "cpu_millis": needs.cpu_millis, "memory_bytes": needs.memory_bytes, "image": needs.image,
        "devices": devices.collect::<Vec<Value>>(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    fn config(script: &str) -> PoolConfig {
        PoolConfig {
            pool: coordinator::Pool {
                environment: "gpu".to_owned(),
                minimum: 0,
                maximum: 1,
                slots: 1,
                cpu_millis: None,
                memory_bytes: None,
                devices: 0,
                cool_down_us: 0,
                idle_us: 0,
                drop_outputs: false,
            },
            maker: PoolMaker::Command(["sh", "-c", script].map(str::to_owned).to_vec()),
            timeout: Duration::from_secs(60),
        }
    }

    fn call() -> PoolCall {
        PoolCall {
            call_id: "c/gpu/7".to_owned(),
            environment: "gpu".to_owned(),
            wanted: 2,
            present: 1,
            release: vec!["w1".to_owned()],
            coordinators: vec!["127.0.0.1:7461".to_owned()],
            workers: Vec::new(),
            waiting: vec![(Needs::default(), 3)],
            oldest_age_ms: 12_000,
        }
    }

    #[tokio::test]
    async fn a_command_is_told_what_there_should_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("told");
        let told = config(&format!("cat > {}", file.display()));
        run(&told, &call()).await.unwrap();
        let told: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(told["wanted"], 2);
        assert_eq!(told["release"], json!(["w1"]));
        assert_eq!(told["waiting"][0]["count"], 3);
        assert_eq!(told["call_id"], "c/gpu/7");
    }

    #[tokio::test]
    async fn what_was_wrong_is_told() {
        let failed = config("echo quota exceeded >&2; exit 3");
        let failure = run(&failed, &call()).await.unwrap_err();
        assert_eq!(failure, "sh ended with exit status: 3: quota exceeded");
        let late = PoolConfig {
            timeout: Duration::from_millis(20),
            ..config("exec sleep 600")
        };
        let failure = run(&late, &call()).await.unwrap_err();
        assert_eq!(failure, "sh did not end within 0.02 s");
        let nobody = PoolConfig {
            maker: PoolMaker::Command(vec!["/nonexistent/provision".to_owned()]),
            ..config("")
        };
        let failure = run(&nobody, &call()).await.unwrap_err();
        assert!(failure.contains("/nonexistent/provision"), "{failure}");
    }

    /// Answers one request with `status` and `body`, and gives it back.
    async fn serve(status: &str, body: &str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/pools/gpu", listener.local_addr().unwrap());
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        let served = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(socket.read_u8().await.unwrap());
            }
            let head = String::from_utf8(request).unwrap();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse::<usize>().unwrap())
            });
            let mut body = vec![0; length.unwrap()];
            socket.read_exact(&mut body).await.unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
            head + &String::from_utf8(body).unwrap()
        });
        (url, served)
    }

    fn at(url: &str, token_file: Option<PathBuf>) -> PoolConfig {
        let maker = PoolMaker::Url {
            url: url.to_owned(),
            token_file,
        };
        PoolConfig {
            maker,
            ..config("")
        }
    }

    #[tokio::test]
    async fn an_address_is_told_the_same_with_the_token_of_the_moment() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        for token in ["first", "second"] {
            std::fs::write(&file, format!("{token}\n")).unwrap();
            let (url, served) = serve("202 Accepted", "").await;
            run(&at(&url, Some(file.clone())), &call()).await.unwrap();
            let request = served.await.unwrap();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("POST /pools/gpu HTTP/1.1\r\n"), "{head}");
            let head = head.to_ascii_lowercase();
            assert!(
                head.contains(&format!("\r\nauthorization: bearer {token}")),
                "{head}"
            );
            let told: Value = serde_json::from_str(body).unwrap();
            assert_eq!(told, message(&call()));
        }
    }

    #[tokio::test]
    async fn what_an_address_says_against_it_is_told_without_secrets() {
        let (url, _served) = serve("403 Forbidden", "quota\nexceeded").await;
        let address = url.strip_prefix("http://").unwrap();
        let secret = format!("http://someone:hidden@{address}");
        let failure = run(&at(&secret, None), &call()).await.unwrap_err();
        assert!(
            failure.ends_with("answered 403 Forbidden: quota exceeded"),
            "{failure}"
        );
        assert!(!failure.contains("hidden"), "{failure}");
        let (url, _served) = serve(
            "307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/",
            "",
        )
        .await;
        let failure = run(&at(&url, None), &call()).await.unwrap_err();
        assert!(
            failure.ends_with("answered 307 Temporary Redirect"),
            "{failure}"
        );
        let failure = run(&at("ftp://somewhere", None), &call())
            .await
            .unwrap_err();
        assert!(
            failure.starts_with("ftp://somewhere is no http(s) address"),
            "{failure}"
        );
        let missing = Some(PathBuf::from("/nonexistent/token"));
        let failure = run(&at(&url, missing), &call()).await.unwrap_err();
        assert!(failure.starts_with("/nonexistent/token: "), "{failure}");
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_has_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let late = PoolConfig {
            timeout: Duration::from_millis(20),
            ..at(&url, None)
        };
        let failure = run(&late, &call()).await.unwrap_err();
        assert!(failure.contains("no answer within 0.02 s"), "{failure}");
    }
}
