//! Errors: RFC 9457 problem JSON with a closed set of codes.

use serde::{Deserialize, Serialize};

/// The media type of an error's body.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// An error's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:ledger:problem:` and the code.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The code, for programs.
    pub code: Code,
    /// The HTTP status, again.
    pub status: u16,
    /// What is wrong in general, in a few words.
    pub title: String,
    /// What is wrong here, why, and what to do next.
    pub detail: String,
    /// `urn:ledger:request:` and the id of the request, under which the server's
    /// own log knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(required = false, nullable = false))]
    pub instance: Option<String>,
}

/// What stands before a request's id in a problem's `instance`.
const REQUEST_URN: &str = "urn:ledger:request:";
/// Characters of a request's id.
const REQUEST_CHARS_MAX: usize = 64;

/// Returns whether the text may be a request's id: 1 to 64 letters, digits and
/// `.`, `_`, `-`, and nothing that looks like a token.
pub fn is_request_id(text: &str) -> bool {
    (1..=REQUEST_CHARS_MAX).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        && !text.starts_with("ldg_")
}

impl Problem {
    /// Makes the body of a code with the words for this occasion.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            type_uri: format!("urn:ledger:problem:{}", code.as_str()),
            code,
            status: code.status(),
            title: code.title().to_owned(),
            detail: detail.into(),
            instance: None,
        }
    }

    /// Says which request it is the answer to.
    pub fn about(mut self, request: &str) -> Self {
        self.instance = Some(format!("{REQUEST_URN}{request}"));
        self
    }

    /// Returns the id of the request that it answers, if it names one.
    pub fn request(&self) -> Option<&str> {
        let id = self.instance.as_deref()?.strip_prefix(REQUEST_URN)?;
        is_request_id(id).then_some(id)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $status:literal, $title:literal;)*) => {
        /// What went wrong, for programs. The set is closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code { $($(#[$doc])* #[serde(rename = $word)] $variant,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the word in the body.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Returns the HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// Returns what is wrong in general.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// Returns the code of a refusal by the domain.
            pub fn of_rejection(rejection: &ledger_core::Rejection) -> Self {
                let word = rejection.code();
                Self::ALL.iter().copied().find(|code| code.as_str() == word).unwrap_or(Self::Internal)
            }
        }
    };
}

codes! {
    /// A body, query or path that cannot be read.
    BadRequest = "bad_request", 400, "The request cannot be read";
    /// deploy.json breaks a rule.
    InvalidSpec = "invalid_spec", 422, "deploy.json breaks a rule";
    /// No token, or one that is not accepted.
    Unauthorized = "unauthorized", 401, "The token is not accepted";
    /// The token may not do this.
    Forbidden = "forbidden", 403, "The token may not do this";
    /// No such thing, or none that the token may see.
    NotFound = "not_found", 404, "There is no such thing";
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "The method is not allowed here";
    /// The body is larger than allowed.
    TooLarge = "too_large", 413, "The body is too large";
    /// The body is not JSON by its content type.
    UnsupportedMediaType = "unsupported_media_type", 415, "The body must be JSON";
    /// The request took too long to arrive.
    Timeout = "timeout", 408, "The request took too long";
    /// Too many refusals from this address.
    TooManyRequests = "too_many_requests", 429, "Too many refused requests";
    /// The same request id with another request.
    IdempotencyMismatch = "idempotency_mismatch", 409, "The request id was used for another request";
    /// The secret of the token to be issued is another token's already.
    SecretTaken = "secret_taken", 409, "The secret belongs to another token";
    /// The event has no annex, or no longer.
    AnnexNotFound = "annex_not_found", 404, "There is no annex to erase";
    /// The log cannot be written now.
    Unavailable = "unavailable", 503, "The log cannot be written now";
    /// A fault of the server.
    Internal = "internal", 500, "The server made a mistake";
    /// See [`ledger_core::Rejection`].
    WorkspaceNotFound = "workspace_not_found", 404, "There is no such workspace";
    /// See [`ledger_core::Rejection`].
    NodeLost = "node_lost", 503, "The server was taken for dead and starts again";
    /// See [`ledger_core::Rejection`].
    OriginMismatch = "origin_mismatch", 409, "The log has another name";
    /// See [`ledger_core::Rejection`].
    WorkspaceExists = "workspace_exists", 409, "The workspace exists already";
    /// See [`ledger_core::Rejection`].
    TokenNotFound = "token_not_found", 404, "There is no such token";
    /// See [`ledger_core::Rejection`].
    PatternsNotAllowed = "patterns_not_allowed", 422, "The token cannot be limited to agents";
    /// See [`ledger_core::Rejection`].
    TooManyPatterns = "too_many_patterns", 422, "Too many agent patterns";
    /// See [`ledger_core::Rejection`].
    ReachNotAllowed = "reach_not_allowed", 422, "The token must be bound to a workspace";
    /// See [`ledger_core::Rejection`].
    AgentNotFound = "agent_not_found", 404, "Unknown agents";
    /// See [`ledger_core::Rejection`].
    AgentRetired = "agent_retired", 409, "The agent is retired";
    /// See [`ledger_core::Rejection`].
    KeyMismatch = "key_mismatch", 403, "The name belongs to another key";
    /// See [`ledger_core::Rejection`].
    SessionReplaced = "session_replaced", 409, "Another session took this one's place";
    /// See [`ledger_core::Rejection`].
    AgentBusy = "agent_busy", 409, "Another deployment runs";
    /// See [`ledger_core::Rejection`].
    DeploymentNotFound = "deployment_not_found", 404, "There is no such deployment";
    /// See [`ledger_core::Rejection`].
    DeploymentSuperseded = "superseded", 409, "A newer deployment took its place";
    /// See [`ledger_core::Rejection`].
    DeploymentCancelled = "cancelled", 409, "The deployment was cancelled";
    /// See [`ledger_core::Rejection`].
    DeploymentStarted = "already_started", 409, "The deployment has started";
    /// See [`ledger_core::Rejection`].
    DeploymentEnded = "already_ended", 409, "The deployment has ended";
    /// See [`ledger_core::Rejection`].
    ReportInvalid = "report_invalid", 422, "The report holds an impossible number";
    /// See [`ledger_core::Rejection`].
    ReportOutOfOrder = "report_out_of_order", 409, "The report does not follow the one before";
}
