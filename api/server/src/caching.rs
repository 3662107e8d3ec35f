//! What may be kept of an answer, and how it is asked for again.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;

/// Bytes of the digest that stand in an ETag: no two answers of one path share them.
const ETAG_BYTES: usize = 16;

/// Nothing is kept of an answer.
const NEVER: HeaderValue = HeaderValue::from_static("no-store");
/// Who asked may keep it, and asks again each time whether there is news.
const REVALIDATED: HeaderValue = HeaderValue::from_static("private, no-cache");
/// Anybody may keep it as long as one likes: another content has another address.
pub(crate) const FOREVER: HeaderValue =
    HeaderValue::from_static("public, max-age=31536000, immutable");

/// Says of every answer how long it may be kept: not at all, unless its route did.
pub(crate) async fn keep_nothing(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(NEVER);
    response
}

/// Gives an answer its ETag, and answers 304 to who holds it already.
pub(crate) async fn tag(request: Request, next: Next) -> Response {
    // The answer to HEAD has no body to tell the ETag from.
    let is_get = request.method() == Method::GET;
    let held = request.headers().clone();
    let response = next.run(request).await;
    if !is_get || response.status() != StatusCode::OK {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        // Every tagged body is in memory already, and so cannot break off.
        return crate::problem::Refusal::internal().into_response();
    };
    let etag = etag_of(&body);
    head.headers.entry(header::CACHE_CONTROL).or_insert(REVALIDATED);
    let unchanged = is_held(&held, &etag);
    if let Ok(etag) = HeaderValue::try_from(etag) {
        head.headers.insert(header::ETAG, etag);
    }
    if unchanged {
        head.status = StatusCode::NOT_MODIFIED;
        for of_body in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
            head.headers.remove(of_body);
        }
        return Response::from_parts(head, Body::empty());
    }
    Response::from_parts(head, Body::from(body))
}

fn etag_of(body: &[u8]) -> String {
    let hash = blake3::hash(body);
    let (short, _) = hash.as_bytes().split_at(ETAG_BYTES);
    format!("\"{}\"", HEXLOWER.encode(short))
}

/// Compares weakly, as If-None-Match does: a proxy may have marked the ETag `W/`.
fn is_held(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|held| {
        let held = held.trim();
        held == "*" || held.strip_prefix("W/").unwrap_or(held) == etag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_held_alone_in_a_list_marked_weak_or_by_a_star() {
        let etag = etag_of(b"body");
        let cases = [
            (etag.clone(), true),
            (format!("\"a\", {etag}"), true),
            (format!("W/{etag}"), true),
            ("*".to_owned(), true),
            (etag_of(b"other"), false),
            (etag.trim_matches('"').to_owned(), false),
            (String::new(), false),
        ];
        for (held, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, held.parse().expect("a value"));
            assert_eq!(is_held(&headers, &etag), expected, "{held}");
        }
        assert!(!is_held(&HeaderMap::new(), &etag));
    }
}
