//! A mind has no clock, files, sockets, threads or chance. Clippy refuses the calls (`crates/minds.clippy.toml`); this
//! looks at the words, so that an `allow` or a macro hides nothing.

use super::{Complaint, MINDS, Tree, rust};

/// Words that no mind's code contains, and what to do instead.
const WORDS: [(&str, &str); 14] = [
    (
        "std::fs",
        "bytes are arguments; `disk` and `runtime` read files",
    ),
    ("std::net", "`net` has the sockets"),
    ("std::env", "settings are arguments, read by `node`"),
    ("std::process", "`runtime` starts programs"),
    ("std::thread", "a mind is called; it does not run by itself"),
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument: microseconds since 1970"),
    ("tokio", "a mind is not async; `node` has the loop"),
    ("async", "a mind is not async; `node` has the loop"),
    ("rand", "chance is an argument: a seed at birth"),
    (
        "HashMap",
        "its order differs from run to run: use BTreeMap or imbl::OrdMap",
    ),
    (
        "HashSet",
        "its order differs from run to run: use BTreeSet or imbl::OrdSet",
    ),
    ("RandomState", "chance is an argument: a seed at birth"),
    (
        "include_bytes",
        "what a mind knows is in its source or in its arguments",
    ),
];

/// Checks the sources of all minds, tests beside the code included, and that each has the lints of minds.
pub fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for mind in MINDS {
        let sources = format!("crates/{mind}/src/");
        for (path, text) in tree
            .with_extension("rs")
            .filter(|(path, _)| path.starts_with(&sources))
        {
            for (number, line) in rust::code(text).lines().enumerate() {
                for (word, instead) in WORDS.iter().filter(|(word, _)| has_word(line, word)) {
                    complaints.push(Complaint::new(
                        path,
                        number + 1,
                        format!("`{word}` in a mind: {instead}"),
                    ));
                }
            }
        }
        let lints = format!("crates/{mind}/clippy.toml");
        if tree.text(&lints).is_none() || tree.text(&lints) != tree.text("crates/minds.clippy.toml")
        {
            let message = "a mind is linted as one: make it a link (`ln -s ../minds.clippy.toml clippy.toml`)";
            complaints.push(Complaint::new(&lints, 0, message));
        }
    }
    complaints
}

/// Whether `word` stands in `line` and is no part of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::listed;
    use super::*;

    /// A tree in which all minds have their lints, and one has this source.
    fn tree(source: &str) -> Tree {
        Tree::of([
            ("crates/minds.clippy.toml", "same"),
            ("crates/spec/clippy.toml", "same"),
            ("crates/ledger/clippy.toml", "same"),
            ("crates/schedule/clippy.toml", "same"),
            ("crates/feed/clippy.toml", "same"),
            ("crates/blob/clippy.toml", "same"),
            ("crates/coordinator/clippy.toml", "same"),
            ("crates/worker/clippy.toml", "same"),
            ("crates/feed/src/lib.rs", source),
            ("crates/disk/src/lib.rs", "use std::fs;"),
        ])
    }

    #[test]
    fn a_mind_that_looks_outside_is_told_what_to_do() {
        let source = "//! No tokio here.\nuse std::collections::HashMap;\nfn f() { tokio::spawn(std::time::Instant::now()) }\n";
        expect![[r#"
            crates/feed/src/lib.rs:2: `HashMap` in a mind: its order differs from run to run: use BTreeMap or imbl::OrdMap
            crates/feed/src/lib.rs:3: `Instant::now` in a mind: time is an argument
            crates/feed/src/lib.rs:3: `tokio` in a mind: a mind is not async; `node` has the loop
        "#]].assert_eq(&listed(&check(&tree(source))));
    }

    #[test]
    fn words_in_comments_text_and_longer_words_are_none() {
        let source =
            "// HashMap\nfn operand::<T>() { let x = \"std::fs\"; strand::x(); asynchronous() }";
        assert_eq!(listed(&check(&tree(source))), "");
    }

    #[test]
    fn a_mind_without_its_lints_is_found() {
        let tree = Tree::of([
            ("crates/minds.clippy.toml", "same"),
            ("crates/spec/clippy.toml", "other"),
        ]);
        let found = listed(&check(&tree));
        assert_eq!(found.lines().count(), MINDS.len(), "{found}");
    }
}
