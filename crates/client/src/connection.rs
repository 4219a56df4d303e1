//! The one connection for calls: made when first needed, to whichever coordinator answers first; given up when it fails, moved
//! to the leader when told where it is.
//!
//! Any coordinator's address is enough: whoever answers is asked who else there is, and those are tried too when it is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contract::api;
use contract::api::ErrorReason;
use contract::api::cluster_service_client::ClusterServiceClient;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

use crate::dial::Ways;
use crate::{Error, Kind, Resolve};

/// How long one coordinator may take to be connected to before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(150);

/// How long to wait for a coordinator that is only asked how things are.
const LOOK_TIMEOUT: Duration = Duration::from_millis(700);

/// For how long a coordinator that failed is tried after all others.
const GRUDGE: Duration = Duration::from_secs(3);

/// The connection that calls go by.
pub(crate) struct Connection {
    resolver: Arc<dyn Resolve>,
    pub(crate) ways: Ways,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The channel in use.
    current: Option<Numbered>,
    /// How many there were.
    count: u64,
    /// Where a server said that the leader is.
    leader: Option<String>,
    /// Addresses that the resolver gave last.
    given: Vec<String>,
    /// Addresses of the members, as one of them told.
    members: Vec<String>,
    /// When an address last failed.
    failures: BTreeMap<String, Instant>,
}

/// A channel with the number by which to report it as failed.
#[derive(Debug, Clone)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) channel: Channel,
    pub(crate) address: String,
}

impl Connection {
    pub(crate) fn new(resolver: Arc<dyn Resolve>, ways: Ways) -> Self {
        Self {
            resolver,
            ways,
            state: Mutex::default(),
        }
    }

    /// The channel in use, made if there is none.
    pub(crate) async fn channel(self: &Arc<Self>) -> Result<Numbered, Error> {
        let mut state = self.state.lock().await;
        if let Some(current) = &state.current {
            return Ok(current.clone());
        }
        state.given = self.resolver.resolve().await?;
        let addresses = state.order();
        if addresses.is_empty() {
            return Err(Error::new(
                Kind::Unavailable,
                "no address of a coordinator is known",
            ));
        }
        let (connected, failed) = first_of(&addresses, &self.ways).await;
        let now = Instant::now();
        state
            .failures
            .extend(failed.into_iter().map(|address| (address, now)));
        let (address, channel) = connected?;
        tracing::debug!(%address, "connected");
        state.count += 1;
        let numbered = Numbered {
            number: state.count,
            channel,
            address,
        };
        state.current = Some(numbered.clone());
        drop(state);
        if self.resolver.has_others() {
            tokio::spawn(self.clone().learn(numbered.clone()));
        }
        Ok(numbered)
    }

    /// A call by channel `number` failed: the next one gets another, at the leader if the failure says where that is. Whether
    /// asking again at once makes sense: there is a leader that has not failed lately.
    pub(crate) async fn failed(&self, number: u64, error: &Error) -> bool {
        let mut state = self.state.lock().await;
        let Some(current) = state.current.take_if(|current| current.number == number) else {
            return false;
        };
        let now = Instant::now();
        let leader = error
            .metadata
            .get("leader")
            .filter(|address| !address.is_empty() && **address != current.address)
            .cloned();
        // One that only does not lead has not failed.
        if error.reason != Some(ErrorReason::NotLeader) {
            state.failures.insert(current.address, now);
        }
        let sound = leader
            .as_ref()
            .is_some_and(|leader| !state.failed_lately(leader, now));
        state.leader = leader;
        sound
    }

    /// Asks the others, because a call by channel `number` takes long, who leads. When that is another coordinator than the
    /// one that was asked, the next call goes there; says so with its address.
    pub(crate) async fn overtaken(&self, number: u64) -> Option<String> {
        let (current, addresses) = {
            let state = self.state.lock().await;
            let current = state.current.clone().filter(|now| now.number == number)?;
            (current.address, state.known())
        };
        let mut asked: JoinSet<_> = addresses
            .into_iter()
            .filter(|address| *address != current)
            .map(|address| {
                let ways = self.ways.clone();
                async move { look(&ways, &address).await }
            })
            .collect();
        let mut newest: Option<api::Cluster> = None;
        while let Some(answer) = asked.join_next().await {
            if let Ok(Ok(cluster)) = answer
                && newest
                    .as_ref()
                    .is_none_or(|newest| newest.term < cluster.term)
            {
                newest = Some(cluster);
            }
        }
        let leader = leader_of(&newest?).filter(|leader| *leader != current)?;
        let mut state = self.state.lock().await;
        let overtaken = state.current.take_if(|now| now.number == number)?;
        state.failures.insert(overtaken.address, Instant::now());
        state.leader = Some(leader.clone());
        Some(leader)
    }

    /// Asks a coordinator who else there is.
    async fn learn(self: Arc<Self>, from: Numbered) {
        let ask = ClusterServiceClient::new(from.channel)
            .get_cluster(api::GetClusterRequest {})
            .await;
        let Some(cluster) = ask.ok().and_then(|answer| answer.into_inner().cluster) else {
            return;
        };
        let members: Vec<String> = cluster
            .members
            .into_iter()
            .map(|member| member.address)
            .filter(|address| !address.is_empty())
            .collect();
        if !members.is_empty() {
            self.state.lock().await.members = members;
        }
    }
}

impl State {
    /// The addresses to try, the best first: where the leader is said to be, then those that have not failed lately, then the
    /// one whose failure is the longest ago.
    fn order(&mut self) -> Vec<String> {
        let now = Instant::now();
        let mut addresses = self.known();
        self.failures
            .retain(|_, failed| now.duration_since(*failed) < GRUDGE);
        // Stable: what has not failed stays in the order given.
        addresses.sort_by_key(|address| self.failures.get(address).copied());
        if let Some(leader) = self.leader.take() {
            addresses.retain(|address| *address != leader);
            let place = if self.failed_lately(&leader, now) {
                addresses.len()
            } else {
                0
            };
            addresses.insert(place, leader);
        }
        addresses
    }

    /// Every address that is known, each once: those that were given first.
    fn known(&self) -> Vec<String> {
        let mut addresses = self.given.clone();
        for member in &self.members {
            if !addresses.contains(member) {
                addresses.push(member.clone());
            }
        }
        addresses
    }

    fn failed_lately(&self, address: &str, now: Instant) -> bool {
        self.failures
            .get(address)
            .is_some_and(|failed| now.duration_since(*failed) < GRUDGE)
    }
}

/// Connects to the first that answers; each gets a head start before the next. Names those that failed.
async fn first_of(
    addresses: &[String],
    ways: &Ways,
) -> (Result<(String, Channel), Error>, Vec<String>) {
    let mut failed = Vec::new();
    let mut failure = None;
    let mut tries = JoinSet::new();
    let mut rest = addresses.iter().cloned();
    loop {
        match rest.next() {
            Some(address) => {
                let ways = ways.clone();
                tries.spawn(async move {
                    let connected = ways.connect(&address).await;
                    (address, connected)
                });
            }
            None if tries.is_empty() => break,
            None => {}
        }
        let more = rest.len() > 0;
        let ended = tokio::select! {
            ended = tries.join_next() => ended,
            () = sleep(HEAD_START), if more => None,
        };
        match ended {
            Some(Ok((address, Ok(channel)))) => return (Ok((address, channel)), failed),
            Some(Ok((address, Err(error)))) => {
                failed.push(address);
                // The first one is where the caller expected the cluster.
                failure.get_or_insert(error);
            }
            Some(Err(_)) | None => {}
        }
    }
    let failure =
        failure.unwrap_or_else(|| Error::new(Kind::Unavailable, "no coordinator can be reached"));
    (Err(failure), failed)
}

/// How a coordinator sees the cluster, unless it takes long to say.
///
/// # Errors
/// When it cannot be reached, or does not answer in time.
pub(crate) async fn look(ways: &Ways, address: &str) -> Result<api::Cluster, Error> {
    let ask = async {
        let channel = ways.connect(address).await?;
        let answer = ClusterServiceClient::new(channel)
            .get_cluster(api::GetClusterRequest {})
            .await?;
        Ok(answer.into_inner().cluster.unwrap_or_default())
    };
    let late = || {
        Error::new(
            Kind::Unavailable,
            format!("{address} does not answer in time"),
        )
    };
    timeout(LOOK_TIMEOUT, ask).await.map_err(|_| late())?
}

/// Where the leader is, if it is known.
pub(crate) fn leader_of(cluster: &api::Cluster) -> Option<String> {
    cluster
        .members
        .iter()
        .find(|member| member.member_id == cluster.leader_id && !member.address.is_empty())
        .map(|leader| leader.address.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn state(failed: &[&str]) -> State {
        let now = Instant::now();
        State {
            given: vec!["b".to_owned()],
            members: ["a", "b", "c"].map(str::to_owned).to_vec(),
            failures: failed
                .iter()
                .map(|address| ((*address).to_owned(), now))
                .collect(),
            ..State::default()
        }
    }

    #[tokio::test]
    async fn the_leader_is_tried_first_and_what_failed_last() {
        assert_eq!(state(&[]).order(), ["b", "a", "c"]);
        assert_eq!(state(&["b"]).order(), ["a", "c", "b"]);
        let mut known = state(&["b"]);
        known.leader = Some("c".to_owned());
        assert_eq!(known.order(), ["c", "a", "b"]);
        // Who still believes in a dead leader is not believed.
        known.leader = Some("b".to_owned());
        assert_eq!(known.order(), ["a", "c", "b"]);
    }

    #[tokio::test]
    async fn one_that_refuses_does_not_hold_up_the_next() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let there = silent.local_addr().unwrap().to_string();
        let (connected, failed) = first_of(&[gone.clone(), there.clone()], &Ways::default()).await;
        assert_eq!(connected.unwrap().0, there);
        assert_eq!(failed.as_slice(), std::slice::from_ref(&gone));
        let (refused, _) = first_of(&[gone], &Ways::default()).await;
        assert_eq!(refused.unwrap_err().kind, Kind::Unavailable);
    }
}
