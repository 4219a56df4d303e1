//! The engine itself: whether it is there, fit for programs that nobody knows, and still the same.

use crate::clock::micros;
use crate::docker::firewall::BRIDGE;
use crate::docker::{DockerError, NETWORK, words};
use bollard::API_DEFAULT_VERSION;
use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::{EventsOptionsBuilder, InspectNetworkOptions};
use futures::StreamExt;
use std::collections::HashMap;
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// How long the engine may take to be there when the daemon starts.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(200);
/// Seconds that a call may wait for its answer's beginning: an image is pulled within one answer, which begins at once.
const ANSWER_SECONDS: u64 = 120;
/// runc before these versions lets programs out that know how, unless the distribution has mended it.
const RUNC_MENDED: [([u32; 3], &str); 2] = [
    ([1, 1, 12], "CVE-2024-21626"),
    ([1, 2, 8], "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881"),
];

/// What of the engine decides how containers are made.
pub(super) struct Facts {
    pub(super) maps_users: bool,
    pub(super) memory: u64,
    /// The first number of Podman's version; none where the engine is Docker's.
    pub(super) podman: Option<u32>,
}

/// Connects, and waits a while for an engine that is just starting.
pub(super) async fn connect(host: Option<&str>) -> Result<bollard::Docker, DockerError> {
    let given = host
        .map(str::to_owned)
        .or_else(|| std::env::var("DOCKER_HOST").ok())
        .filter(|host| !host.is_empty());
    let began = tokio::time::Instant::now();
    loop {
        let error = match reach(given.as_deref()).await {
            Ok(engine) => return Ok(engine),
            Err(error) => error,
        };
        if began.elapsed() > PATIENCE {
            let place = given.as_deref().unwrap_or("its usual socket");
            let message = format!(
                "{} at {place}; is it running, and may this user speak to it?",
                words::of(&error)
            );
            return Err(DockerError::Engine(message));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn reach(host: Option<&str>) -> Result<bollard::Docker, bollard::errors::Error> {
    let engine = match host {
        None => bollard::Docker::connect_with_unix_defaults()?,
        Some(host) => match host.strip_prefix("tcp://") {
            Some(address) => {
                let address = format!("http://{address}");
                bollard::Docker::connect_with_http(&address, ANSWER_SECONDS, API_DEFAULT_VERSION)?
            }
            None => bollard::Docker::connect_with_unix(host, ANSWER_SECONDS, API_DEFAULT_VERSION)?,
        },
    };
    engine.negotiate_version().await
}

/// Asks the engine what it is.
pub(super) async fn facts(engine: &bollard::Docker) -> Result<Facts, DockerError> {
    let failed = |error| DockerError::Engine(words::of(&error));
    let info = engine.info().await.map_err(failed)?;
    let options = info.security_options.unwrap_or_default();
    let has = |what: &str| options.iter().any(|option| option.contains(what));
    if !has("seccomp") || has("profile=unconfined") {
        return Err(DockerError::Unfit(
            "it runs containers without seccomp, so that programs may call all of the kernel"
                .to_owned(),
        ));
    }
    let version = engine.version().await.map_err(failed)?;
    let mut podman = None;
    for component in version.components.unwrap_or_default() {
        match component.name.as_str() {
            "runc" => warn_of_runc(&component.version),
            "Podman Engine" => podman = Some(numbers(&component.version)[0]),
            _ => {}
        }
    }
    Ok(Facts {
        maps_users: has("userns") || has("rootless"),
        memory: info
            .mem_total
            .and_then(|bytes| u64::try_from(bytes).ok())
            .unwrap_or(0),
        podman,
    })
}

fn warn_of_runc(version: &str) {
    if let Some(holes) = holes(version) {
        tracing::warn!(
            "runc {version} is older than the versions that mend {holes}; distributions mend older ones too, so look at theirs"
        );
    }
}

/// What is mended only by a later version.
fn holes(version: &str) -> Option<String> {
    let version = numbers(version);
    let open = RUNC_MENDED.iter().filter(|(since, _)| version < *since);
    let names: Vec<&str> = open.map(|(_, name)| *name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The first three numbers of a version.
fn numbers(version: &str) -> [u32; 3] {
    let mut numbers = version
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    [(); 3].map(|()| numbers.next().unwrap_or(0))
}

/// One line of what the engine is.
pub(super) async fn describe(engine: &bollard::Docker) -> String {
    match engine.info().await {
        Ok(info) => {
            let text = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
            format!(
                "engine {}, {} storage, cgroup v{}",
                text(info.server_version),
                text(info.driver),
                info.cgroup_version
                    .map_or_else(|| "1".to_owned(), |version| version.to_string())
            )
        }
        Err(error) => words::of(&error),
    }
}

/// Makes the bridge that steps are on, if it is not there: containers on it do not reach each other.
pub(super) async fn network(engine: &bollard::Docker) -> Result<(), DockerError> {
    let options = None::<InspectNetworkOptions>;
    match engine.inspect_network(NETWORK, options).await {
        Ok(_) => return Ok(()),
        Err(error) if words::is_missing(&error) => {}
        Err(error) => return Err(DockerError::Engine(words::of(&error))),
    }
    let settings = [
        ("com.docker.network.bridge.enable_icc", "false"),
        ("com.docker.network.bridge.name", BRIDGE),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let request = NetworkCreateRequest {
        name: NETWORK.to_owned(),
        driver: Some("bridge".to_owned()),
        options: Some(HashMap::from(settings)),
        ..NetworkCreateRequest::default()
    };
    match engine.create_network(request).await {
        Ok(_) => Ok(()),
        // Another worker was as quick.
        Err(error) if words::is_conflict(&error) => Ok(()),
        Err(error) => Err(DockerError::Engine(format!(
            "the network `{NETWORK}` cannot be made: {}; a worker with `--container-network none` needs none",
            words::of(&error)
        ))),
    }
}

/// Notes when the engine goes, as long as somebody wants to know: a stream of events ends with it, and nothing else.
pub(super) async fn notice_losses(engine: bollard::Docker, lost_us: Weak<AtomicU64>) {
    // Of a kind that seldom happens: only the end of the stream matters.
    let filters = HashMap::from([("type".to_owned(), vec!["daemon".to_owned()])]);
    let options = EventsOptionsBuilder::default().filters(&filters).build();
    while lost_us.strong_count() > 0 {
        let mut events = Box::pin(engine.events(Some(options.clone())));
        while let Some(Ok(_)) = events.next().await {}
        match lost_us.upgrade() {
            Some(lost_us) => lost_us.store(micros(SystemTime::now()), Ordering::Relaxed),
            None => return,
        }
        tracing::warn!("the container engine has gone");
        while engine.ping().await.is_err() && lost_us.strong_count() > 0 {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn an_old_runc_is_named_with_its_holes() {
        let both = "CVE-2024-21626, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881";
        assert_eq!(holes("1.1.5+ds1-1+deb12u1").unwrap(), both);
        assert!(holes("1.1.12").unwrap().starts_with("CVE-2025"));
        assert_eq!(holes("1.2.8"), None);
        assert_eq!(holes("1.4.0-rc.3"), None);
    }
}
