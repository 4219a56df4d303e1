//! A container engine, where there is one, and an image that is made on the spot: no registry is asked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::binary;

/// The image with a shell.
pub const BUSYBOX: &str = "shoal-test:busybox";

/// One static program, `/bin/echo`, and no shell.
pub const BARE: &str = "shoal-test:bare";

/// An engine, by the `docker` command.
#[derive(Debug)]
pub struct Engine {
    /// As `DOCKER_HOST` takes it; empty for the usual place.
    host: String,
}

impl Engine {
    /// The engine with the image; none where there is none, which is said.
    pub fn get() -> Option<&'static Engine> {
        static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let found = ENGINE.get_or_init(|| match Engine::at(&host) {
            Ok(engine) => Some(engine),
            Err(reason) => {
                eprintln!("SKIPPED, all that needs a container engine: {reason}");
                None
            }
        });
        found.as_ref()
    }

    /// The engine there, with the images.
    ///
    /// # Errors
    /// When there is none, or no image can be made.
    pub fn at(host: &str) -> Result<Engine, String> {
        prepare(host)?;
        let host = host.to_owned();
        Ok(Engine { host })
    }

    /// Runs `docker` with arguments; gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        docker(&self.host, arguments)
            .unwrap_or_else(|error| panic!("docker {}: {error}", arguments.join(" ")))
    }

    /// Makes the image of this program, as `deploy/image` does.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn make_image(&self, tag: &str) {
        let program = binary::static_shoal().expect("the static program is linked");
        let made = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/image"))
            .args(["--tag", tag])
            .env("SHOAL", program)
            .output()
            .expect("deploy/image can be started");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "deploy/image: {said}");
    }

    /// Names of all containers of the worker with that data directory.
    pub fn containers(&self, data: &Path) -> Vec<String> {
        let label = format!("label=io.shoal.data-dir={}", data.display());
        let printed = self.docker(&["ps", "--all", "--filter", &label, "--format", "{{.Names}}"]);
        printed.lines().map(str::to_owned).collect()
    }
}

pub(super) fn docker(host: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("docker");
    if !host.is_empty() {
        command.env("DOCKER_HOST", host);
    }
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("there is no `docker` command: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

fn prepare(host: &str) -> Result<(), String> {
    docker(host, &["version"])?;
    if docker(host, &["image", "inspect", BUSYBOX, BARE]).is_ok() {
        return Ok(());
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .ok_or("there is no busybox (package busybox-static)")?;
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    let packed = place.path().join("image.tar");
    let words = |error: std::io::Error| error.to_string();
    let archive = packed.display().to_string();
    let tree = place.path().join("tree");
    fill(busybox, &tree).map_err(words)?;
    pack(&tree, &packed).map_err(words)?;
    docker(host, &["import", &archive, BUSYBOX])?;
    // One program of busybox, by its name.
    let bare = place.path().join("bare");
    fs::create_dir_all(bare.join("bin")).map_err(words)?;
    fs::copy(busybox, bare.join("bin/echo")).map_err(words)?;
    pack(&bare, &packed).map_err(words)?;
    docker(host, &["import", &archive, BARE]).map(drop)
}

/// Makes the tree of the image with a shell.
fn fill(busybox: &str, tree: &Path) -> std::io::Result<()> {
    for part in ["bin", "etc", "root", "tmp", "usr/bin"] {
        fs::create_dir_all(tree.join(part))?;
    }
    // As every image has it: a disk in memory that covers it takes its mode.
    fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::copy(busybox, tree.join("bin/busybox"))?;
    let listed = Command::new(busybox).arg("--list").output()?;
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        if name != "busybox" {
            symlink("busybox", tree.join("bin").join(name))?;
        }
    }
    let users = "root:x:0:0:root:/root:/bin/sh\n";
    fs::write(tree.join("etc/passwd"), users)
}

/// Packs a tree.
fn pack(tree: &Path, packed: &Path) -> std::io::Result<()> {
    let status = Command::new("tar")
        .arg("-C")
        .arg(tree)
        .arg("-cf")
        .arg(packed)
        .arg(".")
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(std::io::Error::other("tar fails")),
    }
}
