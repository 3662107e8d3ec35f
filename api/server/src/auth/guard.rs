//! The guard before each route: no body is read for whom may not send it.

use crate::auth::Caller;
use crate::problem::Refusal;
use crate::request::Asked;
use crate::server::Server;
use api_wire::problem::Code;
use api_wire::token::Secret;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ledger_core::rights::Right;
use projections::access::Token;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// Nothing, not even a token.
    Nothing,
    /// A token with any of these rights.
    AnyOf(&'static [Right]),
}

/// Lets the request through with its [`Caller`], or answers why not.
pub(crate) async fn guard(
    State((server, need)): State<(Server, Need)>,
    mut request: Request,
    next: Next,
) -> Response {
    let Need::AnyOf(rights) = need else { return next.run(request).await };
    let caller = match identify(&server, &request) {
        Ok(caller) => caller,
        Err(refusal) => return refusal.into_response(),
    };
    if let Some(asked) = request.extensions().get::<Asked>() {
        asked.identify(caller.token.id);
    }
    if !rights.iter().any(|right| caller.may(*right)) {
        return forbidden(&caller, rights).into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn forbidden(caller: &Caller, rights: &[Right]) -> Refusal {
    let rights: Vec<&str> = rights.iter().map(|right| right.as_str()).collect();
    let (kind, reach) = (caller.token.kind, caller.token.reach);
    Refusal::new(
        Code::Forbidden,
        format!(
            "this needs the right {}, which a token of kind {kind} with the reach {reach} does not hold",
            rights.join(" or ")
        ),
    )
}

fn identify(server: &Server, request: &Request) -> Result<Caller, Refusal> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let address = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical());
    let token = authenticate(server, request.headers()).map_err(|refusal| {
        // Without an address, as behind no socket, all are counted as one.
        let counted = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        match server.refusals.count(counted, server.clock.uptime()) {
            None => refusal,
            Some(wait) => Refusal::new(
                Code::TooManyRequests,
                "too many requests without a good token came from this address; wait, and check the token",
            )
            .after(wait),
        }
    })?;
    let client = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Ok(Caller {
        token,
        address,
        client: client.map(str::to_owned),
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
    })
}

fn authenticate(server: &Server, headers: &HeaderMap) -> Result<Arc<Token>, Refusal> {
    let refuse = |detail: &str| Refusal::new(Code::Unauthorized, detail);
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let text = header
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token)
        .ok_or_else(|| refuse("send the header Authorization: Bearer and a token"))?;
    let secret = Secret::parse(text).map_err(|error| refuse(&error.to_string()))?;
    let hash = server.key.hash(&secret);
    let snapshot = server.live.snapshot();
    let unknown = || refuse("the token is not known here; it may have been revoked");
    let token = snapshot.state.access.by_hash(&hash).ok_or_else(unknown)?;
    if !bool::from(token.hash.0.ct_eq(&hash.0)) {
        return Err(unknown());
    }
    if !token.is_valid_at(server.clock.now()) {
        return Err(refuse("the token has expired; ask an operator for a new one"));
    }
    Ok(token.clone())
}
