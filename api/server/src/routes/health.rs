//! Whether the server lives, and whether it can serve.

use crate::extract::Json;
use crate::limits;
use crate::server::Server;
use api_wire::http::Health;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

pub(crate) async fn lives() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

pub(crate) async fn is_ready(State(server): State<Server>) -> Response {
    match server.not_ready() {
        None => Json(Health { status: "ok".to_owned() }).into_response(),
        Some(why) => {
            let retry = [(header::RETRY_AFTER, limits::RETRY_AFTER.as_secs().to_string())];
            (StatusCode::SERVICE_UNAVAILABLE, retry, Json(Health { status: why })).into_response()
        }
    }
}
