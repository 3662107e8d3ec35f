//! The one place where failures become answers: problem JSON with a closed code.

use api_wire::problem::{CONTENT_TYPE, Code, Problem};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ledger_core::Rejection;
use ledger_store::{ReadError, WriteError};
use projections::WaitError;
use std::error::Error;
use std::time::Duration;
use tracing::{error, warn};

/// A request that gets a problem for an answer.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) detail: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after: None }
    }

    pub(crate) fn after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    /// The log, the fold or the server itself cannot serve now.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, detail)
    }

    /// Returns the body of the answer.
    pub(crate) fn problem(&self) -> Problem {
        Problem::new(self.code, self.detail.clone())
    }

    /// A fault of ours. What happened goes to our log, not to the client.
    pub(crate) fn internal() -> Self {
        let detail = "the server's own log says more; try again, and tell its operator if it stays";
        Self::new(Code::Internal, detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status);
        // A problem holds strings and numbers, which cannot fail to encode.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response =
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if is_to_be_retried(problem.status) {
            let wait = self.retry_after.unwrap_or(crate::limits::RETRY_AFTER);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        // For who counts the answer and knows which request it is for.
        response.extensions_mut().insert(problem);
        response
    }
}

/// Returns whether an answer of the status says when to ask again.
pub(crate) const fn is_to_be_retried(status: u16) -> bool {
    matches!(status, 429 | 503)
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::new(Code::of_rejection(&rejection), rejection.to_string())
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Rejected(rejection) => rejection.into(),
            WriteError::IdempotencyMismatch { .. } => Self::new(
                Code::IdempotencyMismatch,
                format!("{error}; a new request needs a new id"),
            ),
            WriteError::TooLarge { .. } => Self::new(Code::TooLarge, error.to_string()),
            WriteError::NoAnnex { .. } => Self::new(Code::AnnexNotFound, error.to_string()),
            WriteError::Unavailable { .. } => Self::unavailable(error.to_string()),
            WriteError::Conflict { .. } => {
                Self::unavailable(format!("{error}; send the same request again"))
            }
            WriteError::Database(ref why) => {
                error!(error = chain(&error), "A write failed.");
                Self::unavailable(format!(
                    "the database failed ({why}), and whether the write came through is open; send the same request again"
                ))
            }
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        error!(error = chain(&error), "A read failed.");
        match error {
            ReadError::Database(_) => Self::unavailable("the database failed; try again"),
            ReadError::Closed => Self::unavailable("this server is stopping; try again"),
            ReadError::Gap { .. } | ReadError::Corrupt { .. } | ReadError::Tile { .. } => {
                Self::internal()
            }
        }
    }
}

impl From<WaitError> for Refusal {
    fn from(error: WaitError) -> Self {
        warn!(error = chain(&error), "The fold did not reach a write.");
        Self::unavailable(format!(
            "the write is recorded, but its result cannot be shown yet: {error}; send the same request again"
        ))
    }
}

impl From<projections::Halt> for Refusal {
    fn from(error: projections::Halt) -> Self {
        error!(error = chain(&error), "A stream cannot be folded.");
        Self::internal()
    }
}

/// Puts an error and what led to it into one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
