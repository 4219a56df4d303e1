//! A proxy that cuts connections: when a test says so, or after so many bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A listening proxy; ends when dropped.
pub struct Proxy {
    pub address: String,
    state: Arc<Mutex<State>>,
    _end: tokio_util::sync::DropGuard,
}

struct State {
    target: String,
    /// Cuts every connection there is now.
    cut: CancellationToken,
    /// How many bytes from the server the next connections may carry.
    budgets: VecDeque<u64>,
    connections: u64,
}

impl Proxy {
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State {
            target: target.to_owned(),
            cut: CancellationToken::new(),
            budgets: VecDeque::new(),
            connections: 0,
        }));
        let end = CancellationToken::new();
        tokio::spawn(accept(listener, state.clone(), end.clone()));
        Self {
            address,
            state,
            _end: end.drop_guard(),
        }
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        std::mem::take(&mut state.cut).cancel();
    }

    /// The next connections are cut after so many bytes from the server, one after the other.
    pub fn budgets(&self, budgets: impl IntoIterator<Item = u64>) {
        self.state.lock().unwrap().budgets = budgets.into_iter().collect();
    }

    /// How many connections there were.
    pub fn connections(&self) -> u64 {
        self.state.lock().unwrap().connections
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>, end: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let near = tokio::select! {
            () = end.cancelled() => return,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        let (target, cut, budget) = {
            let mut state = state.lock().unwrap();
            state.connections += 1;
            (
                state.target.clone(),
                state.cut.clone(),
                state.budgets.pop_front().unwrap_or(u64::MAX),
            )
        };
        connections.spawn(async move {
            let Ok(far) = TcpStream::connect(target).await else {
                return;
            };
            tokio::select! {
                () = carry(near, far, budget) => {}
                () = cut.cancelled() => {}
            }
        });
    }
}

async fn carry(near: TcpStream, far: TcpStream, mut budget: u64) {
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let up = async {
        tokio::io::copy(&mut from_near, &mut to_far)
            .await
            .map(|_| ())
    };
    let down = async {
        let mut part = vec![0; 16 << 10];
        loop {
            let length = from_far.read(&mut part).await?;
            let allowed = length.min(usize::try_from(budget).unwrap_or(usize::MAX));
            to_near.write_all(&part[..allowed]).await?;
            budget -= allowed as u64;
            if length == 0 || budget == 0 {
                return Ok::<(), std::io::Error>(());
            }
        }
    };
    // Whichever half ends ends both: the connection is cut.
    tokio::select! {
        _ = up => {}
        _ = down => {}
    }
}
