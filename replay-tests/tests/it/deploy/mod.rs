//! From `ledger activate` to an activated profile, end to end on real Nix.
//!
//! Each test ends by reading the log: it alone must explain what happened, and
//! hold every acknowledged report exactly once.

mod activation;
mod command_line;
mod crashes;
mod durability;
mod failures;
mod fleet;
mod identity;
mod kinds;
mod network;
mod order;
mod reports;
mod secrets;

use crate::rig::agent::Agent;
use crate::rig::process::Output;
use crate::rig::story::WELL;
use ledger_core::StorePath;

/// Puts the parts of a story together.
fn story(parts: &[&[&'static str]]) -> Vec<&'static str> {
    parts.concat()
}

/// A story of so many deployments that all went well.
fn well(times: usize) -> Vec<&'static str> {
    [vec!["AgentRegistered"], WELL.repeat(times)].concat()
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.code(), Some(code), "\n{}{}", output.stdout, output.stderr);
}

/// Everything that a command said.
fn said(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

#[track_caller]
fn assert_home(agent: &Agent, path: &StorePath, generation: u64) {
    assert_eq!(agent.home_profile(), Some((path.clone(), generation)), "home of {}", agent.name());
}

#[track_caller]
fn assert_runs(agent: &Agent, path: &StorePath, generation: u64) {
    assert_eq!(agent.profile(), Some((path.clone(), generation)), "profile of {}", agent.name());
}
