//! What to do after a refusal, where the server's own lists tell better than a
//! general hint: which name was likely meant.

use crate::failure::Failure;
use crate::suggest::{closest, question};
use crate::terminal::note;
use api_client::http::{Client, RequestError};
use api_wire::problem::Code;
use ledger_core::names::AgentName;
use std::time::Duration;

/// A hint is not worth a longer wait.
const HINT_PATIENCE: Duration = Duration::from_secs(3);
/// Unknown names that are asked about.
const NAMES_MAX: usize = 3;

/// Passes an answer on. To a refusal about agents, of which these were asked for,
/// or about the workspace, it adds the names that were likely meant.
pub(crate) async fn explain<T>(
    client: &Client,
    answer: Result<T, RequestError>,
    agents: &[AgentName],
) -> Result<T, Failure> {
    let error = match answer {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    let hint = match error.code() {
        Some(Code::AgentNotFound | Code::DeploymentNotFound) => {
            let known = agents_of(client).await;
            known.and_then(|known| meant(agents.iter().map(AgentName::as_str), &known))
        }
        Some(Code::WorkspaceNotFound) => {
            let known = workspaces_of(client).await;
            let asked = client.named_workspace().map(|workspace| workspace.as_str());
            known.and_then(|known| meant(asked.into_iter(), &known))
        }
        _ => None,
    };
    let failure = Failure::from(error);
    Err(match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

/// Tells, where nothing was found of an agent, that there is none of the name.
pub(crate) async fn tell_if_unknown(client: &Client, agent: &AgentName) {
    let Some(known) = agents_of(client).await else { return };
    if let Some(hint) = unknown(agent.as_str(), &known) {
        note(format!("Hint: {hint}"));
    }
}

fn unknown(agent: &str, known: &[String]) -> Option<String> {
    if known.iter().any(|name| name == agent) {
        return None;
    }
    let meant = question(&closest(agent, known.iter().map(String::as_str)));
    let then = meant.unwrap_or_else(|| "`ledger agents` lists the agents".to_owned());
    Some(format!("there is no agent {agent}; {then}"))
}

/// Returns which of the known names the unknown ones were likely meant for.
fn meant<'a>(asked: impl Iterator<Item = &'a str>, known: &[String]) -> Option<String> {
    let unknown = asked.filter(|name| !known.iter().any(|known| known == name));
    let close = unknown.filter_map(|name| {
        let question = question(&closest(name, known.iter().map(String::as_str)))?;
        Some((name, question))
    });
    let close: Vec<_> = close.take(NAMES_MAX).collect();
    match &*close {
        [] => None,
        [(_, question)] => Some(question.clone()),
        several => {
            let several = several.iter().map(|(name, question)| format!("{name}: {question}"));
            Some(several.collect::<Vec<_>>().join(" "))
        }
    }
}

/// A token that may not list them, as that of CI, gets the general hint.
async fn agents_of(client: &Client) -> Option<Vec<String>> {
    let client = client.clone().with_patience(Duration::ZERO);
    let list = tokio::time::timeout(HINT_PATIENCE, client.agents()).await.ok()?.ok()?;
    Some(list.agents.iter().map(|agent| agent.name.to_string()).collect())
}

async fn workspaces_of(client: &Client) -> Option<Vec<String>> {
    let client = client.clone().with_patience(Duration::ZERO);
    let list = tokio::time::timeout(HINT_PATIENCE, client.workspaces()).await.ok()?.ok()?;
    Some(list.workspaces.iter().map(|workspace| workspace.name.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        ["web-1", "web-2", "db"].map(str::to_owned).into()
    }

    #[test]
    fn of_several_names_each_unknown_one_is_asked_about() {
        for (asked, expected) in [
            ("web1", Some("did you mean web-1?")),
            ("web-1", None),
            ("nowhere", None),
            ("web-1 web1 db", Some("did you mean web-1?")),
            ("wbe-1 dbx", Some("wbe-1: did you mean web-1? dbx: did you mean db?")),
        ] {
            assert_eq!(meant(asked.split(' '), &known()).as_deref(), expected, "{asked}");
        }
    }

    #[test]
    fn an_agent_of_which_there_is_nothing_is_told_only_if_it_is_unknown() {
        assert_eq!(unknown("db", &known()), None);
        let hint = unknown("web1", &known());
        assert_eq!(hint.as_deref(), Some("there is no agent web1; did you mean web-1?"));
        let hint = unknown("mail", &known()).expect("unknown");
        assert!(hint.ends_with("`ledger agents` lists the agents"), "{hint}");
    }
}
