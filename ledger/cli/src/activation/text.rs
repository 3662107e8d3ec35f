//! What happened, in words.

use super::item::{Detail, Part, Requested, Status, Summary, Verdict};
use super::progress::{Deployment, Progress};
use crate::terminal::{bytes, clean, dash, render_table, seconds, took};
use api_wire::http::DeploymentStatus;
use ledger_core::Timestamp;
use ledger_core::event::{FailureOutcome, FailureReason};

/// Names that one waiting line tells before it only counts.
const NAMES_SHOWN_MAX: usize = 10;
/// Lines of an error text that are shown; the deployment's page has them all.
const ERROR_LINES_MAX: usize = 30;

/// Returns what is going to happen on an agent, and what is in its way.
pub(super) fn requested(requested: &Requested) -> Vec<String> {
    let Requested { agent, store_path, .. } = requested;
    let mut lines = match requested.index {
        Some(index) => vec![format!("{agent}#{index} is to run {store_path}")],
        None => vec![format!("{agent} would run {store_path}")],
    };
    if !requested.connected {
        let since = requested.last_seen.map(|at| format!(" since {}", seconds(at)));
        let since = since.unwrap_or_default();
        let waits = if requested.index.is_some() { "waits" } else { "would wait" };
        lines.push(format!("{agent} is offline{since}; its deployment {waits}"));
    }
    if let Some(other) = requested.waits_for {
        lines.push(format!("{agent} runs deployment {other}, which must end first"));
    }
    lines
}

/// Returns what happened to a deployment.
pub(super) fn status(status: &Status) -> Vec<String> {
    let happened = match (&status.detail, status.status) {
        (Detail::Superseded { superseded_by }, _) => {
            format!("superseded by the newer deployment {superseded_by}")
        }
        (Detail::Fetched { closure_bytes, closure_paths }, _) => {
            let paths = if *closure_paths == 1 { "path" } else { "paths" };
            format!("has the closure: {closure_paths} {paths}, {}", bytes(*closure_bytes))
        }
        (Detail::Activated { kind, generation }, _) => match generation {
            Some(generation) => format!("activated ({kind}) as generation {generation}"),
            None => format!("activated ({kind})"),
        },
        (Detail::NotActivated { exit_status, .. }, _) => match exit_status {
            Some(exit_status) => format!("activation failed with exit status {exit_status}"),
            None => "activation failed without an exit status".to_owned(),
        },
        (Detail::Failed { reason, outcome, .. }, _) => {
            format!("failed: {}; {}", why(*reason), runs(*outcome))
        }
        (Detail::None {}, DeploymentStatus::Running) => "started".to_owned(),
        (Detail::None {}, other) => other.as_str().to_owned(),
    };
    let mut lines = vec![format!("{} {happened}", named(&status.agent, status.index))];
    if let Detail::Failed { error: Some(error), .. } = &status.detail
        && !status.error_shown
    {
        let mut told = error.lines().map(clean).filter(|line| !line.is_empty());
        lines.extend(told.by_ref().take(ERROR_LINES_MAX).map(|line| format!("    {line}")));
        if told.next().is_some() {
            lines.push(format!("    … `ledger deployment {}` has the rest", status.deployment));
        }
    }
    lines
}

pub(super) fn named(agent: &ledger_core::AgentName, index: Option<u64>) -> String {
    index.map_or_else(|| agent.to_string(), |index| format!("{agent}#{index}"))
}

/// Returns why a deployment failed.
pub(crate) const fn why(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::FetchFailed => "the closure could not be fetched",
        FailureReason::ActivationFailed => "its activation failed",
        FailureReason::Interrupted => "agent or machine stopped in the middle",
        FailureReason::StateLost => "the agent came back without its state",
        FailureReason::AgentRetired => "the agent was retired",
        FailureReason::AgentError => "the agent's machine hindered it",
    }
}

/// Returns what a machine runs after a failure.
pub(crate) const fn runs(outcome: FailureOutcome) -> &'static str {
    match outcome {
        FailureOutcome::Unchanged => "the machine runs what it ran before",
        FailureOutcome::Unknown => {
            "what the machine runs now is not known, so look at it before you go on"
        }
    }
}

/// Returns the calm line that tells what is waited for.
pub(super) fn waiting(progress: &Progress, now: Timestamp) -> Option<String> {
    let mut unfinished = progress.unfinished();
    let mut names: Vec<String> =
        unfinished.by_ref().take(NAMES_SHOWN_MAX).map(|d| waits_because(d, now)).collect();
    let more = unfinished.count();
    if names.is_empty() {
        return None;
    }
    let count = names.len() + more;
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    Some(format!("waiting for {count} of {}: {}", progress.counted(), names.join(", ")))
}

fn waits_because(deployment: &Deployment, now: Timestamp) -> String {
    let name = named(&deployment.agent, deployment.index);
    let because = if !deployment.connected {
        let since = deployment.last_seen.map(|at| format!(" since {}", seconds(at)));
        format!("offline{}", since.unwrap_or_default())
    } else if let Some(started) = deployment.started_at {
        format!("running for {}", took(started, now))
    } else if let Some(other) = deployment.waits_for {
        format!("until {other} ended")
    } else {
        "not started".to_owned()
    };
    format!("{name} ({because})")
}

/// Returns the table at the end, and the sentence under it.
pub(super) fn summary(summary: &Summary, wrap: bool) -> String {
    let rows = summary.agents.iter().map(row).collect();
    let mut text = render_table(&["DEPLOYMENT", "RESULT", "TOOK", "WHY"], rows, wrap);
    text.push_str(&sentence(summary));
    text.push('\n');
    text
}

fn row(part: &Part) -> Vec<String> {
    let took = match (part.started_at, part.ended_at) {
        (Some(from), Some(to)) => took(from, to),
        _ => dash(),
    };
    let why = match (part.reason, part.outcome, part.superseded_by) {
        (Some(reason), Some(outcome), _) => format!("{}; {}", why(reason), runs(outcome)),
        (_, _, Some(newer)) => format!("newer deployment {newer}"),
        _ if !part.counts && !part.status.is_final() => "was offline; not waited for".to_owned(),
        _ => dash(),
    };
    let deployment = named(&part.agent, part.index);
    vec![deployment, part.status.as_str().to_owned(), took, why]
}

fn sentence(summary: &Summary) -> String {
    let count = |status| summary.agents.iter().filter(|part| part.status == status).count();
    let of = summary.agents.len();
    let agents = if of == 1 { "agent" } else { "agents" };
    match summary.outcome {
        Verdict::DryRun => return format!("{of} {agents} checked; nothing was recorded"),
        Verdict::Requested => return format!("{of} {agents} asked to deploy"),
        _ => {}
    }
    let mut text = format!("{} of {of} {agents} succeeded", count(DeploymentStatus::Succeeded));
    for status in [
        DeploymentStatus::Failed,
        DeploymentStatus::Superseded,
        DeploymentStatus::Cancelled,
        DeploymentStatus::Running,
        DeploymentStatus::Pending,
    ] {
        if count(status) > 0 {
            text.push_str(&format!(", {} {}", count(status), status.as_str()));
        }
    }
    match summary.outcome {
        Verdict::Unknown => text.push_str("; not all are known to be back on their old closure"),
        Verdict::TimedOut => text.push_str("; the time to wait is over, the deployments go on"),
        Verdict::Interrupted => text.push_str("; the wait was broken off, the deployments go on"),
        Verdict::Superseded => text.push_str("; a newer activation took their place"),
        Verdict::DryRun
        | Verdict::Requested
        | Verdict::Succeeded
        | Verdict::Failed
        | Verdict::Cancelled => {}
    }
    text
}
