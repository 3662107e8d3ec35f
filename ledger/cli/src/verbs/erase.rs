//! `ledger erase`

use crate::connection::Connection;
use crate::failure::{Exit, Outcome};
use crate::terminal::note;
use api_client::http::new_request_id;
use api_wire::http::EraseRequest;
use clap::Args;
use ledger_core::Position;

const EXAMPLES: &str = "\
Examples:
  ledger log --type AgentConnected
  ledger erase --position 4711 --reason 'request of 2026-11-02'

Only an admin token of the whole ledger may. The event stays, and so does its place in every proof: `ledger verify` tells an erased annex from one that was tampered with. Backups made before still hold it.";

/// Erase what may be erased of an event: addresses, names and words of people
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Erase {
    /// The event, as `ledger log` numbers them
    #[arg(long, value_name = "N", value_parser = a_position)]
    position: Position,
    /// Say why; recorded, and can itself be erased
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

fn a_position(text: &str) -> Result<Position, String> {
    let position = text.parse().ok().filter(|position| *position > Position::ZERO);
    position.ok_or_else(|| "it must be a number from 1".to_owned())
}

impl Erase {
    pub(crate) async fn run(self) -> Outcome {
        let client = self.connection.client()?;
        let (position, reason) = (self.position, self.reason);
        let body = EraseRequest { request_id: new_request_id(), position, reason };
        let recorded = client.erase(&body).await?;
        note(match recorded.position {
            Some(order) => format!("the annex of event {position} is erased, by event {order}"),
            None => format!("the annex of event {position} was erased already"),
        });
        Ok(Exit::Done)
    }
}
