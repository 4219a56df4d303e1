//! Pages that must exist, and links that must lead somewhere.

use std::collections::BTreeSet;

use super::{Complaint, Tree};

const REASONS: &str = "proto/shoal/v1/error_reason.proto";
const CODE_MAP: &str = "docs/architecture.md";

/// Checks that every `ErrorReason` has its page `docs/errors/<REASON>.md`, headed by its name, and every page its reason.
pub fn error_pages(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let reasons: BTreeSet<&str> = tree
        .text(REASONS)
        .unwrap_or_default()
        .lines()
        .filter_map(enum_value)
        .collect();
    if reasons.is_empty() {
        complaints.push(Complaint::new(
            REASONS,
            0,
            "no values found: has the enum moved?",
        ));
    }
    for reason in &reasons {
        let path = format!("docs/errors/{reason}.md");
        let heading = format!("# {reason}\n");
        match tree.text(&path) {
            None => complaints.push(Complaint::new(
                &path,
                0,
                "missing: say what it means, why it comes, what to do",
            )),
            Some(text) if !text.starts_with(&heading) => {
                complaints.push(Complaint::new(&path, 1, format!("begin with `# {reason}`")));
            }
            Some(_) => {}
        }
    }
    for (path, _) in tree.with_extension("md") {
        let page = path
            .strip_prefix("docs/errors/")
            .and_then(|name| name.strip_suffix(".md"));
        if page.is_some_and(|page| page != "README" && !reasons.contains(page)) {
            complaints.push(Complaint::new(
                path,
                0,
                format!("no such ErrorReason in {REASONS}: remove the page, or name it right"),
            ));
        }
    }
    complaints
}

/// The name in a line like `  NOT_LEADER = 13;`, but for the one that means nothing.
fn enum_value(line: &str) -> Option<&str> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let is_value = value
        .trim()
        .strip_suffix(';')
        .is_some_and(|number| number.parse::<u32>().is_ok());
    (is_name && is_value && !name.ends_with("_UNSPECIFIED")).then_some(name)
}

/// Checks that every crate has a row in the code map, and every row its crate.
pub fn code_map(tree: &Tree) -> Vec<Complaint> {
    let map = tree.text(CODE_MAP).unwrap_or_default();
    let rows: BTreeSet<&str> = map
        .lines()
        .skip_while(|line| *line != "## Code map")
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let mut complaints = Vec::new();
    let crates = tree
        .texts()
        .filter_map(|(path, _)| path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"));
    let crates: BTreeSet<&str> = crates.collect();
    for missing in crates.difference(&rows) {
        let message = format!(
            "`{missing}` is not in the code map: add a row that says what it is and what it never does"
        );
        complaints.push(Complaint::new(CODE_MAP, 0, message));
    }
    for gone in rows
        .difference(&crates)
        .filter(|row| !["contract", "tests"].contains(row))
    {
        complaints.push(Complaint::new(
            CODE_MAP,
            0,
            format!("`{gone}` is in the code map, but crates/{gone} is not there"),
        ));
    }
    complaints
}

/// Checks the Markdown pages: links to files lead to files, and paths of the repository that a page names exist.
pub fn links(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, text) in tree.with_extension("md") {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        for (number, line) in prose(text) {
            let wrong_links = link_targets(line)
                .filter(|target| {
                    !resolve(directory, target).is_some_and(|target| tree.exists(&target))
                })
                .map(|target| {
                    format!("the link to `{target}` leads nowhere: links are relative to the page")
                });
            let wrong_paths = code_spans(line)
                .filter(|span| names_a_path(span))
                .filter(|span| !resolve("", span).is_some_and(|path| tree.exists(&path)))
                .map(|span| format!("there is no `{span}`: write the path as it is now"));
            complaints.extend(
                wrong_links
                    .chain(wrong_paths)
                    .map(|message| Complaint::new(path, number, message)),
            );
        }
    }
    complaints
}

/// Checks that documents named in capitals (as in "see GUIDE.md") are part of the repository.
pub fn named_documents(tree: &Tree) -> Vec<Complaint> {
    let names: BTreeSet<&str> = tree
        .texts()
        .map(|(path, _)| path.rsplit('/').next().unwrap_or(path))
        .collect();
    let mut complaints = Vec::new();
    for (path, text) in tree
        .texts()
        .filter(|(path, _)| *path != "tests/src/house/docs.rs")
    {
        for (number, line) in text.lines().enumerate() {
            let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
            let documents = words.map(|word| word.trim_end_matches('.')).filter(|word| {
                word.strip_suffix(".md").is_some_and(|stem| {
                    stem.len() > 2
                        && stem
                            .chars()
                            .all(|c| c.is_ascii_uppercase() || c == '_' || c == '-')
                })
            });
            for document in documents.filter(|document| !names.contains(document)) {
                let message = format!(
                    "`{document}` is not in the repository: say it here, or name a page that is"
                );
                complaints.push(Complaint::new(path, number + 1, message));
            }
        }
    }
    complaints
}

/// The lines of a page outside its code blocks, with their numbers from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((number + 1, line))
    })
}

/// The targets of `[text](target)` in a line that are files: no addresses, no places within the page.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', ' ']).next()?;
        let file = target.split('#').next()?;
        (!file.is_empty() && !file.contains("://") && !file.starts_with("mailto:")).then_some(file)
    })
}

/// What stands between backticks in a line.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether a code span is a path from the root of the repository, written in full.
fn names_a_path(span: &str) -> bool {
    const TOP: [&str; 8] = [
        ".ci/",
        "crates/",
        "deploy/",
        "docs/",
        "examples/",
        "fuzz/",
        "proto/",
        "tests/",
    ];
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    TOP.iter().any(|top| span.starts_with(top)) && span.chars().all(plain)
}

/// The path from the root that `target` means in a page of `directory`. None if it leaves the repository.
fn resolve(directory: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::listed;
    use super::*;

    #[test]
    fn reasons_without_pages_and_pages_without_reasons_are_found() {
        let tree = Tree::of([
            (
                REASONS,
                "enum ErrorReason {\n  // A = 0;\n  ERROR_REASON_UNSPECIFIED = 0;\n  ONE = 1;\n  TWO = 2;\n  DISK_2 = 3;\n}\n",
            ),
            ("docs/errors/ONE.md", "# ONE\n\nGood.\n"),
            ("docs/errors/TWO.md", "# Two\n"),
            ("docs/errors/THREE.md", "# THREE\n"),
            ("docs/errors/README.md", "# Errors\n"),
        ]);
        expect![[r#"
            docs/errors/DISK_2.md: missing: say what it means, why it comes, what to do
            docs/errors/TWO.md:1: begin with `# TWO`
            docs/errors/THREE.md: no such ErrorReason in proto/shoal/v1/error_reason.proto: remove the page, or name it right
        "#]].assert_eq(&listed(&error_pages(&tree)));
        expect![[r#"
            proto/shoal/v1/error_reason.proto: no values found: has the enum moved?
        "#]]
        .assert_eq(&listed(&error_pages(&Tree::default())));
    }

    #[test]
    fn the_code_map_and_the_crates_agree() {
        let map = "# Architecture\n\n| `before` | x |\n\n## Code map\n\n| crate | what |\n| --- | --- |\n| `contract` (root) | x |\n| `feed` | x |\n\
                   | `gone` | x |\n\n## Other\n\n| `disk` | x |\n";
        let tree = Tree::of([
            (CODE_MAP, map),
            ("crates/feed/Cargo.toml", ""),
            ("crates/disk/Cargo.toml", ""),
        ]);
        expect![[r#"
            docs/architecture.md: `disk` is not in the code map: add a row that says what it is and what it never does
            docs/architecture.md: `gone` is in the code map, but crates/gone is not there
        "#]].assert_eq(&listed(&code_map(&tree)));
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let page = "[a](b.md) [c](../README.md#part) [d](gone.md) [e](https://x.y/z) [f](#here) [g](../../out.md)\n\
                    `docs/b.md` `docs/gone.md` `docs/<NAME>.md` `crates/*/src` `nothing/here`\n\
                    ```sh\ncat [h](gone.md) `docs/gone.md`\n```\n\n![i](deep/)\n";
        let tree = Tree::of([
            ("docs/a.md", page),
            ("docs/b.md", ""),
            ("docs/deep/x.md", ""),
            ("README.md", ""),
        ]);
        expect![[r#"
            docs/a.md:1: the link to `gone.md` leads nowhere: links are relative to the page
            docs/a.md:1: the link to `../../out.md` leads nowhere: links are relative to the page
            docs/a.md:2: there is no `docs/gone.md`: write the path as it is now
        "#]]
        .assert_eq(&listed(&links(&tree)));
    }

    #[test]
    fn documents_that_are_not_here_are_found() {
        let tree = Tree::of([
            ("README.md", "see GUIDE.md"),
            ("a.rs", "//! As README.md and PLAN.md say. <REASON>.md"),
            ("b.md", "A.md"),
        ]);
        expect![[r#"
            README.md:1: `GUIDE.md` is not in the repository: say it here, or name a page that is
            a.rs:1: `PLAN.md` is not in the repository: say it here, or name a page that is
        "#]]
        .assert_eq(&listed(&named_documents(&tree)));
    }
}
