//! What the token of a request is, and which server answers.

use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::problem::Refusal;
use crate::server::Server;
use api_wire::http::{WhoAmI, WorkspaceQuery};
use axum::extract::State;
use ledger_core::rights::Right;

/// Answers whoever holds a token, of any kind: what it tells is about that token alone.
pub(crate) async fn who_am_i(
    State(server): State<Server>,
    caller: Caller,
    Query(query): Query<WorkspaceQuery>,
) -> Result<Json<WhoAmI>, Refusal> {
    let snapshot = server.image();
    let workspace = caller.workspace(&snapshot.state, query.workspace)?;
    let rights = Right::ALL.iter().copied().filter(|right| caller.may(*right)).collect();
    let token = &caller.token;
    Ok(Json(WhoAmI {
        token: token.id,
        kind: token.kind,
        reach: token.reach,
        workspace,
        agents: token.agents.clone(),
        rights,
        issued_at: token.issued_at,
        expires_at: token.expires_at,
        version: server.version.clone(),
        node: server.node,
        now: server.clock.now(),
        position: snapshot.position,
        ready: server.not_ready().is_none(),
    }))
}
