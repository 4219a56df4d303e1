//! What workers grant the containers of their steps. What none of them would is refused when it is asked for, instead of when it would run; the
//! worker checks again, with what only it can see (where a link on its machine leads).

use contract::api::{ErrorReason, Mount};
use contract::ledger::{Command, StepTemplate, command::Kind};
use contract::link::{Grants, Offer};
use ledger::{Ledger, Worker};

use crate::Refusal;

/// The variable by which programs written for Valohai ask for a network.
const NETWORK: &str = "VH_DOCKER_NETWORK";

/// Refuses a command that makes executions which every worker that may run them refuses. While there is none, everything waits.
pub(crate) fn check(tip: &Ledger, command: &Command) -> Result<(), Refusal> {
    match &command.kind {
        Some(Kind::CreateExecution(create)) => {
            let template = create.template.as_ref();
            template.map_or(Ok(()), |template| check_template(tip, template))
        }
        Some(Kind::CreatePipeline(create)) => {
            let nodes = create.plan.iter().flat_map(|plan| &plan.nodes);
            let mut templates = nodes.filter_map(|node| node.template.as_ref());
            templates.try_for_each(|template| check_template(tip, template))
        }
        _ => Ok(()),
    }
}

fn check_template(tip: &Ledger, template: &StepTemplate) -> Result<(), Refusal> {
    let serves = |worker: &&Worker| {
        let served = &worker.offer.environments;
        !worker.lost && (template.environment.is_empty() || served.contains(&template.environment))
    };
    let mut rules = Vec::new();
    for worker in tip.workers().filter(serves) {
        match refused(&worker.offer, template) {
            None => return Ok(()),
            Some(rule) => rules.push(format!("{}: {rule}", worker.name)),
        }
    }
    match rules.len() {
        0 => Ok(()),
        count => {
            let more = count.saturating_sub(3);
            rules.truncate(3);
            if more > 0 {
                rules.push(format!("and {more} more"));
            }
            let rules = rules.join("; ");
            let message = format!(
                "the step `{}` asks for what no worker grants: {rules}",
                template.step
            );
            Err(Refusal::new(ErrorReason::NotExecutable, message)
                .with("step", template.step.as_str())
                .with("rules", rules))
        }
    }
}

/// The first thing that a worker with this offer would not grant.
fn refused(offer: &Offer, template: &StepTemplate) -> Option<String> {
    let Some(grants) = &offer.grants else {
        let mount = template.mounts.first()?;
        return Some(format!(
            "mounts: {}: it runs plain processes, which have none",
            mount.source
        ));
    };
    let image = &template.image;
    if grants.digests_only && !image.contains("@sha256:") {
        return Some(format!("image: {image} is not named by its digest"));
    }
    let is_from = |from: &String| {
        image.strip_prefix(from.as_str()).is_some_and(|rest| {
            rest.is_empty() || from.ends_with('/') || rest.starts_with(['/', ':', '@'])
        })
    };
    if !grants.images.is_empty() && !grants.images.iter().any(is_from) {
        return Some(format!("image: {image} is none of those that it runs"));
    }
    let network = template.environment_variables.get(NETWORK);
    if network.is_some_and(|network| network == "host") && !grants.host_network {
        return Some(format!("{NETWORK}: not the machine's own network"));
    }
    let mount = template
        .mounts
        .iter()
        .find(|mount| !is_granted(grants, mount))?;
    let mode = if mount.read_only { "" } else { " for writing" };
    Some(format!("mounts: {}{mode}", mount.source))
}

/// By names alone.
fn is_granted(grants: &Grants, mount: &Mount) -> bool {
    grants.mounts.iter().any(|granted| {
        let (root, read_only) = match granted.strip_suffix(":ro") {
            Some(root) => (root, true),
            None => (granted.as_str(), false),
        };
        let root = root.trim_end_matches('/');
        let is_below = mount
            .source
            .strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        is_below && (mount.read_only || !read_only)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn template(image: &str, mounts: &[(&str, bool)], network: &str) -> StepTemplate {
        let mounts = mounts.iter().map(|(source, read_only)| Mount {
            source: (*source).to_owned(),
            destination: "/d".to_owned(),
            read_only: *read_only,
            r#type: String::new(),
        });
        let mut template = StepTemplate {
            step: "train".to_owned(),
            image: image.to_owned(),
            mounts: mounts.collect(),
            ..StepTemplate::default()
        };
        if !network.is_empty() {
            let variables = &mut template.environment_variables;
            variables.insert(NETWORK.to_owned(), network.to_owned());
        }
        template
    }

    #[test]
    fn what_a_worker_would_not_grant_is_named() {
        let containers = Offer {
            grants: Some(Grants {
                mounts: vec!["/data:ro".to_owned(), "/scratch/".to_owned()],
                images: vec!["ghcr.io/us/".to_owned(), "python".to_owned()],
                ..Grants::default()
            }),
            ..Offer::default()
        };
        let table = [
            (template("python:3", &[], ""), None),
            (template("python:3", &[], "bridge"), None),
            (
                template("python:3", &[("/data/a", true), ("/scratch", false)], ""),
                None,
            ),
            (
                template("pythonic", &[], ""),
                Some("image: pythonic is none of those that it runs"),
            ),
            (
                template("python", &[], "host"),
                Some("VH_DOCKER_NETWORK: not the machine's own network"),
            ),
            (
                template("python", &[("/data", false)], ""),
                Some("mounts: /data for writing"),
            ),
            (
                template("python", &[("/database", true)], ""),
                Some("mounts: /database"),
            ),
        ];
        for (template, expected) in table {
            assert_eq!(refused(&containers, &template).as_deref(), expected);
        }
        // Plain processes have neither image nor network of their own, and ask nobody.
        let processes = Offer::default();
        assert_eq!(refused(&processes, &template("any", &[], "host")), None);
        assert_eq!(
            refused(&processes, &template("any", &[("/data", true)], "")).unwrap(),
            "mounts: /data: it runs plain processes, which have none"
        );
    }
}
