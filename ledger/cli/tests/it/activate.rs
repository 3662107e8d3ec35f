//! `ledger activate` against a real server and agents that follow a script.

use crate::support::{Agent, DEADLINE, Run, Script, Server};
use ledger_core::event::FailureOutcome;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

const PATH: &str = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web";

/// A server, the tokens that CI and machines have, and a deploy.json.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) activate: PathBuf,
    pub(crate) agent: PathBuf,
    pub(crate) spec: String,
}

impl World {
    pub(crate) fn new(agents: &[&str]) -> Self {
        let server = Server::start();
        let (activate, agent) = (server.token("activate"), server.token("agent"));
        let entries: Vec<String> =
            agents.iter().map(|name| format!(r#""{name}":"{PATH}""#)).collect();
        let spec =
            server.file("deploy.json", &format!(r#"{{"agents":{{{}}}}}"#, entries.join(",")));
        Self { server, activate, agent, spec }
    }

    pub(crate) async fn connect(&self, name: &str) -> Agent {
        Agent::connect(&self.server.url, &self.agent, name).await
    }

    /// Starts `ledger activate` with the token that CI has.
    pub(crate) fn activate(&self, more: &[&str]) -> Activation {
        let mut command = self.server.with_token(&self.activate, &["activate", &self.spec]);
        command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        Activation { child: command.spawn().expect("starts"), printed: String::new() }
    }

    fn show(&self, token: &Path, args: &[&str]) -> Run {
        crate::support::run(&mut self.server.with_token(token, args))
    }
}

pub(crate) struct Activation {
    pub(crate) child: Child,
    /// What was read of its output before the end.
    printed: String,
}

impl Activation {
    /// Waits until it has printed a line.
    async fn until_printed(mut self, line: &str) -> Self {
        let line = line.to_owned();
        let reading = tokio::task::spawn_blocking(move || {
            let stdout = self.child.stdout.as_mut().expect("piped");
            // Byte by byte, so that the rest is left for the end.
            while self.printed.lines().next_back() != Some(&line) || !self.printed.ends_with('\n') {
                let mut byte = [0];
                stdout.read_exact(&mut byte).expect("one more byte");
                self.printed.push(byte[0].into());
            }
            self
        });
        tokio::time::timeout(DEADLINE, reading).await.expect("printed in time").expect("joins")
    }

    /// Waits for the end.
    pub(crate) async fn end(self) -> Run {
        let Self { child, printed } = self;
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
        let ended = tokio::time::timeout(DEADLINE, ended).await.expect("ends in time");
        let mut run = Run::from(ended.expect("joins").expect("read"));
        run.stdout.insert_str(0, &printed);
        run
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_comes_by_agent_in_whole_lines_and_all_succeed() {
    let world = World::new(&["web-1", "db"]);
    let (mut web, mut db) = (world.connect("web-1").await, world.connect("db").await);
    let activation = world.activate(&["--description", "kernel"]);
    let (_, _) = tokio::join!(
        web.play(Script::Succeed("fetching\n\u{1b}[32mdone\u{1b}[0m\nno end of line")),
        db.play(Script::Succeed("")),
    );
    let run = activation.end().await;
    assert_eq!(run.code, 0, "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[..3], ["web-1 | fetching", "web-1 | done", "web-1 | no end of line"]);
    assert_eq!(lines.last(), Some(&"2 of 2 agents succeeded"));
    for part in [
        "web-1#1 is to run",
        "db#1 started",
        "has the closure: 2 paths, 2.0 KiB",
        "web-1#1 succeeded",
    ] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    let shown = world.show(&world.activate, &["deployment", "web-1#1"]);
    assert!(
        shown.stdout.contains("\n  no end of line\n") && shown.stdout.contains("succeeded"),
        "{shown:?}"
    );
    let list = world.show(&world.activate, &["deployments", "--agent", "db"]);
    assert!(list.stdout.contains("db#1") && !list.stdout.contains("web-1#1"), "{list:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_with_what_the_machine_runs() {
    let world = World::new(&["web-1"]);
    let mut agent = world.connect("web-1").await;
    for (outcome, code, words) in [
        (FailureOutcome::Unchanged, 1, "runs what it ran before"),
        (FailureOutcome::Unknown, 5, "what the machine runs now is not known"),
    ] {
        let activation = world.activate(&[]);
        agent.play(Script::Fail("error: no such path\n", outcome)).await;
        let run = activation.end().await;
        assert_eq!(run.code, code, "{run:?}");
        assert!(run.stdout.contains("web-1 | error: no such path"), "{run:?}");
        assert!(run.stdout.contains(words) && run.stderr.contains(words), "{run:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_are_all_of_stdout() {
    let world = World::new(&["web-1"]);
    let mut agent = world.connect("web-1").await;
    let activation = world.activate(&["--format", "json"]);
    agent.play(Script::Succeed("one\ntwo\n")).await;
    let run = activation.end().await;
    let lines: Vec<serde_json::Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |name: &str| lines.iter().filter(|line| line["type"] == name).collect::<Vec<_>>();
    assert_eq!((run.code, of("requested").len(), of("output").len()), (0, 1, 2), "{run:?}");
    assert_eq!(of("status").last().expect("some")["status"], "succeeded");
    let summary = lines.last().expect("some");
    assert_eq!((&summary["type"], &summary["outcome"]), (&"summary".into(), &"succeeded".into()));
    assert_eq!(run.stderr, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_offline_is_said_at_once_and_waited_for_as_asked() {
    let world = World::new(&["web-1", "web-2"]);
    let mut web_1 = world.connect("web-1").await;
    drop(world.connect("web-2").await);
    wait_until_offline(&world, "web-2");

    let allowed = world.activate(&["--allow-offline"]);
    web_1.play(Script::Succeed("")).await;
    let run = allowed.end().await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("web-2 is offline since 20"), "{run:?}");
    assert!(run.stderr.contains("; its deployment waits\n"), "{run:?}");
    assert!(run.stdout.contains("was offline; not waited for"), "{run:?}");

    let timed = world.activate(&["--timeout", "1s", "--agent", "web-2"]).end().await;
    assert_eq!(timed.code, 1, "{timed:?}");
    assert!(timed.stdout.contains("the time to wait is over"), "{timed:?}");
    assert!(timed.stderr.contains("to look later: `ledger deployment 'web-2#2'`"), "{timed:?}");

    let asked = world.activate(&["--async", "--agent", "web-2"]).end().await;
    assert_eq!(asked.code, 0, "{asked:?}");
    assert!(asked.stdout.ends_with("1 agent asked to deploy\n"), "{asked:?}");
}

/// Waits until the server has noticed.
fn wait_until_offline(world: &World, name: &str) {
    let begun = std::time::Instant::now();
    let offline = format!("{name}  offline");
    while !world.server.admin(&["agents"]).stdout.contains(&offline) {
        assert!(begun.elapsed() < DEADLINE, "{name} never went offline");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn superseded_and_cancelled_are_outcomes_of_their_own() {
    let world = World::new(&["web-1"]);
    drop(world.connect("web-1").await);
    let first = world.activate(&["--format", "json"]);
    wait_for_deployment(&world, "web-1#1");
    let second = world.activate(&["--format", "json"]);
    let run = first.end().await;
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains(r#""outcome":"superseded","exit_code":1"#), "{run:?}");
    let cancelled = world.show(&world.activate, &["cancel", "web-1#2", "--reason", "wrong branch"]);
    assert_eq!(cancelled.code, 0, "{cancelled:?}");
    let run = second.end().await;
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains(r#""outcome":"cancelled","exit_code":1"#), "{run:?}");
    let late = world.show(&world.activate, &["cancel", "web-1#1"]);
    assert_eq!(late.code, 4, "{late:?}");
}

/// Waits until the deployment is there.
fn wait_for_deployment(world: &World, which: &str) {
    let begun = std::time::Instant::now();
    while world.server.admin(&["deployment", which]).code != 0 {
        assert!(begun.elapsed() < DEADLINE, "{which} never came");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_records_nothing() {
    let world = World::new(&["web-1"]);
    let unknown = world.activate(&[]).end().await;
    assert_eq!(unknown.code, 4, "{unknown:?}");
    assert!(unknown.stderr.contains("unknown agent: web-1"), "{unknown:?}");
    drop(world.connect("web-1").await);
    let dry = world.activate(&["--dry-run"]).end().await;
    assert_eq!(dry.code, 0, "{dry:?}");
    assert!(dry.stdout.ends_with("1 agent checked; nothing was recorded\n"), "{dry:?}");
    let wrong_kind = world.show(&world.agent, &["activate", &world.spec]);
    assert_eq!(wrong_kind.code, 4, "{wrong_kind:?}");
    let log = world.server.admin(&["log", "--type", "ActivationRequested"]);
    assert_eq!(log.stdout, "", "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_meanwhile_is_followed_again_and_nothing_is_told_twice() {
    let mut world = World::new(&["web-1"]);
    let mut agent = world.connect("web-1").await;
    let activation = world.activate(&[]);
    let deployment = agent.claim().await;
    agent.say(deployment, 0, "one\n").await;
    // Until it follows, another part of it would find the server gone.
    let activation = activation.until_printed("web-1 | one").await;
    world.server = world.server.kill_and_start_again();
    agent.connect_again().await;
    agent.say(deployment, 4, "two\n").await;
    agent.end(deployment, &Script::Succeed("one\ntwo\n")).await;
    let run = activation.end().await;
    assert_eq!(run.code, 0, "{run:?}");
    let output: Vec<&str> = run.stdout.lines().filter(|line| line.contains(" | ")).collect();
    assert_eq!(output, ["web-1 | one", "web-1 | two"], "{run:?}");
    assert_eq!(run.stderr.matches("the activation goes on").count(), 1, "{run:?}");
    assert_eq!(run.stderr.matches("answers again").count(), 1, "{run:?}");
    let log = world.server.admin(&["log", "--type", "ActivationRequested"]);
    assert_eq!(log.stdout.lines().count(), 1, "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_does_not_change_how_it_ends() {
    let world = World::new(&["web-1"]);
    let mut agent = world.connect("web-1").await;
    let mut activation = world.activate(&[]);
    drop(activation.child.stdout.take());
    agent.play(Script::Fail("error: no such path\n", FailureOutcome::Unchanged)).await;
    let run = activation.end().await;
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("web-1#1 failed") && !run.stderr.contains("Error:"), "{run:?}");
}
