//! `ledger doctor`

use crate::connection::Connection;
use crate::database::DatabaseUrl;
use crate::doctor::gather::{Subject, gather};
use crate::doctor::{Finding, Grade, Group, judge};
use crate::failure::{Exit, Outcome};
use crate::screen::{above, watched};
use crate::terminal::{BAD, DOUBTFUL, Format, GOOD, clean, print_json};
use clap::Args;
use ledger_core::names::AgentName;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  ledger doctor
  ledger doctor --server prod
  ledger doctor --agent web-1 --token-file agent-token --substituter https://cache.example.com
  ledger doctor --database postgres://ledger_1@db.example.org/ledger
  ledger doctor --format json | jq '.findings[] | select(.status != \"ok\")'

Each line is ok, warn or fail, and says what to do if it is not ok. Nothing is changed. Without a server, a token or a database it looks at this machine alone. No check takes longer than 10 seconds.

Exit codes: 0 nothing failed (warnings do not count); 1 something did; 2 wrong usage.";

/// Look for what keeps this machine from working with the server, and say what to do
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {
    /// The agent that runs or is to run on this machine
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// The profile that it deploys to [default: system]
    #[arg(long, value_name = "NAME|PATH")]
    profile: Option<String>,
    /// The agent's state folder, where it is not the default one
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The data folder of a server on this machine, where it is not the default one
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The PostgreSQL database that servers share, with the login that a server uses
    #[arg(long, value_name = "URL", env = "LEDGER_DATABASE", hide_env_values = true)]
    database: Option<DatabaseUrl>,
    /// A binary cache that the agent fetches from, in place of the machine's own; may be repeated
    #[arg(long = "substituter", value_name = "URL")]
    substituters: Vec<String>,
    /// A key that the agent trusts, in place of the machine's own; may be repeated
    #[arg(long = "trusted-public-key", value_name = "KEY")]
    trusted_public_keys: Vec<String>,
    /// For people, or as JSON for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Report {
    /// The worst of all.
    status: Grade,
    findings: Vec<Finding>,
}

impl Doctor {
    pub(crate) async fn run(self) -> Outcome {
        let subject = Subject {
            agent: self.agent,
            profile: self.profile,
            state: self.state,
            data: self.data,
            database: self.database,
            substituters: self.substituters,
            trusted_public_keys: self.trusted_public_keys,
        };
        let facts = watched("looking", gather(&self.connection, &subject)).await;
        let findings = judge(&facts);
        let status = findings.iter().map(|finding| finding.status).max().unwrap_or(Grade::Ok);
        match self.format {
            Format::Json => print_json(&Report { status, findings })?,
            Format::Text => {
                let text = text(&findings);
                above(|| anstream::stdout().write_all(text.as_bytes()))?;
            }
        }
        Ok(if status == Grade::Fail { Exit::Failed } else { Exit::Done })
    }
}

/// Returns the checklist for people.
fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let mut of_group = findings.iter().filter(|finding| finding.group == group).peekable();
        if of_group.peek().is_none() {
            continue;
        }
        let _ = writeln!(text, "{group}");
        for finding in of_group {
            let (status, colour) = match finding.status {
                Grade::Ok => ("ok", GOOD),
                Grade::Warn => ("warn", DOUBTFUL),
                Grade::Fail => ("fail", BAD),
            };
            let told = clean(&finding.text);
            let _ = writeln!(
                text,
                "  {colour}{status:<4}{colour:#}  {}: {told}",
                finding.check.replace('_', " ")
            );
            if let Some(fix) = &finding.fix {
                let _ = writeln!(text, "        -> {}", clean(fix));
            }
        }
        text.push('\n');
    }
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let (ok, warn, fail) = (count(Grade::Ok), count(Grade::Warn), count(Grade::Fail));
    let _ = writeln!(text, "{ok} ok, {warn} warn, {fail} fail");
    text
}
