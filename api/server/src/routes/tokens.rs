//! The tokens of a workspace.

use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::problem::Refusal;
use crate::routes::page;
use crate::server::Server;
use api_wire::http::{
    IssueTokenRequest, IssuedToken, Recorded, RevokeTokenRequest, Token, TokenList, TokensQuery,
    WorkspaceQuery,
};
use api_wire::problem::Code;
use api_wire::token::Secret;
use axum::extract::State;
use ledger_core::command::TokenRequest;
use ledger_core::event::{Reach, SecretHash};
use ledger_core::{
    Command, Event, EventId, Position, Rejection, RequestId, SealedAnnex, TokenId, WorkspaceName,
};
use ledger_store::ReadError;
use projections::access;
use std::sync::Arc;

pub(crate) async fn list_tokens(
    State(server): State<Server>,
    caller: Caller,
    Query(query): Query<TokensQuery>,
) -> Result<Json<TokenList>, Refusal> {
    let snapshot = server.image();
    let workspace = caller.workspace(&snapshot.state, query.workspace)?;
    let access = &snapshot.state.access;
    let after = query.after.unwrap_or_default();
    let mut visible: Vec<_> = access
        .tokens_of(&workspace)
        .filter(|token| token.position > after && is_visible(&caller, token))
        .collect();
    visible.sort_by_key(|token| token.position);
    let (visible, next) =
        page(visible.into_iter(), query.limit, |last: &&Arc<access::Token>| last.position);
    let now = server.clock.now();
    let positions: Vec<Position> = visible.iter().map(|token| token.position).collect();
    let mut annexes = server.log.annexes(&positions).await?;
    let mut tokens = Vec::with_capacity(visible.len());
    for token in visible {
        tokens.push(Token {
            id: token.id,
            kind: token.kind,
            reach: token.reach,
            agents: token.agents.clone(),
            issued_at: token.issued_at,
            expires_at: token.expires_at,
            expired: !token.is_valid_at(now),
            description: annexes.remove(&token.position).and_then(description),
        });
    }
    Ok(Json(TokenList { tokens, next }))
}

/// A token for the whole ledger is nothing that one workspace's operator may see or end.
fn is_visible(caller: &Caller, token: &access::Token) -> bool {
    token.reach == Reach::Workspace || caller.token.reach == Reach::Ledger
}

/// A damaged description must not keep a token from being listed, and so revoked.
fn description(annex: Result<SealedAnnex, ReadError>) -> Option<String> {
    match annex {
        Ok(annex) => annex.open()?.description,
        Err(error) => {
            tracing::error!(error = crate::problem::chain(&error), "An annex is damaged.");
            Some("(damaged in the log)".to_owned())
        }
    }
}

pub(crate) async fn issue_token(
    State(server): State<Server>,
    caller: Caller,
    Query(query): Query<WorkspaceQuery>,
    Json(mut request): Json<IssueTokenRequest>,
) -> Result<Json<IssuedToken>, Refusal> {
    let snapshot = server.image();
    let workspace = caller.workspace(&snapshot.state, query.workspace)?;
    if request.reach == Reach::Ledger && caller.token.reach != Reach::Ledger {
        let detail = "a token of one workspace cannot issue one for the whole ledger";
        return Err(Refusal::new(Code::Forbidden, detail));
    }
    let hash = hash_of_secret(&server, &request)?;
    // The same request names the same token again, and two requests never do.
    let token = TokenId::new(EventId::derive(request.request_id, 0).uuid());
    if snapshot.state.access.by_hash(&hash).is_some_and(|known| known.id != token) {
        let detail = "the secret belongs to another token; make one of fresh random bytes";
        return Err(Refusal::new(Code::SecretTaken, detail));
    }
    // What is digested and stored never holds the secret itself.
    request.secret = hash.to_string();
    let given = caller.given(Some(&workspace), &request);
    let request_id = request.request_id;
    let command = issue(&server, &caller, workspace.clone(), token, hash, request);
    let (written, _) = server.write(request_id, given, caller.actor(), command).await?;
    let Some((position, _)) = written.positions else { return Err(Refusal::internal()) };
    // Not from the clock: a retry answers what was answered first.
    let records = server.log.read_bare(position, 1).await?;
    match records.first().map(ledger_core::Record::event) {
        Some(Ok(Event::TokenIssued(issued))) => {
            Ok(Json(IssuedToken { id: issued.token, expires_at: issued.expires_at }))
        }
        _ => Err(Refusal::internal()),
    }
}

fn hash_of_secret(server: &Server, request: &IssueTokenRequest) -> Result<SecretHash, Refusal> {
    let refuse = |detail: String| Refusal::new(Code::BadRequest, detail);
    let secret = Secret::parse(&request.secret).map_err(|error| refuse(error.to_string()))?;
    let prefix = request.kind.prefix();
    if !secret.reveal().starts_with(prefix) {
        let kind = request.kind;
        return Err(refuse(format!("the secret of a token of kind {kind} begins with {prefix}")));
    }
    Ok(server.key.hash(&secret))
}

fn issue(
    server: &Server,
    caller: &Caller,
    workspace: WorkspaceName,
    token: TokenId,
    hash: SecretHash,
    request: IssueTokenRequest,
) -> Command {
    let now = server.clock.now();
    let expires_at = request.expires_in_seconds.map(|seconds| {
        let micros = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        now.plus_micros(micros)
    });
    let IssueTokenRequest { kind, reach, agents, description, .. } = request;
    let annex = caller.annex(description);
    let request = TokenRequest { token, kind, reach, agents, expires_at, hash, annex };
    Command::IssueToken { workspace, request }
}

pub(crate) async fn revoke_token(
    State(server): State<Server>,
    caller: Caller,
    Path(token): Path<TokenId>,
    Query(query): Query<WorkspaceQuery>,
    Json(request): Json<RevokeTokenRequest>,
) -> Result<Json<Recorded>, Refusal> {
    let snapshot = server.image();
    let workspace = caller.workspace(&snapshot.state, query.workspace)?;
    let known = snapshot.state.access.token(token);
    if known.is_some_and(|known| !is_visible(&caller, known)) {
        return Err(Rejection::TokenNotFound { token }.into());
    }
    let given = caller.given(Some(&workspace), &request);
    let command = Command::RevokeToken { workspace, token };
    let request_id: RequestId = request.request_id;
    let (written, _) = server.write(request_id, given, caller.actor(), command).await?;
    Ok(Json(Recorded { position: written.positions.map(|(_, last)| last) }))
}
