//! Why a request has no answer.

use api_wire::problem::{Code, Problem};
use std::error::Error;
use std::io;
use std::time::Duration;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The server says no, or that it cannot, in its own words.
    #[error("{detail}{}", named(*code, request.as_deref()))]
    Refused {
        /// What went wrong, for programs.
        code: Code,
        /// The same for people, with what to do next.
        detail: String,
        /// The id under which the server's own log knows the request.
        request: Option<String>,
    },
    /// Something answered, but not as Ledger does: a proxy, or another program.
    #[error("{address} answered with HTTP status {status}, but not as Ledger does{}", quoted(.said))]
    Foreign {
        /// The server's address.
        address: String,
        /// The HTTP status.
        status: u16,
        /// How the answer begins.
        said: String,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("no answer from {address}")]
    Unreachable {
        /// The server's address.
        address: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server's certificate is not accepted.
    #[error(
        "{address} cannot prove that it is the server; its certificate must be signed by an authority that this machine trusts (SSL_CERT_FILE names others)"
    )]
    Certificate {
        /// The server's address.
        address: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server ended a stream that was to go on, as it does when it stops.
    #[error("{address} ended the stream of events")]
    StreamEnded {
        /// The server's address.
        address: String,
    },
    /// The server took too long.
    #[error("{address} did not answer within {}", humantime(.after))]
    TimedOut {
        /// The server's address.
        address: String,
        /// How long it was given.
        after: Duration,
    },
    /// The answer is larger than this program takes.
    #[error("the answer of {address} is larger than {max} bytes")]
    TooLarge {
        /// The server's address.
        address: String,
        /// How much it takes.
        max: usize,
    },
    /// The answer is not what this version of the program expects.
    #[error("the answer of {address} cannot be read; is the server of another version?")]
    Unreadable {
        /// The server's address.
        address: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
}

/// Names the request where the server's log has more to tell its operator.
fn named(code: Code, request: Option<&str>) -> String {
    request
        .filter(|_| code.status() >= 500)
        .map_or_else(String::new, |request| format!(" (request {request})"))
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said:?}") }
}

fn humantime(duration: &Duration) -> String {
    format!("{} s", duration.as_secs())
}

impl RequestError {
    /// Takes the server's own words.
    pub(super) fn from_problem(problem: Problem) -> Self {
        let request = problem.request().map(str::to_owned);
        Self::Refused { code: problem.code, detail: problem.detail, request }
    }

    /// Sorts what reqwest says. The address is ours to show: its URL may be long.
    pub(super) fn from_transport(address: &str, after: Duration, error: reqwest::Error) -> Self {
        let address = address.to_owned();
        let source = error.without_url();
        if source.is_timeout() && !source.is_connect() {
            Self::TimedOut { address, after }
        } else if is_certificate(&source) {
            Self::Certificate { address, source }
        } else {
            Self::Unreachable { address, source }
        }
    }

    /// Returns whether the same request may well be answered a little later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Refused { code, .. } => may_pass(code.status()),
            Self::Foreign { status, .. } => may_pass(*status),
            Self::Unreachable { .. } | Self::StreamEnded { .. } | Self::TimedOut { .. } => true,
            Self::Certificate { .. } | Self::TooLarge { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// Returns whether the server looked at the request and says that the
    /// caller has to change something.
    pub const fn is_refusal(&self) -> bool {
        match self {
            // 408 says that the request did not arrive in time, and judges nothing.
            Self::Refused { code, .. } => matches!(code.status(), 400..=407 | 409..=499),
            Self::Foreign { .. }
            | Self::Unreachable { .. }
            | Self::Certificate { .. }
            | Self::StreamEnded { .. }
            | Self::TimedOut { .. }
            | Self::TooLarge { .. }
            | Self::Unreadable { .. } => false,
        }
    }

    /// Returns the server's code, if it gave one.
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Returns whether a status is about the moment and not about the request.
const fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 502 | 503 | 504)
}

/// Looks for rustls in the chain of causes. An [`io::Error`] hides what it
/// carries from [`Error::source`], so it is opened by hand.
fn is_certificate(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if is_rustls(error) {
            return true;
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(inner) = inner {
            let inner: &(dyn Error + 'static) = inner;
            if is_rustls(inner)
                || inner.downcast_ref::<io::Error>().is_some_and(|e| is_certificate(e))
            {
                return true;
            }
        }
        next = error.source();
    }
    false
}

fn is_rustls(error: &(dyn Error + 'static)) -> bool {
    matches!(
        error.downcast_ref::<rustls::Error>(),
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
    )
}
