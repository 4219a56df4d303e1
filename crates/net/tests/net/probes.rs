//! What supervisors and monitoring systems ask by plain HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use net::ports::Probes;
use net::{async_trait, serve_probes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::support::soon;

#[derive(Default)]
struct Node {
    ready: AtomicBool,
}

#[async_trait]
impl Probes for Node {
    async fn metrics(&self) -> String {
        "# HELP up Whether it is up.\n# TYPE up gauge\nup 1\n".to_owned()
    }

    fn ready(&self) -> Result<(), String> {
        match self.ready.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("nobody leads".to_owned()),
        }
    }
}

async fn ask(address: &str, method: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_node_says_how_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let node = Arc::new(Node::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(serve_probes(listener, node.clone(), async {
        let _ = stopped.await;
    }));

    let metrics = ask(&address, "GET", "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(
        metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{metrics}"
    );
    assert!(metrics.ends_with("\r\n\r\n# HELP up Whether it is up.\n# TYPE up gauge\nup 1\n"));
    let healthy = ask(&address, "GET", "/healthz").await;
    assert!(healthy.starts_with("HTTP/1.1 200"), "{healthy}");
    let not_ready = ask(&address, "GET", "/readyz").await;
    assert!(not_ready.starts_with("HTTP/1.1 503"), "{not_ready}");
    assert!(not_ready.ends_with("\r\n\r\nnobody leads\n"), "{not_ready}");
    node.ready.store(true, Ordering::Relaxed);
    let ready = ask(&address, "GET", "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let unknown = ask(&address, "GET", "/").await;
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
    let changed = ask(&address, "POST", "/metrics").await;
    assert!(changed.starts_with("HTTP/1.1 405"), "{changed}");

    // Who says nothing keeps nobody waiting.
    let silent = TcpStream::connect(&address).await.unwrap();
    assert!(ask(&address, "GET", "/healthz").await.ends_with("ok\n"));
    drop(silent);
    drop(stop);
    soon(served).await.unwrap();
}
