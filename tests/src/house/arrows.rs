//! Arrows run one way. The manifests are the truth of who names whom; this table is the plan.

use toml::{Table, Value};

use super::{Complaint, MINDS, Tree};

/// Each package of the workspace and the others that it may name. Each stands below all that it names.
const ARROWS: [(&str, &str); 20] = [
    ("contract", ""),
    // minds
    ("feed", ""),
    ("blob", ""),
    ("spec", "contract"),
    ("ledger", "spec blob contract"),
    ("schedule", "ledger contract"),
    ("coordinator", "schedule ledger spec feed blob contract"),
    ("worker", "feed blob spec contract"),
    // bodies
    ("disk", "blob feed"),
    ("runtime", "feed spec"),
    ("pki", ""),
    (
        "net",
        "pki coordinator ledger schedule worker spec feed blob contract",
    ),
    (
        "node",
        "coordinator worker ledger schedule spec feed blob disk runtime pki net contract",
    ),
    ("client", "pki contract"),
    ("cli", "node client pki spec runtime blob contract"),
    // proof
    ("check", ""),
    ("powercut", ""),
    (
        "sim",
        "coordinator worker schedule ledger spec feed blob check contract",
    ),
    ("bench", "client schedule ledger contract"),
    ("cluster-tests", "client check powercut contract"),
];

/// Arrows that only tests take: `net` maps errors to statuses and `client` maps them back, and a test walks both ways; `disk` is
/// tested on a disk that forgets.
const ARROWS_OF_TESTS: [(&str, &str); 2] = [("net", "client"), ("disk", "powercut")];

/// What a mind may use from outside: libraries that compute and touch nothing, and those that only its tests use. `uuid`
/// is without its sources of chance.
const PURE: &str = "blake3 bytes crc32fast hex imbl prost prost-types protobuf raft saphyr-parser serde serde_json slog \
                    thiserror tracing uuid expect-test proptest";

/// Checks every manifest: known to the table, no other arrow than the table's, and minds with pure libraries only.
pub fn check(tree: &Tree) -> Vec<Complaint> {
    let ours = |path: &str| path.ends_with("Cargo.toml") && !path.starts_with("fuzz/");
    tree.texts()
        .filter(|(path, _)| ours(path))
        .flat_map(|(path, text)| {
            match text.parse::<Table>() {
                Ok(manifest) => check_manifest(path, &manifest),
                Err(error) => vec![format!("not TOML: {}", error.message())],
            }
            .into_iter()
            .map(move |message| Complaint::new(path, 0, message))
        })
        .collect()
}

fn check_manifest(path: &str, manifest: &Table) -> Vec<String> {
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(Value::as_str);
    let name = name.unwrap_or("without a name");
    let Some((_, allowed)) = ARROWS
        .iter()
        .find(|(known, _)| *known == name && place(known) == path)
    else {
        return vec![format!(
            "package `{name}` is not planned here: add it with what it may name to ARROWS in tests/src/house/arrows.rs, and \
             to the code map"
        )];
    };
    let mut messages = Vec::new();
    for dependency in dependencies(manifest) {
        let other = dependency.package;
        if ARROWS.iter().any(|(known, _)| *known == other) {
            let in_tests =
                dependency.kind == "dev-dependencies" && ARROWS_OF_TESTS.contains(&(name, other));
            if !has_word(allowed, other) && !in_tests {
                messages.push(format!(
                    "`{name}` must not name `{other}` (only [{allowed}]): move the code to where it belongs"
                ));
            }
            if dependency.has_features && MINDS.contains(&name) {
                messages.push(format!(
                    "mind `{name}` takes features of `{other}`: a mind sees messages only, so take `{other}.workspace = true`"
                ));
            }
        } else if MINDS.contains(&name) && !has_word(PURE, other) {
            messages.push(format!(
                "mind `{name}` uses `{other}`: if that touches nothing outside (no clock, files, sockets, threads, chance), \
                 add it to PURE in tests/src/house/arrows.rs; else let a body do it"
            ));
        }
    }
    messages
}

/// Where the manifest of a package is.
fn place(package: &str) -> String {
    match package {
        "contract" => "Cargo.toml".to_owned(),
        "cluster-tests" => "tests/Cargo.toml".to_owned(),
        package => format!("crates/{package}/Cargo.toml"),
    }
}

fn has_word(words: &str, word: &str) -> bool {
    words.split(' ').any(|one| one == word)
}

/// One line of a manifest's dependencies.
struct Dependency<'a> {
    /// `dependencies`, `dev-dependencies` or `build-dependencies`.
    kind: &'static str,
    /// The package's own name, whatever it is called here.
    package: &'a str,
    has_features: bool,
}

/// All dependencies of a manifest, of every kind and for every target.
fn dependencies(manifest: &Table) -> Vec<Dependency<'_>> {
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values);
    let tables = targets.filter_map(Value::as_table).chain([manifest]);
    let mut found = Vec::new();
    for table in tables {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (key, value) in table
                .get(kind)
                .and_then(Value::as_table)
                .into_iter()
                .flatten()
            {
                let package = value.get("package").and_then(Value::as_str).unwrap_or(key);
                let features = value.get("features").and_then(Value::as_array);
                let has_features = features.is_some_and(|features| !features.is_empty());
                found.push(Dependency {
                    kind,
                    package,
                    has_features,
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::listed;
    use super::*;

    fn check_one(path: &str, manifest: &str, expected: Expect) {
        expected.assert_eq(&listed(&check(&Tree::of([(path, manifest)]))));
    }

    #[test]
    fn an_arrow_against_the_stream_is_refused() {
        check_one(
            "crates/ledger/Cargo.toml",
            "[package]\nname = 'ledger'\n[dependencies]\nspec.workspace = true\ncoordinator.workspace = true\n",
            expect![[r#"
                crates/ledger/Cargo.toml: `ledger` must not name `coordinator` (only [spec blob contract]): move the code to where it belongs
            "#]],
        );
    }

    #[test]
    fn every_kind_of_dependency_counts_and_a_new_name_hides_nothing() {
        check_one(
            "crates/feed/Cargo.toml",
            "[package]\nname = 'feed'\n[dev-dependencies]\nx = { package = 'tokio', version = '1' }\n\
             [target.'cfg(unix)'.build-dependencies]\nblob.workspace = true\n",
            expect![[r#"
                crates/feed/Cargo.toml: `feed` must not name `blob` (only []): move the code to where it belongs
                crates/feed/Cargo.toml: mind `feed` uses `tokio`: if that touches nothing outside (no clock, files, sockets, threads, chance), add it to PURE in tests/src/house/arrows.rs; else let a body do it
            "#]],
        );
    }

    #[test]
    fn the_services_are_not_for_minds() {
        check_one(
            "crates/worker/Cargo.toml",
            "[package]\nname = 'worker'\n[dependencies]\ncontract = { workspace = true, features = ['services'] }\n",
            expect![[r#"
                crates/worker/Cargo.toml: mind `worker` takes features of `contract`: a mind sees messages only, so take `contract.workspace = true`
            "#]],
        );
    }

    #[test]
    fn a_crate_that_nobody_planned_is_refused() {
        check_one(
            "crates/util/Cargo.toml",
            "[package]\nname = 'util'\n",
            expect![[r#"
                crates/util/Cargo.toml: package `util` is not planned here: add it with what it may name to ARROWS in tests/src/house/arrows.rs, and to the code map
            "#]],
        );
        check_one(
            "crates/other/Cargo.toml",
            "[package]\nname = 'disk'\n",
            expect![[r#"
                crates/other/Cargo.toml: package `disk` is not planned here: add it with what it may name to ARROWS in tests/src/house/arrows.rs, and to the code map
            "#]],
        );
        check_one(
            "crates/disk/Cargo.toml",
            "[package\n",
            expect![[r#"
            crates/disk/Cargo.toml: not TOML: unclosed table, expected `]`
        "#]],
        );
    }

    #[test]
    fn what_only_tests_may_name_the_code_may_not() {
        let manifest =
            |kind| format!("[package]\nname = 'net'\n[{kind}]\nclient.workspace = true\n");
        check_one(
            "crates/net/Cargo.toml",
            &manifest("dev-dependencies"),
            expect![],
        );
        check_one(
            "crates/net/Cargo.toml",
            &manifest("dependencies"),
            expect![[r#"
                crates/net/Cargo.toml: `net` must not name `client` (only [pki coordinator ledger schedule worker spec feed blob contract]): move the code to where it belongs
            "#]],
        );
    }

    #[test]
    fn the_table_has_no_circle() {
        for (place, (name, allowed)) in ARROWS.iter().enumerate() {
            for other in allowed.split_terminator(' ') {
                let above = ARROWS[..place].iter().any(|(earlier, _)| *earlier == other);
                assert!(
                    above,
                    "`{name}` may name `{other}`, which does not stand above it"
                );
            }
        }
    }
}
