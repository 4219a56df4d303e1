//! Outputs as programs leave them, hostile ones among them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use tempfile::TempDir;

struct Tree {
    temp: TempDir,
}

impl Tree {
    fn new() -> Tree {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("outputs")).unwrap();
        fs::write(temp.path().join("canary"), "outside").unwrap();
        Tree { temp }
    }

    fn outputs(&self) -> PathBuf {
        self.temp.path().join("outputs")
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.outputs().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn read_only(&self, name: &str) {
        let mode = fs::Permissions::from_mode(0o444);
        fs::set_permissions(self.outputs().join(name), mode).unwrap();
    }

    fn collect(&self) -> Result<Outputs, CollectError> {
        collect(&self.outputs(), Limits::default(), &BTreeSet::new())
    }
}

fn names(outputs: &Outputs) -> Vec<&str> {
    outputs.files.iter().map(|f| f.name.as_str()).collect()
}

fn content(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn nothing_is_told_from_anything() {
    let tree = Tree::new();
    assert!(is_empty(&tree.outputs()).unwrap());
    fs::create_dir(tree.outputs().join("d")).unwrap();
    assert!(!is_empty(&tree.outputs()).unwrap());
    fs::remove_dir_all(tree.outputs()).unwrap();
    assert!(is_empty(&tree.outputs()).is_err());
}

#[test]
fn files_are_named_by_their_paths_in_order() {
    let tree = Tree::new();
    for name in ["b.txt", "a/z.bin", "a/b/c", "a.b", "späß, ok \\ name", "-n"] {
        tree.write(name, name);
    }
    fs::create_dir(tree.outputs().join("empty")).unwrap();
    let script = tree.outputs().join("b.txt");
    fs::set_permissions(script, fs::Permissions::from_mode(0o754)).unwrap();
    let outputs = tree.collect().unwrap();
    let expected = ["-n", "a.b", "a/b/c", "a/z.bin", "b.txt", "späß, ok \\ name"];
    assert_eq!(names(&outputs), expected);
    assert_eq!(outputs.files[4].mode, 0o754);
    for file in &outputs.files {
        assert_eq!(file.size, file.name.len() as u64);
        assert_eq!(content(outputs.open(file).unwrap()), file.name);
    }
}

/// Each attack beside a good file: the whole collection fails, and names it.
#[test]
fn attacks_are_named() {
    type Attack = fn(&Path);
    let table: [(&str, Attack, &str); 9] = [
        (
            "shadow",
            |at| symlink("/etc/shadow", at).unwrap(),
            "is a symbolic link",
        ),
        ("up", |at| symlink("..", at).unwrap(), "is a symbolic link"),
        (
            "dangling",
            |at| symlink("nowhere", at).unwrap(),
            "is a symbolic link",
        ),
        (
            "linked",
            |at| fs::hard_link(at.ancestors().nth(3).unwrap().join("canary"), at).unwrap(),
            "is a hard link",
        ),
        ("fifo", |at| make_node(at, FileType::Fifo), "is a FIFO"),
        (
            "socket",
            |at| make_node(at, FileType::Socket),
            "is a socket",
        ),
        (
            "new\nline",
            |at| fs::write(at, "").unwrap(),
            "holds a control character",
        ),
        (
            "\u{7f}dir",
            |at| fs::create_dir(at).unwrap(),
            "holds a control character",
        ),
        (
            "broken",
            |at| {
                fs::write(
                    at.with_file_name(std::ffi::OsStr::from_bytes(b"broken\xff")),
                    "",
                )
                .unwrap()
            },
            "is not UTF-8",
        ),
    ];
    for (name, attack, reason) in table {
        let tree = Tree::new();
        tree.write("good.txt", "good");
        tree.write("deep/good.txt", "good");
        attack(&tree.outputs().join("deep").join(name));
        let error = tree.collect().unwrap_err();
        let CollectError::Invalid { name: named, .. } = &error else {
            panic!("{name}: {error}");
        };
        assert!(
            named.starts_with(&format!("deep/{name}")),
            "{name}: {named}"
        );
        assert!(error.to_string().contains(reason), "{name}: {error}");
        let canary = fs::read_to_string(tree.temp.path().join("canary")).unwrap();
        assert_eq!(canary, "outside");
    }
}

fn make_node(at: &Path, kind: FileType) {
    let mode = Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, at, kind, mode, 0).unwrap();
}

#[test]
fn a_name_may_not_be_longer_than_is_stored() {
    let tree = Tree::new();
    let deep = ["d".repeat(200).as_str(); 5].join("/");
    tree.write(&format!("{deep}/{}", "f".repeat(19)), "");
    assert_eq!(tree.collect().unwrap().files.len(), 1);
    tree.write(&format!("{deep}/{}", "f".repeat(20)), "");
    assert!(
        tree.collect()
            .unwrap_err()
            .to_string()
            .contains("is longer than")
    );
}

#[test]
fn what_is_swapped_after_it_was_found_is_not_opened() {
    type Swap = fn(&Path, &Path);
    let swaps: [Swap; 5] = [
        |at, canary| symlink(canary, at).unwrap(),
        |at, canary| fs::hard_link(canary, at).unwrap(),
        |at, _| make_node(at, FileType::Fifo),
        |at, _| fs::write(at, "another").unwrap(),
        |_, _| (),
    ];
    for swap in swaps {
        let tree = Tree::new();
        tree.write("d/file", "found");
        let outputs = tree.collect().unwrap();
        let at = tree.outputs().join("d/file");
        // The first file is kept, so that its inode cannot be used again.
        fs::rename(&at, tree.temp.path().join("kept")).unwrap();
        swap(&at, &tree.temp.path().join("canary"));
        assert!(outputs.open(&outputs.files[0]).is_err());
    }
    // The directory on the way becomes a link to another with a file of that name.
    let tree = Tree::new();
    tree.write("d/canary", "found");
    let outputs = tree.collect().unwrap();
    fs::rename(tree.outputs().join("d"), tree.temp.path().join("kept")).unwrap();
    symlink(tree.temp.path(), tree.outputs().join("d")).unwrap();
    let error = outputs.open(&outputs.files[0]).unwrap_err().to_string();
    assert!(error.contains("cannot be opened"), "{error}");
}

#[test]
fn limits_are_kept() {
    let tree = Tree::new();
    for n in 0..5 {
        tree.write(&format!("f{n}"), "12345");
    }
    let check = |max_files, max_bytes| {
        let limits = Limits {
            max_files,
            max_bytes,
        };
        let result = collect(&tree.outputs(), limits, &BTreeSet::new());
        result.map(|o| o.files.len()).map_err(|e| e.to_string())
    };
    assert_eq!(check(5, 25), Ok(5));
    assert_eq!(check(4, 25), Err("more than 4 files in outputs".into()));
    assert_eq!(check(5, 24), Err("more than 24 bytes in outputs".into()));
    for n in 0..6 {
        fs::create_dir(tree.outputs().join(format!("d{n}"))).unwrap();
    }
    assert_eq!(
        check(5, 25),
        Err("more than 5 directories in outputs".into())
    );
}

fn properties(outputs: &Outputs) -> String {
    serde_json::to_string(&outputs.properties).unwrap()
}

#[test]
fn properties_come_from_beside_and_from_lines() {
    let tree = Tree::new();
    tree.write("model.pkl", "m");
    tree.write(
        "model.pkl.metadata.json",
        r#"{"a": 1, "valohai.tags": ["x"]}"#,
    );
    tree.write("sub/data.csv", "d");
    let lines = [
        r#"{"file": "model.pkl", "metadata": {"a": 2, "b": null}}"#,
        "",
        r#"{"file": "./sub/data.csv", "metadata": {"valohai.alias": "best"}}"#,
        r#"{"file": "sub/data.csv", "metadata": {"c": 3}}"#,
    ];
    tree.write("valohai.metadata.jsonl", &lines.join("\n"));
    // Not in the root: a file like any other. So is a sidecar of nothing.
    tree.write("sub/valohai.metadata.jsonl", "{}");
    tree.write("lonely.metadata.json", "{}");
    let outputs = tree.collect().unwrap();
    assert_eq!(
        names(&outputs),
        [
            "lonely.metadata.json",
            "model.pkl",
            "sub/data.csv",
            "sub/valohai.metadata.jsonl"
        ]
    );
    assert_eq!(
        properties(&outputs),
        r#"{"model.pkl":{"a":2,"valohai.tags":["x"],"b":null},"sub/data.csv":{"valohai.alias":"best","c":3}}"#
    );
    assert_eq!(outputs.warnings, [] as [&str; 0]);
}

#[test]
fn bad_properties_are_warnings() {
    let tree = Tree::new();
    tree.write("a", "");
    tree.write("a.metadata.json", "[1]");
    tree.write("b", "");
    tree.write("b.metadata.json", r#"{"loss": NaN}"#);
    tree.write("c", "");
    tree.write(
        "c.metadata.json",
        &format!("{{\"x\": \"{}\"}}", "y".repeat(1 << 20)),
    );
    let lines = [
        "not json",
        r#"{"file": "missing", "metadata": {}}"#,
        r#"{"file": "/etc/passwd", "metadata": {}}"#,
        r#"{"file": "a", "metadata": [1]}"#,
        r#"{"file": "a", "metadata": {"good": true}}"#,
        r#"{"file": "a.metadata.json", "metadata": {}}"#,
    ];
    tree.write("valohai.metadata.jsonl", &lines.join("\n"));
    let outputs = tree.collect().unwrap();
    assert_eq!(names(&outputs), ["a", "b", "c"]);
    assert_eq!(properties(&outputs), r#"{"a":{"good":true}}"#);
    let starts = [
        "a.metadata.json: not one JSON object",
        "b.metadata.json: not one JSON object",
        "c.metadata.json: longer than 1048576 bytes",
        "valohai.metadata.jsonl:1: not {",
        "valohai.metadata.jsonl:2: no output \"missing\"",
        "valohai.metadata.jsonl:3: no output \"/etc/passwd\"",
        "valohai.metadata.jsonl:4: not {",
        "valohai.metadata.jsonl:6: no output \"a.metadata.json\"",
    ];
    assert_eq!(
        outputs.warnings.len(),
        starts.len(),
        "{:?}",
        outputs.warnings
    );
    for (warning, start) in outputs.warnings.iter().zip(starts) {
        assert!(warning.starts_with(start), "{warning}");
    }
    tree.write("valohai.metadata.jsonl", &"x\n".repeat(10_000));
    assert!(
        tree.collect().unwrap().warnings.len() < 30,
        "warnings are bounded"
    );
}

#[test]
fn finished_files_are_found_while_the_program_runs() {
    let tree = Tree::new();
    tree.write("done/epoch-1.pt", "one");
    tree.read_only("done/epoch-1.pt");
    tree.write("done/epoch-1.pt.metadata.json", r#"{"epoch": 1}"#);
    tree.read_only("done/epoch-1.pt.metadata.json");
    tree.write("growing", "x");
    symlink("/etc/shadow", tree.outputs().join("link")).unwrap();
    let mut scan = LiveScan::new(&tree.outputs(), Limits::default()).unwrap();
    assert_eq!(scan.look().unwrap(), [], "seen once, it may still change");
    let found = scan.look().unwrap();
    assert_eq!(found.len(), 1);
    let (file, properties) = &found[0];
    assert_eq!(file.name, "done/epoch-1.pt");
    assert_eq!(properties["epoch"], 1);
    assert_eq!(content(scan.open(file).unwrap()), "one");
    assert!(scan.remove(file).unwrap());
    assert_eq!(scan.look().unwrap(), []);

    // The same name again is another file, and a stale handle does not remove it.
    tree.write("done/epoch-1.pt", "two!");
    assert!(!scan.remove(file).unwrap());
    tree.read_only("done/epoch-1.pt");
    assert_eq!(scan.look().unwrap(), []);
    assert_eq!(scan.look().unwrap()[0].0.size, 4);
    let again = scan.look().unwrap();
    assert!(scan.remove(&again[0].0).unwrap());

    // At the end, what is said of a file that was taken is kept, and its carrier is no output.
    fs::remove_file(tree.outputs().join("link")).unwrap();
    let uploaded = BTreeSet::from(["done/epoch-1.pt".to_owned()]);
    let outputs = collect(&tree.outputs(), Limits::default(), &uploaded).unwrap();
    assert_eq!(names(&outputs), ["growing"]);
    assert_eq!(outputs.properties["done/epoch-1.pt"]["epoch"], 1);
}
