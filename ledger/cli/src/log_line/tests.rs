use super::*;

const ID: &str = "0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90";
const PATH: &str = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web";

fn event(stream: &str, type_name: &str, payload: &str) -> LogEvent {
    let payload = payload.replace("ID", ID).replace("PATH", PATH);
    let text = format!(
        r#"{{"position":41,"stream":"{stream}","version":3,"event_id":"{ID}","type":"{type_name}",
        "occurred_at":"2026-03-01T11:59:59.5Z","recorded_at":"2026-03-01T12:00:00.25Z",
        "actor":{{"kind":"token","id":"t"}},"correlation_id":null,"causation_id":"{ID}","payload":{payload}}}"#
    );
    serde_json::from_str(&text).expect("an event")
}

fn check(stream: &str, type_name: &str, payload: &str, telling: &str) {
    let line = text(&event(stream, type_name, payload));
    let telling = telling.replace("ID", ID).replace("PATH", PATH);
    let expected = format!("    41  2026-03-01T12:00:00Z  {stream}  {type_name}{telling}");
    assert_eq!(line, expected);
}

#[test]
fn each_event_tells_what_tells_it_from_others() {
    let agent = "agent/default/web-1";
    check("workspace/default", "WorkspaceCreated", "{}", "");
    check(
        agent,
        "DeploymentRequested",
        r#"{"activation":"ID","store_path":"PATH","rollback_script":null}"#,
        "  ID, PATH",
    );
    check(
        agent,
        "ClosureFetched",
        r#"{"deployment":"ID","closure_bytes":1572864,"closure_paths":3}"#,
        "  ID, 1.5 MiB in 3 store paths",
    );
    check(
        agent,
        "ActivationFailed",
        r#"{"deployment":"ID","kind":"nixos","exit_status":4,"previous":null}"#,
        "  ID, nixos, exit status 4",
    );
    check(
        "sessions/default",
        "AgentDisconnected",
        r#"{"session":"ID","agent":"web-1","node":"ID","reason":"timed_out"}"#,
        "  web-1: timed_out",
    );
    check(
        &format!("activation/{ID}"),
        "ActivationRequested",
        &format!(
            r#"{{"workspace":"default","spec_digest":"{}","agents":2,"rollback_scripts":{{}},
            "ci":{{"provider":"github","repository":"acme/infra","run":"81","revision":null}}}}"#,
            "0".repeat(64)
        ),
        "  2 agents, github acme/infra run 81",
    );
}

#[test]
fn what_servers_record_of_themselves_is_told() {
    let node = format!("node/{ID}");
    let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let cases = [
        (
            "NodeLost",
            r#"{"alive_until":"2026-03-01T11:00:00Z"}"#,
            "  alive until 2026-03-01T11:00:00Z",
        ),
        (
            "SigningKeyAdded",
            &format!(r#"{{"origin":"example.org/a","public_key":"{key}"}}"#),
            &format!("  {key} signs as example.org/a"),
        ),
        (
            "ForkAccepted",
            &format!(r#"{{"size":9,"root":"{key}"}}"#),
            &format!("  in place of 9 events with the root {key}"),
        ),
        ("AnnexErased", r#"{"position":7}"#, "  of event 7"),
    ];
    for (type_name, payload, telling) in cases {
        check(&node, type_name, payload, telling);
    }
}

#[test]
fn an_event_of_a_newer_server_is_shown_as_it_is() {
    check("health/default", "HealthWindow", r#"{"x":"\u001b[2J"}"#, r#"  {"x":"\u001b[2J"}"#);
}

#[test]
fn what_a_person_or_program_said_is_shown_on_the_line_and_short() {
    let mut retired = event("agent/default/web-1", "AgentRetired", "{}");
    let description = Some(format!("old\nmachine {}", "x".repeat(200)));
    retired.annex = Some(ledger_core::Annex { description, ..ledger_core::Annex::default() });
    let line = text(&retired);
    assert!(line.contains("AgentRetired  \"old machine xxx") && line.ends_with("…\""), "{line}");
}

#[test]
fn a_json_line_has_exactly_the_promised_keys_in_their_order() {
    let mut event = event("agent/default/web-1", "AgentRetired", "{}");
    event.annex =
        Some(ledger_core::Annex { error: Some("secret".to_owned()), ..Default::default() });
    assert_eq!(
        json(&event).expect("encodes"),
        format!(
            r#"{{"position":41,"stream":"agent/default/web-1","version":3,"event_id":"{ID}","type":"AgentRetired","occurred_at":"2026-03-01T11:59:59.500000Z","recorded_at":"2026-03-01T12:00:00.250000Z","actor":{{"kind":"token","id":"t"}},"correlation_id":null,"causation_id":"{ID}","payload":{{}}}}"#
        )
    );
}
