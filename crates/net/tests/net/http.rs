//! Inputs over http, from a server whose every answer the test writes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use net::{HttpError, HttpFetcher, HttpLimits, HttpSink as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::soon;

/// Gives prepared answers, one a connection, the last one again and again; keeps the requests.
struct Prepared {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

async fn serve(answers: Vec<Vec<u8>>) -> Prepared {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = requests.clone();
    tokio::spawn(async move {
        let mut at = 0;
        loop {
            let mut socket = listener.accept().await.unwrap().0;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(socket.read_u8().await.unwrap());
            }
            kept.lock()
                .unwrap()
                .push(String::from_utf8(request).unwrap());
            let answer = &answers[at.min(answers.len() - 1)];
            at += 1;
            // A client that has seen enough may have gone.
            let _ = socket.write_all(answer).await;
            let _ = socket.shutdown().await;
        }
    });
    Prepared { address, requests }
}

/// An answer; its body may be shorter than it says.
fn answer(status: &str, headers: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn fetcher() -> HttpFetcher {
    let limits = HttpLimits {
        first_wait: Duration::from_millis(1),
        proxies: false,
        ..HttpLimits::default()
    };
    HttpFetcher::new(limits).unwrap()
}

async fn fetch(server: &Prepared, path: &str) -> Result<Vec<u8>, HttpError> {
    let mut got = Vec::new();
    let count =
        soon(fetcher().fetch(&format!("http://{}{path}", server.address), &mut got)).await?;
    assert_eq!(count, got.len() as u64);
    Ok(got)
}

#[tokio::test]
async fn a_body_comes_whole() {
    let server = serve(vec![answer("200 OK", "", 5, b"hello")]).await;
    assert_eq!(fetch(&server, "/a").await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_cut_body_is_continued_where_the_server_can() {
    let server = serve(vec![
        answer("200 OK", "ETag: \"v1\"\r\n", 10, b"0123"),
        answer(
            "206 Partial Content",
            "ETag: \"v1\"\r\nContent-Range: bytes 4-9/10\r\n",
            6,
            b"45",
        ),
        answer(
            "206 Partial Content",
            "ETag: \"v1\"\r\nContent-Range: bytes 6-9/10\r\n",
            4,
            b"6789",
        ),
    ])
    .await;
    assert_eq!(fetch(&server, "/a").await.unwrap(), b"0123456789");
    let requests = server.requests.lock().unwrap();
    assert!(!requests[0].to_lowercase().contains("range:"));
    assert!(
        requests[1].to_lowercase().contains("range: bytes=4-") && requests[1].contains("\"v1\"")
    );
    assert!(requests[2].to_lowercase().contains("range: bytes=6-"));
}

#[tokio::test]
async fn what_changed_meanwhile_is_fetched_from_the_start() {
    let server = serve(vec![
        answer("200 OK", "ETag: \"v1\"\r\n", 10, b"0123"),
        answer("200 OK", "ETag: \"v2\"\r\n", 3, b"new"),
    ])
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut into = tokio::fs::File::from_std(file.reopen().unwrap());
    let count = soon(fetcher().fetch(&format!("http://{}/a", server.address), &mut into))
        .await
        .unwrap();
    into.sync_all().await.unwrap();
    assert_eq!(
        (count, std::fs::read(file.path()).unwrap()),
        (3, b"new".to_vec())
    );
    into.restart().await.unwrap();
    assert_eq!(std::fs::read(file.path()).unwrap(), b"");
}

#[tokio::test]
async fn without_a_version_it_starts_over() {
    let server = serve(vec![
        answer("200 OK", "", 4, b"01"),
        answer("200 OK", "", 4, b"0123"),
    ])
    .await;
    assert_eq!(fetch(&server, "/a").await.unwrap(), b"0123");
    assert!(
        !server.requests.lock().unwrap()[1]
            .to_lowercase()
            .contains("range:")
    );
}

#[tokio::test]
async fn a_failing_server_is_asked_again_but_not_for_ever() {
    let server = serve(vec![
        answer("503 Service Unavailable", "", 0, b""),
        answer("500 Internal Server Error", "", 0, b""),
        answer("200 OK", "", 2, b"ok"),
    ])
    .await;
    assert_eq!(fetch(&server, "/a").await.unwrap(), b"ok");

    let server = serve(vec![answer("503 Service Unavailable", "", 0, b"")]).await;
    let error = fetch(&server, "/a").await.unwrap_err();
    assert!(
        matches!(&error, HttpError::Unreachable { tries: 5, why, .. } if why.contains("503")),
        "{error}"
    );
    assert_eq!(server.requests.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn a_refusal_is_told_at_once_and_without_the_password() {
    let server = serve(vec![answer("404 Not Found", "", 0, b"")]).await;
    let mut got = Vec::new();
    let address = format!("http://user:secret@{}/a", server.address);
    let error = soon(fetcher().fetch(&address, &mut got)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("http://{}/a answered 404 Not Found", server.address)
    );
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    assert!(
        requests[0].contains("Basic dXNlcjpzZWNyZXQ="),
        "{}",
        requests[0]
    );
}

#[tokio::test]
async fn redirects_are_followed_up_to_a_limit() {
    let server = serve(vec![
        answer("302 Found", "Location: /b\r\n", 0, b""),
        answer("200 OK", "", 2, b"ok"),
    ])
    .await;
    assert_eq!(fetch(&server, "/a").await.unwrap(), b"ok");
    assert!(server.requests.lock().unwrap()[1].starts_with("GET /b "));

    let server = serve(vec![answer("302 Found", "Location: /a\r\n", 0, b"")]).await;
    let error = fetch(&server, "/a").await.unwrap_err().to_string();
    assert!(error.contains("redirect"), "{error}");
}
