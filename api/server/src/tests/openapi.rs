//! The API's description: whole, as it is checked in, and served as it is.

use super::harness::Harness;
use crate::auth::guard::Need;
use crate::caching::FOREVER;
use crate::limits;
use crate::problem::{Refusal, is_to_be_retried};
use crate::routes::TABLE;
use crate::routes::docs::DOCUMENT;
use api_wire::http::WAIT_SECONDS_MAX;
use api_wire::problem::Code;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn document() -> Value {
    serde_json::from_str(&DOCUMENT).expect("JSON")
}

#[test]
fn openapi_is_checked_in_as_it_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, DOCUMENT.as_str()).expect("written");
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == *DOCUMENT,
        "docs/openapi.json is not what the code says: UPDATE_OPENAPI=1 cargo test -p api-server openapi"
    );
}

#[test]
fn openapi_holds_every_route_with_its_right_and_its_problems() {
    let document = document();
    let mut ids = BTreeSet::new();
    for route in TABLE {
        let place = format!("{} {}", route.method, route.path);
        let operation =
            &document["paths"][route.path.replace("{*", "{")][route.method.to_lowercase()];
        assert!(operation["summary"].is_string(), "{place}");
        assert!(ids.insert(operation["operationId"].to_string()), "{place}: its id is taken");
        let secured = operation["security"].as_array().expect("a list");
        match route.need {
            Need::Nothing => assert!(secured.is_empty(), "{place}"),
            Need::AnyOf(rights) => {
                let named = secured.iter().map(|one| one["bearer"][0].as_str().expect("a right"));
                assert!(named.eq(rights.iter().map(|right| right.as_str())), "{place}");
                let text = operation["description"].as_str().expect("text");
                assert!(rights.iter().all(|right| text.contains(&format!("`{right}`"))), "{text}");
            }
        }
        let parts = route.path.split('/').filter(|part| part.starts_with('{'));
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for part in parts {
            let name = part.trim_matches(['{', '*', '}']);
            assert!(parameters.iter().any(|p| p["name"] == name && p["in"] == "path"), "{place}");
        }
        let has_body = operation["requestBody"].is_object();
        assert_eq!(has_body, route.body_max > 0, "{place}");
    }
    let paths = document["paths"].as_object().expect("paths").values();
    let operations: usize = paths.map(|path| path.as_object().map_or(0, |p| p.len())).sum();
    assert_eq!(operations, TABLE.len());
}

#[test]
fn openapi_names_the_bounds_that_the_server_keeps() {
    let document = document();
    let bounds = [
        ("/v1/agents", "limit", limits::LIST_MAX),
        ("/v1/tokens", "limit", limits::LIST_MAX),
        ("/v1/workspaces", "limit", limits::LIST_MAX),
        ("/v1/deployments", "limit", limits::DEPLOYMENTS_DEFAULT),
        ("/v1/deployments", "limit", limits::DEPLOYMENTS_MAX),
        ("/v1/log", "limit", limits::LOG_EVENTS_MAX),
        ("/v1/log", "wait", WAIT_SECONDS_MAX as usize),
        ("/v1/output", "wait", WAIT_SECONDS_MAX as usize),
    ];
    for (path, name, bound) in bounds {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().expect("a list");
        let parameter = parameters.iter().find(|parameter| parameter["name"] == name);
        let text = parameter.expect("it is there")["description"].as_str().expect("text");
        let said = text.split(|c: char| !c.is_ascii_digit()).any(|word| word == bound.to_string());
        assert!(said, "{path} {name}: {text}");
    }
}

/// Collects what is referred to.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str) {
                found.insert(name.to_owned());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn openapi_defines_what_it_refers_to_and_nothing_else() {
    let document = document();
    let mut referred = BTreeSet::new();
    references(&document, &mut referred);
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let defined: BTreeSet<String> =
        schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
    assert_eq!(referred, defined);
    let codes = schemas["Code"]["enum"].as_array().expect("a list");
    assert!(codes.iter().eq(Code::ALL.iter().map(|code| code.as_str())));
}

#[test]
fn openapi_s_links_lead_to_operations() {
    let document = document();
    let mut links = 0;
    for route in TABLE {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        let Some(of_answer) = operation["responses"]["200"]["links"].as_object() else { continue };
        for link in of_answer.values() {
            links += 1;
            let id = link["operationId"].as_str().expect("an id");
            assert!(TABLE.iter().any(|route| route.id == id), "{id}");
        }
    }
    assert!(links > 0);
}

#[tokio::test]
async fn openapi_is_served_without_a_token() {
    let harness = Harness::new().await;
    let served = harness.get("/v1/openapi.json", "").await;
    assert_eq!(served.body, document());
    assert_eq!(served.body["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_refusal_that_will_pass_says_when_to_ask_again() {
    let mut passing = 0;
    for code in Code::ALL {
        let response = Refusal::new(*code, "x").into_response();
        let says = response.headers().contains_key(header::RETRY_AFTER);
        assert_eq!(says, is_to_be_retried(code.status()), "{}", code.as_str());
        passing += u32::from(says);
    }
    assert_eq!(passing, 3, "too_many_requests, unavailable and node_lost");
}

#[tokio::test]
async fn the_docs_load_nothing_from_elsewhere_and_are_packed() {
    let harness = Harness::new().await;
    let page = harness.get("/v1/docs", "").await;
    assert_eq!(page.media_type, "text/html; charset=utf-8");
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned();
    for source in policy.split("; ").flat_map(|directive| directive.split(' ').skip(1)) {
        let own = ["'none'", "'self'", "'unsafe-inline'", "data:"];
        assert!(own.contains(&source), "{source} in {policy}");
    }
    assert!(policy.contains("script-src 'self';"), "{policy}");
    let text = page.body.as_str().expect("text");
    assert!(!text.contains("//") && !text.contains("<script>"), "{text}");
    let mut loaded = 0;
    for reference in text.split(['"']).filter(|part| part.starts_with("docs/")) {
        loaded += 1;
        let file = harness.get(&format!("/v1/{reference}"), "").await;
        assert_eq!(file.status, 200, "{reference}");
        assert_eq!(file.headers[header::CONTENT_SECURITY_POLICY], policy);
        let packed = file.headers.get(header::CONTENT_ENCODING).is_some_and(|with| with == "gzip");
        let kept = file.headers[header::CACHE_CONTROL] == FOREVER;
        assert_eq!(reference.contains('?'), packed && kept, "{reference}");
    }
    assert_eq!(loaded, 3);
    let start = harness.get("/v1/docs/start.js", "").await.body;
    let start = start.as_str().expect("text");
    assert!(start.contains("validatorUrl: null") && !start.contains("http"), "{start}");
    assert_eq!(harness.get("/v1/docs/other.js", "").await.code(), "not_found");
}
