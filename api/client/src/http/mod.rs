//! The HTTP API, typed. Requests are sent again by themselves.
//!
//! A request is retried when the connection breaks, when the server says that
//! it is busy (429) or a proxy that it is away (502, 503, 504), within a bounded
//! time, and always with the same request id: it counts once. What comes back
//! in the end is the answer or the last error.

mod error;
mod events;
mod mirror;
mod probe;
mod retry;
mod routes;

pub use error::RequestError;
pub use events::{Events, Streamed};
pub use mirror::{Mirror, MirrorError};
pub use probe::{Probe, ProbeError, TextError, probe, text_at};
pub use retry::{Retry, random};
pub use routes::{DeploymentRef, InvalidDeploymentRef};

use crate::endpoint::Endpoint;
use crate::limits;
use api_wire::problem::Problem;
use ledger_core::ids::{ActivationId, RequestId};
use ledger_core::names::WorkspaceName;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Makes the id of a write. Make it once, and keep it in the request's body.
pub fn new_request_id() -> RequestId {
    RequestId::new(uuid::Uuid::now_v7())
}

/// Makes the id of an activation, which is its request id too.
pub fn new_activation_id() -> ActivationId {
    ActivationId::new(uuid::Uuid::now_v7())
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The TLS library does not start: mostly, no certificates are installed.
    #[error(
        "encrypted connections cannot be made here; is the machine's list of certificate authorities installed (ca-certificates)?"
    )]
    Tls(#[source] reqwest::Error),
}

/// Hears that a request will be sent again: after which error, and when.
pub type OnRetry = Arc<dyn Fn(&RequestError, Duration) + Send + Sync>;

/// A client of one server. Cloning it is cheap.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    workspace: Option<WorkspaceName>,
    patience: Duration,
    on_retry: Option<OnRetry>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("workspace", &self.workspace)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// Returns what every connection to a server begins with.
fn builder(user_agent: &str, encrypted: bool) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(user_agent)
        .connect_timeout(limits::CONNECT_TIMEOUT)
        // A redirect would carry the token to where nobody said it should go.
        .redirect(reqwest::redirect::Policy::none())
        // Retries are ours: they know what may be repeated.
        .retry(reqwest::retry::never());
    if encrypted {
        return builder;
    }
    // The token is in the clear, so it must not leave the machine for a
    // proxy; and certificates need not be there for a TLS that is not used.
    builder.no_proxy().tls_certs_only([])
}

/// One request, before it is sent.
struct Request<'a, Q, B> {
    method: Method,
    path: &'a str,
    query: Option<&'a Q>,
    body: Option<&'a B>,
    /// How long the server was asked to wait for news.
    wait: Duration,
}

impl Client {
    /// Makes a client that names itself `user_agent`, like `ledger/0.1.0`.
    pub fn new(endpoint: Endpoint, user_agent: &str) -> Result<Self, ClientError> {
        let http = builder(user_agent, endpoint.url("/").scheme() == "https")
            .build()
            .map_err(ClientError::Tls)?;
        Ok(Self { http, endpoint, workspace: None, patience: limits::PATIENCE, on_retry: None })
    }

    /// Names the workspace of every request that does not name one itself.
    pub fn in_workspace(mut self, workspace: Option<WorkspaceName>) -> Self {
        self.workspace = workspace;
        self
    }

    /// Sets for how long requests are sent again; with zero each is sent once.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets who hears of every retry.
    pub fn on_retry(mut self, on_retry: OnRetry) -> Self {
        self.on_retry = Some(on_retry);
        self
    }

    /// Returns the workspace of requests that do not name one themselves.
    pub fn named_workspace(&self) -> Option<&WorkspaceName> {
        self.workspace.as_ref()
    }

    /// Returns the server's address as it is shown to people.
    pub fn address(&self) -> &str {
        self.endpoint.address()
    }

    async fn send<Q, B, A>(&self, request: Request<'_, Q, B>) -> Result<A, RequestError>
    where
        Q: Serialize,
        B: Serialize,
        A: DeserializeOwned,
    {
        let begun = Instant::now();
        let mut retry = Retry::new(self.patience);
        loop {
            let failed = match self.send_once(&request).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if !failed.error.is_transient() {
                return Err(failed.error);
            }
            match retry.next(begun.elapsed(), failed.retry_after, random()) {
                Some(wait) => {
                    if let Some(on_retry) = &self.on_retry {
                        on_retry(&failed.error, wait);
                    }
                    tokio::time::sleep(wait).await;
                }
                None => return Err(failed.error),
            }
        }
    }

    async fn send_once<Q, B, A>(&self, request: &Request<'_, Q, B>) -> Result<A, Failed>
    where
        Q: Serialize,
        B: Serialize,
        A: DeserializeOwned,
    {
        let after = limits::ANSWER_TIMEOUT.saturating_add(request.wait);
        let transport =
            |error| Failed::from(RequestError::from_transport(self.address(), after, error));
        let mut builder = self
            .http
            .request(request.method.clone(), self.endpoint.url(request.path))
            .timeout(after)
            .bearer_auth(self.endpoint.secret().reveal());
        if let Some(query) = request.query {
            builder = builder.query(query);
        }
        if let Some(body) = request.body {
            builder = builder.json(body);
        }
        let response = builder.send().await.map_err(transport)?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let bytes = self.read(response, after).await?;
        if !status.is_success() {
            return Err(Failed { error: self.failure(status.as_u16(), &bytes), retry_after });
        }
        serde_json::from_slice(&bytes).map_err(|source| {
            let address = self.address().to_owned();
            let (status, said) = (status.as_u16(), beginning(&bytes));
            // JSON of other fields is of another version; a page is of something else.
            let error = match source.classify() {
                Category::Syntax => RequestError::Foreign { address, status, said },
                _ => RequestError::Unreadable { address, source },
            };
            error.into()
        })
    }

    /// Reads a whole answer, but no more than is bounded.
    async fn read(&self, mut response: Response, after: Duration) -> Result<Vec<u8>, Failed> {
        let mut bytes = Vec::new();
        loop {
            let chunk = response
                .chunk()
                .await
                .map_err(|error| RequestError::from_transport(self.address(), after, error))?;
            let Some(chunk) = chunk else { return Ok(bytes) };
            if bytes.len() + chunk.len() > limits::ANSWER_BYTES_MAX {
                let (address, max) = (self.address().to_owned(), limits::ANSWER_BYTES_MAX);
                return Err(RequestError::TooLarge { address, max }.into());
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    /// Reads an answer that is no success.
    fn failure(&self, status: u16, body: &[u8]) -> RequestError {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) if problem.code.status() == status => RequestError::from_problem(problem),
            _ => RequestError::Foreign {
                address: self.address().to_owned(),
                status,
                said: beginning(body),
            },
        }
    }
}

/// An attempt that failed, and for how long the server wants to be left alone.
struct Failed {
    error: RequestError,
    retry_after: Option<Duration>,
}

impl From<RequestError> for Failed {
    fn from(error: RequestError) -> Self {
        Self { error, retry_after: None }
    }
}

/// Reads `Retry-After` in seconds. The form with a date is not used by anything here.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns the first words of a body that is not ours, in one line.
fn beginning(body: &[u8]) -> String {
    let start = body.get(..4096).unwrap_or(body);
    let text = String::from_utf8_lossy(start);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(limits::FOREIGN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
