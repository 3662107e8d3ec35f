//! Judges what was found of the token.

use super::facts::{Facts, FirstToken};
use super::server::in_days;
use super::{Finding, Findings, Group};
use crate::terminal::seconds;
use api_wire::http::WhoAmI;
use ledger_core::Timestamp;
use ledger_core::event::Reach;
use ledger_core::names::AgentPattern;

/// A week is enough to have a new one made.
const EXPIRY_WARN: i64 = 7 * 24 * 3600 * 1_000_000;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = Findings::of(Group::Token);
    let chosen = facts.chosen.as_ref().ok().and_then(Option::as_ref);
    match (&facts.told, chosen) {
        (Some(Ok(told)), _) => {
            accepted(&mut found, facts, told);
            expiry(&mut found, told, facts.now);
        }
        (Some(Err(trouble)), _) => {
            let fix = trouble.fix.clone();
            let fix = fix.unwrap_or_else(|| "see what is said of the server".to_owned());
            found.fail("token", trouble.text.clone(), fix);
        }
        (None, Some(chosen)) if chosen.token_from.is_none() => {
            found.warn(
                "token",
                "there is none for this server",
                format!("`ledger login {}`", chosen.url),
            );
        }
        // Without a server nobody says anything of it.
        (None, _) => {}
    }
    if let Some(first) = &facts.first_token {
        first_token(&mut found, first);
    }
    found.into_vec()
}

fn accepted(found: &mut Findings, facts: &Facts, told: &WhoAmI) {
    let reach = match told.reach {
        Reach::Ledger => "the whole ledger".to_owned(),
        Reach::Workspace => format!("the workspace {}", told.workspace),
    };
    let rights: Vec<&str> = told.rights.iter().map(|right| right.as_str()).collect();
    let agents: Vec<&str> = told.agents.iter().map(AgentPattern::as_str).collect();
    let agents = match &*agents {
        [] => "all agents".to_owned(),
        agents => format!("the agents {}", agents.join(" ")),
    };
    let text =
        format!("of kind {} for {reach} and {agents}; it may {}", told.kind, rights.join(", "));
    found.ok("token", text);
    let Some(agent) = &facts.agent else { return };
    if !told.agents.is_empty() && !told.agents.iter().any(|pattern| pattern.matches(agent)) {
        found.fail(
            "agent_name",
            format!("the token is limited to other agents than {agent}"),
            format!("`ledger token create --kind {} --agent {agent}` makes one", told.kind),
        );
    }
}

fn expiry(found: &mut Findings, told: &WhoAmI, now: Timestamp) {
    let Some(at) = told.expires_at else {
        found.ok("expiry", "good until it is revoked");
        return;
    };
    let fix = format!("`ledger token create --kind {}` makes another", told.kind);
    let left = at.micros().saturating_sub(now.micros());
    if left <= 0 {
        found.fail("expiry", format!("it ended {}", seconds(at)), fix);
    } else if left < EXPIRY_WARN {
        found.warn("expiry", format!("it ends {} ({})", seconds(at), in_days(left)), fix);
    } else {
        found.ok("expiry", format!("it ends {} ({})", seconds(at), in_days(left)));
    }
}

fn first_token(found: &mut Findings, first: &FirstToken) {
    let shown = first.path.display();
    let age = match first.days {
        0 => "for less than a day".to_owned(),
        1 => "for 1 day".to_owned(),
        days => format!("for {days} days"),
    };
    let text = format!("the first admin token has been in {shown} {age}");
    match first.another {
        Some(true) => found.warn(
            "first_token",
            format!("{text}, and is needed no longer: there is another"),
            format!("`rm {shown}`; and `ledger token revoke ID`, if nobody uses it"),
        ),
        Some(false) => found.ok("first_token", format!("{text}, and is the only one of its kind")),
        None => found.ok(
            "first_token",
            format!("{text}; whether it is still needed, an admin token would tell"),
        ),
    }
}
