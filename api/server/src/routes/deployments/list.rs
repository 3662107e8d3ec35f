//! Deployments, listed the newest first.

use super::{ended_status, request_of, show, status_of};
use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::limits;
use crate::problem::Refusal;
use crate::routes::activations;
use crate::routes::histories::{Errors, history, page_of};
use crate::server::Server;
use api_wire::http::{Deployment, DeploymentList, DeploymentStatus, DeploymentsQuery};
use axum::extract::State;
use ledger_core::{
    ActivationId, AgentName, DeploymentId, Position, Record, Rejection, WorkspaceName,
};
use projections::fleet::{self, Fleet};
use projections::history;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What is asked for, in a workspace that the caller may see.
struct Wanted {
    workspace: WorkspaceName,
    activation: Option<ActivationId>,
    status: Option<DeploymentStatus>,
    before: Option<Position>,
    limit: usize,
}

/// A deployment that was asked for, before its agent's stream is read.
struct Found {
    position: Position,
    agent: AgentName,
    id: DeploymentId,
}

impl Found {
    fn of(record: &Record, workspace: &WorkspaceName) -> Option<Self> {
        let agent = request_of(record, workspace)?.clone();
        Some(Self { position: record.position, agent, id: record.event_id.into() })
    }
}

impl Wanted {
    /// Returns whether a deployment may stand as it is asked for, by what the fold
    /// remembers. What it has forgotten may: its agent's stream tells.
    fn may_stand_so(&self, fleet: &Fleet, found: &Found) -> bool {
        let Some(status) = self.status else { return true };
        let agent = fleet.agent(&self.workspace, &found.agent);
        agent.and_then(|agent| remembered(agent, found.id)).is_none_or(|known| known == status)
    }

    fn lets_through(&self, deployment: &history::Deployment) -> bool {
        self.before.is_none_or(|before| deployment.position < before)
            && self.activation.is_none_or(|activation| deployment.activation == activation)
            && self.status.is_none_or(|status| status_of(deployment.status) == status)
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
    let ended = decided.ended.iter().find(|(ended, _)| *ended == id);
    ended.map(|(_, end)| ended_status(*end))
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
    let wanted = Wanted { workspace, activation, status, before, limit: page_of(limit) };
    let list = match (query.agent, activation) {
        (Some(agent), _) => of_one_agent(&server, &wanted, agent).await,
        (None, Some(activation)) => {
            of_an_activation(&server, &caller, fleet, &wanted, activation).await
        }
        (None, None) => of_all_agents(&server, &caller, fleet, &wanted).await,
    };
    list.map(Json)
}

async fn of_one_agent(
    server: &Server,
    wanted: &Wanted,
    agent: AgentName,
) -> Result<DeploymentList, Refusal> {
    let history = history(server, &wanted.workspace, &agent).await?;
    let mut newest = history.deployments().rev().filter(|of| wanted.lets_through(of));
    let page: Vec<_> = newest.by_ref().take(wanted.limit).collect();
    let more = newest.next().is_some();
    let next = page.last().map(|last| last.position).filter(|_| more);
    let told = page.into_iter().map(|deployment| (agent.clone(), deployment.clone()));
    Ok(DeploymentList { deployments: show_all(server, told.collect()).await?, next })
}

/// What an activation asked for is known by one read.
async fn of_an_activation(
    server: &Server,
    caller: &Caller,
    fleet: &Fleet,
    wanted: &Wanted,
    activation: ActivationId,
) -> Result<DeploymentList, Refusal> {
    let parts = activations::parts(server, Some(&wanted.workspace), activation).await?;
    let asked = parts.agents.iter().rev().filter(|part| caller.covers(&part.agent));
    let mut newest = asked
        .map(|part| Found { position: part.position, agent: part.agent.clone(), id: part.id })
        .filter(|found| wanted.before.is_none_or(|before| found.position < before))
        .filter(|found| wanted.may_stand_so(fleet, found));
    let page: Vec<Found> = newest.by_ref().take(wanted.limit).collect();
    let more = newest.next().is_some();
    let next = page.last().map(|last| last.position).filter(|_| more);
    Ok(DeploymentList { deployments: tell(server, wanted, &page).await?, next })
}

/// Walks the log backwards for requests, then asks each agent's stream about them.
async fn of_all_agents(
    server: &Server,
    caller: &Caller,
    fleet: &Fleet,
    wanted: &Wanted,
) -> Result<DeploymentList, Refusal> {
    let newest = server.image().position.next();
    let mut upper = wanted.before.map_or(newest, |before| before.min(newest)).0;
    let mut page: Vec<Found> = Vec::new();
    let mut looked_at = 0;
    while upper > 1 && page.len() < wanted.limit && looked_at < limits::SCAN_RECORDS_MAX {
        let records = ledger_core::limits::PAGE_RECORDS_MAX as u64;
        let lower = upper.saturating_sub(records).max(1);
        let requests = requests(server, &wanted.workspace, lower..upper).await?;
        looked_at += (upper - lower) as usize;
        upper = lower;
        for found in requests.into_iter().rev() {
            if !caller.covers(&found.agent) || !wanted.may_stand_so(fleet, &found) {
                continue;
            }
            let position = found.position;
            page.push(found);
            if page.len() == wanted.limit {
                upper = position.0;
                break;
            }
        }
    }
    let deployments = tell(server, wanted, &page).await?;
    Ok(DeploymentList { deployments, next: (upper > 1).then_some(Position(upper)) })
}

/// Reads the positions for requests of the workspace, in as many pages as it takes.
async fn requests(
    server: &Server,
    workspace: &WorkspaceName,
    positions: Range<u64>,
) -> Result<Vec<Found>, Refusal> {
    let mut requests = Vec::new();
    let mut from = positions.start;
    while from < positions.end {
        let records = server.log.read_bare(Position(from), (positions.end - from) as usize).await?;
        let Some(last) = records.last() else { break };
        from = last.position.next().0;
        requests.extend(records.iter().filter_map(|record| Found::of(record, workspace)));
    }
    Ok(requests)
}

/// Asks each agent's stream about its deployments, and holds one history at a time.
async fn tell(
    server: &Server,
    wanted: &Wanted,
    page: &[Found],
) -> Result<Vec<Deployment>, Refusal> {
    let agents: BTreeSet<&AgentName> = page.iter().map(|found| &found.agent).collect();
    let mut known: BTreeMap<DeploymentId, history::Deployment> = BTreeMap::new();
    for agent in agents {
        let history = history(server, &wanted.workspace, agent).await?;
        let of_agent = page.iter().filter(|found| found.agent == *agent);
        let told = of_agent.filter_map(|found| history.by_id(found.id));
        let told = told.filter(|deployment| wanted.lets_through(deployment));
        known.extend(told.map(|deployment| (deployment.id, deployment.clone())));
    }
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
