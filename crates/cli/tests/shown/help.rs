//! The help of every command, a file each in `help/`; `UPDATE_EXPECT=1` writes them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use cli::args::Cli;
use expect_test::expect_file;

use crate::place::Place;

/// The commands that are shown, each as the words that name it.
fn commands(command: &Command, above: &[String], all: &mut Vec<Vec<String>>) {
    all.push(above.to_vec());
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set() && below.get_name() != "help")
    {
        let words: Vec<String> = above
            .iter()
            .cloned()
            .chain([below.get_name().to_owned()])
            .collect();
        commands(below, &words, all);
    }
}

#[test]
fn every_command_has_its_help() {
    let mut all = Vec::new();
    commands(&Cli::command(), &[], &mut all);
    assert!(all.len() > 20, "{all:?}");
    let place = Place::empty();
    let mut files = BTreeSet::new();
    for words in &all {
        let file = format!(
            "{}.txt",
            [vec!["shoal".to_owned()], words.clone()].concat().join("-")
        );
        let arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        let asked = |option: &str| {
            let output = place
                .shoal(&[arguments.as_slice(), &[option]].concat())
                .output()
                .unwrap();
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{words:?}"
            );
            String::from_utf8(output.stdout).unwrap()
        };
        let help = asked("--help");
        assert_eq!(
            help,
            asked("-h"),
            "one help, however it is asked for: {words:?}"
        );
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
        expect_file![format!("help/{file}")].assert_eq(&help);
        files.insert(file);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shown/help");
    let there = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        there.collect::<BTreeSet<_>>(),
        files,
        "a file for every command, and no other"
    );
}

#[test]
fn every_shell_has_its_completions() {
    let place = Place::empty();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = place.shoal(&["completions", shell]).output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{shell}"
        );
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["shoal", "pipeline", "metadata", "parameter-file"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn who_closes_standard_output_has_read_enough() {
    for arguments in [
        ["completions", "bash"].as_slice(),
        &["help"],
        &["execution", "list"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Place::empty()
            .shoal(arguments)
            .stdout(writer)
            .output()
            .unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), words.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}
