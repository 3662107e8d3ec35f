//! Help alone is enough to work with: the whole tree of it, as one text.

use crate::support::{ledger, run};
use std::fmt::Write as _;

#[test]
fn the_whole_tree_of_help() {
    let mut tree = String::new();
    write_help(&mut Vec::new(), &mut tree);
    insta::assert_snapshot!("help", tree);
}

fn write_help(verb: &mut Vec<String>, tree: &mut String) {
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
    let _ = writeln!(tree, "==> ledger {}\n\n{}\n", verb.join(" "), lines.join("\n"));
    for name in verbs_in(&help.stdout) {
        verb.push(name);
        write_help(verb, tree);
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
