//! The verbs that ask a server one thing, against a real one.

use crate::support::{Agent, Run, Server, run};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

fn json(run: &Run) -> serde_json::Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:?}"))
}

#[test]
fn a_token_is_made_listed_used_and_revoked() {
    let server = Server::start();
    let made = server.admin(&[
        "token",
        "create",
        "--kind",
        "read",
        "--expires",
        "30d",
        "--description",
        "wall board",
    ]);
    assert_eq!(made.code, 0, "{made:?}");
    let secret = made.stdout.trim_end();
    assert!(secret.starts_with("ldg_read_") && made.stdout.lines().count() == 1, "{made:?}");
    assert!(!made.stderr.contains(secret) && made.stderr.contains("of kind read"), "{made:?}");
    let list = server.admin(&["token", "list"]);
    assert!(list.stdout.contains("wall board") && !list.stdout.contains(secret), "{list:?}");
    let tokens = json(&server.admin(&["token", "list", "--format", "json"]));
    let read = tokens["tokens"].as_array().expect("tokens").iter().find(|t| t["kind"] == "read");
    let id = read.expect("listed")["id"].as_str().expect("an id");

    let file = server.file("read", &made.stdout);
    let ask = || run(&mut server.with_token(file.as_ref(), &["agents"]));
    assert_eq!(ask().code, 0);
    let forbidden = run(&mut server.with_token(file.as_ref(), &["token", "list"]));
    assert_eq!(forbidden.code, 4, "{forbidden:?}");
    assert!(forbidden.stderr.contains("Hint: `ledger token create --help`"), "{forbidden:?}");
    let revoked = server.admin(&["token", "revoke", id]);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let refused = ask();
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("expired or revoked"), "{refused:?}");
    assert_eq!(server.admin(&["token", "revoke", id]).code, 4, "there is none any more");
}

#[test]
fn workspaces_are_made_and_see_nothing_of_each_other() {
    let server = Server::start();
    assert_eq!(server.admin(&["workspace", "create", "team-1"]).code, 0);
    let again = server.admin(&["workspace", "create", "team-1"]);
    assert_eq!(again.code, 4, "{again:?}");
    let list = server.admin(&["workspace", "list"]);
    assert_eq!(list.stdout.lines().count(), 3, "{list:?}");
    let made = server.admin(&["token", "create", "--kind", "read", "-w", "team-1"]);
    let file = server.file("team", &made.stdout);
    let log = run(&mut server.with_token(file.as_ref(), &["log"]));
    assert!(log.stdout.contains("workspace/team-1"), "{log:?}");
    assert!(!log.stdout.contains("workspace/default"), "{log:?}");
    let missing = server.admin(&["agents", "-w", "team-9"]);
    assert_eq!(missing.code, 4, "{missing:?}");
}

#[test]
fn the_log_is_printed_whole_in_parts_and_as_it_grows() {
    let server = Server::start();
    for n in 0..5 {
        assert_eq!(server.admin(&["workspace", "create", &format!("team-{n}")]).code, 0);
    }
    let all = server.admin(&["log", "--format", "jsonl"]).stdout;
    let keys = "position stream version event_id type occurred_at recorded_at actor correlation_id causation_id payload";
    for (line, position) in all.lines().zip(1_u64..) {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(event["position"], position);
        let object = event.as_object().expect("an object");
        assert_eq!(object.len(), keys.split(' ').count());
        assert!(keys.split(' ').all(|key| object.contains_key(key)), "{line}");
    }
    let two = server.admin(&["log", "--format", "jsonl", "--from", "3", "--limit", "2"]).stdout;
    assert_eq!(two, all.lines().skip(2).take(2).map(|l| format!("{l}\n")).collect::<String>());
    let text = server.admin(&["log", "--type", "WorkspaceCreated", "--stream", "workspace/team-3"]);
    assert_eq!(text.stdout.lines().count(), 1, "{text:?}");
    assert!(text.stdout.contains("workspace/team-3  WorkspaceCreated"), "{text:?}");

    let mut command = server
        .with_token(&server.admin_token(), &["log", "--follow", "--type", "WorkspaceCreated"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("read");
    assert!(next().contains("workspace/default"));
    (0..5).for_each(|n| assert!(next().contains(&format!("workspace/team-{n}"))));
    assert_eq!(server.admin(&["workspace", "create", "team-late"]).code, 0);
    assert!(next().contains("workspace/team-late"));
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let server = Server::start();
    let mut command =
        server.with_token(&server.admin_token(), &["log", "--follow", "--format", "jsonl"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    assert_eq!(server.admin(&["workspace", "create", "team-1"]).code, 0);
    let status = child.wait().expect("ends");
    let mut stderr = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("read");
    assert_eq!((status.code(), &*stderr), (Some(0), ""));
}

#[test]
fn a_token_that_nobody_reads_is_an_error() {
    let server = Server::start();
    let args = ["token", "create", "--kind", "read"];
    let mut command = server.with_token(&server.admin_token(), &args);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended: Run = command.stdout(writer).stderr(Stdio::piped()).output().expect("runs").into();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("ledger token revoke") && !ended.stderr.contains("ldg_"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_listed_rekeyed_and_retired() {
    let server = Server::start();
    assert!(server.admin(&["agents"]).stderr.contains("no agent has connected yet"));
    let token = server.token("agent");
    let _agent = Agent::connect(&server.url, &token, "web-1").await;
    let list = server.admin(&["agents"]);
    assert!(list.stdout.contains("web-1  connected"), "{list:?}");
    let list = json(&server.admin(&["agents", "list", "--format", "json"]));
    assert_eq!(list["agents"][0]["system"], "x86_64-linux");
    let unknown = server.admin(&["agents", "rekey", "web-9"]);
    assert_eq!(unknown.code, 4, "{unknown:?}");
    assert!(unknown.stderr.contains("unknown agent: web-9"), "{unknown:?}");
    let retired = server.admin(&["agents", "retire", "web-1", "--reason", "scrapped"]);
    assert_eq!(retired.code, 0, "{retired:?}");
    assert!(server.admin(&["agents"]).stdout.contains("retired"));
    let rekeyed = server.admin(&["agents", "rekey", "web-1"]);
    assert!(
        rekeyed.code == 0 && rekeyed.stderr.contains("next agent that connects"),
        "{rekeyed:?}"
    );
    let log = server.admin(&["log", "--agent", "web-1"]);
    assert!(log.stdout.contains("AgentRetired  \"scrapped\""), "{log:?}");
}
