//! Our own protocol: JSON over a WebSocket, as [`api_wire::agent`] documents it.

mod conversation;
mod handshake;
mod history;
mod wire;

use crate::auth::Caller;
use crate::hub::session::{self, Ending, Identity, Introduction, NotOpened};
use crate::limits;
use crate::problem::Refusal;
use crate::request::Asked;
use crate::server::Server;
use api_wire::problem::Code;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::FutureExt;
use ledger_core::limits::MESSAGE_BYTES_MAX;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use tracing::Instrument;
use wire::Wire;

/// `GET /v1/agent/socket`.
pub(crate) async fn open_socket(
    State(server): State<Server>,
    caller: Caller,
    asked: Asked,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refusal> {
    let upgrade = upgrade.map_err(|error| Refusal::new(Code::BadRequest, error.body_text()))?;
    if server.stopping.is_cancelled() {
        return Err(Refusal::unavailable("the server is stopping"));
    }
    let upgrade = upgrade
        .read_buffer_size(limits::SOCKET_READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(limits::SOCKET_WRITE_BUFFER_MAX)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX);
    let tracker = server.sessions.clone();
    Ok(upgrade.on_upgrade(move |socket| {
        let span = asked.span();
        let session = async move {
            serve(server, caller, socket).await;
            asked.closed();
        };
        tracker.track_future(session.instrument(span))
    }))
}

async fn serve(server: Server, caller: Caller, socket: WebSocket) {
    let mut wire = Wire::new(socket, server.ping_interval);
    // Boxed, as is all that lasts a moment: a session is mostly idle, and keeps
    // only what it needs for that.
    let introduction = match Box::pin(introduce(&server, &caller, &mut wire)).await {
        Ok(introduction) => introduction,
        Err(ending) => return Box::pin(wire.goodbye(&ending)).await,
    };
    let identity = Identity::of_new(&caller, &introduction.agent);
    let opening = Box::pin(session::open(&server, &caller, &identity, introduction));
    let opened = caught(&identity, opening)
        .await
        .unwrap_or_else(|ending| Err(NotOpened { ending, recorded: true }));
    let ending = match opened {
        Ok(mut open) => {
            let talk = conversation::talk(&server, &caller, &mut open, &mut wire);
            caught(&identity, talk).await.unwrap_or_else(|ending| ending)
        }
        Err(NotOpened { ending, recorded: true }) => ending,
        Err(NotOpened { ending, recorded: false }) => {
            return Box::pin(wire.goodbye(&ending)).await;
        }
    };
    // Neither waits for the other: the log may be slow, and so may the agent.
    let close = session::close(&server, &identity, &ending);
    Box::pin(async { tokio::join!(close, wire.goodbye(&ending)) }).await;
}

async fn introduce(
    server: &Server,
    caller: &Caller,
    wire: &mut Wire,
) -> Result<Introduction, Ending> {
    tokio::select! {
        introduced = handshake::introduce(server, caller, wire) => introduced,
        () = server.stopping.cancelled() => Err(Ending::Stopping),
    }
}

/// Turns a panic into an ending: a defect in one session must leave neither the
/// registry nor the log wrong.
async fn caught<T>(identity: &Identity, part: impl Future<Output = T>) -> Result<T, Ending> {
    AssertUnwindSafe(part).catch_unwind().await.map_err(|_| {
        tracing::error!(session = %identity.session, "A session panicked.");
        Ending::Unavailable("the server made a mistake".to_owned())
    })
}
