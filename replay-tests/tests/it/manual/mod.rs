//! The manual, done as it says: every command block of every page runs, in the
//! order of the page, on a machine of its own, and prints what the page shows.
//!
//! In a page's source, a block of the language
//!
//! - `console` is typed in a terminal; a word behind it names which, where a page
//!   uses several. Lines that begin with `$ ` are commands (`> ` goes on with
//!   one), the others what they print: `…` stands for any text in a line, alone
//!   for any number of lines. A command without output in the page may print what
//!   it likes. One whose output ends with `…` is not waited for: it goes on. `^C`
//!   interrupts what goes on.
//! - anything else, with the name of a file behind it, is written into that file.

mod blocks;
mod machine;

use crate::rig::postgres::Postgres;
use blocks::{Block, Step};
use machine::Machine;
use std::fs;
use std::path::{Path, PathBuf};

/// The pages with commands, by their path under `docs`.
const PAGES: &[&str] = &[
    "configuration.md",
    "getting-started/developer-environment.md",
    "getting-started/fleet-from-ci.md",
    "getting-started/laptop.md",
    "getting-started/several-agents.md",
    "logins.md",
    "metrics.md",
    "operating/backup.md",
    "operating/proofs.md",
    "operating/reverse-proxy.md",
    "operating/several-servers.md",
    "operating/tls.md",
    "operating/upgrade.md",
    "reference/events.md",
];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Does what a page says, on a machine of its own.
fn follow(page: &str) {
    follow_on(Machine::new(), page);
}

fn follow_on(mut machine: Machine, page: &str) {
    let text = fs::read_to_string(docs().join(page)).expect("the page is there");
    let blocks = blocks::parse(&text).unwrap_or_else(|error| panic!("{page}: {error}"));
    let commands = blocks.iter().filter(|block| matches!(block, Block::Terminal { .. })).count();
    assert!(commands > 0, "{page} has no command");
    for block in blocks {
        match block {
            Block::File { name, text, .. } => machine.write(&name, &text),
            Block::Terminal { name, line, steps } => {
                for step in steps {
                    let place = format!("docs/{page}, the block at line {line}");
                    match step {
                        Step::Interrupt => machine.terminal(&name).interrupt(&place),
                        Step::Command(command) => machine.terminal(&name).run(&place, &command),
                    }
                }
            }
        }
    }
}

/// Every page below the folder, by its path under `docs`.
fn pages_below(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            pages_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.strip_prefix(docs()).expect("it is below").to_str().expect("UTF-8");
            found.push(name.to_owned());
        }
    }
}

#[test]
fn every_page_with_a_command_is_followed_by_a_test() {
    let mut pages = Vec::new();
    pages_below(&docs(), &mut pages);
    assert!(pages.len() > PAGES.len());
    for page in pages {
        let text = fs::read_to_string(docs().join(&page)).expect("the page is there");
        let blocks = blocks::parse(&text).unwrap_or_else(|error| panic!("{page}: {error}"));
        let has = blocks.iter().any(|block| matches!(block, Block::Terminal { .. }));
        assert_eq!(has, PAGES.contains(&page.as_str()), "{page}: is it in the list, with a test?");
    }
}

#[test]
fn a_developer_environment() {
    follow("getting-started/developer-environment.md");
}

#[test]
fn a_fleet_from_ci() {
    follow("getting-started/fleet-from-ci.md");
}

#[test]
fn on_a_laptop() {
    follow("getting-started/laptop.md");
}

#[test]
fn several_agents_on_one_machine() {
    follow("getting-started/several-agents.md");
}

#[test]
fn configuration() {
    follow("configuration.md");
}

#[test]
fn logins() {
    follow("logins.md");
}

#[test]
fn figures() {
    follow("metrics.md");
}

#[test]
fn backup_and_restore() {
    follow("operating/backup.md");
}

#[test]
fn proofs() {
    follow("operating/proofs.md");
}

#[test]
fn behind_a_reverse_proxy() {
    follow("operating/reverse-proxy.md");
}

#[test]
fn several_servers_on_one_postgresql() {
    let postgres = Postgres::start_empty("");
    let machine = Machine::new();
    machine.show(postgres.folder(), "/run/postgresql");
    follow_on(machine, "operating/several-servers.md");
}

#[test]
fn tls() {
    follow("operating/tls.md");
}

#[test]
fn upgrade() {
    follow("operating/upgrade.md");
}

#[test]
fn streams_of_events() {
    follow("reference/events.md");
}
