//! The log as a stream, for tools: Server-Sent Events, or JSON lines.
//!
//! Catching up and following are one loop over the same look through the log
//! that `GET /v1/log` takes. A stream holds one page at the most, and reads the
//! next when its client has taken that one.

use crate::auth::Caller;
use crate::extract::Query;
use crate::limits;
use crate::problem::Refusal;
use crate::routes::scan::{Asked, Scan};
use crate::server::Server;
use api_wire::http::{
    EVENT_STREAM, EventsFormat, EventsQuery, JSON_LINES, LogEvent, StreamCursor, StreamProblem,
};
use api_wire::problem::Code;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use ledger_core::Position;
use serde::Serialize;
use std::convert::Infallible;
use tokio::sync::watch;
use tokio::time::Instant;

/// What a client that reconnects has seen last.
const LAST_EVENT_ID: &str = "last-event-id";
/// Tells nginx, and who understands it, to pass on what comes as it comes.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(crate) async fn stream_events(
    State(server): State<Server>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Refusal> {
    let format = query.format.unwrap_or_else(|| accepted(&headers));
    let from = match last_event_id(&headers)? {
        Some(seen) => Some(seen.next()),
        None => query.from,
    };
    let asked = Asked {
        workspace: query.workspace,
        from,
        stream: query.stream,
        agent: query.agent,
        type_name: query.type_name,
        activation: query.activation,
    };
    let (scan, from) = Scan::of(&server, caller, asked, limits::STREAM_EVENTS).await?;
    let head = server.log.head();
    let until = if query.follow.unwrap_or(true) { None } else { Some(*head.borrow()) };
    let follower = Follower { server, scan, format, until, from, told: Position::ZERO, head };
    let pages = stream::unfold(Some(follower), |follower| async move {
        let (bytes, follower) = follower?.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(bytes)), follower))
    });
    let media_type = match format {
        EventsFormat::Sse => EVENT_STREAM,
        EventsFormat::Jsonl => JSON_LINES,
    };
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-store"),
        (UNBUFFERED, "no"),
    ];
    Ok((headers, Body::from_stream(pages)).into_response())
}

fn accepted(headers: &HeaderMap) -> EventsFormat {
    let lines = ["application/jsonl", "application/x-ndjson", "application/x-jsonlines"];
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let mut wanted = accept.unwrap_or_default().split(',');
    let is_lines = |media: &str| {
        let media = media.split(';').next().unwrap_or_default().trim();
        lines.iter().any(|known| media.eq_ignore_ascii_case(known))
    };
    if wanted.any(is_lines) { EventsFormat::Jsonl } else { EventsFormat::Sse }
}

/// Some libraries send an empty one before they have seen anything.
fn last_event_id(headers: &HeaderMap) -> Result<Option<Position>, Refusal> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let position = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    let position = position.filter(|position| *position < ledger_core::limits::EVENT_INTEGER_MAX);
    position.map(|position| Some(Position(position))).ok_or_else(|| {
        let detail = "the header Last-Event-ID must be a position of the log, a number";
        Refusal::new(Code::BadRequest, detail)
    })
}

/// Where one stream is.
struct Follower {
    server: Server,
    scan: Scan,
    format: EventsFormat,
    /// The end of the log as it was at the beginning, for who does not follow.
    until: Option<Position>,
    /// The next position to look at.
    from: Position,
    /// How far the client knows that it has come.
    told: Position,
    head: watch::Receiver<Position>,
}

impl Follower {
    /// Waits for the next bytes. Nobody comes after the last ones.
    async fn next(mut self) -> Option<(Vec<u8>, Option<Self>)> {
        match self.look().await {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some((bytes, Some(self))),
            Err(refusal) => Some((problem(self.format, &refusal), None)),
        }
    }

    /// Returns nothing when the stream is to end well.
    async fn look(&mut self) -> Result<Vec<u8>, Refusal> {
        let heartbeat = self.server.ping_interval.min(limits::STREAM_HEARTBEAT);
        let heartbeat = Instant::now() + heartbeat;
        // The client may have taken its time since the page before.
        self.must_still_hold().await?;
        loop {
            let is_over = self.until.is_some_and(|until| self.from > until);
            if self.server.stopping.is_cancelled() || (is_over && self.told > Position::ZERO) {
                return Ok(Vec::new());
            }
            let (page, at_head) = self.scan.run(&self.server, self.from).await?;
            let caught_up = self.told == Position::ZERO && at_head;
            self.from = page.next;
            let passed = Position(page.next.0.saturating_sub(1));
            let quiet = passed.0.saturating_sub(self.told.0);
            let late = Instant::now() >= heartbeat;
            // The first time so that who begins knows it, then now and again.
            let tells = !at_head || caught_up || late || quiet >= limits::SCAN_RECORDS_MAX as u64;
            if !page.events.is_empty() || (tells && passed > Position::ZERO) {
                return self.say(&page.events, passed);
            }
            self.wait(heartbeat).await?;
        }
    }

    /// A token that ended meanwhile is told nothing more.
    async fn must_still_hold(&self) -> Result<(), Refusal> {
        let now = *self.head.borrow();
        self.scan.filter.caller.must_still_hold(&self.server, now).await
    }

    /// Waits for news, the heartbeat or the end.
    async fn wait(&mut self, heartbeat: Instant) -> Result<(), Refusal> {
        let from = self.from;
        tokio::select! {
            // A head that no longer moves is a log that was closed: soon the server stops.
            Ok(_) = self.head.wait_for(|head| *head >= from) => {}
            () = self.server.stopping.cancelled() => return Ok(()),
            () = tokio::time::sleep_until(heartbeat) => {}
        }
        self.must_still_hold().await
    }

    /// Encodes events, and how far the stream has come if the last one does not tell.
    fn say(&mut self, events: &[LogEvent], passed: Position) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        if self.told == Position::ZERO && self.format == EventsFormat::Sse {
            // After how many milliseconds a client is to connect again.
            bytes.extend_from_slice(b"retry: 2000\n\n");
        }
        for event in events {
            let json = encode(event)?;
            match self.format {
                EventsFormat::Sse => sse(&mut bytes, Some(event.position), None, &json),
                EventsFormat::Jsonl => line(&mut bytes, &json),
            }
        }
        if events.last().is_none_or(|last| last.position < passed) {
            match self.format {
                EventsFormat::Sse => {
                    bytes.extend_from_slice(format!("id: {passed}\n\n").as_bytes())
                }
                EventsFormat::Jsonl => line(&mut bytes, &encode(&StreamCursor { cursor: passed })?),
            }
        }
        self.told = passed;
        Ok(bytes)
    }
}

/// The last thing that a stream says.
fn problem(format: EventsFormat, refusal: &Refusal) -> Vec<u8> {
    let mut bytes = Vec::new();
    let problem = refusal.problem();
    // A problem holds strings and numbers, which cannot fail to encode.
    match format {
        EventsFormat::Sse => {
            let json = serde_json::to_vec(&problem).unwrap_or_default();
            sse(&mut bytes, None, Some("problem"), &json);
        }
        EventsFormat::Jsonl => {
            let json = serde_json::to_vec(&StreamProblem { problem }).unwrap_or_default();
            line(&mut bytes, &json);
        }
    }
    bytes
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "An event cannot be encoded.");
        Refusal::internal()
    })
}

/// JSON has no line breaks of its own, so that one `data` line holds it.
fn sse(bytes: &mut Vec<u8>, id: Option<Position>, name: Option<&str>, json: &[u8]) {
    if let Some(id) = id {
        bytes.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    if let Some(name) = name {
        bytes.extend_from_slice(format!("event: {name}\n").as_bytes());
    }
    bytes.extend_from_slice(b"data: ");
    bytes.extend_from_slice(json);
    bytes.extend_from_slice(b"\n\n");
}

fn line(bytes: &mut Vec<u8>, json: &[u8]) {
    bytes.extend_from_slice(json);
    bytes.push(b'\n');
}
