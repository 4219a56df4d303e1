//! The repository checks itself. What each check looks for, and that it finds it, is in `tests/src/house/`.
#![allow(clippy::expect_used)]

use std::path::Path;
use std::sync::LazyLock;

use cluster_tests::house::{Complaint, Tree, arrows, docs, listed, minds, proto, sources};
use prost::Message as _;
use prost_types::FileDescriptorSet;

/// The files of this repository.
static TREE: LazyLock<Tree> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tree = Tree::read(&root).expect("the repository can be read");
    assert!(
        tree.exists("Cargo.toml") && tree.exists("crates/ledger/src/lib.rs"),
        "this is not the repository"
    );
    tree
});

#[track_caller]
fn assert_none(complaints: &[Complaint]) {
    assert!(
        complaints.is_empty(),
        "{} to put right:\n{}",
        complaints.len(),
        listed(complaints)
    );
}

#[test]
fn arrows_run_one_way() {
    assert_none(&arrows::check(&TREE));
}

#[test]
fn minds_look_at_nothing_outside() {
    assert_none(&minds::check(&TREE));
}

#[test]
fn every_module_says_what_it_is() {
    assert_none(&sources::module_docs(&TREE));
}

#[test]
fn no_file_is_too_long() {
    assert_none(&sources::length(&TREE));
}

#[test]
fn nothing_was_put_off() {
    assert_none(&sources::nothing_put_off(&TREE));
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    assert_none(&sources::no_machine_paths(&TREE));
}

#[test]
fn every_element_of_the_contract_has_a_comment() {
    let files =
        FileDescriptorSet::decode(contract::DESCRIPTORS).expect("the build made the descriptors");
    let ours = files
        .file
        .iter()
        .filter(|file| file.name().starts_with("shoal/"))
        .count();
    assert_eq!(
        ours,
        TREE.with_extension("proto")
            .filter(|(path, _)| path.starts_with("proto/shoal/"))
            .count()
    );
    assert_none(&proto::comments(&files));
}

#[test]
fn every_error_reason_has_its_page() {
    assert_none(&docs::error_pages(&TREE));
}

#[test]
fn the_code_map_is_complete() {
    assert_none(&docs::code_map(&TREE));
}

#[test]
fn links_between_pages_lead_somewhere() {
    assert_none(&docs::links(&TREE));
}

#[test]
fn documents_that_are_named_exist() {
    assert_none(&docs::named_documents(&TREE));
}
