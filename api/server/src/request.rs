//! One request as an operator sees it: its id, its span, its line in the log and
//! its place in the figures.
//!
//! Lines have the target `ledger::request`. They name the route as the table
//! does, and never the path, a header or an address; only at DEBUG a line of its
//! own says where the request came from.

use crate::metrics::Metrics;
use crate::problem::Refusal;
use crate::routes::TABLE;
use api_wire::problem::{Problem, is_request_id};
use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use ledger_core::TokenId;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tracing::{Instrument, Span, debug, error_span, field, info, warn};

/// Carries a request's id: the client's own, or ours, and back again.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The target of the lines and spans of requests.
const TARGET: &str = "ledger::request";
/// What stands in place of a path that no route has.
pub(crate) const NO_ROUTE: &str = "other";

/// A request, from its arrival to the end of its answer. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct Asked(Arc<Inner>);

struct Inner {
    id: String,
    method: &'static str,
    route: &'static str,
    begun: Instant,
    token: OnceLock<TokenId>,
    /// At the level of errors, so that an error is never without it.
    span: Span,
}

impl Asked {
    fn new(request: &Request) -> Self {
        let id = id_of(request.headers());
        let span = error_span!(target: TARGET, "request", %id, token = field::Empty);
        Self(Arc::new(Inner {
            id,
            method: method_of(request.method()),
            route: route_of(request.extensions().get::<MatchedPath>()),
            begun: Instant::now(),
            token: OnceLock::new(),
            span,
        }))
    }

    /// Notes whose request it is.
    pub(crate) fn identify(&self, token: TokenId) {
        if self.0.token.set(token).is_ok() {
            self.0.span.record("token", field::display(token));
        }
    }

    /// Returns the span in which what the request causes is to be logged.
    pub(crate) fn span(&self) -> Span {
        self.0.span.clone()
    }

    /// Logs the end of a connection that the request turned into something else.
    pub(crate) fn closed(&self) {
        self.log(StatusCode::SWITCHING_PROTOCOLS, None);
    }

    /// Logs and counts the answer, and puts the id on it.
    fn answer(&self, metrics: &Metrics, response: &mut Response) {
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            metrics.refuse(problem.code);
            // Strings and numbers, which cannot fail to encode.
            let body = serde_json::to_vec(&problem.about(&self.0.id)).unwrap_or_default();
            *response.body_mut() = Body::from(body);
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        if let Ok(id) = HeaderValue::from_str(&self.0.id) {
            response.headers_mut().insert(HEADER, id);
        }
        let status = response.status();
        metrics.answer(self.0.route, status.as_u16());
        // What a connection was turned into is logged at its end.
        if status != StatusCode::SWITCHING_PROTOCOLS {
            self.log(status, response.body().size_hint().exact());
        }
    }

    fn log(&self, status: StatusCode, bytes: Option<u64>) {
        let Inner { id, method, route, begun, token, .. } = &*self.0;
        let token = token.get().map(field::display);
        let (status, ms) = (status.as_u16(), milliseconds(begun));
        // A line stands alone: its fields are not those of a span around it.
        if status >= 500 {
            warn!(target: TARGET, parent: None, request = %id, %method, %route, status, ms, bytes, token, "A request failed.");
        } else {
            info!(target: TARGET, parent: None, request = %id, %method, %route, status, ms, bytes, token, "A request was answered.");
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // [`observe`] is around every route.
        parts.extensions.get::<Self>().cloned().ok_or_else(Refusal::internal)
    }
}

/// Around every route and every refusal: gives the request its id, and logs and
/// counts how it was answered.
pub(crate) async fn observe(
    State(metrics): State<Arc<Metrics>>,
    mut request: Request,
    next: Next,
) -> Response {
    let asked = Asked::new(&request);
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        debug!(target: TARGET, parent: None, request = %asked.0.id, %peer, "A request came in.");
    }
    request.extensions_mut().insert(asked.clone());
    let mut unanswered = Unanswered(Some(&asked));
    let mut response = next.run(request).instrument(asked.span()).await;
    unanswered.0 = None;
    asked.answer(&metrics, &mut response);
    response
}

/// Says so when a request is dropped before it is answered.
struct Unanswered<'a>(Option<&'a Asked>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let Some(Asked(asked)) = self.0 else { return };
        let Inner { id, method, route, begun, token, .. } = &**asked;
        let (ms, token) = (milliseconds(begun), token.get().map(field::display));
        info!(target: TARGET, parent: None, request = %id, %method, %route, ms, token, "Nobody waits for an answer any more.");
    }
}

/// Returns the client's id for its request, if it may be one, or a fresh one.
fn id_of(headers: &HeaderMap) -> String {
    let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
    match given.filter(|text| is_request_id(text)) {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::now_v7().to_string(),
    }
}

/// Returns the route's own text, which lives as long as the program.
fn route_of(matched: Option<&MatchedPath>) -> &'static str {
    let path = matched.map_or("", MatchedPath::as_str);
    TABLE.iter().map(|route| route.path).find(|route| *route == path).unwrap_or(NO_ROUTE)
}

/// Returns the method's name. One of the client's own making could be anything.
fn method_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => NO_ROUTE,
    }
}

fn milliseconds(since: &Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, kept: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, given.parse().expect("a header"));
        let id = id_of(&headers);
        assert_eq!(id == given, kept, "{given:?} became {id:?}");
        assert!(is_request_id(&id), "{id:?}");
    }

    #[test]
    fn a_clients_id_is_kept_only_if_it_is_short_and_plain_and_no_token() {
        check("7", true);
        check("build-81.attempt_2", true);
        check(&"a".repeat(64), true);
        check(&"a".repeat(65), false);
        check("", false);
        check("two words", false);
        check("a/b", false);
        check("a\"b", false);
        check("ldg_admin_0123456789012345678901234567890123456789012", false);
        let fresh = id_of(&HeaderMap::new());
        assert_ne!(fresh, id_of(&HeaderMap::new()));
        assert_eq!(uuid::Uuid::parse_str(&fresh).expect("a UUID").get_version_num(), 7);
    }
}
