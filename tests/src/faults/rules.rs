//! What may pass between whom.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A coordinator, by its place in the fleet.
    Coordinator(usize),
    /// A worker, by its place in the fleet.
    Worker(usize),
    /// Anyone else: a client.
    Client,
}

/// What happens to bytes on their way from one party to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// They wait until this ends, and so does whoever sends them: a cut that heals.
    pub stall: bool,
    /// They are lost. The connection is reset when this ends: nobody reads a stream with a hole.
    pub discard: bool,
    /// The connection is reset, and new ones too.
    pub reset: bool,
    /// They come this much later.
    pub delay: Duration,
    /// And up to this much more.
    pub jitter: Duration,
    /// Most bytes a second.
    pub bytes_per_second: Option<u64>,
    /// One chunk in so many has a bit turned over.
    pub corrupt_one_in: Option<u32>,
}

/// The rules of a network, by direction. Whoever is not named passes unhindered.
#[derive(Clone, Debug)]
pub struct Rules(watch::Sender<BTreeMap<(Party, Party), Rule>>);

impl Rules {
    /// A network without faults.
    pub fn new() -> Self {
        Self(watch::Sender::new(BTreeMap::new()))
    }

    /// From now on this rule holds for all that goes from one to the other.
    pub fn set(&self, from: Party, to: Party, rule: Rule) {
        self.0.send_modify(|rules| {
            rules.insert((from, to), rule);
        });
    }

    /// The same for both directions.
    pub fn set_between(&self, one: Party, other: Party, rule: &Rule) {
        self.set(one, other, rule.clone());
        self.set(other, one, rule.clone());
    }

    /// No rule holds any more.
    pub fn heal(&self) {
        self.0.send_modify(BTreeMap::clear);
    }

    /// The rule for one direction, and a way to hear of changes.
    pub(super) fn follow(&self, from: Party, to: Party) -> Followed {
        Followed {
            direction: (from, to),
            rules: self.0.subscribe(),
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new()
    }
}

/// The rule for one direction of one connection.
#[derive(Debug)]
pub(super) struct Followed {
    direction: (Party, Party),
    rules: watch::Receiver<BTreeMap<(Party, Party), Rule>>,
}

impl Followed {
    /// What holds now.
    pub(super) fn now(&mut self) -> Rule {
        let rules = self.rules.borrow_and_update();
        rules.get(&self.direction).cloned().unwrap_or_default()
    }

    /// Waits until something has changed since [`Self::now`]. Never returns when the network is gone.
    pub(super) async fn changed(&mut self) {
        if self.rules.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
