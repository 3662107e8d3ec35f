//! Figures, for Prometheus.

use crate::auth::Caller;
use crate::metrics::scrape::{Format, scrape};
use crate::problem::Refusal;
use crate::server::Server;
use api_wire::problem::Code;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use ledger_core::event::Reach;

/// `GET /metrics`, for a token of the whole ledger: the figures are of no workspace.
pub(crate) async fn read_metrics(
    server: State<Server>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if caller.token.reach != Reach::Ledger {
        let detail = "the figures are of the whole ledger, and the token is of one workspace; `ledger token create --kind read --ledger-wide` makes one that may read them";
        return Err(Refusal::new(Code::Forbidden, detail));
    }
    read_metrics_freely(server, headers).await
}

/// `GET /metrics` on the address that an operator set apart for it.
pub(crate) async fn read_metrics_freely(
    State(server): State<Server>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept);
    let page = scrape(&server, format).await.map_err(|error| {
        tracing::error!(%error, "The figures cannot be written.");
        Refusal::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, format.media_type())], page).into_response())
}
