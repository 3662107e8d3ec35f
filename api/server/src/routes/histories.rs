//! One agent's history, read from its stream.

use crate::limits;
use crate::problem::{Refusal, chain};
use crate::server::Server;
use ledger_core::{AgentName, Position, SealedAnnex, StreamId, Version, WorkspaceName};
use projections::history::{Deployment, History};
use projections::projection::fold;
use std::collections::BTreeMap;

/// Reads and folds the agent's whole stream. Only a few do so at once.
pub(crate) async fn history(
    server: &Server,
    workspace: &WorkspaceName,
    agent: &AgentName,
) -> Result<History, Refusal> {
    let _turn = server.histories.acquire().await.map_err(|_| Refusal::internal())?;
    let stream = StreamId::Agent(workspace.clone(), agent.clone());
    let mut history = History::default();
    let mut from = Version::ZERO.next();
    loop {
        let page = ledger_core::limits::PAGE_RECORDS_MAX;
        let records = server.log.read_stream_bare(&stream, from, page).await?;
        let Some(last) = records.last() else { return Ok(history) };
        from = last.version.next();
        fold::<History>(&mut history, &records)?;
    }
}

/// What failing programs said, by the place of their report.
pub(crate) struct Errors(BTreeMap<Position, String>);

impl Errors {
    /// Reads what failing programs said of these deployments.
    pub(crate) async fn of<'a>(
        server: &Server,
        deployments: impl IntoIterator<Item = &'a Deployment>,
    ) -> Result<Self, Refusal> {
        let failed = deployments.into_iter().filter_map(|deployment| deployment.failed_at);
        let annexes = server.log.annexes(&failed.collect::<Vec<_>>()).await?;
        let errors = annexes.into_iter().filter_map(|(position, annex)| match annex {
            Ok(annex) => SealedAnnex::open(&annex)?.error.map(|error| (position, error)),
            Err(error) => {
                tracing::error!(error = chain(&error), "An annex is damaged.");
                Some((position, format!("(what it said, at position {position}, is damaged)")))
            }
        });
        Ok(Self(errors.collect()))
    }

    /// Returns what the program said that made the deployment fail, unless it was erased.
    pub(crate) fn get(&self, deployment: &Deployment) -> Option<String> {
        self.0.get(&deployment.failed_at?).cloned()
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
