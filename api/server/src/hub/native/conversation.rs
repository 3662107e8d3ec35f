//! The session itself: events out, claims, reports and output in.

use crate::auth::Caller;
use crate::hub::deeds::{self, NotDone};
use crate::hub::native::history;
use crate::hub::native::wire::Wire;
use crate::hub::session::{Ending, Identity, Open};
use crate::server::Server;
use api_wire::agent::{FromAgent, FromServer, Pending, StreamEvent};
use api_wire::problem::Code;
use data_encoding::BASE64;
use futures_util::FutureExt;
use ledger_core::limits::MESSAGE_BYTES_MAX;
use ledger_core::{Record, RequestId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Bytes around the events of one message: its type, braces and commas.
const MESSAGE_FRAME_BYTES: usize = 64;

/// Talks until the session ends, and returns why.
pub(crate) async fn talk(
    server: &Server,
    caller: &Caller,
    open: &mut Open,
    wire: &mut Wire,
) -> Ending {
    match exchange(server, caller, open, wire).await {
        Ok(never) => match never {},
        Err(ending) => ending,
    }
}

async fn exchange(
    server: &Server,
    caller: &Caller,
    open: &mut Open,
    wire: &mut Wire,
) -> Result<std::convert::Infallible, Ending> {
    let welcome = welcome(open, wire.ping_interval());
    Box::pin(async { wire.say(&welcome).await }).await?;
    drop(welcome);
    let mut pings = tokio::time::interval(wire.ping_interval());
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once.
    pings.tick().await;
    loop {
        tokio::select! {
            biased;
            ending = &mut open.ended => return Err(ending.unwrap_or(Ending::Lost)),
            _ = pings.tick() => {
                if !caller.token.is_valid_at(server.clock.now()) {
                    return Err(Ending::TokenRefused("the token has expired".to_owned()));
                }
                // A busy server may have words unread, which are no silence.
                if wire.is_silent()
                    && let Some(message) = wire.hear().now_or_never()
                {
                    Box::pin(answer(server, &open.identity, wire, message?)).await?;
                    wire.was_busy();
                }
                if wire.is_silent() {
                    return Err(Ending::Silent);
                }
                wire.ping().await?;
            }
            records = open.feed.next() => {
                let records = records.map_err(|error| Ending::Unavailable(error.to_string()))?;
                Box::pin(tell(server, &open.identity, wire, &records)).await?;
            }
            message = wire.hear() => {
                Box::pin(answer(server, &open.identity, wire, message?)).await?;
                wire.was_busy();
            }
        }
    }
}

fn welcome(open: &mut Open, ping_interval: Duration) -> FromServer {
    // Of no use afterwards: it changes with every event.
    let agent = std::mem::take(&mut open.agent);
    let pending = agent.pending.map(|pending| Pending {
        deployment: pending.id,
        index: pending.index,
        activation: pending.activation,
        store_path: pending.store_path,
    });
    FromServer::Welcome {
        session: open.identity.session,
        head: open.head,
        pending,
        running: agent.running.map(|running| running.deployment.id),
        ping_interval_ms: u64::try_from(ping_interval.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Sends events in as few messages as their bound allows.
async fn tell(
    server: &Server,
    identity: &Identity,
    wire: &mut Wire,
    records: &[Arc<Record>],
) -> Result<(), Ending> {
    let image = server.image();
    let agent = image.state.fleet.agent(&identity.workspace, &identity.agent);
    let mut events = Vec::new();
    let mut bytes = MESSAGE_FRAME_BYTES;
    for record in records {
        let index = agent.and_then(|agent| agent.index_of(record.event_id.into()));
        let event = stream_event(record, index)?;
        // Strings and numbers, which cannot fail to encode.
        let size = serde_json::to_vec(&event).map_or(0, |encoded| encoded.len() + 1);
        if bytes + size > MESSAGE_BYTES_MAX && !events.is_empty() {
            let full = std::mem::take(&mut events);
            wire.say(&FromServer::Events { events: full }).await?;
            bytes = MESSAGE_FRAME_BYTES;
        }
        bytes += size;
        events.push(event);
    }
    if events.is_empty() {
        return Ok(());
    }
    wire.say(&FromServer::Events { events }).await
}

fn stream_event(record: &Record, index: Option<u64>) -> Result<StreamEvent, Ending> {
    let payload = String::from_utf8(record.payload.clone()).map_err(|_| {
        tracing::error!(position = record.position.0, "A payload is no text.");
        Ending::Unavailable("the server cannot read its log".to_owned())
    })?;
    Ok(StreamEvent {
        position: record.position,
        version: record.version,
        event_id: record.event_id,
        type_name: record.type_name.clone(),
        recorded_at: record.recorded_at,
        payload,
        index,
    })
}

async fn answer(
    server: &Server,
    identity: &Identity,
    wire: &mut Wire,
    message: FromAgent,
) -> Result<(), Ending> {
    match message {
        FromAgent::Goodbye {} => Err(Ending::Stopped),
        FromAgent::Hello { .. } => Err(Ending::Broke("hello is said once".to_owned())),
        FromAgent::History { size } => {
            let shown = history::show(server, size).await;
            wire.say(&shown.map_err(|error| Ending::Unavailable(error.to_string()))?).await
        }
        FromAgent::Claim { request_id, deployment } => {
            let done = deeds::claim(server, identity, request_id, deployment).await;
            reply(wire, request_id, done, FromServer::Claimed { request_id, deployment }).await
        }
        FromAgent::Report { request_id, deployment, report, occurred_at } => {
            let done =
                deeds::report(server, identity, request_id, deployment, report, occurred_at).await;
            reply(wire, request_id, done, FromServer::Acknowledged { request_id }).await
        }
        FromAgent::Output { request_id, deployment, offset, bytes } => {
            let done = match BASE64.decode(bytes.as_bytes()) {
                Ok(bytes) => deeds::output(server, identity, deployment, offset, bytes).await,
                Err(error) => {
                    Err(NotDone::Refused(Code::BadRequest, format!("the bytes: {error}")))
                }
            };
            reply(wire, request_id, done, FromServer::Acknowledged { request_id }).await
        }
    }
}

async fn reply(
    wire: &mut Wire,
    request_id: RequestId,
    done: Result<(), NotDone>,
    yes: FromServer,
) -> Result<(), Ending> {
    match done {
        Ok(()) => wire.say(&yes).await,
        Err(NotDone::Refused(code, detail)) => {
            wire.say(&FromServer::Refused { request_id, code, detail }).await
        }
        // Unanswered: the agent keeps it, and sends it again on its next session.
        Err(NotDone::Unavailable(why)) => Err(Ending::Unavailable(why)),
    }
}
