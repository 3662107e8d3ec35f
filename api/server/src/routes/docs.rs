//! The API's description: for programs, and to read in a browser.

use crate::caching::FOREVER;
use crate::extract::Path;
use crate::openapi::document;
use crate::problem::Refusal;
use api_wire::problem::Code;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;

/// A file that the page loads, packed or as it is.
struct Asset {
    name: &'static str,
    media: &'static str,
    bytes: &'static [u8],
    /// Whether it is another's: packed by gzip, and named with its version.
    vendored: bool,
}

/// Every file that the page loads. Each is another's but for the last.
const ASSETS: &[Asset] = &[
    Asset {
        name: "swagger-ui-bundle.js",
        media: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../assets/swagger-ui/swagger-ui-bundle.js.gz"),
        vendored: true,
    },
    Asset {
        name: "swagger-ui.css",
        media: "text/css; charset=utf-8",
        bytes: include_bytes!("../../assets/swagger-ui/swagger-ui.css.gz"),
        vendored: true,
    },
    Asset {
        name: "start.js",
        media: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../assets/docs/start.js"),
        vendored: false,
    },
];

/// The page may load what this server serves, and nothing else; no script stands
/// in it. Only styles may: Swagger UI sets some on its elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What every file of the page is served with.
const SAFE: [(HeaderName, HeaderValue); 3] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// The description, as it is checked in at `docs/openapi.json`.
pub(crate) static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    // Maps with text for keys, which cannot fail to encode.
    let text = document().to_pretty_json().unwrap_or_default();
    format!("{text}\n")
});

pub(crate) async fn describe_api() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

pub(crate) async fn show_docs() -> Response {
    let page = include_str!("../../assets/docs/index.html");
    (SAFE, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

pub(crate) async fn load_docs_file(Path(name): Path<String>) -> Result<Response, Refusal> {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Err(Refusal::new(Code::NotFound, "the page of the docs has no such file"));
    };
    let typed = [(header::CONTENT_TYPE, asset.media)];
    let mut response = (SAFE, typed, asset.bytes).into_response();
    if asset.vendored {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::CACHE_CONTROL, FOREVER);
    }
    Ok(response)
}

/// The names of the files, for the description.
pub(crate) fn file_names() -> impl Iterator<Item = &'static str> {
    ASSETS.iter().map(|asset| asset.name)
}
