//! The manual's tables of settings, held to clap's definition of them.

use super::{VERBS, setting};
use crate::cli::Cli;
use clap::CommandFactory;
use std::fmt::Write as _;
use std::path::PathBuf;

fn manual() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md"))
}

/// Returns the table of a verb's settings.
fn table(verb: &str) -> String {
    let mut table =
        String::from("| key | environment | flag | default | meaning |\n|---|---|---|---|---|\n");
    for setting in setting::of(&Cli::command(), verb) {
        let default = setting.default().unwrap_or_else(|| "none".to_owned());
        let meaning = setting.meaning().replace('\n', " ").replace('|', "\\|");
        let list = if setting.is_list { ", a list" } else { "" };
        let _ = writeln!(
            table,
            "| `{}`{list} | `{}` | `--{}` | {default} | {meaning} |",
            setting.key, setting.variable, setting.flag
        );
    }
    table
}

#[test]
fn the_tables_of_configuration_in_the_manual_are_those_of_the_command_line() {
    let text = std::fs::read_to_string(manual()).expect("the manual can be read");
    let mut written = text.clone();
    for verb in VERBS {
        let begin = format!(
            "<!-- [{verb}]: written by UPDATE_DOCS=1 cargo test -p ledger-cli configuration -->"
        );
        let end = format!("<!-- end of [{verb}] -->");
        let (before, rest) = written.split_once(&begin).expect("where the table begins");
        let (_, after) = rest.split_once(&end).expect("where the table ends");
        written = format!("{before}{begin}\n\n{}\n{end}{after}", table(verb));
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(manual(), written).expect("written");
    } else {
        assert!(text == written, "UPDATE_DOCS=1 writes it:\n{written}");
    }
}

#[test]
fn every_key_is_its_flag_and_every_variable_begins_with_the_program() {
    for verb in VERBS {
        let settings = setting::of(&Cli::command(), verb);
        assert!(settings.len() > 6, "{verb}: {settings:?}");
        for setting in settings {
            assert_eq!(setting.key, setting.flag.replace('-', "_"));
            let plural = format!("LEDGER_{}S", setting.key.to_uppercase());
            let variable = plural.trim_end_matches(if setting.is_list { "" } else { "S" });
            assert_eq!(setting.variable, variable);
            assert!(!setting.meaning().is_empty() && setting.key != "token", "{}", setting.key);
        }
    }
}
