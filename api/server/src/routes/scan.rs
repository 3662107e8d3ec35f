//! A look through the log for what a caller asked for and may see.

use crate::auth::Caller;
use crate::limits;
use crate::problem::Refusal;
use crate::routes::activations::parts;
use crate::routes::histories::version_at;
use crate::server::Server;
use api_wire::http::{LogEvent, LogPage};
use api_wire::problem::Code;
use ledger_core::event::Reach;
use ledger_core::limits::PAGE_RECORDS_MAX;
use ledger_core::rights::Right;
use ledger_core::{
    ActivationId, AgentName, Event, EventId, Position, Record, SealedAnnex, StreamId, Version,
    WorkspaceName,
};
use ledger_store::{Log, ReadError};

/// What is asked for. Filters are all to be met.
pub(crate) struct Asked {
    pub(crate) workspace: Option<WorkspaceName>,
    pub(crate) from: Option<Position>,
    pub(crate) stream: Option<StreamId>,
    pub(crate) agent: Option<AgentName>,
    pub(crate) type_name: Option<String>,
    pub(crate) activation: Option<ActivationId>,
}

/// A look through the log, page by page.
pub(crate) struct Scan {
    pub(crate) filter: Filter,
    /// Events of one page.
    pub(crate) limit: usize,
    /// Whether the caller may see annexes.
    pub(crate) annexes: bool,
}

/// What the caller asked for and may see.
pub(crate) struct Filter {
    pub(crate) caller: Caller,
    pub(crate) workspace: Option<WorkspaceName>,
    pub(crate) stream: Option<StreamId>,
    pub(crate) agent: Option<AgentName>,
    pub(crate) type_name: Option<String>,
    pub(crate) activation: Option<ActivationId>,
}

impl Scan {
    /// Prepares a look, if the caller may have it. Returns where it begins, too.
    pub(crate) async fn of(
        server: &Server,
        caller: Caller,
        asked: Asked,
        limit: usize,
    ) -> Result<(Self, Position), Refusal> {
        let reads_all = caller.may(Right::Read);
        let workspace = match (&asked.workspace, caller.token.reach) {
            (None, Reach::Ledger) => None,
            _ => Some(caller.workspace(&server.image().state, asked.workspace)?),
        };
        if !reads_all && asked.activation.is_none() {
            let detail = "this token reads the log of activations only; name one with activation=";
            return Err(Refusal::new(Code::Forbidden, detail));
        }
        let mut from = asked.from.unwrap_or_default().max(Position(1));
        if let Some(activation) = asked.activation {
            // Nothing of an activation stands before it.
            let parts = parts(server, workspace.as_ref(), activation).await?;
            from = from.max(parts.position);
        }
        let Asked { stream, agent, type_name, activation, .. } = asked;
        let filter = Filter { caller, workspace, stream, agent, type_name, activation };
        Ok((Self { filter, limit, annexes: reads_all }, from))
    }

    /// Looks at a bounded number of records. Returns whether the head was reached.
    pub(crate) async fn run(
        &self,
        server: &Server,
        from: Position,
    ) -> Result<(LogPage, bool), Refusal> {
        let mut pages = Pages::of(server, self.filter.stream.as_ref(), from).await?;
        let mut found: Vec<Record> = Vec::new();
        let (mut looked_at, mut bytes) = (0, 0);
        let mut at_head = false;
        'pages: while looked_at < limits::SCAN_RECORDS_MAX && !at_head {
            let records = pages.read().await?;
            at_head = records.is_empty();
            looked_at += records.len();
            for record in records {
                let next = record.position.next();
                if self.filter.lets_through(&record) {
                    if found.len() >= self.limit || bytes > limits::LOG_BYTES_MAX {
                        break 'pages;
                    }
                    bytes += record.payload.len();
                    found.push(record);
                }
                pages.next = next;
            }
        }
        let mut next = pages.next;
        if self.annexes && annex_until_full(server, &mut found, bytes).await? {
            at_head = false;
            next = found.last().map_or(from, |last| last.position.next());
        }
        let events = found.into_iter().map(show).collect::<Result<_, _>>()?;
        Ok((LogPage { events, next, head: *server.log.head().borrow() }, at_head))
    }
}

/// What is looked at, page by page: the log, or of a stretch of it one stream alone.
struct Pages<'a> {
    log: &'a Log,
    /// The stream, the version to go on from, and the end of the stretch.
    alone: Option<(&'a StreamId, Version, Position)>,
    /// Everything before it was looked at.
    next: Position,
}

impl<'a> Pages<'a> {
    /// Begins at a position. One stream is read by itself where the head is far: near
    /// it, to look at all is cheaper.
    async fn of(
        server: &'a Server,
        stream: Option<&'a StreamId>,
        next: Position,
    ) -> Result<Self, Refusal> {
        let head = *server.log.head().borrow();
        let far = head.0.saturating_sub(next.0) > PAGE_RECORDS_MAX as u64;
        let alone = match stream.filter(|_| far) {
            Some(stream) => Some((stream, version_at(server, stream, next).await?, head)),
            None => None,
        };
        Ok(Self { log: &server.log, alone, next })
    }

    /// Reads the next page. An empty one is the head.
    async fn read(&mut self) -> Result<Vec<Record>, ReadError> {
        if let Some((stream, from, head)) = self.alone {
            let records = self.log.read_stream_bare(stream, from, PAGE_RECORDS_MAX).await?;
            if let Some(last) = records.last() {
                self.alone = Some((stream, last.version.next(), head));
                return Ok(records);
            }
            // The stretch has no more of it.
            self.next = self.next.max(head.next());
            self.alone = None;
        }
        self.log.read_bare(self.next, PAGE_RECORDS_MAX).await
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

impl Filter {
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
