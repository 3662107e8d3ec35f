//! `ledger cancel`

use crate::connection::Connection;
use crate::failure::{Exit, Outcome};
use crate::hint;
use crate::terminal::note;
use api_client::http::{DeploymentRef, new_request_id};
use api_wire::http::CancelRequest;
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  ledger cancel 'web-1#7'
  ledger cancel 0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90 --reason 'wrong branch'

What has started runs to its end: then the server refuses, with exit code 4.";

/// Call off a deployment that has not started
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Cancel {
    /// The deployment's id, or AGENT#INDEX like web-1#7
    #[arg(value_name = "DEPLOYMENT")]
    deployment: DeploymentRef,
    /// Say in a few words why; can be erased from the log later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Cancel {
    pub(crate) async fn run(self) -> Outcome {
        let body = CancelRequest { request_id: new_request_id(), reason: self.reason };
        let client = self.connection.client()?;
        let answer = client.cancel_deployment(&self.deployment, &body).await;
        let recorded = hint::explain(&client, answer, self.deployment.agent()).await?;
        let which = &self.deployment;
        note(match recorded.position {
            Some(_) => format!("{which} is cancelled"),
            None => format!("{which} was cancelled already"),
        });
        Ok(Exit::Done)
    }
}
