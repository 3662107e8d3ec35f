//! The log as a stream, taken up again wherever it broke.

use super::{Client, Failed, RequestError, Retry, random, retry_after};
use crate::limits;
use api_wire::http::{EventsFormat, EventsQuery, LogEvent, StreamCursor, StreamProblem};
use ledger_core::ids::Position;
use reqwest::Response;
use serde_json::Value;
use std::time::Instant;
use tokio::time::timeout;

/// What a stream of events says next.
#[derive(Clone, Debug, PartialEq)]
pub enum Streamed {
    /// An event.
    Event(Box<LogEvent>),
    /// Nothing, but everything up to this position was looked at.
    Cursor(Position),
    /// The end of the log, for who does not follow.
    End,
}

/// A stream of events that is opened again, from where it was, when it breaks.
///
/// Nothing is given twice and nothing is left out: the place is that of the
/// last event or cursor that was read whole.
pub struct Events {
    client: Client,
    query: EventsQuery,
    open: Option<Lines>,
    /// Since when the server has not been heard of, and how often it was tried.
    silent_since: Instant,
    retry: Retry,
}

impl Client {
    /// Streams the log. Every form but JSON lines is overruled.
    pub fn events(&self, query: EventsQuery) -> Events {
        let workspace = query.workspace.clone().or_else(|| self.workspace.clone());
        let query = EventsQuery { workspace, format: Some(EventsFormat::Jsonl), ..query };
        Events {
            client: self.clone(),
            query,
            open: None,
            silent_since: Instant::now(),
            retry: Retry::new(self.patience),
        }
    }

    async fn open_events(&self, query: &EventsQuery) -> Result<Lines, Failed> {
        let after = limits::STREAM_SILENCE_MAX;
        let request = self
            .http
            .get(self.endpoint.url("/v1/events"))
            .bearer_auth(self.endpoint.secret().reveal())
            .query(query)
            .send();
        let response = match timeout(after, request).await {
            Ok(response) => response
                .map_err(|error| RequestError::from_transport(self.address(), after, error))?,
            Err(_) => return Err(self.silence().into()),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(Lines { response, bytes: Vec::new(), looked_at: 0 });
        }
        let retry_after = retry_after(response.headers());
        let body = self.read(response, after).await?;
        Err(Failed { error: self.failure(status.as_u16(), &body), retry_after })
    }

    fn silence(&self) -> RequestError {
        let after = limits::STREAM_SILENCE_MAX;
        RequestError::TimedOut { address: self.address().to_owned(), after }
    }
}

impl Events {
    /// Waits for what comes next.
    pub async fn next(&mut self) -> Result<Streamed, RequestError> {
        loop {
            let failed = match self.try_next().await {
                Ok(Some(streamed)) => {
                    self.silent_since = Instant::now();
                    self.retry.reset();
                    self.pass(&streamed);
                    return Ok(streamed);
                }
                // A server that stops ends its streams; it may well come back.
                Ok(None) if self.query.follow == Some(false) => return Ok(Streamed::End),
                Ok(None) => Failed::from(RequestError::StreamEnded {
                    address: self.client.address().to_owned(),
                }),
                Err(failed) => failed,
            };
            self.open = None;
            if !failed.error.is_transient() {
                return Err(failed.error);
            }
            let elapsed = self.silent_since.elapsed();
            let Some(wait) = self.retry.next(elapsed, failed.retry_after, random()) else {
                return Err(failed.error);
            };
            if let Some(on_retry) = &self.client.on_retry {
                on_retry(&failed.error, wait);
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn try_next(&mut self) -> Result<Option<Streamed>, Failed> {
        let lines = match &mut self.open {
            Some(lines) => lines,
            None => self.open.insert(self.client.open_events(&self.query).await?),
        };
        match lines.next(&self.client).await? {
            Some(line) => read_line(&self.client, &line).map(Some),
            None => Ok(None),
        }
    }

    /// Moves the place from which the stream would be opened again.
    fn pass(&mut self, streamed: &Streamed) {
        match streamed {
            Streamed::Event(event) => self.query.from = Some(event.position.next()),
            Streamed::Cursor(cursor) => self.query.from = Some(cursor.next()),
            Streamed::End => {}
        }
    }
}

/// Tells the lines apart: each that is no event has one key, which says what it is.
fn read_line(client: &Client, line: &[u8]) -> Result<Streamed, Failed> {
    let unreadable = |source| {
        let address = client.address().to_owned();
        Failed::from(RequestError::Unreadable { address, source })
    };
    let value: Value = serde_json::from_slice(line).map_err(unreadable)?;
    if value.get("cursor").is_some() {
        let StreamCursor { cursor } = serde_json::from_value(value).map_err(unreadable)?;
        return Ok(Streamed::Cursor(cursor));
    }
    if value.get("problem").is_some() {
        let StreamProblem { problem } = serde_json::from_value(value).map_err(unreadable)?;
        return Err(RequestError::from_problem(problem).into());
    }
    serde_json::from_value(value).map(|event| Streamed::Event(Box::new(event))).map_err(unreadable)
}

/// An answer that is read line by line.
struct Lines {
    response: Response,
    /// What came and was not given yet.
    bytes: Vec<u8>,
    /// How much of it holds no end of a line.
    looked_at: usize,
}

impl Lines {
    /// Returns the next whole line, or nothing at the end. What breaks off in the
    /// middle of a line was never said.
    async fn next(&mut self, client: &Client) -> Result<Option<Vec<u8>>, RequestError> {
        loop {
            let fresh = self.bytes.get(self.looked_at..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let rest = self.bytes.split_off(self.looked_at + end + 1);
                self.looked_at = 0;
                return Ok(Some(std::mem::replace(&mut self.bytes, rest)));
            }
            self.looked_at = self.bytes.len();
            if self.bytes.len() > limits::STREAM_LINE_BYTES_MAX {
                let (address, max) = (client.address().to_owned(), limits::STREAM_LINE_BYTES_MAX);
                return Err(RequestError::TooLarge { address, max });
            }
            let after = limits::STREAM_SILENCE_MAX;
            let chunk = timeout(after, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| client.silence())?;
            let broken = |error| RequestError::from_transport(client.address(), after, error);
            match chunk.map_err(broken)? {
                Some(chunk) => self.bytes.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}
