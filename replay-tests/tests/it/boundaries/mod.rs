//! Keeps the table of design §1: which crate must never see which.

mod graph;
mod platforms;
mod rules;

use graph::Graph;
use std::path::Path;

/// The root of the workspace.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn no_import_breaks_the_table() {
    let graph = Graph::of_workspace(&root().join("Cargo.toml"));
    let breaches = rules::breaches(&graph);
    assert!(breaches.is_empty(), "imports that design §1 forbids:\n{}", breaches.join("\n"));
}

#[test]
fn the_core_names_no_clock_file_or_environment() {
    let mut breaches = Vec::new();
    let mut files = 0;
    for path in rust_files(&root().join("ledger/core/src")) {
        files += 1;
        let text = std::fs::read_to_string(&path).expect("a source file can be read");
        breaches.extend(rules::impurities(&path.display().to_string(), &text));
    }
    assert!(files > 10, "only {files} files found: is the core somewhere else now?");
    assert!(breaches.is_empty(), "ledger-core is to be pure:\n{}", breaches.join("\n"));
}

#[test]
fn what_only_linux_has_is_behind_cfg() {
    let mut unguarded = Vec::new();
    let mut files = 0;
    // The agent and the command line, and what they are made of.
    for folder in ["agent", "api/client", "api/wire", "ledger/cli", "ledger/core"] {
        for path in rust_files(&root().join(folder).join("src")) {
            files += 1;
            let text = std::fs::read_to_string(&path).expect("a source file can be read");
            unguarded.extend(platforms::unguarded(&path.display().to_string(), &text));
        }
    }
    assert!(files > 50, "only {files} files found: is the code somewhere else now?");
    assert!(unguarded.is_empty(), "macOS has none of this:\n{}", unguarded.join("\n"));
}

fn rust_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The workspace as the table wants it, with these edges on top.
fn made_up(extra: &[(&str, &str)]) -> Graph {
    let mut graph = Graph::default();
    for rule in rules::TABLE {
        graph.add_member(rule.name);
        for import in rule.may_import {
            graph.add_edge(rule.name, import);
        }
    }
    for (from, to) in extra {
        graph.add_edge(from, to);
    }
    graph
}

fn check(extra: &[(&str, &str)], expected: &[&str]) {
    let breaches = rules::breaches(&made_up(extra));
    assert_eq!(breaches.len(), expected.len(), "{extra:?}: {breaches:?}");
    for (breach, words) in breaches.iter().zip(expected) {
        assert!(breach.contains(words), "{extra:?}: {breach:?} does not say {words:?}");
    }
}

#[test]
fn the_table_itself_breaks_no_rule() {
    check(&[], &[]);
    check(&[("ledger-store", "sqlx"), ("api-server", "axum"), ("sqlx", "tokio")], &[]);
}

#[test]
fn a_forbidden_direct_import_is_found() {
    check(&[("api-server", "sqlx")], &["api-server → sqlx"]);
    check(&[("projections", "axum")], &["projections → axum"]);
    // What the client imports, the agent has in its tree.
    check(&[("api-client", "axum")], &["agent → api-client → axum", "api-client → axum"]);
}

#[test]
fn an_import_between_our_crates_that_the_table_does_not_name_is_found() {
    check(&[("ledger-store", "projections")], &["ledger-store → projections"]);
    check(&[("api-wire", "api-client")], &["api-wire → api-client"]);
    check(&[("ledger-cli", "replay-tests")], &["ledger-cli → replay-tests"]);
}

#[test]
fn the_wire_types_import_serde_their_schemas_and_the_core_alone() {
    check(&[("api-wire", "serde"), ("api-wire", "utoipa")], &[]);
    check(&[("api-wire", "uuid")], &["api-wire → uuid"]);
}

#[test]
fn what_comes_in_by_a_detour_is_found_where_the_whole_tree_counts() {
    check(
        &[("agent", "left"), ("left", "right"), ("right", "sqlx")],
        &["agent → left → right → sqlx"],
    );
    check(&[("agent", "left"), ("left", "ledger-store")], &["agent → left → ledger-store"]);
    check(&[("ledger-core", "left"), ("left", "tokio")], &["ledger-core → left → tokio"]);
    // Where it does not, a library may do as it likes.
    check(&[("ledger-store", "left"), ("left", "reqwest")], &[]);
}

#[test]
fn a_crate_without_a_rule_is_found() {
    let mut graph = made_up(&[]);
    graph.add_member("newcomer");
    let breaches = rules::breaches(&graph);
    assert_eq!(breaches.len(), 1);
    assert!(breaches[0].contains("newcomer"), "{breaches:?}");
}

#[test]
fn impure_words_are_found_and_comments_are_not() {
    let found = |text: &str| rules::impurities("x.rs", text).len();
    assert_eq!(found("let now = std::time::SystemTime::now();"), 1);
    assert_eq!(found("use std::fs;\nasync fn a() {}"), 2);
    assert_eq!(found("use std::{env, fs::File};"), 2);
    assert_eq!(found("// std::fs is not for us\n/// nor SystemTime\nlet fsync = 1;"), 0);
}
