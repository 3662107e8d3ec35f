//! The agents of a workspace.

use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::problem::Refusal;
use crate::routes::deployments::ended_status;
use crate::routes::page;
use crate::server::Server;
use api_wire::http::{
    Agent, AgentList, AgentsQuery, EndedDeployment, Recorded, RekeyRequest, RetireRequest,
    WorkspaceQuery,
};
use axum::extract::State;
use ledger_core::Command;
use ledger_core::names::{AgentName, AgentPattern};
use projections::fleet;

pub(crate) async fn list_agents(
    State(server): State<Server>,
    caller: Caller,
    Query(query): Query<AgentsQuery>,
) -> Result<Json<AgentList>, Refusal> {
    let snapshot = server.image();
    let name = caller.workspace(&snapshot.state, query.workspace)?;
    let workspace = snapshot.state.fleet.workspace(&name);
    let after = query.after.as_ref();
    let pattern = query.name.as_ref().map(AgentPattern::matcher);
    let agents = workspace
        .into_iter()
        .flat_map(|workspace| workspace.agents_after(after))
        .filter(|(_, agent)| query.connected.is_none_or(|is| is == agent.session.is_some()))
        .filter(|(name, _)| pattern.as_ref().is_none_or(|matches| matches(name)))
        .map(|(name, agent)| show(name, agent));
    let (agents, next) = page(agents, query.limit, |last: &Agent| last.name.clone());
    Ok(Json(AgentList { position: snapshot.position, agents, next }))
}

fn show(name: &AgentName, agent: &fleet::Agent) -> Agent {
    Agent {
        name: name.clone(),
        session: agent.session.map(|session| session.id),
        since: agent.since,
        retired: agent.decided.retired,
        public_key: agent.decided.key,
        system: agent.system.clone(),
        version: agent.version.clone(),
        current: agent.decided.current.clone(),
        pending: agent.decided.pending.as_ref().map(|pending| pending.id),
        running: agent.decided.running.as_ref().map(|running| running.deployment.id),
        last: agent.last.map(|last| EndedDeployment {
            id: last.id,
            index: last.index,
            status: ended_status(last.end),
            at: last.at,
        }),
    }
}

pub(crate) async fn rekey_agent(
    State(server): State<Server>,
    caller: Caller,
    Path(agent): Path<AgentName>,
    Query(query): Query<WorkspaceQuery>,
    Json(request): Json<RekeyRequest>,
) -> Result<Json<Recorded>, Refusal> {
    let workspace = caller.workspace(&server.image().state, query.workspace)?;
    let given = caller.given(Some(&workspace), &request);
    let annex = caller.annex(request.reason);
    let public_key = request.public_key;
    let command = Command::RekeyAgent { workspace, agent, public_key, annex };
    let (written, _) = server.write(request.request_id, given, caller.actor(), command).await?;
    Ok(Json(Recorded { position: written.positions.map(|(_, last)| last) }))
}

pub(crate) async fn retire_agent(
    State(server): State<Server>,
    caller: Caller,
    Path(agent): Path<AgentName>,
    Query(query): Query<WorkspaceQuery>,
    Json(request): Json<RetireRequest>,
) -> Result<Json<Recorded>, Refusal> {
    let workspace = caller.workspace(&server.image().state, query.workspace)?;
    let given = caller.given(Some(&workspace), &request);
    let annex = caller.annex(request.reason);
    let command = Command::RetireAgent { workspace, agent, annex };
    let (written, _) = server.write(request.request_id, given, caller.actor(), command).await?;
    Ok(Json(Recorded { position: written.positions.map(|(_, last)| last) }))
}
