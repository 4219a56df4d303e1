//! What no step is given, whichever machine runs it and whatever that grants: said when it is submitted, and again where it would run.

use std::path::{Component, Path};

/// Refuses an image's name that is none, or that would make the engine ask the machine's own metadata service.
///
/// # Errors
/// The rule, in words for people.
pub fn check_image_name(name: &str) -> Result<(), String> {
    let shown = name.escape_debug();
    let (path, digest) = name.split_once('@').unwrap_or((name, "sha256:0"));
    let is_digest = digest.split_once(':').is_some_and(|(kind, hex)| {
        let is_kind = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_kind && !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    let last = path.matches('/').count();
    let mut parts = path.split('/').enumerate();
    let are_parts = parts.all(|(at, part)| {
        // A colon stands before the port of a registry, or before the tag.
        let (word, rest) = part.split_once(':').unwrap_or((part, "0"));
        let is_word = word.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        let is_port = at == 0 && rest.bytes().all(|byte| byte.is_ascii_digit());
        is_word
            && word.chars().all(is_letter)
            && !rest.is_empty()
            && (is_port || at == last && rest.chars().all(is_letter) || rest == "0")
    });
    if name.len() > 512 || !are_parts || !is_digest {
        return Err(format!("`{shown}` is no name of an image"));
    }
    let first = path.split('/').next().unwrap_or_default();
    let host = first.split(':').next().unwrap_or_default();
    if host.starts_with("169.254.") && path.contains('/') {
        return Err(format!(
            "`{shown}` names a link-local address as its registry"
        ));
    }
    Ok(())
}

/// Refuses a mount that would hand the machine over, or hide what is Shoal's.
///
/// # Errors
/// The rule, in words for people.
pub fn check_mount(source: &str, destination: &str) -> Result<(), String> {
    const NEVER: [&str; 12] = [
        "/proc",
        "/sys",
        "/dev",
        "/boot",
        "/etc",
        "/run",
        "/var/run",
        "/var/lib/docker",
        "/var/lib/containerd",
        "/root",
        "/usr",
        "/lib",
    ];
    const OURS: [&str; 5] = ["/valohai", "/.shoal", "/proc", "/sys", "/dev"];
    let (from, to) = (Path::new(source), Path::new(destination));
    let is_text = |text: &str| !text.chars().any(char::is_control);
    if !is_text(source) || !is_text(destination) || !is_plain(from) || !is_plain(to) {
        return Err("both sides are absolute paths without `..`".to_owned());
    }
    if from == Path::new("/") || NEVER.iter().any(|never| from.starts_with(never)) {
        return Err("it would hand over the machine itself".to_owned());
    }
    if source.ends_with(".sock") {
        return Err("it would hand over a daemon of the machine".to_owned());
    }
    if to == Path::new("/") || OURS.iter().any(|ours| to.starts_with(ours)) {
        return Err(format!("nothing can be mounted on {destination}"));
    }
    Ok(())
}

fn is_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-')
}

/// Whether a path is absolute and goes nowhere but down.
pub fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_names_only() {
        let good = [
            "python",
            "python:3.12-slim",
            "ghcr.io/a/b_c:1.0",
            "localhost:5000/a@sha256:00ff",
            "169.254.0.0",
        ];
        for name in good {
            assert_eq!(check_image_name(name), Ok(()), "{name}");
        }
        let bad = [
            "",
            "-v /:/host",
            "--privileged",
            "a b",
            "a\nb",
            "a\0b",
            "$(id)",
            "a@sha256:$(id)",
            "../a",
            "http://r/a",
            "169.254.169.254/latest:meta-data",
            "169.254.169.254:80/a",
        ];
        for name in bad {
            assert!(check_image_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn no_mount_hands_over_the_machine() {
        let good = [
            ("/data", "/data"),
            ("/mnt/a.b", "/opt/cache"),
            ("/srv/x/..y", "/x"),
        ];
        for (from, to) in good {
            assert_eq!(check_mount(from, to), Ok(()), "{from} {to}");
        }
        let bad = [
            ("/", "/host"),
            ("/etc", "/e"),
            ("/etc/shadow", "/e"),
            ("/proc", "/p"),
            ("/data/../etc", "/e"),
            ("data", "/d"),
            ("/var/run/docker.sock", "/var/run/docker.sock"),
            ("/data/containerd.sock", "/s"),
            ("/data", "/"),
            ("/data", "/valohai"),
            ("/data", "/valohai/inputs/x"),
            ("/data", "/.shoal"),
            ("/data", "/proc/1"),
            ("/data", "/a/../proc"),
            ("/data\n", "/d"),
            ("/data", "/d\0"),
        ];
        for (from, to) in bad {
            assert!(check_mount(from, to).is_err(), "{from:?} {to:?}");
        }
    }
}
