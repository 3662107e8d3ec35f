//! The workspaces of the whole ledger.

use crate::auth::Caller;
use crate::extract::Json;
use crate::problem::Refusal;
use crate::server::Server;
use api_wire::http::{CreateWorkspaceRequest, Recorded, Workspace, WorkspaceList};
use axum::extract::State;
use ledger_core::Command;

pub(crate) async fn list_workspaces(State(server): State<Server>) -> Json<WorkspaceList> {
    let snapshot = server.image();
    let workspaces = snapshot.state.fleet.workspaces().map(|(name, workspace)| {
        let in_service = || workspace.agents().filter(|(_, agent)| !agent.decided.retired);
        Workspace {
            name: name.clone(),
            agents: in_service().count() as u64,
            connected: in_service().filter(|(_, agent)| agent.session.is_some()).count() as u64,
        }
    });
    Json(WorkspaceList { workspaces: workspaces.collect() })
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
