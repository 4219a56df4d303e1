//! What is carried into every container: this program, and where it is not a static one, what it needs to run in any image.
//!
//! ```text
//!   <data-dir>/carried/<file>/   mounted read-only on /.shoal
//!     shoal                      the program
//!     ld.so, lib/                its loader and libraries; a static program has none
//!     launch/                    where the attempt's own directory is mounted
//! ```
//!
//! Made of links where the file system allows it, so that an upgrade of the program changes nothing for containers that run.

use crate::shim::contained;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The directory, and how a container begins with it.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    /// On the host.
    pub(super) dir: PathBuf,
    /// The entry point of a container that has it.
    pub(super) entrypoint: Vec<String>,
}

impl Carried {
    /// Makes the directory for `exe`, which is the running program, below `data_dir`, and removes those of other programs.
    pub(super) fn make(exe: &Path, data_dir: &Path) -> io::Result<Carried> {
        let found = fs::metadata(exe)?;
        let name = format!(
            "{:x}-{:x}-{:x}",
            found.dev(),
            found.ino(),
            found.mtime_nsec() ^ found.mtime()
        );
        let all = data_dir.join("carried");
        fs::create_dir_all(&all)?;
        let dir = all.join(&name);
        let loader = loader(exe)?;
        if !dir.exists() {
            let partial = all.join("partial");
            if partial.exists() {
                fs::remove_dir_all(&partial)?;
            }
            fill(&partial, exe, loader.as_deref())?;
            fs::rename(&partial, &dir)?;
        }
        for entry in fs::read_dir(&all)? {
            let entry = entry?;
            if entry.file_name() != OsStr::new(&name) {
                // A container that still runs has it mounted, and keeps it.
                fs::remove_dir_all(entry.path())?;
            }
        }
        let home = contained::HOME;
        let mut entrypoint = Vec::new();
        if loader.is_some() {
            entrypoint.extend([
                format!("{home}/ld.so"),
                "--library-path".to_owned(),
                format!("{home}/lib"),
            ]);
        }
        entrypoint.extend([
            format!("{home}/shoal"),
            "shim".to_owned(),
            "--contained".to_owned(),
        ]);
        Ok(Carried { dir, entrypoint })
    }
}

fn fill(dir: &Path, exe: &Path, loader: Option<&Path>) -> io::Result<()> {
    fs::create_dir(dir)?;
    fs::create_dir(dir.join("launch"))?;
    put(exe, &dir.join("shoal"))?;
    let Some(loader) = loader else {
        return Ok(());
    };
    put(loader, &dir.join("ld.so"))?;
    let lib = dir.join("lib");
    fs::create_dir(&lib)?;
    for library in libraries()? {
        for name in names(&library)? {
            put(&library, &lib.join(name))?;
        }
    }
    Ok(())
}

/// Links a file, or copies it where it lies on another file system.
fn put(from: &Path, to: &Path) -> io::Result<()> {
    let from = fs::canonicalize(from)?;
    match fs::hard_link(&from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => fs::copy(&from, to).map(drop),
    }
}

/// The libraries that this process has loaded.
fn libraries() -> io::Result<BTreeSet<PathBuf>> {
    let maps = fs::read("/proc/self/maps")?;
    let lines = maps.split(|byte| *byte == b'\n');
    let paths = lines.filter_map(|line| {
        let start = line.iter().position(|byte| *byte == b'/')?;
        Some(PathBuf::from(OsStr::from_bytes(&line[start..])))
    });
    Ok(paths
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().as_bytes();
            name.windows(3).any(|part| part == b".so") && path.is_file()
        })
        .collect())
}

/// The names by which a library can be asked for: its own, and those of links beside it.
fn names(library: &Path) -> io::Result<BTreeSet<std::ffi::OsString>> {
    let mut names = BTreeSet::new();
    names.extend(library.file_name().map(OsStr::to_os_string));
    let stem = library.file_name().unwrap_or_default().to_string_lossy();
    let stem = stem.split(".so").next().unwrap_or_default().to_owned();
    let Some(parent) = library.parent() else {
        return Ok(names);
    };
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let is_kin = entry.file_name().to_string_lossy().starts_with(&stem);
        if is_kin
            && entry.file_type()?.is_symlink()
            && fs::canonicalize(entry.path()).is_ok_and(|target| target == library)
        {
            names.insert(entry.file_name());
        }
    }
    Ok(names)
}

/// The loader that a dynamic program names; none for a static one.
fn loader(exe: &Path) -> io::Result<Option<PathBuf>> {
    const INTERPRETER: u32 = 3;
    let file = File::open(exe)?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0)?;
    if header[..5] != *b"\x7fELF\x02" {
        return Err(io::Error::other("the program is no 64-bit ELF file"));
    }
    let table = u64::from_le_bytes(eight(&header, 32));
    let size = u64::from(u16::from_le_bytes([header[54], header[55]]));
    let count = u64::from(u16::from_le_bytes([header[56], header[57]]));
    for at in 0..count {
        let mut segment = [0; 56];
        file.read_exact_at(&mut segment, table + at * size)?;
        let kind = u32::from_le_bytes([segment[0], segment[1], segment[2], segment[3]]);
        if kind != INTERPRETER {
            continue;
        }
        let offset = u64::from_le_bytes(eight(&segment, 8));
        let length = u64::from_le_bytes(eight(&segment, 32)).min(4096);
        let mut path = vec![0; length as usize];
        file.read_exact_at(&mut path, offset)?;
        path.retain(|byte| *byte != 0);
        return Ok(Some(PathBuf::from(OsStr::from_bytes(&path))));
    }
    Ok(None)
}

fn eight(bytes: &[u8], at: usize) -> [u8; 8] {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    eight
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_once_and_others_go() {
        let temp = tempfile::tempdir().unwrap();
        let exe = std::env::current_exe().unwrap();
        fs::create_dir_all(temp.path().join("carried/of-an-older-program")).unwrap();
        let carried = Carried::make(&exe, temp.path()).unwrap();
        let again = Carried::make(&exe, temp.path()).unwrap();
        assert_eq!(carried.dir, again.dir);
        assert_eq!(
            fs::read_dir(temp.path().join("carried")).unwrap().count(),
            1
        );
        assert_eq!(
            fs::metadata(carried.dir.join("shoal")).unwrap().len(),
            fs::metadata(&exe).unwrap().len()
        );
        // Started as a container starts it, but for the root: the loader finds all that it needs.
        if carried.entrypoint.len() > 3 {
            let local = |path: &str| path.replace(contained::HOME, carried.dir.to_str().unwrap());
            let output = std::process::Command::new(local(&carried.entrypoint[0]))
                .args(["--library-path", &local(&carried.entrypoint[2]), "--list"])
                .arg(local(&carried.entrypoint[3]))
                .env_clear()
                .output()
                .unwrap();
            let listed = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{listed}");
            let strays: Vec<&str> = listed
                .lines()
                .filter(|line| {
                    line.contains("=> /") && !line.contains(carried.dir.to_str().unwrap())
                })
                .collect();
            assert!(strays.is_empty(), "{strays:?}");
        }
    }
}
