//! The output of deployments, with long polling.

use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::limits;
use crate::problem::Refusal;
use crate::routes::activations::parts;
use crate::routes::deployments::{Which, find};
use crate::routes::histories::Requested;
use crate::server::Server;
use api_wire::http::{OutputChunk, OutputPage, OutputQuery, WAIT_SECONDS_MAX};
use api_wire::problem::Code;
use axum::extract::State;
use data_encoding::BASE64;
use ledger_core::{DeploymentId, Position};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) async fn read_output(
    State(server): State<Server>,
    caller: Caller,
    Query(query): Query<OutputQuery>,
) -> Result<Json<OutputPage>, Refusal> {
    let (deployments, begin) = deployments(&server, &caller, &query).await?;
    let wait = Duration::from_secs(query.wait.unwrap_or(0).min(WAIT_SECONDS_MAX));
    let deadline = Instant::now() + wait;
    let give_up = Instant::now() + limits::SCAN_TIMEOUT;
    let mut after = query.after.unwrap_or(0).max(begin);
    let mut head = server.log.output_head();
    loop {
        // Seen before it is read, so that what comes in between wakes us.
        let seen = *head.borrow_and_update();
        let (stored, next) =
            server.log.read_output(&deployments, after, limits::OUTPUT_CHUNKS_MAX).await?;
        let chunks: Vec<OutputChunk> = stored
            .into_iter()
            .map(|piece| OutputChunk {
                deployment: piece.deployment,
                offset: piece.offset,
                stored_at: piece.stored_at,
                bytes: BASE64.encode(&piece.bytes),
            })
            .collect();
        let page = OutputPage { chunks, next };
        if !page.chunks.is_empty() {
            return Ok(Json(page));
        }
        after = next;
        if next < seen && Instant::now() < give_up {
            // It was the output of others; there is more to look through.
            continue;
        }
        tokio::select! {
            moved = head.wait_for(|head| *head > seen) => {
                if moved.is_err() {
                    return Ok(Json(page));
                }
            }
            () = server.stopping.cancelled() => return Ok(Json(page)),
            () = tokio::time::sleep_until(deadline) => return Ok(Json(page)),
        }
        let now = *server.log.head().borrow();
        caller.must_still_hold(&server, now).await?;
    }
}

/// Returns the deployments asked for that the caller may follow, and a cursor
/// before all of their output.
async fn deployments(
    server: &Server,
    caller: &Caller,
    query: &OutputQuery,
) -> Result<(Vec<DeploymentId>, u64), Refusal> {
    let workspace = caller.workspace(&server.image().state, query.workspace.clone())?;
    match (query.activation, query.deployment) {
        (Some(activation), None) => {
            let parts = parts(server, Some(&workspace), activation).await?;
            let covered = parts.agents.iter().filter(|part| caller.covers(&part.request.agent));
            let covered = covered.map(|part| part.request.id).collect();
            // A follower that has a cursor is past the beginning already.
            let begin = match query.after {
                None | Some(0) => begin_of(server, parts.position).await?,
                Some(_) => 0,
            };
            Ok((covered, begin))
        }
        (None, Some(deployment)) => {
            let Requested { agent, id, .. } =
                find(server, &workspace, &Which::Id(deployment)).await?;
            caller.must_cover([&agent])?;
            Ok((vec![id], 0))
        }
        _ => Err(Refusal::new(
            Code::BadRequest,
            "name either activation= or deployment=, and not both",
        )),
    }
}

/// Returns a cursor before all output that was stored after an event.
async fn begin_of(server: &Server, position: Position) -> Result<u64, Refusal> {
    match server.log.read_bare(position, 1).await?.first() {
        Some(record) => Ok(server.log.output_cursor_at(record.recorded_at).await?),
        None => Ok(0),
    }
}
