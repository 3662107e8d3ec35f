//! The log itself, page by page, with long polling.

use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::limits;
use crate::problem::Refusal;
use crate::routes::scan::{Asked, Scan};
use crate::server::Server;
use api_wire::http::{LogPage, LogQuery, WAIT_SECONDS_MAX};
use axum::extract::State;
use ledger_core::Position;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) async fn read_log(
    State(server): State<Server>,
    caller: Caller,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogPage>, Refusal> {
    let asked = Asked {
        workspace: query.workspace,
        from: query.from,
        stream: query.stream,
        agent: query.agent,
        type_name: query.type_name,
        activation: query.activation,
    };
    let limit = query.limit.unwrap_or(limits::LOG_EVENTS_MAX).clamp(1, limits::LOG_EVENTS_MAX);
    let (scan, from) = Scan::of(&server, caller, asked, limit).await?;
    let wait = Duration::from_secs(query.wait.unwrap_or(0).min(WAIT_SECONDS_MAX));
    run_until(&scan, &server, from, Instant::now() + wait).await.map(Json)
}

/// Scans, and again with each new event, until one is let through or the time is over.
async fn run_until(
    scan: &Scan,
    server: &Server,
    mut from: Position,
    deadline: Instant,
) -> Result<LogPage, Refusal> {
    let mut head = server.log.head();
    loop {
        let (page, at_head) = scan.run(server, from).await?;
        if !page.events.is_empty() || !at_head {
            // Between the guard and the page, the token may have been revoked.
            scan.filter.caller.must_still_hold(server, page.head).await?;
            return Ok(page);
        }
        from = page.next;
        tokio::select! {
            // A head that no longer moves is a log that was closed.
            moved = head.wait_for(|head| *head >= from) => {
                if moved.is_err() {
                    return Ok(page);
                }
            }
            () = server.stopping.cancelled() => return Ok(page),
            () = tokio::time::sleep_until(deadline) => return Ok(page),
        }
        let now = *head.borrow();
        scan.filter.caller.must_still_hold(server, now).await?;
    }
}
