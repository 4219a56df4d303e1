//! A container engine, where there is one, and an image that is made on the spot: no registry is asked.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The image with a shell.
pub const BUSYBOX: &str = "shoal-test:busybox";

/// The engine that the `docker` command speaks to.
#[derive(Debug)]
pub struct Engine(());

impl Engine {
    /// The engine with the image; none where there is none, which is said.
    pub fn get() -> Option<&'static Engine> {
        static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();
        let found = ENGINE.get_or_init(|| match prepare() {
            Ok(()) => Some(Engine(())),
            Err(reason) => {
                eprintln!("SKIPPED, all that needs a container engine: {reason}");
                None
            }
        });
        found.as_ref()
    }

    /// Runs `docker` with arguments; gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        docker(arguments).unwrap_or_else(|error| panic!("docker {}: {error}", arguments.join(" ")))
    }

    /// Names of all containers of the worker with that data directory.
    pub fn containers(&self, data: &Path) -> Vec<String> {
        let label = format!("label=io.shoal.data-dir={}", data.display());
        let printed = self.docker(&["ps", "--all", "--filter", &label, "--format", "{{.Names}}"]);
        printed.lines().map(str::to_owned).collect()
    }
}

fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("there is no `docker` command: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

fn prepare() -> Result<(), String> {
    docker(&["version"])?;
    if docker(&["image", "inspect", BUSYBOX]).is_ok() {
        return Ok(());
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .ok_or("there is no busybox (package busybox-static)")?;
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    let packed = place.path().join("image.tar");
    pack(busybox, &place.path().join("tree"), &packed).map_err(|error| error.to_string())?;
    docker(&["import", &packed.display().to_string(), BUSYBOX]).map(drop)
}

/// Packs the tree of the image.
fn pack(busybox: &str, tree: &Path, packed: &Path) -> std::io::Result<()> {
    for part in ["bin", "etc", "root", "tmp", "usr/bin"] {
        fs::create_dir_all(tree.join(part))?;
    }
    fs::copy(busybox, tree.join("bin/busybox"))?;
    let listed = Command::new(busybox).arg("--list").output()?;
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        if name != "busybox" {
            symlink("busybox", tree.join("bin").join(name))?;
        }
    }
    let users = "root:x:0:0:root:/root:/bin/sh\n";
    fs::write(tree.join("etc/passwd"), users)?;
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
