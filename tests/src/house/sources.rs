//! What every source file has, and what none has.

use super::{Complaint, Tree, rust};

/// The most lines of one Rust file.
const LINES_MAX: usize = 700;

/// Checks that every Rust file says on its first line what it is.
pub fn module_docs(tree: &Tree) -> Vec<Complaint> {
    tree.with_extension("rs")
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| {
            Complaint::new(
                path,
                1,
                "begin with `//!` and a sentence that says what this module is for",
            )
        })
        .collect()
}

/// Checks that no Rust file is too long to be read in one go.
pub fn length(tree: &Tree) -> Vec<Complaint> {
    tree.with_extension("rs")
        .filter_map(|(path, text)| {
            let lines = text.lines().count();
            let message = format!(
                "{lines} lines, at most {LINES_MAX}: find the two subjects in it and part them"
            );
            (lines > LINES_MAX).then(|| Complaint::new(path, 0, message))
        })
        .collect()
}

/// Checks that nothing was put off: no `todo!`, no test that is not run, no test that sleeps.
pub fn nothing_put_off(tree: &Tree) -> Vec<Complaint> {
    let refused = [
        (
            "todo!",
            "write it, or leave the whole thing out and say so in the docs",
        ),
        (
            "unimplemented!",
            "write it, or return an error that names what is not done",
        ),
        (
            "#[ignore",
            "a test that is not run proves nothing: make it fit to run, or remove it",
        ),
        ("dbg!", "remove it, or make it a `tracing` event"),
    ];
    let mut complaints = Vec::new();
    for (path, text) in tree.with_extension("rs") {
        for (number, line) in rust::code(text).lines().enumerate() {
            for (word, instead) in refused.iter().filter(|(word, _)| line.contains(word)) {
                complaints.push(Complaint::new(
                    path,
                    number + 1,
                    format!("`{word}`: {instead}"),
                ));
            }
        }
    }
    complaints
}

/// Checks that no file knows the machine on which it was written.
pub fn no_machine_paths(tree: &Tree) -> Vec<Complaint> {
    // In two halves, so that this file does not complain about itself.
    let homes = [
        ["/ho", "me/"],
        ["/ro", "ot/"],
        ["/wo", "rk/"],
        ["/Us", "ers/"],
        ["/tmp/tar", "get"],
    ]
    .map(|halves| halves.concat());
    let mut complaints = Vec::new();
    for (path, text) in tree.texts() {
        for (number, line) in text.lines().enumerate() {
            for home in homes.iter().filter(|home| begins_a_path(line, home)) {
                let message = format!(
                    "a path of one machine (`{home}…`): use one that holds on every machine"
                );
                complaints.push(Complaint::new(path, number + 1, message));
            }
        }
    }
    complaints
}

/// Whether `start` stands in `line` as the beginning of a path, not in the middle of one.
fn begins_a_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        !line[..at].ends_with(|c: char| c.is_alphanumeric() || "/._-}>$*~".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::listed;
    use super::*;

    #[test]
    fn a_file_that_does_not_say_what_it_is_is_found() {
        let tree = Tree::of([
            ("a.rs", "//! Good."),
            ("b.rs", "use x;\n//! Too late."),
            ("c.rs", ""),
            ("d.py", ""),
        ]);
        expect![[r#"
            b.rs:1: begin with `//!` and a sentence that says what this module is for
            c.rs:1: begin with `//!` and a sentence that says what this module is for
        "#]]
        .assert_eq(&listed(&module_docs(&tree)));
    }

    #[test]
    fn a_long_file_is_found() {
        let (fits, too_long) = ("x\n".repeat(LINES_MAX), "x\n".repeat(LINES_MAX + 1));
        let tree = Tree::of([("fits.rs", fits.as_str()), ("long.rs", too_long.as_str())]);
        expect![[r#"
            long.rs: 701 lines, at most 700: find the two subjects in it and part them
        "#]]
        .assert_eq(&listed(&length(&tree)));
    }

    #[test]
    fn what_was_put_off_is_found() {
        let source = "fn f() {\n    todo!()\n}\n#[ignore = \"slow\"]\nfn g() { dbg!(1) } // todo!\nconst X: &str = \"todo!\";";
        expect![[r#"
            a.rs:2: `todo!`: write it, or leave the whole thing out and say so in the docs
            a.rs:4: `#[ignore`: a test that is not run proves nothing: make it fit to run, or remove it
            a.rs:5: `dbg!`: remove it, or make it a `tracing` event
        "#]].assert_eq(&listed(&nothing_put_off(&Tree::of([("a.rs", source)]))));
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let home = ["/ho", "me/ada/x"].concat();
        let text = format!("see {home}\n\"{home}\"\nhttps://example.com{home}\n$ROOT{home}\n");
        let found = no_machine_paths(&Tree::of([("a.md", text.as_str())]));
        assert_eq!(
            found
                .iter()
                .map(|complaint| complaint.line)
                .collect::<Vec<_>>(),
            [1, 2],
            "{}",
            listed(&found)
        );
    }
}
