//! `ledger token`

use crate::connection::Connection;
use crate::failure::{Exit, Failure, Outcome};
use crate::hint;
use crate::terminal::{Format, dash, note, or_dash, print, print_json, print_table, seconds};
use api_client::http::{Client, new_request_id};
use api_wire::http::{IssueTokenRequest, RevokeTokenRequest, Token};
use api_wire::token::Secret;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use data_encoding::BASE64URL_NOPAD;
use ledger_core::event::Reach;
use ledger_core::ids::TokenId;
use ledger_core::names::AgentPattern;
use ledger_core::rights::TokenKind;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  ledger token create --kind agent --agent 'web-*' --description 'the web machines' > agent-token
  ledger token list
  ledger token revoke 0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90";

const CREATE_EXAMPLES: &str = "\
A token of kind
  agent     opens sessions as an agent, and nothing else
  activate  activates, cancels, follows deployments with their output
  read      follows, and reads agents, deployments and the log
  admin     does all that but be an agent; manages agents and tokens
With --ledger-wide, read and admin reach every workspace, and admin makes new ones.

Examples:
  ledger token create --kind agent --agent 'web-*' --description 'the web machines' > agent-token
  ledger token create --kind activate --expires 90d
  ledger token create --kind admin --ledger-wide";

const LIST_EXAMPLES: &str = "\
Examples:
  ledger token list
  ledger token list --format json | jq -r '.tokens[] | select(.expired) | .id'";

const REVOKE_EXAMPLES: &str = "\
Examples:
  ledger token revoke 0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90";

/// Create, list and revoke tokens
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TokenVerb {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Create a token; its text is printed once, alone, on stdout
#[derive(Args, Debug)]
#[command(after_help = CREATE_EXAMPLES)]
struct Create {
    /// What it may do
    #[arg(long, value_name = "KIND", value_parser = kinds())]
    kind: TokenKind,
    /// Only for agents whose name matches, like 'web-*'; may be given several times
    #[arg(long, value_name = "GLOB")]
    agent: Vec<AgentPattern>,
    /// Not accepted any longer after this time, like 30d; without it, until it is revoked
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires: Option<Duration>,
    /// For all workspaces instead of one (read and admin only)
    #[arg(long)]
    ledger_wide: bool,
    /// Say in a few words what it is for; can be erased from the log later
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

/// List the tokens of the workspace that were not revoked; never their text
#[derive(Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
struct List {
    /// For people, or as JSON for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Revoke a token: it is accepted no longer, and sessions of its agents end
#[derive(Args, Debug)]
#[command(after_help = REVOKE_EXAMPLES)]
struct Revoke {
    /// The token's id, as `ledger token list` shows it
    id: TokenId,
}

fn kinds() -> impl TypedValueParser<Value = TokenKind> {
    let words = TokenKind::ALL.iter().map(|kind| kind.as_str());
    PossibleValuesParser::new(words).try_map(|word| {
        let kind = TokenKind::ALL.iter().copied().find(|kind| kind.as_str() == word);
        kind.ok_or("no such kind of token")
    })
}

impl TokenVerb {
    pub(crate) async fn run(self) -> Outcome {
        let client = self.connection.client()?;
        match self.verb {
            Verb::Create(create) => create.run(&client).await,
            Verb::List(list) => list.run(&client).await,
            Verb::Revoke(Revoke { id }) => {
                let body = RevokeTokenRequest { request_id: new_request_id() };
                hint::explain(&client, client.revoke_token(id, &body).await, &[]).await?;
                note(format!("the token {id} is revoked"));
                Ok(Exit::Done)
            }
        }
    }
}

impl Create {
    async fn run(self, client: &Client) -> Outcome {
        if self.expires.is_some_and(|expires| expires.as_secs() == 0) {
            return Err(Failure::usage("--expires must be at least one second"));
        }
        let secret = new_secret(self.kind)?;
        let reach = if self.ledger_wide { Reach::Ledger } else { Reach::Workspace };
        let body = IssueTokenRequest {
            request_id: new_request_id(),
            secret: secret.reveal().to_owned(),
            kind: self.kind,
            reach,
            agents: self.agent,
            expires_in_seconds: self.expires.map(|expires| expires.as_secs()),
            description: self.description,
        };
        let issued = hint::explain(client, client.issue_token(&body).await, &[]).await?;
        let printed = print(secret.reveal());
        printed.map_err(|e| {
            let id = issued.id;
            Failure::failed(format!("the token is made, but could not be printed: {e}"))
                .hint(format!("nobody knows its text; `ledger token revoke {id}` takes it back"))
        })?;
        let reaches = match (reach, client.named_workspace()) {
            (Reach::Ledger, _) => "the whole ledger".to_owned(),
            (Reach::Workspace, Some(workspace)) => format!("the workspace {workspace}"),
            (Reach::Workspace, None) => "the workspace".to_owned(),
        };
        let until = match issued.expires_at {
            Some(at) => format!("until {}", seconds(at)),
            None => "until it is revoked".to_owned(),
        };
        note(format!("token {} of kind {} for {reaches}, {until}", issued.id, self.kind));
        note("this is the only time that its text is shown; keep it like a password");
        Ok(Exit::Done)
    }
}

/// Makes a token's text here, so that an answer that is lost cannot lose it.
fn new_secret(kind: TokenKind) -> Result<Secret, Failure> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|e| Failure::failed(format!("this machine gives no random bytes: {e}")))?;
    Ok(Secret::new(kind, &BASE64URL_NOPAD.encode(&random)))
}

impl List {
    async fn run(self, client: &Client) -> Outcome {
        let list = hint::explain(client, client.tokens().await, &[]).await?;
        if self.format == Format::Json {
            print_json(&list)?;
            return Ok(Exit::Done);
        }
        let rows = list.tokens.iter().map(row).collect();
        print_table(&["TOKEN", "KIND", "REACH", "AGENTS", "ISSUED", "EXPIRES", "FOR"], rows)?;
        Ok(Exit::Done)
    }
}

fn row(token: &Token) -> Vec<String> {
    let agents: Vec<&str> = token.agents.iter().map(AgentPattern::as_str).collect();
    let expires = match token.expires_at {
        Some(at) if token.expired => format!("{} (over)", seconds(at)),
        Some(at) => seconds(at),
        None => dash(),
    };
    vec![
        token.id.to_string(),
        token.kind.to_string(),
        token.reach.to_string(),
        if agents.is_empty() { "all".to_owned() } else { agents.join(" ") },
        seconds(token.issued_at),
        expires,
        or_dash(token.description.as_ref()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_is_new_and_reads_back() {
        for kind in TokenKind::ALL {
            let (one, other) = (new_secret(*kind).expect("made"), new_secret(*kind).expect("made"));
            assert!(one != other && one.reveal().starts_with(kind.prefix()));
            assert!(Secret::parse(one.reveal()).is_ok());
        }
    }
}
