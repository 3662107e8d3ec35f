//! Deployments, listed the newest first.

use super::{ended_status, show, status_of};
use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::limits;
use crate::problem::Refusal;
use crate::routes::activations;
use crate::routes::histories::{Errors, Requested, Stream, page_of};
use crate::server::Server;
use api_wire::http::{Deployment, DeploymentList, DeploymentStatus, DeploymentsQuery};
use axum::extract::State;
use ledger_core::{ActivationId, AgentName, DeploymentId, Position, Rejection, WorkspaceName};
use projections::fleet::{self, Fleet};
use projections::history;
use std::collections::BTreeMap;
use std::ops::Range;

/// What is asked for, in a workspace that the caller may see.
struct Wanted {
    workspace: WorkspaceName,
    status: Option<DeploymentStatus>,
    before: Option<Position>,
    limit: usize,
}

impl Wanted {
    /// Returns whether a deployment may stand as it is asked for, by what the fold
    /// remembers. What it has forgotten may: its agent's stream tells.
    fn may_stand_so(&self, fleet: &Fleet, found: &Requested) -> bool {
        let Some(status) = self.status else { return true };
        let agent = fleet.agent(&self.workspace, &found.agent);
        agent.and_then(|agent| remembered(agent, found.id)).is_none_or(|known| known == status)
    }

    fn stands_so(&self, deployment: &history::Deployment) -> bool {
        self.status.is_none_or(|status| status_of(deployment.status) == status)
    }
}

/// Tells how a deployment stands, if the fold still knows it.
fn remembered(agent: &fleet::Agent, id: DeploymentId) -> Option<DeploymentStatus> {
    let decided = &agent.decided;
    if decided.pending.as_ref().is_some_and(|pending| pending.id == id) {
        return Some(DeploymentStatus::Pending);
    }
    if decided.running.as_ref().is_some_and(|running| running.deployment.id == id) {
        return Some(DeploymentStatus::Running);
    }
    decided.end_of(id).map(ended_status)
}

pub(crate) async fn list_deployments(
    State(server): State<Server>,
    caller: Caller,
    Query(query): Query<DeploymentsQuery>,
) -> Result<Json<DeploymentList>, Refusal> {
    let snapshot = server.image();
    let fleet = &snapshot.state.fleet;
    let workspace = caller.workspace(&snapshot.state, query.workspace)?;
    if let Some(agent) = &query.agent
        && (fleet.agent(&workspace, agent).is_none() || !caller.covers(agent))
    {
        return Err(Rejection::AgentNotFound { agents: vec![agent.clone()] }.into());
    }
    let DeploymentsQuery { activation, status, before, limit, .. } = query;
    let wanted = Wanted { workspace, status, before, limit: page_of(limit) };
    let list = match (&query.agent, activation) {
        (agent, Some(activation)) => {
            let covers = |of: &AgentName| {
                caller.covers(of) && agent.as_ref().is_none_or(|agent| of == agent)
            };
            of_an_activation(&server, covers, fleet, &wanted, activation).await
        }
        (Some(agent), None) => of_one_agent(&server, fleet, &wanted, agent).await,
        (None, None) => of_all_agents(&server, &caller, fleet, &wanted).await,
    };
    list.map(Json)
}

/// What an activation asked for is known by one read.
async fn of_an_activation(
    server: &Server,
    covers: impl Fn(&AgentName) -> bool,
    fleet: &Fleet,
    wanted: &Wanted,
    activation: ActivationId,
) -> Result<DeploymentList, Refusal> {
    let parts = activations::parts(server, Some(&wanted.workspace), activation).await?;
    let asked = parts.agents.iter().rev().map(|part| &part.request);
    let mut newest = asked
        .filter(|found| covers(&found.agent))
        .filter(|found| wanted.before.is_none_or(|before| found.position < before))
        .filter(|found| wanted.may_stand_so(fleet, found));
    let page: Vec<Requested> = newest.by_ref().take(wanted.limit).cloned().collect();
    let more = newest.next().is_some();
    let next = page.last().map(|last| last.position).filter(|_| more);
    Ok(DeploymentList { deployments: tell(server, wanted, &page).await?, next })
}

async fn of_one_agent(
    server: &Server,
    fleet: &Fleet,
    wanted: &Wanted,
    agent: &AgentName,
) -> Result<DeploymentList, Refusal> {
    let stream = Stream::of(server, &wanted.workspace, agent);
    let upper = match wanted.before {
        Some(before) => stream.version_at(before).await?,
        None => stream.head().0.next().0,
    };
    let step = wanted.limit * limits::DEPLOYMENT_EVENTS;
    let source = Source::Stream(&stream);
    let (page, upper) =
        walk(&source, wanted, upper, step, |of| wanted.may_stand_so(fleet, of)).await?;
    let deployments = tell(server, wanted, &page).await?;
    let is_first = deployments.last().is_some_and(|oldest| oldest.index == 1);
    let next = if upper > 1 && !is_first { stream.position_of(upper).await? } else { None };
    Ok(DeploymentList { deployments, next })
}

async fn of_all_agents(
    server: &Server,
    caller: &Caller,
    fleet: &Fleet,
    wanted: &Wanted,
) -> Result<DeploymentList, Refusal> {
    let newest = server.image().position.next();
    let upper = wanted.before.map_or(newest, |before| before.min(newest)).0;
    let source = Source::Log(server, &wanted.workspace);
    let step = ledger_core::limits::PAGE_RECORDS_MAX;
    let may = |of: &Requested| caller.covers(&of.agent) && wanted.may_stand_so(fleet, of);
    let (page, upper) = walk(&source, wanted, upper, step, may).await?;
    let deployments = tell(server, wanted, &page).await?;
    Ok(DeploymentList { deployments, next: (upper > 1).then_some(Position(upper)) })
}

/// What is walked for requests.
enum Source<'a> {
    /// The log, by positions.
    Log(&'a Server, &'a WorkspaceName),
    /// An agent's stream, by versions.
    Stream(&'a Stream<'a>),
}

impl Source<'_> {
    async fn requests(&self, places: Range<u64>) -> Result<Vec<Requested>, Refusal> {
        match self {
            Self::Log(server, workspace) => requests(server, workspace, places).await,
            Self::Stream(stream) => stream.requests(places).await,
        }
    }

    const fn place(&self, request: &Requested) -> u64 {
        match self {
            Self::Log(..) => request.position.0,
            Self::Stream(_) => request.version.0,
        }
    }
}

/// Walks backwards from a place until the page is full or much was looked at.
/// Returns what was found, the newest first, and the place before which to go on.
async fn walk(
    source: &Source<'_>,
    wanted: &Wanted,
    mut upper: u64,
    step: usize,
    may: impl Fn(&Requested) -> bool,
) -> Result<(Vec<Requested>, u64), Refusal> {
    let mut page: Vec<Requested> = Vec::new();
    let mut looked_at = 0;
    while upper > 1 && page.len() < wanted.limit && looked_at < limits::SCAN_RECORDS_MAX {
        let lower = upper.saturating_sub(step as u64).max(1);
        let requests = source.requests(lower..upper).await?;
        looked_at += (upper - lower) as usize;
        upper = lower;
        let newest = requests.into_iter().rev().filter(|found| may(found));
        page.extend(newest.take(wanted.limit - page.len()));
        if let Some(last) = page.last().filter(|_| page.len() == wanted.limit) {
            upper = source.place(last);
        }
    }
    Ok((page, upper))
}

/// Reads the positions for requests of the workspace, in as many pages as it takes.
async fn requests(
    server: &Server,
    workspace: &WorkspaceName,
    positions: Range<u64>,
) -> Result<Vec<Requested>, Refusal> {
    let mut requests = Vec::new();
    let mut from = positions.start;
    while from < positions.end {
        let records = server.log.read_bare(Position(from), (positions.end - from) as usize).await?;
        let Some(last) = records.last() else { break };
        from = last.position.next().0;
        requests.extend(records.iter().filter_map(|record| Requested::of(record, workspace)));
    }
    Ok(requests)
}

/// Asks each agent's stream about its deployments.
async fn tell(
    server: &Server,
    wanted: &Wanted,
    page: &[Requested],
) -> Result<Vec<Deployment>, Refusal> {
    let mut by_agent: BTreeMap<&AgentName, Vec<&Requested>> = BTreeMap::new();
    for found in page {
        by_agent.entry(&found.agent).or_default().push(found);
    }
    let mut known: BTreeMap<DeploymentId, history::Deployment> = BTreeMap::new();
    for (agent, requests) in by_agent {
        let stream = Stream::of(server, &wanted.workspace, agent);
        known.extend(stream.tell(&requests).await?);
    }
    known.retain(|_, deployment| wanted.stands_so(deployment));
    let told = page.iter().filter_map(|found| {
        known.remove(&found.id).map(|deployment| (found.agent.clone(), deployment))
    });
    show_all(server, told.collect()).await
}

async fn show_all(
    server: &Server,
    told: Vec<(AgentName, history::Deployment)>,
) -> Result<Vec<Deployment>, Refusal> {
    let errors = Errors::of(server, told.iter().map(|(_, deployment)| deployment)).await?;
    Ok(told.into_iter().map(|(agent, of)| show(agent, of, &errors)).collect())
}
