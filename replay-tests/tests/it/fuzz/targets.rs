//! Every decoder of bytes from outside.
//!
//! The promise: it does not panic, and what it accepts says the same after it
//! was written and read again.

use super::Target;
use api_wire::agent::{FromAgent, FromServer};
use api_wire::{http, problem::Problem, token::Secret};
use ledger_core::spec::Spec;
use ledger_core::{Annex, Event, Timestamp, event, key, names, stream};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// JSON that is read, written and read again.
fn json<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return false };
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(value, again);
    true
}

/// Text that is read, shown and read again.
fn text<T: FromStr<Err: Display> + Display + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match text.parse::<T>() {
        Err(error) => {
            // At most 200 characters are repeated, each escaped by at most 10.
            assert!(error.to_string().len() < 3000, "the error repeats the whole input");
            false
        }
        Ok(value) => {
            let again = value.to_string().parse::<T>().ok().expect("what was shown can be read");
            assert_eq!(value, again);
            true
        }
    }
}

pub(crate) fn from_agent(bytes: &[u8]) -> bool {
    json::<FromAgent>(bytes)
}

pub(crate) fn from_server(bytes: &[u8]) -> bool {
    json::<FromServer>(bytes)
}

pub(crate) fn spec(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match Spec::parse(text) {
        Ok(spec) => {
            let paths = spec.agents.values().chain(spec.rollback_scripts.values());
            assert!(paths.into_iter().all(|path| path.as_str().starts_with("/nix/store/")));
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a refusal without a reason");
            false
        }
    }
}

/// An event's type, a line break, and its payload.
pub(crate) fn event(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (type_name, payload) = bytes.split_at(end);
    let type_name = String::from_utf8_lossy(type_name);
    let Ok(event) = Event::decode(&type_name, payload.get(1..).unwrap_or_default()) else {
        return false;
    };
    let again = Event::decode(event.type_name(), &event.encode()).expect("it can be read again");
    assert_eq!(event, again);
    true
}

pub(crate) fn annex(bytes: &[u8]) -> bool {
    json::<Annex>(bytes)
}

fn secret(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(secret) = Secret::parse(text) else { return false };
    assert_eq!(secret.reveal(), text.trim());
    assert!(!format!("{secret:?}").contains(&secret.reveal()[12..]), "a secret was shown");
    Secret::parse(secret.reveal()).is_ok_and(|again| again == secret)
}

fn digest(bytes: &[u8]) -> bool {
    let Ok(text) = String::from_utf8(bytes.to_vec()) else { return false };
    let Ok(digest) = text.parse::<event::Digest>() else { return false };
    assert_eq!(digest.to_string(), text);
    true
}

const STORE_PATH: &str = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web-1.2";
const UUID: &str = "0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90";
const KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
const SECRETS: &[&str] = &[
    "ldg_agent_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ",
    " ldg_activate_abcdefghijklmnopqrstuvwxyz0123456789-_ABCDE\n",
];

/// Name, target, good inputs.
pub(crate) const TEXTS: &[(&str, Target, &[&str])] = &[
    ("StorePath", text::<names::StorePath>, &[STORE_PATH]),
    ("AgentName", text::<names::AgentName>, &["web-1", "a.b_c@d+e"]),
    ("WorkspaceName", text::<names::WorkspaceName>, &["default", "team-1"]),
    ("System", text::<names::System>, &["x86_64-linux"]),
    ("ProgramVersion", text::<names::ProgramVersion>, &["0.1.0+a"]),
    ("AgentPattern", text::<names::AgentPattern>, &["web-*", "?"]),
    (
        "StreamId",
        text::<stream::StreamId>,
        &["agent/default/web-1", "workspace/default", "node/0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90"],
    ),
    ("Timestamp", text::<Timestamp>, &["2026-03-01T12:00:00Z", "0001-01-01T00:00:00.000001+00:01"]),
    ("PublicKey", text::<key::PublicKey>, &[KEY]),
    ("EventId", text::<ledger_core::EventId>, &[UUID]),
    ("Position", text::<ledger_core::Position>, &["1", "9007199254740991"]),
    ("Secret", secret, SECRETS),
    ("Digest", digest, &["9d9bd6fab2a9524a02e0c9f2dd85c336c8a753887b349accc1e2bf06cd13f6a4"]),
];

/// Bodies and queries of the HTTP API: name, target, and good inputs, in which
/// `PATH`, `UUID`, `KEY`, `TIME` and `HASH` stand for one.
pub(crate) const BODIES: &[(&str, Target, &[&str])] = &[
    (
        "ActivateRequest",
        json::<http::ActivateRequest>,
        &[
            r#"{"id":"UUID","spec":"{\"agents\":{}}"}"#,
            r#"{"id":"UUID","spec":"","agents":["a","b"],"dry_run":true,"ci":{"provider":"github","repository":"a/b","run":"7","revision":"abc"},"description":"é"}"#,
        ],
    ),
    (
        "ActivateAnswer",
        json::<http::ActivateAnswer>,
        &[
            r#"{"id":"UUID","workspace":"default","position":7,"deployments":[{"agent":"a","id":"UUID","index":1,"store_path":"PATH","connected":false,"last_seen":"TIME","waits_for":null}]}"#,
        ],
    ),
    (
        "LogQuery",
        json::<http::LogQuery>,
        &[
            r#"{}"#,
            r#"{"workspace":"default","from":1,"limit":2,"stream":"agent/default/a","agent":"a","type":"TokenIssued","activation":"UUID","wait":3}"#,
        ],
    ),
    (
        "LogPage",
        json::<http::LogPage>,
        &[
            r#"{"events":[{"position":1,"stream":"node/UUID","version":1,"event_id":"UUID","type":"NodeStarted","occurred_at":"TIME","recorded_at":"TIME","actor":{"kind":"node","id":"UUID"},"correlation_id":null,"causation_id":"UUID","payload":{"version":"0.1.0"},"annex":{"address":"::1"}}],"next":2,"head":1}"#,
        ],
    ),
    (
        "OutputQuery",
        json::<http::OutputQuery>,
        &[
            r#"{"workspace":"w","activation":"UUID"}"#,
            r#"{"deployment":"UUID","after":1,"wait":25}"#,
        ],
    ),
    (
        "OutputPage",
        json::<http::OutputPage>,
        &[
            r#"{"chunks":[{"deployment":"UUID","offset":0,"stored_at":"TIME","bytes":"YQ=="}],"next":1}"#,
        ],
    ),
    (
        "AgentList",
        json::<http::AgentList>,
        &[
            r#"{"position":1,"next":"a","agents":[{"name":"a","session":"UUID","since":"TIME","retired":false,"public_key":"KEY","system":"x86_64-linux","version":"0.1.0","current":"PATH","pending":null,"running":"UUID","last":{"id":"UUID","index":1,"status":"failed","at":"TIME"}}]}"#,
        ],
    ),
    (
        "AgentsQuery",
        json::<http::AgentsQuery>,
        &[r#"{"workspace":"w","name":"web-*","connected":true,"after":"web-1","limit":7}"#],
    ),
    (
        "RekeyRequest",
        json::<http::RekeyRequest>,
        &[r#"{"request_id":"UUID","public_key":"KEY","reason":"a"}"#],
    ),
    ("RetireRequest", json::<http::RetireRequest>, &[r#"{"request_id":"UUID","reason":"a"}"#]),
    (
        "DeploymentsQuery",
        json::<http::DeploymentsQuery>,
        &[
            r#"{"workspace":"w","agent":"a","before":7,"limit":50}"#,
            r#"{"activation":"UUID","status":"running","limit":9007199254740991}"#,
        ],
    ),
    (
        "DeploymentList",
        json::<http::DeploymentList>,
        &[
            r#"{"deployments":[{"id":"UUID","agent":"a","index":1,"activation":"UUID","store_path":"PATH","status":"running","position":1,"requested_at":"TIME","started_at":"TIME","ended_at":null,"closure_bytes":1,"closure_paths":2,"kind":"nixos","generation":3,"previous":"PATH","superseded_by":null,"reason":"fetch_failed","outcome":"unknown","error":"e","output":{"blake3":"HASH","bytes":0}}],"next":1}"#,
        ],
    ),
    ("CancelRequest", json::<http::CancelRequest>, &[r#"{"request_id":"UUID","reason":null}"#]),
    ("TokensQuery", json::<http::TokensQuery>, &[r#"{"workspace":"w","after":7,"limit":7.0}"#]),
    (
        "TokenList",
        json::<http::TokenList>,
        &[
            r#"{"tokens":[{"id":"UUID","kind":"read","reach":"ledger","agents":["web-*"],"issued_at":"TIME","expires_at":null,"expired":false,"description":"d"}]}"#,
        ],
    ),
    (
        "IssueTokenRequest",
        json::<http::IssueTokenRequest>,
        &[
            r#"{"request_id":"UUID","secret":"s","kind":"agent","reach":"workspace","agents":["a*"],"expires_in_seconds":60,"description":"d"}"#,
        ],
    ),
    ("IssuedToken", json::<http::IssuedToken>, &[r#"{"id":"UUID","expires_at":"TIME"}"#]),
    ("RevokeTokenRequest", json::<http::RevokeTokenRequest>, &[r#"{"request_id":"UUID"}"#]),
    ("WorkspacesQuery", json::<http::WorkspacesQuery>, &[r#"{"after":"w","limit":7}"#]),
    (
        "WorkspaceList",
        json::<http::WorkspaceList>,
        &[r#"{"workspaces":[{"name":"default","agents":3,"connected":1}]}"#],
    ),
    (
        "CreateWorkspaceRequest",
        json::<http::CreateWorkspaceRequest>,
        &[r#"{"request_id":"UUID","name":"team-1"}"#],
    ),
    ("Recorded", json::<http::Recorded>, &[r#"{"position":1}"#]),
    (
        "Problem",
        json::<Problem>,
        &[
            r#"{"type":"urn:ledger:problem:timeout","code":"timeout","status":408,"title":"t","detail":"d"}"#,
        ],
    ),
];
