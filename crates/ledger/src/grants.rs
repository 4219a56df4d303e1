//! What workers grant the containers of their steps, and what an execution asks of that. By names alone: a worker checks again what only it can see.

use contract::link::{Grants, Offer};

use crate::needs::{MountNeed, NETWORK, Needs};

impl Needs {
    /// The first thing that a worker with this offer would not grant, in words; none when it grants all.
    pub fn refused_by(&self, offer: &Offer) -> Option<String> {
        let Some(grants) = &offer.grants else {
            let mount = self.mounts.first()?;
            return Some(format!(
                "mounts: {}: it runs plain processes, which have none",
                mount.source
            ));
        };
        let image = &self.image;
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
        if self.host_network && !grants.host_network {
            return Some(format!("{NETWORK}: not the machine's own network"));
        }
        let mut mounts = self.mounts.iter();
        let mount = mounts.find(|mount| !is_granted(grants, mount))?;
        let mode = if mount.read_only { "" } else { " for writing" };
        Some(format!("mounts: {}{mode}", mount.source))
    }
}

fn is_granted(grants: &Grants, mount: &MountNeed) -> bool {
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
    use contract::api::Mount;
    use contract::ledger::StepTemplate;

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
            let refused = Needs::of(&template).refused_by(&containers);
            assert_eq!(refused.as_deref(), expected);
        }
        // Plain processes have neither image nor network of their own, and ask nobody.
        let processes = Offer::default();
        let refused = |template| Needs::of(&template).refused_by(&processes);
        assert_eq!(refused(template("any", &[], "host")), None);
        assert_eq!(
            refused(template("any", &[("/data", true)], "")).unwrap(),
            "mounts: /data: it runs plain processes, which have none"
        );
    }
}
