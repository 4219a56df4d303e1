//! A TCP proxy in front of one coordinator, through which everyone else reaches it, and which obeys the rules of the network.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rand::Rng as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::rules::Followed;
use super::source::Census;
use super::{Party, Rules};

/// Most bytes that are passed on at once.
const CHUNK: usize = 16 * 1_024;

/// Chunks on their way in one direction: what a long link holds.
const IN_FLIGHT: usize = 256;

/// A proxy. Ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy on a free port of `host` that passes everything on to `to`, which belongs to `owner`.
    pub(super) async fn start(
        host: &str,
        to: String,
        owner: Party,
        rules: Rules,
        census: Census,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((host, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // Connections end with the set that holds them.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, from)) = accepted else { continue };
                        let (to, rules, census) = (to.clone(), rules.clone(), census.clone());
                        connections.spawn(async move {
                            let party = census.whose(from, address);
                            connection(stream, &to, [party, owner], &rules).await;
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How one direction came to its end.
enum End {
    /// The sender has said all.
    Closed,
    /// The connection is to be reset.
    Reset,
}

async fn connection(from: TcpStream, to: &str, [caller, owner]: [Party; 2], rules: &Rules) {
    let (mut there, mut back) = (rules.follow(caller, owner), rules.follow(owner, caller));
    if there.now().reset || back.now().reset {
        return reset(&from);
    }
    // A network that is cut does not carry the first packet either.
    while there.now().stall || back.now().stall {
        tokio::select! {
            () = there.changed() => {}
            () = back.changed() => {}
        }
    }
    let Ok(onward) = TcpStream::connect(to).await else {
        return reset(&from);
    };
    // Both only cost speed.
    let _ = (from.set_nodelay(true), onward.set_nodelay(true));
    let (from_read, from_write) = from.into_split();
    let (onward_read, onward_write) = onward.into_split();
    let both = async {
        tokio::join!(
            pump(from_read, onward_write, there),
            pump(onward_read, from_write, back)
        )
    };
    // Each direction resets its own ends; what the other still holds ends with it.
    both.await;
}

fn reset(stream: &TcpStream) {
    // Without it the end is a friendly one.
    let _ = stream.set_zero_linger();
}

/// Carries bytes in one direction until its end.
async fn pump(mut from: OwnedReadHalf, to: OwnedWriteHalf, mut rule: Followed) {
    let (queue, waiting) = mpsc::channel(IN_FLIGHT);
    let reading = read(&mut from, queue, &mut rule);
    let (end, to) = tokio::join!(reading, write(to, waiting));
    match end {
        Ok(End::Closed) => {}
        Ok(End::Reset) | Err(_) => {
            reset(from.as_ref());
            reset(to.as_ref());
        }
    }
    drop(from);
}

async fn read(
    from: &mut OwnedReadHalf,
    queue: mpsc::Sender<(Instant, Vec<u8>)>,
    rule: &mut Followed,
) -> io::Result<End> {
    let mut discarded = false;
    let mut bytes = vec![0; CHUNK];
    loop {
        let now = rule.now();
        if now.reset || (discarded && !now.discard) {
            return Ok(End::Reset);
        }
        if now.stall {
            rule.changed().await;
            continue;
        }
        let length = tokio::select! {
            length = from.read(&mut bytes) => length?,
            () = rule.changed() => continue,
        };
        if length == 0 {
            return Ok(End::Closed);
        }
        let mut chunk = bytes[..length].to_vec();
        // It may have changed while nothing came.
        let now = rule.now();
        while rule.now().stall {
            rule.changed().await;
        }
        if now.discard {
            discarded = true;
            continue;
        }
        if let Some(one_in) = now.corrupt_one_in
            && rand::rng().random_ratio(1, one_in)
        {
            let at = rand::rng().random_range(0..length * 8);
            chunk[at / 8] ^= 1 << (at % 8);
        }
        if let Some(rate) = now.bytes_per_second {
            sleep(Duration::from_secs_f64(length as f64 / rate as f64)).await;
        }
        let late = now.delay + now.jitter.mul_f64(rand::rng().random());
        if queue.send((Instant::now() + late, chunk)).await.is_err() {
            return Ok(End::Reset);
        }
    }
}

/// Writes what comes, each at its time; the end of what comes is the end of the stream.
async fn write(
    mut to: OwnedWriteHalf,
    mut waiting: mpsc::Receiver<(Instant, Vec<u8>)>,
) -> OwnedWriteHalf {
    while let Some((due, chunk)) = waiting.recv().await {
        sleep_until(due).await;
        if to.write_all(&chunk).await.is_err() {
            break;
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::super::Rule;
    use super::*;

    /// A connection through a proxy to somebody who says everything again.
    async fn echo(rules: &Rules) -> (TcpStream, Proxy) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        let owner = Party::Coordinator(0);
        let proxy = Proxy::start("127.0.0.1", to, owner, rules.clone(), Census::default())
            .await
            .unwrap();
        (TcpStream::connect(proxy.address()).await.unwrap(), proxy)
    }

    async fn say(stream: &mut TcpStream, word: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(word).await?;
        let mut heard = vec![0; word.len()];
        stream.read_exact(&mut heard).await?;
        Ok(heard)
    }

    #[tokio::test]
    async fn without_rules_everything_passes_and_a_stall_ends_when_it_is_healed() {
        let rules = Rules::new();
        let (mut stream, _proxy) = echo(&rules).await;
        assert_eq!(say(&mut stream, b"hello").await.unwrap(), b"hello");
        let stall = Rule {
            stall: true,
            ..Rule::default()
        };
        rules.set(Party::Coordinator(0), Party::Client, stall);
        stream.write_all(b"again").await.unwrap();
        let mut heard = [0; 5];
        let wait = timeout(Duration::from_millis(200), stream.read_exact(&mut heard));
        assert!(wait.await.is_err(), "nothing comes");
        rules.heal();
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"again");
    }

    #[tokio::test]
    async fn a_reset_ends_what_is_open_and_what_is_new() {
        let rules = Rules::new();
        let (mut stream, proxy) = echo(&rules).await;
        assert_eq!(say(&mut stream, b"hello").await.unwrap(), b"hello");
        let reset = Rule {
            reset: true,
            ..Rule::default()
        };
        rules.set_between(Party::Client, Party::Coordinator(0), &reset);
        assert!(say(&mut stream, b"hello").await.is_err());
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(say(&mut stream, b"hello").await.is_err());
        rules.heal();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut stream, b"hello").await.unwrap(), b"hello");
    }

    #[tokio::test]
    async fn what_is_discarded_is_gone_and_the_connection_with_it() {
        let rules = Rules::new();
        let (mut stream, _proxy) = echo(&rules).await;
        let discard = Rule {
            discard: true,
            ..Rule::default()
        };
        rules.set(Party::Client, Party::Coordinator(0), discard);
        stream.write_all(b"lost").await.unwrap();
        let mut heard = [0; 4];
        let wait = timeout(Duration::from_millis(200), stream.read_exact(&mut heard));
        assert!(wait.await.is_err(), "nothing comes");
        rules.heal();
        assert!(say(&mut stream, b"more").await.is_err());
    }

    #[tokio::test]
    async fn delays_add_up_and_a_flipped_bit_is_one() {
        let rules = Rules::new();
        let (mut stream, _proxy) = echo(&rules).await;
        let delay = Rule {
            delay: Duration::from_millis(60),
            ..Rule::default()
        };
        rules.set_between(Party::Client, Party::Coordinator(0), &delay);
        let start = Instant::now();
        assert_eq!(say(&mut stream, b"hello").await.unwrap(), b"hello");
        assert!(start.elapsed() >= Duration::from_millis(120));
        rules.heal();
        let corrupt = Rule {
            corrupt_one_in: Some(1),
            ..Rule::default()
        };
        rules.set(Party::Client, Party::Coordinator(0), corrupt);
        let heard = say(&mut stream, b"hello").await.unwrap();
        let turned: u32 = heard
            .iter()
            .zip(b"hello")
            .map(|(one, other)| (one ^ other).count_ones())
            .sum();
        assert_eq!(turned, 1);
    }
}
