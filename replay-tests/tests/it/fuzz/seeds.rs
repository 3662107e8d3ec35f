//! Good inputs to begin from.

use std::path::Path;

/// Puts real values where the templates name one.
pub(crate) fn fill(templates: &[&str]) -> Vec<Vec<u8>> {
    let filled = templates.iter().map(|template| {
        template
            .replace("PATH", "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web")
            .replace("UUID", "0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90")
            .replace("KEY", "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=")
            .replace("TIME", "2026-03-01T12:00:00.000001Z")
            .replace("HASH", "9d9bd6fab2a9524a02e0c9f2dd85c336c8a753887b349accc1e2bf06cd13f6a4")
            .into_bytes()
    });
    filled.collect()
}

pub(crate) fn from_agent() -> Vec<Vec<u8>> {
    fill(&[
        r#"{"type":"hello","agent":"web-1","version":"0.1.0","system":"x86_64-linux","public_key":"KEY","signature":"YQ==","cursor":7}"#,
        r#"{"type":"claim","request_id":"UUID","deployment":"UUID"}"#,
        r#"{"type":"report","request_id":"UUID","deployment":"UUID","report":{"kind":"closure_fetched","closure_bytes":1,"closure_paths":2},"occurred_at":"TIME"}"#,
        r#"{"type":"report","request_id":"UUID","deployment":"UUID","report":{"kind":"activation_succeeded","closure":"nixos","generation":3,"previous":"PATH"},"occurred_at":"TIME"}"#,
        r#"{"type":"report","request_id":"UUID","deployment":"UUID","report":{"kind":"activation_failed","closure":"plain","exit_status":-1,"previous":null,"error":"e"},"occurred_at":"TIME"}"#,
        r#"{"type":"report","request_id":"UUID","deployment":"UUID","report":{"kind":"succeeded","output":{"blake3":"HASH","bytes":0}},"occurred_at":"TIME"}"#,
        r#"{"type":"report","request_id":"UUID","deployment":"UUID","report":{"kind":"failed","reason":"fetch_failed","outcome":"unchanged","output":{"blake3":"HASH","bytes":9},"error":"e"},"occurred_at":"TIME"}"#,
        r#"{"type":"output","request_id":"UUID","deployment":"UUID","offset":0,"bytes":"YQ=="}"#,
        r#"{"type":"goodbye"}"#,
    ])
}

pub(crate) fn from_server() -> Vec<Vec<u8>> {
    fill(&[
        r#"{"type":"challenge","node":"UUID","workspace":"default","nonce":"KEY"}"#,
        r#"{"type":"welcome","session":"UUID","head":7,"pending":{"deployment":"UUID","index":1,"activation":"UUID","store_path":"PATH"},"running":null,"ping_interval_ms":1000}"#,
        r#"{"type":"events","events":[{"position":1,"version":1,"event_id":"UUID","type":"AgentRetired","recorded_at":"TIME","payload":"{}"}]}"#,
        r#"{"type":"claimed","request_id":"UUID","deployment":"UUID"}"#,
        r#"{"type":"acknowledged","request_id":"UUID"}"#,
        r#"{"type":"refused","request_id":"UUID","code":"superseded","detail":"d"}"#,
        r#"{"type":"goodbye","reason":"replaced","detail":"d","retry_after_ms":5}"#,
    ])
}

pub(crate) fn spec() -> Vec<Vec<u8>> {
    fill(&[
        r#"{"agents":{"web-1":"PATH","web-2":"PATH"}}"#,
        r#" {"rollbackScript" : {"x86_64-linux":"PATH"}, "agents":{"a":"PATH"}} "#,
        r#"{"agents":{}}"#,
    ])
}

/// Every golden of the core, as `type` and payload with a line break between.
pub(crate) fn events() -> Vec<Vec<u8>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../ledger/core/tests/goldens"));
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the core has goldens") {
        let path = entry.expect("the entry can be read").path();
        let golden = std::fs::read(&path).expect("the golden can be read");
        let golden: serde_json::Value = serde_json::from_slice(&golden).expect("it is JSON");
        let part = |key: &str| golden[key].as_str().expect("it is text").to_owned();
        seeds.push(format!("{}\n{}", part("type"), part("payload")).into_bytes());
    }
    assert!(seeds.len() >= ledger_core::Event::TYPE_NAMES.len(), "an event has no golden");
    seeds
}
