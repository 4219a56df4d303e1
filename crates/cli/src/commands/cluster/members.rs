//! `shoal cluster add`, `remove` and `transfer-leader`: who belongs to the group, and who leads it.

use contract::api;
use serde_json::json;
use uuid::Uuid;

use super::super::Context;
use super::status;
use crate::{Exit, Failure};

/// Admits a coordinator that is to be started later, and says how.
pub(super) async fn add(context: &Context, address: &str) -> Result<Exit, Failure> {
    let known = context.cluster.as_ref().map(|cluster| &cluster.credentials);
    if known.is_some_and(Option::is_some) {
        return Err(
            Failure::usage("this cluster speaks TLS: a coordinator joins it with a token")
                .hint("make one with `shoal token create --role coordinator`"),
        );
    }
    let connection = context.connect();
    let admission = Uuid::new_v4().to_string();
    let request = api::AddMemberRequest {
        request_id: admission.clone(),
        address: address.to_owned(),
        // Whoever starts it may have another version.
        feature_level: 0,
    };
    let answer = connection.client.add_member(request).await;
    context.close(connection).await;
    let member = answer?;
    let cluster = context.cluster.as_ref();
    let cluster = cluster.map_or(String::new(), |cluster| cluster.addresses.join(","));
    context.print(
        || {
            json!({
                "member_id": member.member_id,
                "cluster_id": member.cluster_id,
                "admission": admission,
            })
        },
        || {
            format!(
                "member {} of cluster {}\n\nStart it with:\n  shoal coordinator --data-dir DIR --listen {address} --join {cluster} \
                 --admission {admission}\n",
                member.member_id, member.cluster_id
            )
        },
    )?;
    Ok(Exit::Done)
}

/// Removes a member for good: one that others still need only when `force` says so.
pub(super) async fn remove(context: &Context, member: i64, force: bool) -> Result<Exit, Failure> {
    if !force && let Some(failure) = status::needs(context, member).await {
        return Err(failure);
    }
    let connection = context.connect();
    let request = api::RemoveMemberRequest {
        request_id: String::new(),
        member_id: member,
    };
    let answer = connection.client.remove_member(request).await;
    context.close(connection).await;
    let revision = answer?.revision;
    context.print(
        || json!({"member_id": member, "revision": revision}),
        || format!("member {member} was removed; its number never comes back\n"),
    )?;
    Ok(Exit::Done)
}

/// Hands leadership to a member, or to whichever is furthest along.
pub(super) async fn transfer_leader(
    context: &Context,
    member: Option<i64>,
) -> Result<Exit, Failure> {
    let connection = context.connect();
    let request = api::TransferLeadershipRequest {
        member_id: member.unwrap_or_default(),
    };
    let answer = connection.client.transfer_leadership(request).await;
    context.close(connection).await;
    answer?;
    context.print(
        || json!({"member_id": member}),
        || match member {
            Some(member) => format!("leadership goes to member {member}\n"),
            None => "leadership goes to the member that is furthest along\n".to_owned(),
        },
    )?;
    Ok(Exit::Done)
}
