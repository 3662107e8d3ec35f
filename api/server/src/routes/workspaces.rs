//! The workspaces of the whole ledger.

use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::problem::Refusal;
use crate::routes::page;
use crate::server::Server;
use api_wire::http::{CreateWorkspaceRequest, Recorded, Workspace, WorkspaceList, WorkspacesQuery};
use axum::extract::State;
use ledger_core::Command;

pub(crate) async fn list_workspaces(
    State(server): State<Server>,
    Query(query): Query<WorkspacesQuery>,
) -> Json<WorkspaceList> {
    let snapshot = server.image();
    let fleet = &snapshot.state.fleet;
    let workspaces = fleet.workspaces_after(query.after.as_ref()).map(|(name, workspace)| {
        let in_service = || workspace.agents().filter(|(_, agent)| !agent.decided.retired);
        Workspace {
            name: name.clone(),
            agents: in_service().count() as u64,
            connected: in_service().filter(|(_, agent)| agent.session.is_some()).count() as u64,
        }
    });
    let (workspaces, next) = page(workspaces, query.limit, |last: &Workspace| last.name.clone());
    Json(WorkspaceList { workspaces, next })
}

pub(crate) async fn create_workspace(
    State(server): State<Server>,
    caller: Caller,
    Json(request): Json<CreateWorkspaceRequest>,
) -> Result<Json<Recorded>, Refusal> {
    let given = caller.given(None, &request);
    let command = Command::CreateWorkspace { workspace: request.name };
    let (written, _) = server.write(request.request_id, given, caller.actor(), command).await?;
    Ok(Json(Recorded { position: written.positions.map(|(_, last)| last) }))
}
