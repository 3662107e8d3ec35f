//! Deployments: listed, told, and called off.

mod list;

pub(super) use list::list_deployments;

use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::problem::Refusal;
use crate::routes::histories::{Errors, Requested, Stream};
use crate::server::Server;
use api_wire::http::{CancelRequest, Deployment, DeploymentStatus, Recorded, WorkspaceQuery};
use axum::extract::State;
use ledger_core::agent::End;
use ledger_core::{AgentName, Command, DeploymentId, WorkspaceName};
use projections::history::{self, Status};
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

pub(crate) async fn show_deployment(
    State(server): State<Server>,
    caller: Caller,
    Path(which): Path<Which>,
    Query(query): Query<WorkspaceQuery>,
) -> Result<Json<Deployment>, Refusal> {
    let workspace = caller.workspace(&server.image().state, query.workspace)?;
    let request = find(&server, &workspace, &which).await?;
    if !caller.covers(&request.agent) {
        return Err(not_found(&which));
    }
    let stream = Stream::of(&server, &workspace, &request.agent);
    let told = stream.tell(&[&request]).await?.remove(&request.id);
    let deployment = told.ok_or_else(|| not_found(&which))?;
    let errors = Errors::of(&server, [&deployment]).await?;
    Ok(Json(show(request.agent, deployment, &errors)))
}

pub(crate) async fn cancel_deployment(
    State(server): State<Server>,
    caller: Caller,
    Path(which): Path<Which>,
    Query(query): Query<WorkspaceQuery>,
    Json(request): Json<CancelRequest>,
) -> Result<Json<Recorded>, Refusal> {
    let workspace = caller.workspace(&server.image().state, query.workspace)?;
    let Requested { agent, id: deployment, .. } = find(&server, &workspace, &which).await?;
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
) -> Result<Requested, Refusal> {
    let found = match which {
        Which::Id(id) => {
            let record = server.log.find((*id).into()).await?;
            record.and_then(|record| Requested::of(&record, workspace))
        }
        Which::Index(agent, index) => {
            Stream::of(server, workspace, agent).with_index(*index).await?
        }
    };
    found.ok_or_else(|| not_found(which))
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
        status: status_of(of.status),
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

/// Turns the history's word for how a deployment stands into the API's.
const fn status_of(status: Status) -> DeploymentStatus {
    match status {
        Status::Pending => DeploymentStatus::Pending,
        Status::Running => DeploymentStatus::Running,
        Status::Ended(end) => ended_status(end),
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
