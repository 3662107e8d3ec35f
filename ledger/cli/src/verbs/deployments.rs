//! `ledger deployments`

use crate::connection::Connection;
use crate::failure::{Exit, Outcome};
use crate::hint;
use crate::terminal::{Format, dash, note, print_json, print_table, seconds, took};
use api_wire::http::{Deployment, DeploymentList, DeploymentsQuery};
use clap::Args;
use ledger_core::names::AgentName;
use std::num::NonZeroUsize;

const EXAMPLES: &str = "\
Examples:
  ledger deployments --agent web-1
  ledger deployments --limit 500 --format json | jq '.deployments[] | select(.status == \"failed\")'";

/// List deployments, the newest first
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Deployments {
    /// Only this agent's
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// At most so many
    #[arg(long, value_name = "N", default_value = "50")]
    limit: NonZeroUsize,
    /// For people, or as JSON for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

impl Deployments {
    pub(crate) async fn run(self) -> Outcome {
        let client = self.connection.client()?;
        let mut list = DeploymentList { deployments: Vec::new(), next: None };
        let mut query = DeploymentsQuery { agent: self.agent, ..DeploymentsQuery::default() };
        let limit = self.limit.get();
        while list.deployments.len() < limit {
            query.limit = Some(limit - list.deployments.len());
            let page =
                hint::explain(&client, client.deployments(&query).await, query.agent.as_slice())
                    .await?;
            list.deployments.extend(page.deployments);
            list.next = page.next;
            if page.next.is_none() {
                break;
            }
            query.before = page.next;
        }
        if self.format == Format::Json {
            print_json(&list)?;
        } else if list.deployments.is_empty() {
            note("there are no deployments; `ledger activate deploy.json` asks for some");
        } else {
            let rows = list.deployments.iter().map(row).collect();
            print_table(&["DEPLOYMENT", "RESULT", "REQUESTED", "TOOK", "STORE PATH"], rows)?;
            if list.next.is_some() {
                note(format!("there are more than {}: --limit N shows them", self.limit));
            }
        }
        Ok(Exit::Done)
    }
}

fn row(deployment: &Deployment) -> Vec<String> {
    let took = match (deployment.started_at, deployment.ended_at) {
        (Some(from), Some(to)) => took(from, to),
        _ => dash(),
    };
    vec![
        format!("{}#{}", deployment.agent, deployment.index),
        deployment.status.as_str().to_owned(),
        seconds(deployment.requested_at),
        took,
        deployment.store_path.to_string(),
    ]
}
