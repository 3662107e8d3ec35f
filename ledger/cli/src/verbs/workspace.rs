//! `ledger workspace`

use crate::connection::Connection;
use crate::failure::{Exit, Outcome};
use crate::terminal::{Format, note, print_json, print_table};
use api_client::http::new_request_id;
use api_wire::http::CreateWorkspaceRequest;
use clap::{Args, Subcommand};
use ledger_core::names::WorkspaceName;

const EXAMPLES: &str = "\
Examples:
  ledger workspace create team-1
  ledger workspace list

Both need an admin token for the whole ledger, as the first admin token is.";

const CREATE_EXAMPLES: &str = "\
Examples:
  ledger workspace create team-1
  ledger token create --kind admin --workspace team-1";

const LIST_EXAMPLES: &str = "\
Examples:
  ledger workspace list
  ledger workspace list --format json | jq -r '.workspaces[].name'";

/// Create and list workspaces
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Workspace {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Create(Create),
    List(List),
}

/// Create a workspace: agents, tokens and history of its own
#[derive(Args, Debug)]
#[command(after_help = CREATE_EXAMPLES)]
struct Create {
    /// Its name: 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit
    name: WorkspaceName,
}

/// List the workspaces
#[derive(Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
struct List {
    /// For people, or as JSON for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

impl Workspace {
    pub(crate) async fn run(self) -> Outcome {
        let client = self.connection.client()?;
        match self.verb {
            Verb::Create(Create { name }) => {
                let body =
                    CreateWorkspaceRequest { request_id: new_request_id(), name: name.clone() };
                client.create_workspace(&body).await?;
                note(format!(
                    "the workspace {name} is there; `ledger token create --workspace {name}` makes tokens for it"
                ));
            }
            Verb::List(list) => {
                let workspaces = client.workspaces().await?;
                if list.format == Format::Json {
                    print_json(&workspaces)?;
                    return Ok(Exit::Done);
                }
                let row = |w: &api_wire::http::Workspace| {
                    vec![w.name.to_string(), w.agents.to_string(), w.connected.to_string()]
                };
                let rows = workspaces.workspaces.iter().map(row).collect();
                print_table(&["WORKSPACE", "AGENTS", "CONNECTED"], rows)?;
            }
        }
        Ok(Exit::Done)
    }
}
