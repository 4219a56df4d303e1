//! Images: which one a name means on this machine, and getting it here.

use bollard::errors::Error;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use thiserror::Error as ThisError;

use crate::docker::cache::{Cache, Hold};
use crate::docker::credentials::credentials;
use crate::docker::words;

/// When an image is fetched from its registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When it is not on this machine.
    #[default]
    Missing,
    /// Before every step, so that a tag means what it means in the registry now.
    Always,
    /// Never: what is not here fails the step.
    Never,
}

impl FromStr for PullPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<PullPolicy, String> {
        match text {
            "missing" => Ok(PullPolicy::Missing),
            "always" => Ok(PullPolicy::Always),
            "never" => Ok(PullPolicy::Never),
            _ => Err(format!("`{text}` is none of missing, always, never")),
        }
    }
}

impl fmt::Display for PullPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PullPolicy::Missing => "missing",
            PullPolicy::Always => "always",
            PullPolicy::Never => "never",
        })
    }
}

/// An image that is on this machine.
#[derive(Clone, Debug)]
pub struct Image {
    /// As it was asked for.
    pub name: String,
    /// What containers are made of: the digest of its configuration, `sha256:…`.
    pub id: String,
    /// What is recorded: the digest in its registry, `sha256:…`; of an image that came from none, its [`id`](Self::id).
    pub digest: String,
    /// Its environment, in order.
    pub env: Vec<(String, String)>,
    /// Its user; empty means root.
    pub user: String,
    /// It is not removed while this is here.
    _hold: Hold,
}

/// Why there is no image; in words for people, with what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[error("{message} ({hint})")]
pub struct ImageError {
    /// What happened, with the engine's own words.
    pub message: String,
    /// What a person can do.
    pub hint: &'static str,
    /// Whether it may be otherwise next time, or on another machine.
    pub retryable: bool,
    /// The engine did not answer at all.
    pub is_silence: bool,
}

/// Finds the image, fetching it where the policy says so. `progress` is told how far the fetching is.
pub(super) async fn ensure(
    engine: &bollard::Docker,
    cache: &Cache,
    name: &str,
    policy: PullPolicy,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<Image, ImageError> {
    let before = match cache.find(engine, name).await {
        Ok((found, hold)) if policy != PullPolicy::Always => return Ok(image(name, found, hold)),
        Ok((found, _)) => found.id,
        Err(error) if words::is_missing(&error) => None,
        Err(error) => return Err(unreachable(name, &error)),
    };
    if policy == PullPolicy::Never {
        return Err(ImageError {
            message: format!("the image {name} is not on this worker, which fetches none"),
            hint: "load it there with `docker pull` or `docker load`, or let the worker pull with `--image-pull missing`",
            retryable: false,
            is_silence: false,
        });
    }
    pull(engine, name, progress).await?;
    let (found, hold) = match cache.find(engine, name).await {
        // Removed between the two, for another step's image: it is fetched once more.
        Err(error) if words::is_missing(&error) => {
            pull(engine, name, progress).await?;
            cache.find(engine, name).await
        }
        found => found,
    }
    .map_err(|error| unreachable(name, &error))?;
    cache.fetched(name, before.as_deref(), &found);
    Ok(image(name, found, hold))
}

async fn pull(
    engine: &bollard::Docker,
    name: &str,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<(), ImageError> {
    // Without a tag the engine would fetch all there are.
    let full = match has_tag_or_digest(name) {
        true => name.to_owned(),
        false => format!("{name}:latest"),
    };
    let options = CreateImageOptionsBuilder::default()
        .from_image(&full)
        .build();
    progress(format!("pulling {name}"));
    let registry = registry(name);
    let secret = tokio::task::spawn_blocking(move || credentials(&registry)).await;
    let secret = secret.unwrap_or_default();
    let mut answers = Box::pin(engine.create_image(Some(options), None, secret));
    let mut layers = Layers::default();
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(info) => {
                if let Some(told) = layers.heard(&info) {
                    progress(format!("pulling {name}: {told}"));
                }
            }
            Err(error) => return Err(not_pulled(name, &error)),
        }
    }
    Ok(())
}

/// How far the layers of an image are.
#[derive(Default)]
struct Layers {
    layers: BTreeMap<String, Layer>,
    told: String,
}

#[derive(Default)]
struct Layer {
    current: i64,
    total: i64,
    is_done: bool,
}

impl Layers {
    /// Takes one word of the engine in; what is to be told now, if it is news.
    fn heard(&mut self, info: &CreateImageInfo) -> Option<String> {
        let id = info.id.clone()?;
        let status = info.status.as_deref().unwrap_or_default();
        if !matches!(
            status,
            "Pulling fs layer"
                | "Waiting"
                | "Downloading"
                | "Verifying Checksum"
                | "Download complete"
                | "Extracting"
                | "Pull complete"
                | "Already exists"
        ) {
            return None;
        }
        let layer = self.layers.entry(id).or_default();
        layer.is_done |= matches!(status, "Pull complete" | "Already exists");
        if let (Some(detail), "Downloading") = (&info.progress_detail, status) {
            layer.current = detail.current.unwrap_or(layer.current);
            layer.total = detail.total.unwrap_or(layer.total);
        }
        let done = self.layers.values().filter(|layer| layer.is_done).count();
        let sum = |of: fn(&Layer) -> i64| self.layers.values().map(of).sum::<i64>() / 1_000_000;
        let text = format!(
            "{done} of {} layers, {} of {} MB",
            self.layers.len(),
            sum(|layer| if layer.is_done {
                layer.total
            } else {
                layer.current
            }),
            sum(|layer| layer.total)
        );
        (text != self.told).then(|| {
            self.told.clone_from(&text);
            text
        })
    }
}

fn image(name: &str, found: ImageInspect, hold: Hold) -> Image {
    let config = found.config.unwrap_or_default();
    let id = found.id.unwrap_or_default();
    let digests = found.repo_digests.unwrap_or_default();
    let digest = digests
        .iter()
        .find_map(|digest| digest.split_once('@'))
        .map_or_else(|| id.clone(), |(_, digest)| digest.to_owned());
    let env = config.env.unwrap_or_default();
    Image {
        name: name.to_owned(),
        id,
        digest,
        env: env
            .iter()
            .filter_map(|variable| variable.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        user: config.user.unwrap_or_default(),
        _hold: hold,
    }
}

pub(super) fn has_tag_or_digest(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.contains([':', '@'])
}

/// The registry of a name, as credentials are kept by it.
fn registry(name: &str) -> String {
    match name.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first.to_owned(),
        _ => "https://index.docker.io/v1/".to_owned(),
    }
}

fn unreachable(name: &str, error: &Error) -> ImageError {
    ImageError {
        message: format!("the image {name}: {}", words::of(error)),
        hint: "is the container engine of this worker running?",
        retryable: true,
        is_silence: words::is_silent(error),
    }
}

/// What the engine says when it cannot fetch an image, and what that mostly means.
fn not_pulled(name: &str, error: &Error) -> ImageError {
    let words = words::of(error);
    let said = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if words::is_silent(error) {
        return unreachable(name, error);
    }
    let (hint, retryable) = if said(&[
        "denied",
        "unauthorized",
        "authentication required",
        "no basic auth",
    ]) {
        (
            "is the name right? a private image needs `docker login` as the user that the worker runs as",
            false,
        )
    } else if said(&["not found", "manifest unknown", "no such image"]) {
        ("is the name right, and the tag?", false)
    } else if said(&["no matching manifest"]) {
        (
            "there is no such image for this machine's architecture",
            false,
        )
    } else if said(&["no space left"]) {
        (
            "there is no room for it where the engine keeps its images",
            true,
        )
    } else {
        (
            "can the worker's machine reach the registry? where it cannot, load the image with `docker load`",
            false,
        )
    };
    ImageError {
        message: format!("the image {name} cannot be pulled: {words}"),
        hint,
        retryable,
        is_silence: false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use bollard::models::ProgressDetail;

    #[test]
    fn names_say_their_registry_and_tag() {
        let table = [
            ("python", "https://index.docker.io/v1/", false),
            ("python:3.12", "https://index.docker.io/v1/", true),
            ("valohai/x", "https://index.docker.io/v1/", false),
            ("ghcr.io/a/b", "ghcr.io", false),
            ("localhost:5000/a:b", "localhost:5000", true),
            ("localhost:5000/a", "localhost:5000", false),
            ("a@sha256:00", "https://index.docker.io/v1/", true),
        ];
        for (name, of, tagged) in table {
            assert_eq!(registry(name), of, "{name}");
            assert_eq!(has_tag_or_digest(name), tagged, "{name}");
        }
    }

    #[test]
    fn the_progress_of_layers_is_told_when_it_is_news() {
        let info = |id: &str, status: &str, current, total| CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: Some(ProgressDetail { current, total }),
            ..CreateImageInfo::default()
        };
        let mut layers = Layers::default();
        let mut heard = |of: CreateImageInfo| layers.heard(&of);
        assert_eq!(
            heard(info("latest", "Pulling from library/x", None, None)),
            None
        );
        assert_eq!(
            heard(info("a", "Pulling fs layer", None, None)).unwrap(),
            "0 of 1 layers, 0 of 0 MB"
        );
        let half = info("a", "Downloading", Some(5_000_000), Some(9_000_000));
        assert_eq!(heard(half.clone()).unwrap(), "0 of 1 layers, 5 of 9 MB");
        assert_eq!(heard(half), None);
        assert_eq!(
            heard(info("b", "Already exists", None, None)).unwrap(),
            "1 of 2 layers, 5 of 9 MB"
        );
        assert_eq!(
            heard(info("a", "Pull complete", None, None)).unwrap(),
            "2 of 2 layers, 9 of 9 MB"
        );
    }

    #[test]
    fn the_engine_speaks_for_itself_and_a_hint_helps() {
        let said = |text: &str| {
            let error = Error::DockerStreamError { error: text.into() };
            not_pulled("a/b:c", &error)
        };
        let denied = said(
            "pull access denied for a/b, repository does not exist or may require 'docker login'",
        );
        assert!(!denied.retryable && denied.hint.contains("docker login"));
        assert!(
            denied
                .to_string()
                .starts_with("the image a/b:c cannot be pulled: pull access denied")
        );
        assert!(!said("manifest for a/b:c not found: manifest unknown").retryable);
        let lost = said("Get https://r/v2/: dial tcp: lookup r: no such host");
        assert!(!lost.retryable && lost.hint.contains("docker load"));
        assert!(said("write /var/lib/x: no space left on device").retryable);
    }
}
