//! Deployments: listed, told, and called off.

use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::limits;
use crate::problem::Refusal;
use crate::routes::histories::{Told, history, page_of};
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
use std::collections::BTreeMap;
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
            let told = history(&server, &workspace, &agent).await?;
            Ok(Json(of_one_agent(&told, &agent, before, limit)))
        }
        None => of_all_agents(&server, &caller, &workspace, before, limit).await.map(Json),
    }
}

fn of_one_agent(
    told: &Told,
    agent: &AgentName,
    before: Option<Position>,
    limit: usize,
) -> DeploymentList {
    let older = |deployment: &&history::Deployment| {
        before.is_none_or(|before| deployment.position < before)
    };
    let mut newest = told.history.deployments().rev().filter(older);
    let deployments: Vec<Deployment> =
        newest.by_ref().take(limit).map(|deployment| show(agent, told, deployment)).collect();
    let more = newest.next().is_some();
    let next = deployments.last().map(|last| last.position).filter(|_| more);
    DeploymentList { deployments, next }
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
        let records = server.log.read(Position(lower), (upper - lower) as usize).await?;
        looked_at += records.len().max(1);
        upper = lower;
        for record in records.iter().rev().filter(|record| record.position.0 < lower + page) {
            let Some(agent) = request_of(record, workspace).filter(|a| caller.covers(a)) else {
                continue;
            };
            found.push((agent.clone(), record.event_id));
            if found.len() == limit {
                upper = record.position.0;
                break;
            }
        }
    }
    let deployments = tell(server, workspace, &found).await?;
    Ok(DeploymentList { deployments, next: (upper > 1).then_some(Position(upper)) })
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

async fn tell(
    server: &Server,
    workspace: &WorkspaceName,
    found: &[(AgentName, EventId)],
) -> Result<Vec<Deployment>, Refusal> {
    let mut told: BTreeMap<&AgentName, Told> = BTreeMap::new();
    let mut deployments = Vec::with_capacity(found.len());
    for (agent, id) in found {
        if !told.contains_key(agent) {
            told.insert(agent, history(server, workspace, agent).await?);
        }
        let of_agent = told.get(agent);
        let shown = of_agent.and_then(|told| {
            told.history.by_id((*id).into()).map(|deployment| show(agent, told, deployment))
        });
        deployments.extend(shown);
    }
    Ok(deployments)
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
    let told = history(&server, &workspace, &agent).await?;
    let deployment = told.history.by_id(deployment).ok_or_else(|| not_found(&which))?;
    Ok(Json(show(&agent, &told, deployment)))
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
            let told = history(server, workspace, agent).await?;
            let deployment = told.history.by_index(*index).ok_or_else(|| not_found(which))?;
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

fn show(agent: &AgentName, told: &Told, deployment: &history::Deployment) -> Deployment {
    let of = deployment.clone();
    Deployment {
        id: of.id,
        agent: agent.clone(),
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
        error: told.error(deployment),
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
