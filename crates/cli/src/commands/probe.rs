//! `shoal probe`: how a daemon is, for supervisors in places that have no other program to ask with.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use super::{Context, write_out};
use crate::args::Probe;
use crate::{Exit, Failure};

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Most bytes that are read of an answer.
const MOST: u64 = 4_096;

pub(super) fn run(context: &Context, arguments: &Probe) -> Result<Exit, Failure> {
    let address = &arguments.address;
    let path = if arguments.ready {
        "/readyz"
    } else {
        "/healthz"
    };
    let answer = ask(address, path)
        .map_err(|error| Failure::new(format!("{address} does not answer: {error}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "200" if context.global.quiet => Ok(Exit::Done),
        "200" => {
            write_out(body.as_bytes())?;
            Ok(Exit::Done)
        }
        "503" => Err(Failure::new(format!(
            "{address} is not ready: {}",
            body.trim()
        ))),
        _ => Err(Failure::new(format!(
            "{address} is no daemon's address for metrics"
        ))),
    }
}

/// Asks by HTTP and reads the whole answer.
fn ask(address: &str, path: &str) -> std::io::Result<String> {
    let mut last = std::io::Error::other("no such address");
    for one in address.to_socket_addrs()? {
        let mut connection = match TcpStream::connect_timeout(&one, PATIENCE) {
            Ok(connection) => connection,
            Err(error) => {
                last = error;
                continue;
            }
        };
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        connection.take(MOST).read_to_end(&mut answer)?;
        return Ok(String::from_utf8_lossy(&answer).into_owned());
    }
    Err(last)
}
