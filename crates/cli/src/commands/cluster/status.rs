//! `shoal cluster status`: every member as it sees itself. Each is asked by itself, so that a part of the cluster that cannot be
//! reached is shown as such and hides nothing of the rest.

use std::collections::BTreeMap;

use client::Client;
use contract::api;
use futures::future::join_all;
use serde_json::{Value, json};

use super::super::Context;
use crate::print::{table, units};
use crate::tables::{Now, cell};
use crate::{Exit, Failure};

/// The cluster as its members see it together.
struct Status {
    /// As the best informed of them sees it.
    cluster: api::Cluster,
    members: Vec<Member>,
}

/// A member, and what it said of itself.
struct Member {
    known: api::Member,
    said: Result<api::Cluster, client::Error>,
}

pub(super) async fn show(context: &Context) -> Result<Exit, Failure> {
    let status = match &context.cluster {
        Some(cluster) => ask(&context.connect().client, cluster.addresses.clone()).await?,
        None => {
            let connection = context.connect();
            let answer = connection
                .client
                .get_cluster(api::GetClusterRequest {})
                .await;
            context.close(connection).await;
            Status::alone(answer?.cluster.unwrap_or_default())
        }
    };
    context.print(|| status.json(), || status.text())?;
    Ok(Exit::Done)
}

/// Asks the coordinators at these addresses, and then those that they know of.
async fn ask(client: &Client, given: Vec<String>) -> Result<Status, Failure> {
    let mut said: BTreeMap<String, Result<api::Cluster, client::Error>> = BTreeMap::new();
    let mut to_ask = given.clone();
    while !to_ask.is_empty() {
        let answers = join_all(to_ask.iter().map(|address| client.look(address))).await;
        said.extend(to_ask.into_iter().zip(answers));
        let known = said.values().flatten().flat_map(|cluster| &cluster.members);
        to_ask = known
            .map(|member| member.address.clone())
            .filter(|address| !address.is_empty() && !said.contains_key(address))
            .collect();
        to_ask.sort();
        to_ask.dedup();
    }
    // Who follows the newest term knows most; a leader knows itself.
    let best = said.values().flatten().max_by_key(|cluster| {
        (
            // One that has just joined knows of nobody.
            !cluster.members.is_empty(),
            cluster.term,
            cluster.leader_id != 0,
            cluster.leader_id == cluster.member_id,
            cluster.applied_index,
        )
    });
    let Some(cluster) = best.cloned() else {
        let first = given.first().and_then(|address| said.remove(address));
        return Err(match first {
            Some(Err(error)) => error.into(),
            _ => Failure::usage("--cluster names no coordinator"),
        });
    };
    let members = cluster.members.iter().map(|known| {
        let unknown = || client::Error::new(client::Kind::Unavailable, "its address is not known");
        Member {
            known: known.clone(),
            said: said
                .remove(&known.address)
                .unwrap_or_else(|| Err(unknown())),
        }
    });
    let members = members.collect();
    Ok(Status { cluster, members })
}

impl Status {
    /// A cluster of which one coordinator is all that is asked.
    fn alone(cluster: api::Cluster) -> Self {
        let members = cluster.members.iter().map(|known| Member {
            known: known.clone(),
            said: Ok(cluster.clone()),
        });
        Self {
            members: members.collect(),
            cluster,
        }
    }

    fn role(&self, member: &Member) -> &'static str {
        match (
            member.known.member_id == self.cluster.leader_id,
            member.known.learner,
        ) {
            (true, _) => "leader",
            (false, true) => "learner",
            (false, false) => "follower",
        }
    }

    /// How many entries a member is behind what is known to be committed.
    fn lag(&self, said: &api::Cluster) -> i64 {
        let committed = self
            .members
            .iter()
            .flat_map(|member| &member.said)
            .map(|other| other.commit_index)
            .max();
        (committed.unwrap_or_default() - said.commit_index).max(0)
    }

    /// Members that still fetch logs or source trees, in words. While there are any, another member may be the only one that has them.
    fn fetching(&self) -> impl Iterator<Item = (i64, String)> {
        self.members.iter().filter_map(|member| {
            let said = member.said.as_ref().ok()?;
            Some((member.known.member_id, lacks(said)?))
        })
    }

    /// What is wrong with the whole, for people.
    fn trouble(&self) -> Option<String> {
        let voters = self.members.iter().filter(|member| !member.known.learner);
        let (all, there) = voters.fold((0, 0), |(all, there), member| {
            (all + 1, there + usize::from(member.said.is_ok()))
        });
        if there * 2 <= all {
            return Some(format!(
                "NO QUORUM: {there} of {all} voters can be reached; writes and fresh reads wait for a majority"
            ));
        }
        if self.cluster.leader_id == 0 {
            return Some("no leader is known".to_owned());
        }
        let (member, lacks) = self.fetching().next()?;
        Some(format!(
            "member {member} fetches {lacks}: until it has them, take no other member down for good"
        ))
    }

    fn json(&self) -> Value {
        let members: Vec<Value> = self
            .members
            .iter()
            .map(|member| self.member(member))
            .collect();
        let pools = self.cluster.pools.iter().map(|pool| {
            json!({
                "environment": pool.environment, "present": pool.present, "wanted": pool.wanted, "maximum": pool.maximum,
                "failure": pool.failure, "failure_count": pool.failure_count, "holding_workers": pool.holding_workers,
            })
        });
        json!({
            "cluster_id": self.cluster.cluster_id,
            "members": members,
            "pools": pools.collect::<Vec<Value>>(),
            "leader_id": self.cluster.leader_id,
            "term": self.cluster.term,
            "commit_index": self.cluster.commit_index,
            "applied_index": self.cluster.applied_index,
            "version": self.cluster.version,
            "feature_level": self.cluster.feature_level,
            "feature_version": self.cluster.feature_version,
            "trouble": self.trouble(),
        })
    }

    fn member(&self, member: &Member) -> Value {
        let mut value = json!({
            "member_id": member.known.member_id,
            "address": member.known.address,
            "role": self.role(member),
            "learner": member.known.learner,
            "leader": member.known.member_id == self.cluster.leader_id,
            "reachable": member.said.is_ok(),
        });
        let more = match &member.said {
            Ok(said) => json!({
                "ready": said.ready,
                "term": said.term,
                "commit_index": said.commit_index,
                "applied_index": said.applied_index,
                "last_index": said.last_index,
                "snapshot_index": said.snapshot_index,
                "lag": self.lag(said),
                "disk_available_bytes": said.disk_available_bytes,
                "disk_total_bytes": said.disk_total_bytes,
                "version": said.version,
                "known_feature_level": said.known_feature_level,
                "lacking_log_count": said.lacking_log_count,
                "lacking_source_count": said.lacking_source_count,
                "error": null,
            }),
            Err(error) => json!({"ready": false, "error": error.message}),
        };
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        value
    }

    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .members
            .iter()
            .map(|member| {
                let name = [
                    member.known.member_id.to_string(),
                    self.role(member).to_owned(),
                    member.known.address.clone(),
                ];
                let rest = match &member.said {
                    Ok(said) => [
                        state(said),
                        said.term.to_string(),
                        said.commit_index.to_string(),
                        self.lag(said).to_string(),
                        format!(
                            "{} of {}",
                            units::size(said.disk_available_bytes.unsigned_abs()),
                            units::size(said.disk_total_bytes.unsigned_abs())
                        ),
                        said.version.clone(),
                        said.known_feature_level.to_string(),
                    ],
                    Err(_) => ["unreachable", "", "", "", "", "", ""].map(str::to_owned),
                };
                name.into_iter().chain(rest).collect()
            })
            .collect();
        let heads = [
            "MEMBER",
            "ROLE",
            "ADDRESS",
            "STATE",
            "TERM",
            "COMMITTED",
            "LAG",
            "DISK FREE",
            "VERSION",
            "KNOWS LEVEL",
        ];
        let mut text = format!(
            "cluster {}, feature level {}\n",
            self.cluster.cluster_id, self.cluster.feature_level
        );
        if let Some(trouble) = self.trouble() {
            text += &format!("{trouble}\n");
        }
        let pools = match self.cluster.pools.is_empty() {
            true => String::new(),
            false => format!("\n{}", pools(&self.cluster.pools)),
        };
        format!("{text}\n{}{pools}", table::render(&heads, &rows))
    }
}

/// How a member is, in a word or two.
fn state(said: &api::Cluster) -> String {
    match lacks(said) {
        _ if !said.ready => "catching up".to_owned(),
        Some(lacks) => format!("fetches {lacks}"),
        None => "ready".to_owned(),
    }
}

/// What a member lacks beside the log, in words.
fn lacks(said: &api::Cluster) -> Option<String> {
    match (said.lacking_log_count, said.lacking_source_count) {
        (0, 0) => None,
        (logs, 0) => Some(format!("{logs} logs")),
        (0, sources) => Some(format!("{sources} source trees")),
        (logs, sources) => Some(format!("{logs} logs and {sources} source trees")),
    }
}

/// Why a member is not to be removed yet: it may be the only one that has what another still fetches. One that cannot be reached gives nothing to
/// anybody.
pub(super) async fn needs(context: &Context, member: i64) -> Option<Failure> {
    let cluster = context.cluster.as_ref()?;
    let status = ask(&context.connect().client, cluster.addresses.clone())
        .await
        .ok()?;
    let mut members = status.members.iter();
    let is_there = members.any(|one| one.known.member_id == member && one.said.is_ok());
    let (other, lacks) = status
        .fetching()
        .find(|(other, _)| is_there && *other != member)?;
    let why =
        format!("member {other} fetches {lacks}, which may be nowhere but at member {member}");
    Some(
        Failure::new(why).hint(
            "wait until `shoal cluster status` shows all members to be ready, or use --force",
        ),
    )
}

/// Pools of machines that come and go.
fn pools(pools: &[api::MachinePool]) -> String {
    let now = Now::real();
    let rows: Vec<Vec<String>> = pools
        .iter()
        .map(|pool| {
            let asked = match &pool.ask_time {
                Some(time) => now.ago(Some(time)),
                None => "never".to_owned(),
            };
            let holding: Vec<&str> = pool
                .holding_workers
                .iter()
                .map(|name| name.trim_start_matches("workers/"))
                .collect();
            let trouble = match (pool.failure_count, holding.as_slice()) {
                (0, []) => String::new(),
                (0, held) => format!(
                    "not given back, they alone have outputs: {}",
                    held.join(", ")
                ),
                (count, _) => format!("failed {count} times: {}", pool.failure),
            };
            vec![
                cell(&pool.environment),
                format!(
                    "{} of {}, at most {}",
                    pool.present, pool.wanted, pool.maximum
                ),
                asked,
                cell(&trouble),
            ]
        })
        .collect();
    table::render(&["POOL", "MACHINES", "ASKED", "TROUBLE"], &rows)
}
