//! One agent's history, read from its stream.

use crate::limits;
use crate::problem::Refusal;
use crate::server::Server;
use ledger_core::{AgentName, Position, Record, SealedAnnex, StreamId, Version, WorkspaceName};
use projections::history::{Deployment, History};
use projections::projection::fold;
use std::collections::BTreeMap;

/// An agent's deployments, and what failing programs said of them.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) history: History,
    errors: BTreeMap<Position, String>,
}

impl Told {
    /// Returns what the program said that made the deployment fail, unless it was erased.
    pub(crate) fn error(&self, deployment: &Deployment) -> Option<String> {
        self.errors.get(&deployment.failed_at?).cloned()
    }

    fn hear(&mut self, records: &[Record]) -> Result<(), Refusal> {
        fold::<History>(&mut self.history, records)?;
        for record in records {
            let annex = record.annex.as_ref().and_then(SealedAnnex::open);
            if let Some(error) = annex.and_then(|annex| annex.error) {
                self.errors.insert(record.position, error);
            }
        }
        Ok(())
    }
}

/// Reads and folds the agent's whole stream. Only a few do so at once.
pub(crate) async fn history(
    server: &Server,
    workspace: &WorkspaceName,
    agent: &AgentName,
) -> Result<Told, Refusal> {
    let _turn = server.histories.acquire().await.map_err(|_| Refusal::internal())?;
    let stream = StreamId::Agent(workspace.clone(), agent.clone());
    let mut told = Told::default();
    let mut from = Version::ZERO.next();
    loop {
        let page = ledger_core::limits::PAGE_RECORDS_MAX;
        let records = server.log.read_stream(&stream, from, page).await?;
        told.hear(&records)?;
        match records.last() {
            Some(last) if records.len() == page => from = last.version.next(),
            _ => return Ok(told),
        }
    }
}

/// The numbers that many histories need, bounded once.
pub(crate) const fn page_of(asked: Option<usize>) -> usize {
    match asked {
        None => limits::DEPLOYMENTS_DEFAULT,
        Some(0) => 1,
        Some(asked) if asked > limits::DEPLOYMENTS_MAX => limits::DEPLOYMENTS_MAX,
        Some(asked) => asked,
    }
}
