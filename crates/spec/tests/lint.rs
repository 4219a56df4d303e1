//! What the linter says about files: each `lint/NAME.yaml` has its answer in `lint/NAME.txt`.
//!
//! `UPDATE_EXPECT=1` writes the answers anew.

// The fixtures are files.
#![allow(clippy::expect_used, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use spec::{Parsed, parse, render};

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    let entries = std::fs::read_dir(folder).expect("the folder of fixtures");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a fixture").path())
        .collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    files.sort();
    files
}

/// The whole answer as a person sees it.
fn drawn(parsed: &Parsed, name: &str, bytes: &[u8]) -> String {
    let source = String::from_utf8_lossy(bytes);
    let verdict = if parsed.is_valid() {
        "taken"
    } else {
        "refused"
    };
    let diagnostics = parsed.diagnostics.iter().map(|diagnostic| {
        format!(
            "[{}] at {:?}\n{}",
            diagnostic.code.word(),
            diagnostic.path,
            render(diagnostic, name, &source)
        )
    });
    [format!("{verdict}\n")]
        .into_iter()
        .chain(diagnostics)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_fixture_has_its_answer() {
    let files = fixtures();
    assert!(files.len() > 25, "only {} fixtures were found", files.len());
    for file in files {
        let bytes = std::fs::read(&file).expect("a fixture");
        let name = file.file_name().expect("a name").to_string_lossy();
        let answer = drawn(&parse(&bytes), &name, &bytes);
        expect_file![file.with_extension("txt")].assert_eq(&answer);
    }
}

#[test]
fn a_file_with_every_field_has_nothing_to_report() {
    let parsed = parse(include_bytes!("lint/everything.yaml"));
    let told: Vec<_> = parsed
        .diagnostics
        .iter()
        .map(|diagnostic| &diagnostic.message)
        .collect();
    // Only the item that holds the anchors.
    assert_eq!(told, ["`definitions` is no type of item and is ignored"]);
    let config = parsed.config.expect("a valid file");
    assert_eq!(config.steps.len(), 1);
    assert_eq!(config.steps[0].parameters.len(), 7);
    assert_eq!(config.pipelines[0].edges.len(), 7);
}
