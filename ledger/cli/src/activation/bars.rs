//! How an activation stands, in the few lines at the bottom of a terminal: pure.

use super::progress::{Deployment, Progress, Step};
use super::text::named;
use crate::terminal::took;
use api_wire::http::DeploymentStatus;
use ledger_core::Timestamp;

/// Running agents that have a line of their own.
const AGENTS_MAX: usize = 5;
/// Columns that a bar needs beside its words.
const BAR_COLUMNS_MIN: usize = 90;
/// Columns of the bar between its brackets.
const BAR_COLUMNS: usize = 20;

/// Returns the lines: all agents first, then some of those that run.
pub(super) fn lines(
    progress: &Progress,
    begun: Timestamp,
    now: Timestamp,
    columns: usize,
) -> Vec<String> {
    let mut lines = vec![whole(progress, begun, now, columns)];
    let mut running = progress.unfinished().filter(|d| d.shown() == DeploymentStatus::Running);
    lines.extend(running.by_ref().take(AGENTS_MAX).map(|d| agent(d, now)));
    let more = running.count();
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    // What is drawn is one line each, whatever a name holds.
    lines.iter().map(|line| line.chars().take(columns).collect()).collect()
}

/// The shorter the terminal, the more of the end is cut off: what counts comes first.
fn whole(progress: &Progress, begun: Timestamp, now: Timestamp, columns: usize) -> String {
    let all = progress.counted();
    let count = |status| progress.count(status);
    let waits = count(DeploymentStatus::Running) + count(DeploymentStatus::Pending);
    let ended = all.saturating_sub(waits);
    let mut words = format!("{ended}/{all} ended");
    for status in [
        DeploymentStatus::Failed,
        DeploymentStatus::Running,
        DeploymentStatus::Pending,
        DeploymentStatus::Succeeded,
        DeploymentStatus::Superseded,
        DeploymentStatus::Cancelled,
    ] {
        if count(status) > 0 {
            words.push_str(&format!(", {} {}", count(status), status.as_str()));
        }
    }
    words.push_str(&format!(", {}", took(begun, now)));
    if columns < BAR_COLUMNS_MIN || all == 0 {
        return words;
    }
    let full = BAR_COLUMNS * ended / all;
    format!("[{}{}] {words}", "#".repeat(full), "-".repeat(BAR_COLUMNS - full))
}

fn agent(deployment: &Deployment, now: Timestamp) -> String {
    let step = match deployment.step {
        Step::Fetching => "fetching",
        Step::Activating => "activating",
        Step::Ending => "ending",
    };
    let since = deployment.started_at.map(|at| format!(", {}", took(at, now)));
    let name = named(&deployment.agent, deployment.index);
    format!("  {name} {step}{}", since.unwrap_or_default())
}
