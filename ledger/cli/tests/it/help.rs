//! Help alone is enough to work with: the whole tree of it, as one text.

use crate::support::{ledger, run};
use std::fmt::Write as _;
use std::path::Path;

#[test]
fn the_whole_tree_of_help() {
    let mut tree = String::new();
    for (verb, help) in helps() {
        let _ = writeln!(tree, "==> ledger {verb}\n\n{help}\n");
    }
    insta::assert_snapshot!("help", tree);
}

/// `UPDATE_DOCS=1 cargo test -p ledger-cli manual` writes it.
#[test]
fn the_manual_s_reference_is_the_help() {
    let mut page =
        "# The command line\n\nMade from the program's own help; a test holds the two together.\n"
            .to_owned();
    for (verb, help) in helps() {
        let name = format!("ledger {verb}");
        let level = "#".repeat(verb.split_whitespace().count().max(1) + 1);
        let _ = writeln!(page, "\n{level} {}\n\n```text\n{}\n```", name.trim(), help.trim());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let found = std::fs::read_to_string(&path).expect("the page is there");
    assert!(
        found == page,
        "docs/reference/cli.md is not what the program says; UPDATE_DOCS=1 writes it"
    );
}

/// The help of every verb, by its words.
fn helps() -> Vec<(String, String)> {
    let mut helps = Vec::new();
    collect(&mut Vec::new(), &mut helps);
    helps
}

fn collect(verb: &mut Vec<String>, helps: &mut Vec<(String, String)>) {
    let mut args: Vec<&str> = verb.iter().map(String::as_str).collect();
    args.push("--help");
    let help = run(&mut ledger(&args));
    assert_eq!((help.code, &*help.stderr), (0, ""), "{args:?}");
    check_first_line(&args, &help.stdout);
    // The program itself begins with what to do first.
    let shows =
        verb.is_empty() || verb == &["agent"] || help.stdout.contains("\nExamples:\n  ledger ");
    assert!(shows, "{args:?} has no examples");
    let lines: Vec<&str> = help.stdout.lines().map(str::trim_end).collect();
    helps.push((verb.join(" "), lines.join("\n")));
    for name in verbs_in(&help.stdout) {
        verb.push(name);
        collect(verb, helps);
        verb.pop();
    }
}

/// An imperative, as a sentence without full stop.
fn check_first_line(args: &[&str], help: &str) {
    let first = help.lines().next().unwrap_or_default();
    assert!(first.starts_with(|c: char| c.is_ascii_uppercase()), "{args:?}: {first}");
    assert!(!first.ends_with('.') && !first.starts_with("Usage"), "{args:?}: {first}");
}

fn verbs_in(help: &str) -> Vec<String> {
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.trim().is_empty());
    // A description that wraps is indented further.
    let names = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}
