//! `shoal cluster status`: members, leader and indexes.

use contract::api;

use super::Context;
use crate::args::ClusterCommand;
use crate::{Exit, Failure, json, print};

pub(super) async fn execute(context: &Context, command: &ClusterCommand) -> Result<Exit, Failure> {
    let ClusterCommand::Status = command;
    let connection = context.connect();
    let answer = connection
        .client
        .get_cluster(api::GetClusterRequest {})
        .await;
    context.close(connection).await;
    let cluster = answer?.cluster.unwrap_or_default();
    context.print(
        || json::cluster(&cluster),
        || {
            let rows: Vec<Vec<String>> = cluster
                .members
                .iter()
                .map(|member| {
                    let role = match (member.member_id == cluster.leader_id, member.learner) {
                        (true, _) => "leader",
                        (false, true) => "learner",
                        (false, false) => "follower",
                    };
                    vec![
                        member.member_id.to_string(),
                        role.to_owned(),
                        member.address.clone(),
                    ]
                })
                .collect();
            format!(
                "cluster {}, version {}\nterm {}, committed {}, applied {}\n\n{}",
                cluster.cluster_id,
                cluster.version,
                cluster.term,
                cluster.commit_index,
                cluster.applied_index,
                print::table::render(&["MEMBER", "ROLE", "ADDRESS"], &rows)
            )
        },
    )?;
    Ok(Exit::Done)
}
