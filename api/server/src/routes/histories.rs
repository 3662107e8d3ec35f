//! Deployments, told from their agents' streams. Of a stream no more is read than an
//! answer needs: it grows with everything that the agent ever did.

use crate::limits;
use crate::problem::{Refusal, chain};
use crate::server::Server;
use ledger_core::limits::PAGE_RECORDS_MAX;
use ledger_core::{
    AgentName, DeploymentId, Position, Record, SealedAnnex, StreamId, Version, WorkspaceName,
};
use projections::fleet;
use projections::history::{Deployment, History};
use projections::image::Image;
use projections::projection::{Snapshot, fold};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// A deployment's request, as it stands in the log.
#[derive(Clone, Debug)]
pub(crate) struct Requested {
    pub(crate) agent: AgentName,
    pub(crate) id: DeploymentId,
    pub(crate) position: Position,
    pub(crate) version: Version,
}

impl Requested {
    /// Takes a record of the workspace that is one.
    pub(crate) fn of(record: &Record, workspace: &WorkspaceName) -> Option<Self> {
        match &record.stream {
            StreamId::Agent(of, agent) if of == workspace && is_request(record) => Some(Self {
                agent: agent.clone(),
                id: record.event_id.into(),
                position: record.position,
                version: record.version,
            }),
            _ => None,
        }
    }
}

fn is_request(record: &Record) -> bool {
    record.type_name == "DeploymentRequested"
}

/// One agent's stream, with what the fold knows of it.
pub(crate) struct Stream<'a> {
    server: &'a Server,
    workspace: &'a WorkspaceName,
    agent: &'a AgentName,
    image: Arc<Snapshot<Image>>,
}

impl<'a> Stream<'a> {
    pub(crate) fn of(
        server: &'a Server,
        workspace: &'a WorkspaceName,
        agent: &'a AgentName,
    ) -> Self {
        Self { server, workspace, agent, image: server.image() }
    }

    fn known(&self) -> Option<&fleet::Agent> {
        self.image.state.fleet.agent(self.workspace, self.agent)
    }

    /// The newest version that is folded, and the number of requests up to there.
    pub(crate) fn head(&self) -> (Version, u64) {
        self.known().map_or_else(Default::default, |of| (of.head, of.decided.deployments))
    }

    /// Returns the deployment's number. Of one that is open or ended lately the fold
    /// knows it; of another the requests are counted, from the nearer end.
    pub(crate) async fn index(&self, request: &Requested) -> Result<u64, Refusal> {
        if let Some(index) = self.known().and_then(|agent| agent.index_of(request.id)) {
            return Ok(index);
        }
        let (head, deployments) = self.head();
        let version = request.version;
        if version > head {
            return Ok(deployments + self.count(head.0 + 1..version.0 + 1).await?);
        }
        if head.0 - version.0 < version.0 {
            let newer = self.count(version.0 + 1..head.0 + 1).await?;
            return Ok(deployments.saturating_sub(newer));
        }
        self.count(1..version.0 + 1).await
    }

    /// Finds the deployment with the number, from the nearer end.
    pub(crate) async fn with_index(&self, index: u64) -> Result<Option<Requested>, Refusal> {
        let (head, deployments) = self.head();
        if let Some(id) = self.known().and_then(|agent| agent.with_index(index)) {
            let record = self.server.log.find(id.into()).await?;
            return Ok(record.and_then(|record| Requested::of(&record, self.workspace)));
        }
        let Some(mut newer) = deployments.checked_sub(index) else { return Ok(None) };
        let Some(mut older) = index.checked_sub(1) else { return Ok(None) };
        let (mut lower, mut upper) = (1, head.0 + 1);
        while lower < upper {
            // How many requests are left on one side tells which of them it is.
            let step = (newer.min(older) + 1).saturating_mul(limits::DEPLOYMENT_EVENTS as u64);
            let step = step.min(PAGE_RECORDS_MAX as u64);
            if newer < older {
                let from = upper.saturating_sub(step).max(lower);
                let mut found = self.requests(from..upper).await?.into_iter().rev();
                let n_found = found.len() as u64;
                if newer < n_found {
                    return Ok(found.nth(newer as usize));
                }
                (newer, upper) = (newer - n_found, from);
            } else {
                let to = lower.saturating_add(step).min(upper);
                let mut found = self.requests(lower..to).await?.into_iter();
                let n_found = found.len() as u64;
                if older < n_found {
                    return Ok(found.nth(older as usize));
                }
                (older, lower) = (older - n_found, to);
            }
        }
        Ok(None)
    }

    /// Tells deployments of the stream, each until it is over or the stream ends.
    pub(crate) async fn tell(
        &self,
        requests: &[&Requested],
    ) -> Result<BTreeMap<DeploymentId, Deployment>, Refusal> {
        let Some(first) = requests.iter().min_by_key(|request| request.version) else {
            return Ok(BTreeMap::new());
        };
        let mut history = History::after(self.index(first).await?.saturating_sub(1));
        let mut from = first.version;
        while !requests.iter().all(|request| history.is_over(request.id)) {
            let records = self.read(from, limits::HISTORY_EVENTS).await?;
            let Some(last) = records.last() else { break };
            from = last.version.next();
            fold::<History>(&mut history, &records)?;
        }
        let told = requests.iter().filter_map(|request| history.by_id(request.id));
        Ok(told.map(|deployment| (deployment.id, deployment.clone())).collect())
    }

    /// Returns the first version, up to the one after the head, that stands nowhere
    /// before the position.
    pub(crate) async fn version_at(&self, position: Position) -> Result<u64, Refusal> {
        let end = self.head().0.next();
        Ok(seek(self.server, &self.id(), position, 0, end.0).await?.0)
    }

    /// Returns where a version stands in the log.
    pub(crate) async fn position_of(&self, version: u64) -> Result<Option<Position>, Refusal> {
        Ok(self.read(Version(version), 1).await?.first().map(|record| record.position))
    }

    /// Reads the versions for requests, in as many pages as it takes.
    pub(crate) async fn requests(&self, versions: Range<u64>) -> Result<Vec<Requested>, Refusal> {
        let mut requests = Vec::new();
        self.look(versions, |record| requests.extend(Requested::of(record, self.workspace)))
            .await?;
        Ok(requests)
    }

    async fn count(&self, versions: Range<u64>) -> Result<u64, Refusal> {
        let mut n = 0;
        self.look(versions, |record| n += u64::from(is_request(record))).await?;
        Ok(n)
    }

    async fn look(
        &self,
        versions: Range<u64>,
        mut see: impl FnMut(&Record),
    ) -> Result<(), Refusal> {
        let mut from = versions.start;
        while from < versions.end {
            let limit = (versions.end - from).min(PAGE_RECORDS_MAX as u64) as usize;
            let records = self.read(Version(from), limit).await?;
            let Some(last) = records.last() else { break };
            from = last.version.next().0;
            records.iter().for_each(&mut see);
        }
        Ok(())
    }

    /// Reads a page. Only a few are read at once.
    async fn read(&self, from: Version, limit: usize) -> Result<Vec<Record>, Refusal> {
        let turn = self.server.histories.acquire().await;
        let _turn = turn.map_err(|_| Refusal::internal())?;
        Ok(self.server.log.read_stream_bare(&self.id(), from, limit).await?)
    }

    fn id(&self) -> StreamId {
        StreamId::Agent(self.workspace.clone(), self.agent.clone())
    }
}

/// Returns the first version of a stream that stands nowhere before the position; behind
/// its end, if all of it does. Reads a few dozen records, however long the stream is.
pub(crate) async fn version_at(
    server: &Server,
    stream: &StreamId,
    position: Position,
) -> Result<Version, Refusal> {
    let (mut before, mut at) = (0, 1);
    while stands_before(server, stream, at, position).await? {
        (before, at) = (at, 2 * at);
    }
    seek(server, stream, position, before, at).await
}

/// Finds it by halving, between a version that stands before the position and one that
/// does not.
async fn seek(
    server: &Server,
    stream: &StreamId,
    position: Position,
    mut before: u64,
    mut at: u64,
) -> Result<Version, Refusal> {
    while before + 1 < at {
        let middle = u64::midpoint(before, at);
        match stands_before(server, stream, middle, position).await? {
            true => before = middle,
            false => at = middle,
        }
    }
    Ok(Version(at))
}

async fn stands_before(
    server: &Server,
    stream: &StreamId,
    version: u64,
    position: Position,
) -> Result<bool, Refusal> {
    let records = server.log.read_stream_bare(stream, Version(version), 1).await?;
    Ok(records.first().is_some_and(|record| record.position < position))
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
