//! The file system itself is tested first: a program that does not sync is caught, and one that does is not.
//!
//! Needs `/dev/fuse` and the right to mount; where these are missing it says so and shows nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use powercut::{Disk, Mount};
use tempfile::TempDir;

fn mounted(seed: u64) -> Option<(Mount, TempDir)> {
    let directory = TempDir::new().unwrap();
    match Mount::new(directory.path(), Disk::new(seed)) {
        Ok(mount) => Some((mount, directory)),
        Err(error) => {
            eprintln!("skipped: nothing can be mounted here: {error}");
            None
        }
    }
}

fn append(path: &Path, line: &str, sync: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(line.as_bytes())?;
    if sync {
        file.sync_data()?;
    }
    Ok(())
}

/// Appends numbers and says how many it may rely on; then the power fails. How many are there.
fn appended(seed: u64, sync: bool) -> Option<(usize, usize)> {
    let (mount, directory) = mounted(seed)?;
    let path = directory.path().join("log");
    File::create(&path).unwrap();
    File::open(directory.path()).unwrap().sync_all().unwrap();
    for number in 0..50 {
        append(&path, &format!("{number:09}\n"), sync).unwrap();
    }
    mount.disk().power_off();
    assert!(append(&path, "late", true).is_err());
    mount.disk().power_on();
    let left = fs::read(&path).unwrap();
    let whole = left
        .chunks(10)
        .zip(0..)
        .take_while(|(line, number)| *line == format!("{number:09}\n").as_bytes());
    Some((50, whole.count()))
}

#[test]
fn who_does_not_sync_is_caught_and_who_does_is_not() {
    let mut caught = 0;
    for seed in 0..20 {
        let Some((said, there)) = appended(seed, true) else {
            return;
        };
        assert_eq!(said, there, "seed {seed}: what was synced is there");
        let (said, there) = appended(seed, false).unwrap();
        caught += u32::from(there < said);
    }
    assert!(caught > 8, "{caught} of 20");
}

#[test]
fn it_is_a_file_system_as_any() {
    let Some((mount, directory)) = mounted(1) else {
        return;
    };
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("a/b")).unwrap();
    fs::write(path("a/b/one"), vec![7; 300_000]).unwrap();
    fs::rename(path("a/b/one"), path("a/two")).unwrap();
    fs::hard_link(path("a/two"), path("three")).unwrap();
    fs::remove_file(path("a/two")).unwrap();
    assert_eq!(fs::read(path("three")).unwrap(), vec![7; 300_000]);
    assert!(fs::remove_dir(path("a")).is_err(), "it is not empty");
    fs::remove_dir(path("a/b")).unwrap();
    fs::write(path("three"), "short").unwrap();
    assert_eq!(fs::read_to_string(path("three")).unwrap(), "short");
    for number in 0..500 {
        fs::write(path("a").join(number.to_string()), "x").unwrap();
    }
    assert_eq!(fs::read_dir(path("a")).unwrap().count(), 500);
    mount.disk().set_capacity(Some(10_000));
    let full = fs::write(path("big"), vec![1; 20_000]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
}
