//! The HTTP API: one table of every route, and what each asks of its caller.

pub(crate) mod activations;
mod agents;
mod deployments;
mod health;
mod histories;
mod log;
mod output;
mod tokens;
mod whoami;
mod workspaces;

use crate::auth::guard::{Need, guard};
use crate::hub;
use crate::limits;
use crate::problem::Refusal;
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
use tower_http::catch_panic::CatchPanicLayer;

/// One route.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) need: Need,
    pub(crate) body_max: usize,
    handler: fn() -> MethodRouter<Server>,
}

const fn reads(
    path: &'static str,
    rights: &'static [Right],
    handler: fn() -> MethodRouter<Server>,
) -> Route {
    Route { method: "GET", path, need: Need::AnyOf(rights), body_max: 0, handler }
}

const fn writes(
    path: &'static str,
    rights: &'static [Right],
    handler: fn() -> MethodRouter<Server>,
) -> Route {
    let need = Need::AnyOf(rights);
    Route { method: "POST", path, need, body_max: REQUEST_BYTES_MAX, handler }
}

const fn open(path: &'static str, handler: fn() -> MethodRouter<Server>) -> Route {
    Route { method: "GET", path, need: Need::Nothing, body_max: 0, handler }
}

/// Every route. What it may be asked for stands in [`api_wire::http`].
pub(crate) const TABLE: &[Route] = &[
    Route {
        body_max: limits::ACTIVATE_BYTES_MAX,
        ..writes("/v1/activations", &[Right::Activate], || post(activations::activate))
    },
    reads("/v1/activations/{id}", &[Right::Follow], || get(activations::show_activation)),
    reads("/v1/log", &[Right::Read, Right::Follow], || get(log::read_log)),
    reads("/v1/output", &[Right::Follow], || get(output::read_output)),
    reads("/v1/agents", &[Right::Read], || get(agents::list_agents)),
    writes("/v1/agents/{name}/rekey", &[Right::Manage], || post(agents::rekey_agent)),
    writes("/v1/agents/{name}/retire", &[Right::Manage], || post(agents::retire_agent)),
    reads("/v1/deployments", &[Right::Follow], || get(deployments::list_deployments)),
    reads("/v1/deployments/{which}", &[Right::Follow], || get(deployments::show_deployment)),
    writes("/v1/deployments/{which}/cancel", &[Right::Activate], || {
        post(deployments::cancel_deployment)
    }),
    reads("/v1/tokens", &[Right::Manage], || get(tokens::list_tokens)),
    writes("/v1/tokens", &[Right::Manage], || post(tokens::issue_token)),
    writes("/v1/tokens/{id}/revoke", &[Right::Manage], || post(tokens::revoke_token)),
    reads("/v1/whoami", Right::ALL, || get(whoami::who_am_i)),
    reads("/v1/workspaces", &[Right::ManageLedger], || get(workspaces::list_workspaces)),
    writes("/v1/workspaces", &[Right::ManageLedger], || post(workspaces::create_workspace)),
    reads(api_wire::agent::PATH, &[Right::Connect], || get(hub::native::open_socket)),
    open("/healthz", || get(health::lives)),
    open("/readyz", || get(health::is_ready)),
];

/// Builds the router of the table.
pub(crate) fn router(server: &Server) -> Router {
    let mut router = Router::new();
    for route in TABLE {
        // Guard first, so that no body is read for whom may not send it.
        let mut handler = (route.handler)().route_layer(DefaultBodyLimit::max(route.body_max));
        if route.body_max > REQUEST_BYTES_MAX {
            handler = handler.route_layer(middleware::from_fn_with_state(server.clone(), in_turn));
        }
        let handler = handler
            .route_layer(middleware::from_fn_with_state((server.clone(), route.need), guard));
        router = router.route(route.path, handler);
    }
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(in_time))
        .layer(CatchPanicLayer::custom(caught))
        .with_state(server.clone())
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
