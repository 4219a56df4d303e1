//! Finding the `shoal` binary.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The binary: `SHOAL` if it is set, else the one beside the tests, built if it is missing. A binary that is there is taken as it
/// is, so build the whole workspace before its tests, as the test command does.
pub fn shoal() -> &'static Path {
    static SHOAL: LazyLock<PathBuf> = LazyLock::new(|| match env::var_os("SHOAL") {
        Some(path) => path.into(),
        None => beside_the_tests(),
    });
    &SHOAL
}

/// The same program, as a static one: for images that have nothing else. `SHOAL_STATIC` if it is set, else the one beside [`shoal`],
/// linked if it is missing or older, which may take as long as a build.
///
/// # Errors
/// When it cannot be linked.
pub(super) fn static_shoal() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os("SHOAL_STATIC") {
        return Ok(path.into());
    }
    let profile = shoal().parent().ok_or("the program lies in no directory")?;
    let program = profile.join("static/shoal");
    let made = |path: &Path| path.metadata().and_then(|found| found.modified()).ok();
    if made(&program) >= made(shoal()) {
        return Ok(program);
    }
    let target = profile.parent().ok_or("a profile lies in no directory")?;
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(other) => other,
    };
    let mut link = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/static-program"));
    link.arg(&program)
        .args(["--profile", name, "--target-dir"])
        .arg(target);
    // What cargo tells this test of its own package would let build scripts of others run again, and so all be built again.
    for (variable, _) in env::vars_os() {
        let name = variable.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|own| name.starts_with(own))
        {
            link.env_remove(&variable);
        }
    }
    let output = link.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(program),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// `target/PROFILE/shoal`, for a test that is `target/PROFILE/deps/NAME` or a program that is `target/PROFILE/NAME`.
fn beside_the_tests() -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    let directory = test.parent().expect("a program lies in a directory");
    let profile = if directory.ends_with("deps") {
        directory.parent().expect("deps lies in target/PROFILE")
    } else {
        directory
    };
    let shoal = profile.join("shoal");
    if !shoal.exists() {
        build(profile);
    }
    assert!(shoal.exists(), "{} was not built", shoal.display());
    shoal
}

fn build(profile: &Path) {
    let target = profile
        .parent()
        .expect("a profile's directory lies in the target directory");
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(other) => other,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--locked",
            "--package",
            "cli",
            "--profile",
            name,
            "--target-dir",
        ])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the binary does not build");
}
