//! The first fault of a node, told to whoever waits for it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Fault;

/// Where faults are told. Clones are the same place.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    first: Arc<watch::Sender<Option<Fault>>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            first: Arc::new(watch::Sender::new(None)),
        }
    }
}

impl Faults {
    /// Something that tells a fault; only the first one counts.
    pub(crate) fn reporter(&self) -> impl Fn(Fault) + Send + Sync + 'static + use<> {
        let first = self.first.clone();
        move |fault| {
            tracing::error!("{fault}");
            first.send_if_modified(|known| {
                let news = known.is_none();
                known.get_or_insert(fault);
                news
            });
        }
    }

    /// The first fault, if there was one.
    pub(crate) fn now(&self) -> Option<Fault> {
        self.first.borrow().clone()
    }

    /// Waits for the first fault; for ever when there is none.
    pub(crate) async fn wait(&self) -> Fault {
        let mut first = self.first.subscribe();
        loop {
            if let Some(fault) = first.borrow_and_update().clone() {
                return fault;
            }
            if first.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
