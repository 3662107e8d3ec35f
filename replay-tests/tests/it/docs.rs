//! What the documents claim, held to the code.

use ledger_core::rights::{Right, TokenKind, holds};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn the_manual_s_table_of_rights_is_the_code_s() {
    let text = read(&root().join("docs/tokens.md"));
    let mut rows = text.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let head = cells(rows.next().expect("a head"));
    let rights: Vec<&str> = Right::ALL.iter().map(|right| right.as_str()).collect();
    assert_eq!(head[1..], rights);
    rows.next();
    for kind in TokenKind::ALL {
        let row = cells(rows.next().expect("a row for each kind"));
        assert_eq!(row[0], kind.as_str());
        for (right, cell) in Right::ALL.iter().zip(&row[1..]) {
            assert_eq!(cell == "yes", holds(*kind, *right), "{kind}, {right}");
        }
    }
    assert_eq!(rows.next(), None);
}

/// Every Rust file of the workspace, for the names of tests.
fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push_str(&read(&path));
        }
    }
}

#[test]
fn every_decision_stands_in_the_index_and_names_tests_that_exist() {
    let folder = root().join("docs/adr");
    let index = read(&folder.join("README.md"));
    let mut code = String::new();
    sources(&root(), &mut code);
    let mut decisions = 0;
    for entry in fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        if name == "README.md" {
            continue;
        }
        decisions += 1;
        assert!(index.contains(&format!("({name})")), "{name} is not in the index");
        let text = read(&path);
        for heading in
            ["Status: ", "## Context", "## Decision", "## Consequences", "## Confirmation"]
        {
            assert!(text.contains(heading), "{name} has no {heading}");
        }
        let (_, confirmation) = text.split_once("## Confirmation").expect("checked");
        let tests: Vec<&str> = confirmation
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|word| {
                word.contains('_')
                    && word
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
            })
            .collect();
        assert!(!tests.is_empty(), "{name} names no test");
        for test in tests {
            assert!(code.contains(&format!("fn {test}(")), "{name}: there is no test {test}");
        }
    }
    assert_eq!(decisions, index.matches("](0").count(), "the index has as many");
}

#[test]
fn architecture_stays_short() {
    let lines = read(&root().join("ARCHITECTURE.md")).lines().count();
    assert!(lines < 250, "{lines} lines");
}
