//! The log itself, filtered, with long polling.

use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::limits;
use crate::problem::Refusal;
use crate::routes::activations::parts;
use crate::server::Server;
use api_wire::http::{LogEvent, LogPage, LogQuery, WAIT_SECONDS_MAX};
use api_wire::problem::Code;
use axum::extract::State;
use ledger_core::event::Reach;
use ledger_core::rights::Right;
use ledger_core::{
    ActivationId, AgentName, Event, EventId, Position, Record, SealedAnnex, StreamId, WorkspaceName,
};
use ledger_store::ReadError;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) async fn read_log(
    State(server): State<Server>,
    caller: Caller,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogPage>, Refusal> {
    let reads_all = caller.may(Right::Read);
    let workspace = match (&query.workspace, caller.token.reach) {
        (None, Reach::Ledger) => None,
        _ => Some(caller.workspace(&server.image().state, query.workspace.clone())?),
    };
    if !reads_all && query.activation.is_none() {
        let detail = "this token reads the log of activations only; name one with activation=";
        return Err(Refusal::new(Code::Forbidden, detail));
    }
    let mut from = query.from.unwrap_or_default().max(Position(1));
    if let Some(activation) = query.activation {
        // Nothing of an activation stands before it.
        let parts = parts(&server, workspace.as_ref(), activation).await?;
        from = from.max(parts.position);
    }
    let scan = Scan {
        filter: Filter {
            caller: &caller,
            workspace,
            stream: query.stream,
            agent: query.agent,
            type_name: query.type_name,
            activation: query.activation,
        },
        limit: query.limit.unwrap_or(limits::LOG_EVENTS_MAX).clamp(1, limits::LOG_EVENTS_MAX),
        annexes: reads_all,
    };
    let wait = Duration::from_secs(query.wait.unwrap_or(0).min(WAIT_SECONDS_MAX));
    scan.run_until(&server, from, Instant::now() + wait).await.map(Json)
}

struct Scan<'a> {
    filter: Filter<'a>,
    limit: usize,
    annexes: bool,
}

/// What the caller asked for and may see.
struct Filter<'a> {
    caller: &'a Caller,
    workspace: Option<WorkspaceName>,
    stream: Option<StreamId>,
    agent: Option<AgentName>,
    type_name: Option<String>,
    activation: Option<ActivationId>,
}

impl Scan<'_> {
    /// Scans, and again with each new event, until one is let through or the time is over.
    async fn run_until(
        &self,
        server: &Server,
        mut from: Position,
        deadline: Instant,
    ) -> Result<LogPage, Refusal> {
        let mut head = server.log.head();
        loop {
            let (page, at_head) = self.run(server, from).await?;
            if !page.events.is_empty() || !at_head {
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
            self.filter.caller.must_still_hold(server, now).await?;
        }
    }

    /// Looks at a bounded number of records. Returns whether the head was reached.
    async fn run(&self, server: &Server, from: Position) -> Result<(LogPage, bool), Refusal> {
        let mut next = from;
        let mut found: Vec<Record> = Vec::new();
        let (mut looked_at, mut bytes) = (0, 0);
        let mut at_head = false;
        'pages: while looked_at < limits::SCAN_RECORDS_MAX {
            let records = server.log.read_bare(next, ledger_core::limits::PAGE_RECORDS_MAX).await?;
            if records.is_empty() {
                at_head = true;
                break;
            }
            looked_at += records.len();
            for record in records {
                if self.filter.lets_through(&record) {
                    if found.len() >= self.limit || bytes > limits::LOG_BYTES_MAX {
                        break 'pages;
                    }
                    bytes += record.payload.len();
                    next = record.position.next();
                    found.push(record);
                } else {
                    next = record.position.next();
                }
            }
        }
        if self.annexes && annex_until_full(server, &mut found, bytes).await? {
            at_head = false;
            next = found.last().map_or(from, |last| last.position.next());
        }
        let events = found.into_iter().map(show).collect::<Result<_, _>>()?;
        Ok((LogPage { events, next, head: *server.log.head().borrow() }, at_head))
    }
}

/// Reads the annexes of records that begin a page. When the page's bytes are full
/// with them it ends there, and the answer is true.
async fn annex_until_full(
    server: &Server,
    records: &mut Vec<Record>,
    mut bytes: usize,
) -> Result<bool, Refusal> {
    let mut done = 0;
    while done < records.len() {
        if bytes > limits::LOG_BYTES_MAX && done > 0 {
            records.truncate(done);
            return Ok(true);
        }
        let end = records.len().min(done + limits::ANNEXES_AT_ONCE);
        let Some(some) = records.get_mut(done..end) else { return Ok(false) };
        let with = some.iter().filter(|record| record.annex_digest.is_some());
        let positions: Vec<Position> = with.map(|record| record.position).collect();
        let mut annexes = server.log.annexes(&positions).await?;
        for record in some {
            let Some(annex) = annexes.remove(&record.position) else { continue };
            let annex = annex.map_err(|error| damaged(record.position, &error))?;
            bytes += annex.bytes.len();
            record.annex = Some(annex);
        }
        done = end;
    }
    Ok(false)
}

fn damaged(position: Position, error: &ReadError) -> Refusal {
    tracing::error!(error = crate::problem::chain(error), "An annex is damaged.");
    let detail = format!(
        "the annex of event {position} is damaged; the event itself is not. Go on after it with from={}, and restore the log from a backup",
        position.next()
    );
    Refusal::new(Code::Internal, detail)
}

impl Filter<'_> {
    fn lets_through(&self, record: &Record) -> bool {
        self.stream.as_ref().is_none_or(|stream| *stream == record.stream)
            && self.type_name.as_ref().is_none_or(|name| *name == record.type_name)
            && self.activation.is_none_or(|activation| belongs_to(record, activation))
            && self.agent.as_ref().is_none_or(|agent| is_about(record, agent))
            && self.is_covered(record)
            && self.workspace.as_ref().is_none_or(|ws| record.workspace().as_ref() == Some(ws))
    }

    fn is_covered(&self, record: &Record) -> bool {
        match &record.stream {
            StreamId::Agent(_, agent) => self.caller.covers(agent),
            _ => true,
        }
    }
}

fn belongs_to(record: &Record, activation: ActivationId) -> bool {
    record.stream == StreamId::Activation(activation)
        || record.correlation_id == Some(EventId::new(activation.uuid()))
}

/// An agent's own stream, and its comings and goings.
fn is_about(record: &Record, agent: &AgentName) -> bool {
    match &record.stream {
        StreamId::Agent(_, name) => name == agent,
        StreamId::Sessions(_) => match record.event() {
            Ok(Event::AgentConnected(event)) => event.agent == *agent,
            Ok(Event::AgentDisconnected(event)) => event.agent == *agent,
            Ok(Event::SessionsLost(event)) => event.sessions.iter().any(|s| s.agent == *agent),
            _ => false,
        },
        _ => false,
    }
}

fn show(record: Record) -> Result<LogEvent, Refusal> {
    let payload = serde_json::from_slice(&record.payload).map_err(|error| {
        tracing::error!(position = record.position.0, %error, "A payload is no JSON.");
        Refusal::internal()
    })?;
    let annex = record.annex.as_ref().and_then(SealedAnnex::open);
    Ok(LogEvent {
        position: record.position,
        stream: record.stream,
        version: record.version,
        event_id: record.event_id,
        type_name: record.type_name,
        occurred_at: record.occurred_at,
        recorded_at: record.recorded_at,
        actor: record.actor,
        correlation_id: record.correlation_id,
        causation_id: record.causation_id,
        payload,
        annex,
    })
}
