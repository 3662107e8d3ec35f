//! `ledger agents`

use crate::connection::Connection;
use crate::failure::{Exit, Outcome};
use crate::hint;
use crate::terminal::{Format, dash, note, or_dash, print_json, print_table, seconds_or_dash};
use api_client::http::new_request_id;
use api_wire::http::{Agent, RekeyRequest, RetireRequest};
use clap::{Args, Subcommand};
use ledger_core::key::PublicKey;
use ledger_core::names::AgentName;
use std::slice;

const EXAMPLES: &str = "\
Examples:
  ledger agents
  ledger agents --format json | jq -r '.agents[] | select(.session == null) | .name'
  ledger agents rekey web-1 --reason 'new machine'
  ledger agents retire web-9";

const LIST_EXAMPLES: &str = "\
Examples:
  ledger agents list
  ledger agents list --format json | jq -r '.agents[] | select(.retired | not) | .name'";

const REKEY_EXAMPLES: &str = "\
Examples:
  ledger agents rekey web-1 --reason 'new machine'
  ledger agents rekey web-1 --key 'JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs='";

const RETIRE_EXAMPLES: &str = "\
Examples:
  ledger agents retire web-9 --reason 'scrapped'

`ledger agents rekey NAME` brings it back.";

/// List the agents, or take one out of service or give its name another key
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Agents {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand, Debug)]
enum Verb {
    List(List),
    Rekey(Rekey),
    Retire(Retire),
}

/// List the agents: whether they are connected, and what they run
#[derive(Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
struct List {
    /// For people, or as JSON for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Let a name take another key, as after a new machine; a retired agent is back in service
#[derive(Args, Debug)]
#[command(after_help = REKEY_EXAMPLES)]
struct Rekey {
    /// The agent's name
    name: AgentName,
    /// The new machine's public key; without it, the next agent under this name is taken
    #[arg(long, value_name = "KEY")]
    key: Option<PublicKey>,
    /// Say in a few words why; can be erased from the log later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Take an agent out of service: its session ends, and what waits for it is cancelled
#[derive(Args, Debug)]
#[command(after_help = RETIRE_EXAMPLES)]
struct Retire {
    /// The agent's name
    name: AgentName,
    /// Say in a few words why; can be erased from the log later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Agents {
    pub(crate) async fn run(self) -> Outcome {
        match self.verb {
            None => self.list.run(&self.connection).await,
            Some(Verb::List(list)) => list.run(&self.connection).await,
            Some(Verb::Rekey(rekey)) => rekey.run(&self.connection).await,
            Some(Verb::Retire(retire)) => retire.run(&self.connection).await,
        }
    }
}

impl List {
    async fn run(self, connection: &Connection) -> Outcome {
        let client = connection.client()?;
        let list = hint::explain(&client, client.agents().await, &[]).await?;
        if self.format == Format::Json {
            print_json(&list)?;
            return Ok(Exit::Done);
        }
        if list.agents.is_empty() {
            note("no agent has connected yet; `ledger agent NAME` runs one");
            return Ok(Exit::Done);
        }
        let rows = list.agents.iter().map(row).collect();
        print_table(&["AGENT", "STATE", "SINCE", "LAST", "NEXT", "RUNS"], rows)?;
        Ok(Exit::Done)
    }
}

fn row(agent: &Agent) -> Vec<String> {
    let state = match (agent.retired, agent.session) {
        (true, _) => "retired",
        (false, Some(_)) => "connected",
        (false, None) => "offline",
    };
    let last = agent.last.as_ref().map(|last| format!("#{} {}", last.index, last.status.as_str()));
    let next = match (agent.running, agent.pending) {
        (Some(_), Some(_)) => "running, another pending".to_owned(),
        (Some(_), None) => "running".to_owned(),
        (None, Some(_)) => "pending".to_owned(),
        (None, None) => dash(),
    };
    vec![
        agent.name.to_string(),
        state.to_owned(),
        seconds_or_dash(agent.since),
        or_dash(last),
        next,
        or_dash(agent.current.as_ref()),
    ]
}

impl Rekey {
    async fn run(self, connection: &Connection) -> Outcome {
        let body = RekeyRequest {
            request_id: new_request_id(),
            public_key: self.key,
            reason: self.reason,
        };
        let (client, name) = (connection.client()?, &self.name);
        let answer = client.rekey_agent(name, &body).await;
        hint::explain(&client, answer, slice::from_ref(name)).await?;
        note(match self.key {
            Some(key) => format!("{name} belongs to the key {key} from now on"),
            None => format!("{name} belongs to the next agent that connects under this name"),
        });
        Ok(Exit::Done)
    }
}

impl Retire {
    async fn run(self, connection: &Connection) -> Outcome {
        let body = RetireRequest { request_id: new_request_id(), reason: self.reason };
        let (client, name) = (connection.client()?, &self.name);
        let answer = client.retire_agent(name, &body).await;
        let recorded = hint::explain(&client, answer, slice::from_ref(name)).await?;
        note(match recorded.position {
            Some(_) => format!("{name} is retired; `ledger agents rekey {name}` brings it back"),
            None => format!("{name} was retired already"),
        });
        Ok(Exit::Done)
    }
}
