//! The HTTP API: one table of every route, and what each asks of its caller.

pub(crate) mod activations;
mod agents;
mod deployments;
mod described;
pub(crate) mod docs;
mod events;
mod health;
mod histories;
mod log;
mod metrics;
mod output;
mod proofs;
mod scan;
mod tokens;
mod tree;
mod whoami;
mod workspaces;

use crate::auth::guard::{Need, guard};
use crate::caching;
use crate::hub::native;
use crate::limits;
use crate::metrics::Metrics;
use crate::openapi::Description;
use crate::problem::Refusal;
use crate::request;
use crate::server::Server;
use api_wire::problem::Code;
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use ledger_core::limits::REQUEST_BYTES_MAX;
use ledger_core::rights::Right;
use std::any::Any;
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;

/// One route.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) need: Need,
    pub(crate) body_max: usize,
    /// Whether answers carry an ETag, by which a client asks for news only.
    pub(crate) tagged: bool,
    /// The handler's name, which is the operation's id.
    pub(crate) id: &'static str,
    /// What the API's description says of it.
    pub(crate) describe: fn() -> Description,
    handler: fn() -> MethodRouter<Server>,
}

/// A handler with its name and its description, which [`described`] holds under the
/// same name.
struct Handled {
    id: &'static str,
    describe: fn() -> Description,
    handler: fn() -> MethodRouter<Server>,
}

macro_rules! handled {
    ($method:ident, $room:ident, $handler:ident) => {
        Handled {
            id: stringify!($handler),
            describe: described::$handler,
            handler: || $method($room::$handler),
        }
    };
}

const fn reads(path: &'static str, rights: &'static [Right], by: Handled) -> Route {
    let Handled { id, describe, handler } = by;
    let need = Need::AnyOf(rights);
    Route { method: "GET", path, need, body_max: 0, tagged: false, id, describe, handler }
}

const fn lists(path: &'static str, rights: &'static [Right], by: Handled) -> Route {
    Route { tagged: true, ..reads(path, rights, by) }
}

const fn writes(path: &'static str, rights: &'static [Right], by: Handled) -> Route {
    Route { method: "POST", body_max: REQUEST_BYTES_MAX, ..reads(path, rights, by) }
}

const fn open(path: &'static str, by: Handled) -> Route {
    Route { need: Need::Nothing, ..reads(path, &[], by) }
}

const fn shows(path: &'static str, by: Handled) -> Route {
    Route { tagged: true, ..open(path, by) }
}

/// Every route. What it may be asked for stands in [`api_wire::http`].
pub(crate) const TABLE: &[Route] = &[
    Route {
        body_max: limits::ACTIVATE_BYTES_MAX,
        ..writes("/v1/activations", &[Right::Activate], handled!(post, activations, activate))
    },
    reads("/v1/activations/{id}", &[Right::Follow], handled!(get, activations, show_activation)),
    reads("/v1/log", &[Right::Read, Right::Follow], handled!(get, log, read_log)),
    reads("/v1/events", &[Right::Read, Right::Follow], handled!(get, events, stream_events)),
    reads("/v1/output", &[Right::Follow], handled!(get, output, read_output)),
    lists("/v1/agents", &[Right::Read], handled!(get, agents, list_agents)),
    writes("/v1/agents/{name}/rekey", &[Right::Manage], handled!(post, agents, rekey_agent)),
    writes("/v1/agents/{name}/retire", &[Right::Manage], handled!(post, agents, retire_agent)),
    lists("/v1/deployments", &[Right::Follow], handled!(get, deployments, list_deployments)),
    reads("/v1/deployments/{which}", &[Right::Follow], handled!(get, deployments, show_deployment)),
    writes(
        "/v1/deployments/{which}/cancel",
        &[Right::Activate],
        handled!(post, deployments, cancel_deployment),
    ),
    lists("/v1/tokens", &[Right::Manage], handled!(get, tokens, list_tokens)),
    writes("/v1/tokens", &[Right::Manage], handled!(post, tokens, issue_token)),
    writes("/v1/tokens/{id}/revoke", &[Right::Manage], handled!(post, tokens, revoke_token)),
    reads("/v1/whoami", Right::ALL, handled!(get, whoami, who_am_i)),
    lists("/v1/workspaces", &[Right::ManageLedger], handled!(get, workspaces, list_workspaces)),
    writes("/v1/workspaces", &[Right::ManageLedger], handled!(post, workspaces, create_workspace)),
    reads(api_wire::agent::PATH, &[Right::Connect], handled!(get, native, open_socket)),
    shows("/v1/openapi.json", handled!(get, docs, describe_api)),
    shows("/v1/docs", handled!(get, docs, show_docs)),
    shows("/v1/docs/{file}", handled!(get, docs, load_docs_file)),
    reads("/v1/proofs/inclusion", &[Right::Read], handled!(get, proofs, prove_event)),
    reads("/v1/proofs/consistency", Right::ALL, handled!(get, proofs, prove_growth)),
    reads("/v1/signing-keys", Right::ALL, handled!(get, proofs, list_signing_keys)),
    writes("/v1/erasures", &[Right::ManageLedger], handled!(post, proofs, erase_annex)),
    shows("/checkpoint", handled!(get, tree, show_checkpoint)),
    lists("/tile/entries/{*index}", &[Right::Read], handled!(get, tree, show_entries)),
    shows("/tile/{level}/{*index}", handled!(get, tree, show_tile)),
    reads("/metrics", &[Right::Read], handled!(get, metrics, read_metrics)),
    open("/healthz", handled!(get, health, lives)),
    open("/readyz", handled!(get, health, is_ready)),
];

/// Builds the router of the table.
pub(crate) fn router(server: &Server) -> Router {
    let mut router = Router::new();
    for route in TABLE {
        // Guard first, so that no body is read for whom may not send it.
        let mut handler = (route.handler)().route_layer(DefaultBodyLimit::max(route.body_max));
        if route.tagged {
            handler = handler.route_layer(middleware::from_fn(caching::tag));
        }
        if route.body_max > REQUEST_BYTES_MAX {
            handler = handler.route_layer(middleware::from_fn_with_state(server.clone(), in_turn));
        }
        let handler = handler
            .route_layer(middleware::from_fn_with_state((server.clone(), route.need), guard));
        router = router.route(route.path, handler);
    }
    let router = router.with_state(server.clone());
    around(router, server.metrics.clone())
}

/// Builds the router of what a monitoring system may ask without a token, on an
/// address of its own.
pub(crate) fn monitoring_router(server: &Server) -> Router {
    let router = Router::new()
        .route("/metrics", get(metrics::read_metrics_freely))
        .route("/healthz", get(health::lives))
        .route("/readyz", get(health::is_ready));
    around(router.with_state(server.clone()), server.metrics.clone())
}

/// Puts around the routes what holds for every request.
pub(crate) fn around(router: Router, metrics: Arc<Metrics>) -> Router {
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(in_time))
        .layer(CatchPanicLayer::custom(caught))
        .layer(middleware::from_fn(caching::keep_nothing))
        .layer(middleware::from_fn_with_state(metrics, request::observe))
}

/// Cuts a list into a page: at most so many, and the last one's cursor if there are
/// more.
fn page<T, C>(
    mut all: impl Iterator<Item = T>,
    asked: Option<usize>,
    cursor: impl Fn(&T) -> C,
) -> (Vec<T>, Option<C>) {
    let limit = asked.unwrap_or(limits::LIST_MAX).clamp(1, limits::LIST_MAX);
    let page: Vec<T> = all.by_ref().take(limit).collect();
    let next = page.last().map(cursor).filter(|_| all.next().is_some());
    (page, next)
}

/// Lets only a few large bodies be read at once: each is held in memory, whole.
async fn in_turn(State(server): State<Server>, request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length <= REQUEST_BYTES_MAX) {
        return next.run(request).await;
    }
    match server.large_bodies.acquire().await {
        Ok(_turn) => next.run(request).await,
        // Nobody closes it.
        Err(_) => Refusal::internal().into_response(),
    }
}

async fn no_such_path() -> Refusal {
    Refusal::new(Code::NotFound, "the API has no such path; it begins with /v1")
}

async fn no_such_method(path: Option<MatchedPath>) -> Refusal {
    let path = path.as_ref().map_or("", MatchedPath::as_str);
    let methods = TABLE.iter().filter(|route| route.path == path).map(|route| route.method);
    let methods: Vec<&str> = methods.collect();
    let detail = format!("the path takes {}", methods.join(" and "));
    Refusal::new(Code::MethodNotAllowed, detail)
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(limits::REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::new(
            Code::Timeout,
            "the request was not done in time; what it wrote may still come through, so send the same request again",
        )
        .into_response(),
    }
}

/// A panic is our defect. Its message went to the log; the client gets none of it.
fn caught(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of no text");
    tracing::error!(panic = text, "A request panicked.");
    Refusal::internal().into_response()
}
