//! Who this machine is to registries: what `docker login` left in the user's `config.json`.

use bollard::auth::DockerCredentials;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// The credentials for a registry; none where nobody logged in, or the file cannot be read. May start a helper program, and wait
/// for it.
pub(super) fn credentials(registry: &str) -> Option<DockerCredentials> {
    let dir = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let dir =
        dir.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")));
    let text = std::fs::read_to_string(dir?.join("config.json")).ok()?;
    of(&text, registry)
}

fn of(text: &str, registry: &str) -> Option<DockerCredentials> {
    let file: File = serde_json::from_str(text).ok()?;
    let helper = file
        .cred_helpers
        .get(registry)
        .or(file.creds_store.as_ref());
    if let Some(found) = helper.and_then(|helper| ask(helper, registry)) {
        return Some(found);
    }
    let bare = |name: &str| {
        let name = name.trim_start_matches("https://");
        name.split('/').next().unwrap_or(name).to_owned()
    };
    let entry = file.auths.get(registry).or_else(|| {
        let mut all = file.auths.iter();
        all.find(|(name, _)| bare(name) == bare(registry))
            .map(|(_, entry)| entry)
    })?;
    let mut found = DockerCredentials {
        username: entry.username.clone(),
        password: entry.password.clone(),
        identitytoken: entry.identitytoken.clone(),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    };
    if let Some(pair) = entry.auth.as_deref().and_then(decode)
        && let Some((name, password)) = pair.split_once(':')
    {
        found.username = Some(name.to_owned());
        found.password = Some(password.to_owned());
    }
    Some(found)
}

/// Asks a credential helper, as `docker` does.
fn ask(helper: &str, registry: &str) -> Option<DockerCredentials> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(registry.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let answer: Answer = serde_json::from_slice(&output.stdout).ok()?;
    let is_token = answer.username == "<token>";
    Some(DockerCredentials {
        identitytoken: is_token.then(|| answer.secret.clone()),
        username: (!is_token).then_some(answer.username),
        password: (!is_token).then_some(answer.secret),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    })
}

/// Base 64, as `docker login` writes it.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_login_left_is_found() {
        let text = r#"{"auths": {"ghcr.io": {"auth": "bWU6czpjcmV0"}, "https://index.docker.io/v1/": {"identitytoken": "t"}}, "credsStore": "there-is-none-of-that-name"}"#;
        let found = of(text, "ghcr.io").unwrap();
        assert_eq!(found.username.as_deref(), Some("me"));
        assert_eq!(found.password.as_deref(), Some("s:cret"));
        let hub = of(text, "https://index.docker.io/v1/").unwrap();
        assert_eq!(hub.identitytoken.as_deref(), Some("t"));
        assert_eq!(of(text, "quay.io"), None);
        assert_eq!(of("no json", "ghcr.io"), None);
    }
}
