//! What the tests are made of.

pub mod host;

pub mod ledgers;

pub mod proxy;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Client, Error, Options, Resolve};

/// Longest wait for an event: only a broken program ever takes as long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for an event that must come.
pub async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event)
        .await
        .expect("it never happened")
}

/// A resolver whose answer a test can change.
#[derive(Clone)]
pub struct Moving(pub Arc<Mutex<String>>);

impl Moving {
    pub fn at(address: impl Into<String>) -> Self {
        Self(Arc::new(Mutex::new(address.into())))
    }

    pub fn to(&self, address: impl Into<String>) {
        *self.0.lock().unwrap() = address.into();
    }
}

#[client::async_trait]
impl Resolve for Moving {
    async fn resolve(&self) -> Result<Vec<String>, Error> {
        Ok(vec![self.0.lock().unwrap().clone()])
    }
}

/// A client that gives up at the first failure.
pub fn impatient(address: &str) -> Client {
    let options = Options {
        deadline: Duration::ZERO,
        patience: Duration::ZERO,
        ..Options::default()
    };
    Client::with_options(client::Fixed::one(address), options)
}
