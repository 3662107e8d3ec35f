//! Deployments: listed, told, and called off.

use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::limits;
use crate::problem::Refusal;
use crate::routes::histories::{Errors, history, page_of};
use crate::server::Server;
use api_wire::http::{
    CancelRequest, Deployment, DeploymentList, DeploymentStatus, DeploymentsQuery, Recorded,
    WorkspaceQuery,
};
use axum::extract::State;
use ledger_core::agent::End;
use ledger_core::{
    AgentName, Command, DeploymentId, EventId, Position, Record, Rejection, StreamId, WorkspaceName,
};
use projections::history::{self, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::str::FromStr;

/// A deployment as people name it: by its id, or as `agent#index`.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    Id(DeploymentId),
    Index(AgentName, u64),
}

impl FromStr for Which {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(200).collect();
        match text.rsplit_once('#') {
            Some((agent, index)) => {
                let agent = agent.parse().map_err(|error| format!("{error}"))?;
                let index = index.parse().map_err(|_| {
                    format!("{shown:?} names no deployment: after # comes its number, like web-1#7")
                })?;
                Ok(Self::Index(agent, index))
            }
            None => text.parse().map(Self::Id).map_err(|_| {
                format!("{shown:?} names no deployment: give its id, or its agent and number like web-1#7")
            }),
        }
    }
}

pub(crate) async fn list_deployments(
    State(server): State<Server>,
    caller: Caller,
    Query(query): Query<DeploymentsQuery>,
) -> Result<Json<DeploymentList>, Refusal> {
    let snapshot = server.image();
    let workspace = caller.workspace(&snapshot.state, query.workspace)?;
    let (before, limit) = (query.before, page_of(query.limit));
    match query.agent {
        Some(agent) => {
            if snapshot.state.fleet.agent(&workspace, &agent).is_none() || !caller.covers(&agent) {
                return Err(Rejection::AgentNotFound { agents: vec![agent] }.into());
            }
            of_one_agent(&server, &workspace, agent, before, limit).await.map(Json)
        }
        None => of_all_agents(&server, &caller, &workspace, before, limit).await.map(Json),
    }
}

async fn of_one_agent(
    server: &Server,
    workspace: &WorkspaceName,
    agent: AgentName,
    before: Option<Position>,
    limit: usize,
) -> Result<DeploymentList, Refusal> {
    let history = history(server, workspace, &agent).await?;
    let older = |deployment: &&history::Deployment| {
        before.is_none_or(|before| deployment.position < before)
    };
    let mut newest = history.deployments().rev().filter(older);
    let found: Vec<_> =
        newest.by_ref().take(limit).map(|deployment| (agent.clone(), deployment.clone())).collect();
    let more = newest.next().is_some();
    let next = found.last().map(|(_, last)| last.position).filter(|_| more);
    Ok(DeploymentList { deployments: show_all(server, found).await?, next })
}

/// Walks the log backwards for requests, then asks each agent's stream about them.
async fn of_all_agents(
    server: &Server,
    caller: &Caller,
    workspace: &WorkspaceName,
    before: Option<Position>,
    limit: usize,
) -> Result<DeploymentList, Refusal> {
    let newest = server.image().position.next();
    let mut upper = before.map_or(newest, |before| before.min(newest)).0;
    let mut found: Vec<(AgentName, EventId)> = Vec::new();
    let mut looked_at = 0;
    while upper > 1 && found.len() < limit && looked_at < limits::SCAN_RECORDS_MAX {
        let page = ledger_core::limits::PAGE_RECORDS_MAX as u64;
        let lower = upper.saturating_sub(page).max(1);
        let requests = requests(server, workspace, lower..upper).await?;
        looked_at += (upper - lower) as usize;
        upper = lower;
        for (position, agent, id) in requests.into_iter().rev() {
            if !caller.covers(&agent) {
                continue;
            }
            found.push((agent, id));
            if found.len() == limit {
                upper = position.0;
                break;
            }
        }
    }
    let deployments = tell(server, workspace, &found).await?;
    Ok(DeploymentList { deployments, next: (upper > 1).then_some(Position(upper)) })
}

/// Reads the positions for requests of the workspace, in as many pages as it takes.
async fn requests(
    server: &Server,
    workspace: &WorkspaceName,
    positions: Range<u64>,
) -> Result<Vec<(Position, AgentName, EventId)>, Refusal> {
    let mut requests = Vec::new();
    let mut from = positions.start;
    while from < positions.end {
        let records = server.log.read_bare(Position(from), (positions.end - from) as usize).await?;
        let Some(last) = records.last() else { break };
        from = last.position.next().0;
        requests.extend(records.iter().filter_map(|record| {
            let agent = request_of(record, workspace)?;
            Some((record.position, agent.clone(), record.event_id))
        }));
    }
    Ok(requests)
}

/// Returns whose deployment the record asks for, if it asks for one of the workspace's.
fn request_of<'a>(record: &'a Record, workspace: &WorkspaceName) -> Option<&'a AgentName> {
    match &record.stream {
        StreamId::Agent(of, agent)
            if of == workspace && record.type_name == "DeploymentRequested" =>
        {
            Some(agent)
        }
        _ => None,
    }
}

/// Asks each agent's stream about its deployments, and holds one history at a time.
async fn tell(
    server: &Server,
    workspace: &WorkspaceName,
    found: &[(AgentName, EventId)],
) -> Result<Vec<Deployment>, Refusal> {
    let agents: BTreeSet<&AgentName> = found.iter().map(|(agent, _)| agent).collect();
    let mut known: BTreeMap<DeploymentId, history::Deployment> = BTreeMap::new();
    for agent in agents {
        let history = history(server, workspace, agent).await?;
        let of_agent = found.iter().filter(|(of, _)| of == agent);
        let told = of_agent.filter_map(|(_, id)| history.by_id((*id).into()));
        known.extend(told.map(|deployment| (deployment.id, deployment.clone())));
    }
    let told = found.iter().filter_map(|(agent, id)| {
        known.remove(&(*id).into()).map(|deployment| (agent.clone(), deployment))
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

pub(crate) async fn show_deployment(
    State(server): State<Server>,
    caller: Caller,
    Path(which): Path<Which>,
    Query(query): Query<WorkspaceQuery>,
) -> Result<Json<Deployment>, Refusal> {
    let workspace = caller.workspace(&server.image().state, query.workspace)?;
    let (agent, deployment) = find(&server, &workspace, &which).await?;
    if !caller.covers(&agent) {
        return Err(not_found(&which));
    }
    let history = history(&server, &workspace, &agent).await?;
    let deployment = history.by_id(deployment).ok_or_else(|| not_found(&which))?;
    let errors = Errors::of(&server, [deployment]).await?;
    Ok(Json(show(agent, deployment.clone(), &errors)))
}

pub(crate) async fn cancel_deployment(
    State(server): State<Server>,
    caller: Caller,
    Path(which): Path<Which>,
    Query(query): Query<WorkspaceQuery>,
    Json(request): Json<CancelRequest>,
) -> Result<Json<Recorded>, Refusal> {
    let workspace = caller.workspace(&server.image().state, query.workspace)?;
    let (agent, deployment) = find(&server, &workspace, &which).await?;
    caller.must_cover([&agent])?;
    let given = caller.given(Some(&workspace), &request);
    let annex = caller.annex(request.reason);
    let command = Command::Cancel { workspace, agent, deployment, annex };
    let (written, _) = server.write(request.request_id, given, caller.actor(), command).await?;
    Ok(Json(Recorded { position: written.positions.map(|(_, last)| last) }))
}

/// Finds a deployment of the workspace. Another's is as if it did not exist.
pub(crate) async fn find(
    server: &Server,
    workspace: &WorkspaceName,
    which: &Which,
) -> Result<(AgentName, DeploymentId), Refusal> {
    match which {
        Which::Id(id) => {
            let record = server.log.find((*id).into()).await?;
            let agent = record.as_ref().and_then(|record| request_of(record, workspace));
            agent.map(|agent| (agent.clone(), *id)).ok_or_else(|| not_found(which))
        }
        Which::Index(agent, index) => {
            if server.image().state.fleet.agent(workspace, agent).is_none() {
                return Err(not_found(which));
            }
            let history = history(server, workspace, agent).await?;
            let deployment = history.by_index(*index).ok_or_else(|| not_found(which))?;
            Ok((agent.clone(), deployment.id))
        }
    }
}

fn not_found(which: &Which) -> Refusal {
    let detail = match which {
        Which::Id(id) => format!("there is no deployment {id} in this workspace"),
        Which::Index(agent, index) => {
            format!("there is no deployment {agent}#{index} in this workspace")
        }
    };
    Refusal::new(api_wire::problem::Code::DeploymentNotFound, detail)
}

fn show(agent: AgentName, of: history::Deployment, errors: &Errors) -> Deployment {
    Deployment {
        error: errors.get(&of),
        id: of.id,
        agent,
        index: of.index,
        activation: of.activation,
        store_path: of.store_path,
        status: match of.status {
            Status::Pending => DeploymentStatus::Pending,
            Status::Running => DeploymentStatus::Running,
            Status::Ended(end) => ended_status(end),
        },
        position: of.position,
        requested_at: of.requested_at,
        started_at: of.started_at,
        ended_at: of.ended_at,
        closure_bytes: of.closure_bytes,
        closure_paths: of.closure_paths,
        kind: of.kind,
        generation: of.generation,
        previous: of.previous,
        superseded_by: of.superseded_by,
        reason: of.reason,
        outcome: of.outcome,
        output: of.output,
    }
}

/// Turns the fold's word for an end into the API's.
pub(crate) const fn ended_status(end: End) -> DeploymentStatus {
    match end {
        End::Superseded => DeploymentStatus::Superseded,
        End::Cancelled => DeploymentStatus::Cancelled,
        End::Succeeded => DeploymentStatus::Succeeded,
        End::Failed => DeploymentStatus::Failed,
    }
}
