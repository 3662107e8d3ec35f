//! Whether the server lives, and whether it can serve.

use crate::extract::Json;
use crate::server::Server;
use api_wire::http::Health;
use axum::extract::State;
use axum::http::StatusCode;

pub(crate) async fn lives() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

pub(crate) async fn is_ready(State(server): State<Server>) -> (StatusCode, Json<Health>) {
    match server.not_ready() {
        None => (StatusCode::OK, Json(Health { status: "ok".to_owned() })),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: why })),
    }
}
