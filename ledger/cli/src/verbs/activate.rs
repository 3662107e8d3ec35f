//! `ledger activate`

use crate::activation::follow::Follow;
use crate::activation::item::{Item, Verdict};
use crate::activation::progress::Progress;
use crate::activation::view::View;
use crate::ci;
use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::hint;
use crate::screen::watched;
use crate::terminal::{Format, note};
use api_client::http::new_activation_id;
use api_wire::http::{ActivateAnswer, ActivateRequest};
use clap::Args;
use ledger_core::limits;
use ledger_core::names::AgentName;
use ledger_core::spec::Spec;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

const EXAMPLES: &str = "\
deploy.json names for each agent the store path that it is to run:
  { \"agents\": { \"web-1\": \"/nix/store/…-nixos-system-web-1\" } }

Examples:
  ledger activate deploy.json
  ledger activate deploy.json --agent web-1 --agent web-2 --description 'kernel update'
  nix-build deploy.nix --no-out-link | xargs cat | ledger activate - --timeout 30m
  ledger activate deploy.json --format json | jq 'select(.type == \"summary\")'

With --format json every line is an object with a \"type\": \"requested\" for each agent, then \"output\" and \"status\" as they come, and \"summary\" last.

Exit codes: 0 all succeeded; 1 one failed, was cancelled, was superseded by a newer activation, or the time to wait was over; 2 wrong usage or deploy.json; 4 refused by the server; 5 one failed and is not known to be back on its old closure.";

/// Ask agents to deploy, follow them, and succeed only if all did
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Activate {
    /// The file that says what each agent is to run; - reads it from stdin
    #[arg(value_name = "DEPLOY.JSON")]
    spec: PathBuf,
    /// Only this agent of the file; may be given several times
    #[arg(long, value_name = "NAME")]
    agent: Vec<AgentName>,
    /// Say in a few words what this is for; can be erased from the log later
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Return as soon as the request is recorded, without waiting for the agents
    #[arg(long = "async", conflicts_with_all = ["timeout", "allow_offline"])]
    asynchronous: bool,
    /// End the wait (not the deployments) after this time
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Do not wait for agents that are offline now; they deploy when they come back
    #[arg(long)]
    allow_offline: bool,
    /// For people, or as JSON lines for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    /// Check everything, here and on the server, and record nothing
    #[arg(long, help_heading = "Safety")]
    dry_run: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Activate {
    pub(crate) async fn run(self) -> Outcome {
        let begun = Instant::now();
        let (spec, names) = read_spec(&self.spec, &self.agent)?;
        let client = self.connection.client()?;
        let request = ActivateRequest {
            id: new_activation_id(),
            spec,
            agents: self.agent,
            dry_run: self.dry_run,
            ci: ci::detect(|name| std::env::var(name).ok()),
            description: self.description,
        };
        let answer = watched("asking the server", client.activate(&request)).await;
        let answer = hint::explain(&client, answer, &names).await?;
        let longest = answer.deployments.iter().map(|d| d.agent.as_str().len()).max();
        let mut view = View::new(self.format, longest.unwrap_or_default());
        let from = answer.position.unwrap_or_default();
        let mut progress = Progress::new(answer.clone(), self.allow_offline);
        if !self.dry_run && matches!(self.format, Format::Text) {
            note(format!("activation {}", answer.id));
        }
        view.show(&progress.requested())?;
        let verdict = if self.dry_run {
            Verdict::DryRun
        } else if self.asynchronous {
            look_later(&answer, &progress);
            Verdict::Requested
        } else {
            let deadline = begun.checked_add(self.timeout).unwrap_or_else(|| far_away(begun));
            let follow = Follow { client, activation: answer.id, from, deadline };
            let followed = follow.run(&mut progress, &mut view).await;
            followed.map_err(|failure| {
                let failure = failure.context("the activation is recorded, but cannot be followed");
                failure.hint(format!("it goes on: {}", later(&answer, &progress)))
            })?
        };
        view.show(&[Item::Summary(progress.summary(verdict))])?;
        if matches!(verdict, Verdict::TimedOut | Verdict::Interrupted) {
            look_later(&answer, &progress);
        }
        Ok(verdict.exit())
    }
}

/// Longer than anybody waits, and short enough to be added to a moment.
fn far_away(begun: Instant) -> Instant {
    begun + Duration::from_secs(100 * 365 * 24 * 3600)
}

fn look_later(answer: &ActivateAnswer, progress: &Progress) {
    note(format!("to look later: {}", later(answer, progress)));
}

/// The verbs that tell how it went on, each with what the tokens of CI may do.
fn later(answer: &ActivateAnswer, progress: &Progress) -> String {
    let first = progress.unfinished().find_map(|d| Some((&d.agent, d.index?)));
    let deployment = first.map(|(agent, index)| format!("`ledger deployment '{agent}#{index}'`, "));
    let deployment = deployment.unwrap_or_default();
    format!("{deployment}`ledger log --activation {}`", answer.id)
}

/// Reads deploy.json and checks it here first, where the answer is quickest.
/// Returns its text, and the agents that are meant.
fn read_spec(path: &Path, only: &[AgentName]) -> Result<(String, Vec<AgentName>), Failure> {
    let stdin = path == Path::new("-");
    let shown = if stdin { "stdin".to_owned() } else { path.display().to_string() };
    let most = limits::SPEC_BYTES_MAX as u64 + 1;
    let mut text = String::new();
    let read = if stdin {
        io::stdin().lock().take(most).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_string(&mut text))
    };
    read.map_err(|e| {
        Failure::from(e)
            .context(format!("{shown} cannot be read"))
            .exit_as(crate::failure::Exit::Usage)
    })?;
    let names = check_spec(&shown, &text, only)?;
    Ok((text, names))
}

fn check_spec(shown: &str, text: &str, only: &[AgentName]) -> Result<Vec<AgentName>, Failure> {
    let spec = Spec::parse(text).and_then(|spec| spec.only(only));
    let spec = spec.map_err(|e| {
        Failure::usage(format!("{shown}: {e}"))
            .hint("`ledger activate --help` shows what it must look like; nothing was recorded")
    })?;
    if spec.agents.is_empty() {
        return Err(Failure::usage(format!(
            "{shown} names no agent under `agents`, so there is nothing to do"
        )));
    }
    Ok(spec.agents.into_keys().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_wrong_spec_is_refused_here_with_place_and_reason() {
        let check = |text: &str, only: &str, words: &[&str]| {
            let only: Vec<AgentName> =
                only.split_whitespace().map(|n| n.parse().expect("valid")).collect();
            let failure = check_spec("deploy.json", text, &only).expect_err(text);
            assert_eq!(failure.exit(), Exit::Usage);
            let report = failure.report();
            for word in words {
                assert!(report.contains(word), "{text}: {report}");
            }
        };
        let path = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web";
        check(
            r#"{"agents":{"a":"/etc"}}"#,
            "",
            &["Error: deploy.json: agents.a", "no store path", "line 1 column"],
        );
        check(r#"{"agents":{}}"#, "", &["names no agent"]);
        check(r#"{"agent":{}}"#, "", &["unknown key \"agent\""]);
        check(&format!(r#"{{"agents":{{"a":"{path}"}}}}"#), "b", &["--agent b", "it has a"]);
        check("", "", &["EOF", "Hint: `ledger activate --help`"]);
    }
}
