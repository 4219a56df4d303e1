//! Source trees, honest and hostile.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use tar::{Builder, Header};
use tempfile::TempDir;

enum Item {
    File(u32, &'static str),
    Dir,
    Link(&'static str),
    Other(EntryType),
}
use Item::{Dir, File, Link, Other};

/// An archive of entries whose names are written as they are.
fn archive(items: &[(&str, Item)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, item) in items {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o644);
        let mut content = "";
        match item {
            File(mode, text) => {
                header.set_mode(*mode);
                content = text;
            }
            Dir => header.set_entry_type(EntryType::Directory),
            Link(target) => {
                header.set_entry_type(EntryType::Symlink);
                header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
            }
            Other(kind) => {
                header.set_entry_type(*kind);
                header.as_mut_bytes()[157..163].copy_from_slice(b"canary");
            }
        }
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpack_items(items: &[(&str, Item)]) -> (TempDir, Result<u64, UnpackError>) {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("canary"), "outside").unwrap();
    let repository = temp.path().join("repository");
    fs::create_dir(&repository).unwrap();
    let result = unpack(
        archive(items).as_slice(),
        &repository,
        TreeLimits::default(),
    );
    (temp, result)
}

#[test]
fn a_tree_comes_out_as_it_went_in() {
    let (temp, result) = unpack_items(&[
        ("./", Dir),
        ("./src/", Dir),
        ("src/train.py", File(0o600, "print()")),
        ("run.sh", File(0o4775, "#!/bin/sh")),
        ("deep/er/x", File(0o644, "")),
        ("deep/latest", Link("er/x")),
        ("deep/er/up", Link("../../src")),
        ("run.sh", File(0o700, "#!/bin/bash")),
    ]);
    assert_eq!(result.unwrap(), 8);
    let repository = temp.path().join("repository");
    let mode = |name: &str| {
        fs::metadata(repository.join(name))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(
        fs::read_to_string(repository.join("src/train.py")).unwrap(),
        "print()"
    );
    assert_eq!(
        fs::read_to_string(repository.join("run.sh")).unwrap(),
        "#!/bin/bash"
    );
    assert_eq!(mode("run.sh") & 0o7777, 0o755);
    assert_eq!(mode("src/train.py") & 0o7777, 0o644);
    assert_eq!(
        fs::read_link(repository.join("deep/er/up")).unwrap(),
        Path::new("../../src")
    );
    assert!(repository.join("deep/latest").exists());
}

#[test]
fn hostile_entries_are_named_and_write_nothing_outside() {
    let table: Vec<(Vec<(&str, Item)>, &str)> = vec![
        (vec![("../canary", File(0o644, "in"))], "a part `.` or `..`"),
        (
            vec![("a/../../canary", File(0o644, "in"))],
            "a part `.` or `..`",
        ),
        (
            vec![("/etc/shoal-test", File(0o644, "in"))],
            "an empty part",
        ),
        (vec![("/", Dir)], "an empty part"),
        (vec![("l", Link("/etc"))], "leaves the tree"),
        (vec![("l", Link(".."))], "leaves the tree"),
        (vec![("d/l", Link("../../canary"))], "leaves the tree"),
        (
            vec![("d", Link(".")), ("l", Link("d/d/../.."))],
            "leaves the tree",
        ),
        (vec![("l", Link(""))], "leaves the tree"),
        // A link that stays inside is no way to write through either.
        (
            vec![
                ("d/x", File(0o644, "")),
                ("l", Link("d")),
                ("l/y", File(0o644, "")),
            ],
            "cannot be written",
        ),
        (
            vec![("f", File(0o644, "")), ("f/y", File(0o644, ""))],
            "cannot be written",
        ),
        (vec![("h", Other(EntryType::Link))], "neither file"),
        (vec![("n", Other(EntryType::Char))], "neither file"),
        (vec![("p", Other(EntryType::Fifo))], "neither file"),
        (vec![("new\nline", File(0o644, ""))], "a control character"),
    ];
    for (items, expected) in table {
        let last = items.last().unwrap().0.to_owned();
        let (temp, result) = unpack_items(&items);
        let message = result.unwrap_err().to_string();
        assert!(message.contains(expected), "{last}: {message}");
        assert!(message.contains(&format!("{last:?}")), "{last}: {message}");
        let canary = temp.path().join("canary");
        assert_eq!(fs::read_to_string(&canary).unwrap(), "outside", "{last}");
        assert_eq!(fs::metadata(&canary).unwrap().nlink(), 1, "{last}");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2, "{last}");
    }
}

#[test]
fn a_file_replaces_a_link_instead_of_following_it() {
    let (temp, result) = unpack_items(&[
        ("target", File(0o644, "old")),
        ("l", Link("target")),
        ("l", File(0o644, "new")),
    ]);
    result.unwrap();
    let repository = temp.path().join("repository");
    assert_eq!(
        fs::read_to_string(repository.join("target")).unwrap(),
        "old"
    );
    assert_eq!(fs::read_to_string(repository.join("l")).unwrap(), "new");
}

#[test]
fn limits_are_kept() {
    let bytes = archive(&[("a", File(0o644, "12345")), ("b", File(0o644, "12345"))]);
    let check = |max_entries, max_bytes| {
        let temp = tempfile::tempdir().unwrap();
        let limits = TreeLimits {
            max_entries,
            max_bytes,
        };
        unpack(bytes.as_slice(), temp.path(), limits).map_err(|e| e.to_string())
    };
    assert_eq!(check(2, 10), Ok(2));
    assert_eq!(check(1, 10), Err("source tree: more than 1 entries".into()));
    assert_eq!(check(2, 9), Err("source tree: more than 9 bytes".into()));
}

#[test]
fn a_cut_archive_is_an_error() {
    let bytes = archive(&[("a", File(0o644, "12345"))]);
    let temp = tempfile::tempdir().unwrap();
    assert!(unpack(&bytes[..514], temp.path(), TreeLimits::default()).is_err());
}
