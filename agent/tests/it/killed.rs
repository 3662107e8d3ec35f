//! Agents that are killed, on real Nix: each ends, after a new start, in a state
//! that is known and reported, and no activation is begun twice.

use crate::nix::{Nix, text};
use crate::rig::{agent, exit_code, kill, start, terminate};
use crate::server::{PATIENCE, Server, World};
use ledger_core::agent::End;
use ledger_core::event::{Event, FailureOutcome, FailureReason};
use ledger_core::ids::DeploymentId;
use ledger_core::names::StorePath;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// A closure whose activation notes that it was begun, by whom, and what runs it,
/// and then does what is said.
fn closure(nix: &Nix, then: &str) -> StorePath {
    let calls = text(&nix.path("calls"));
    let activate = format!("#!/bin/sh\nPATH=/bin:/usr/bin\necho $PPID $$ >> {calls}\n{then}\n");
    nix.publish("home", &[("hm-version", "24.05"), ("activate", &activate)], true)
}

fn calls(nix: &Nix) -> Vec<String> {
    let text = std::fs::read_to_string(nix.path("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A pipe that an activation waits at until it is let go.
fn gate(nix: &Nix) -> PathBuf {
    let path = nix.path("gate");
    crate::nix::run("mkfifo", &[&text(&path)]);
    path
}

/// Waits until the activation stands at the gate, and lets it go.
async fn let_go(gate: PathBuf) {
    let opening = tokio::task::spawn_blocking(move || std::fs::write(gate, "go\n"));
    let opened = tokio::time::timeout(PATIENCE, opening).await.expect("it comes to the gate");
    opened.expect("no panic").expect("it is let go");
}

/// Waits until the activation has begun.
async fn until_begun(server: &Server, nix: &Nix, deployment: DeploymentId) {
    // The line of output comes just before; then it takes the call itself.
    server.until("it activates", |w| w.output(deployment).contains("activating")).await;
    let begun = async {
        while calls(nix).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("it begins in time");
}

fn start_on(nix: &Nix, server: &Server) -> Child {
    let args = nix.args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    start(server, &nix.path("state"), &args)
}

async fn stop(mut child: Child) {
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
}

fn failure(world: &World) -> Option<(FailureReason, FailureOutcome)> {
    world.events.iter().find_map(|event| match event {
        Event::DeploymentFailed(failed) => Some((failed.reason, failed.outcome)),
        _ => None,
    })
}

const GOOD: [&str; 4] =
    ["DeploymentStarted", "ClosureFetched", "ActivationSucceeded", "DeploymentSucceeded"];

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_outlives_its_agent_and_is_found_by_the_next() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let gate = gate(&nix);
    let path = closure(&nix, &format!("read go < {}; echo it went on", text(&gate)));
    let mut child = start_on(&nix, &server);
    let deployment = server.with(|world| world.request(&path));
    until_begun(&server, &nix, deployment).await;
    kill(&child);
    assert_eq!(exit_code(&mut child).await, None);
    // Ended while no agent runs, or under the next one: once each.
    let child = start_on(&nix, &server);
    server.until("another session", |world| world.sessions >= 2).await;
    let_go(gate).await;
    server.until("it ends", |world| world.ended(deployment)).await;
    server.with(|world| {
        assert_eq!(world.story(deployment), GOOD);
        assert!(world.output(deployment).contains("it went on"), "{}", world.output(deployment));
    });
    assert_eq!(calls(&nix).len(), 1);
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_goes_on_while_the_agent_is_stopped_in_order() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let gate = gate(&nix);
    let path = closure(&nix, &format!("read go < {}", text(&gate)));
    let child = start_on(&nix, &server);
    let deployment = server.with(|world| world.request(&path));
    until_begun(&server, &nix, deployment).await;
    stop(child).await;
    let_go(gate).await;
    assert!(!server.with(|world| world.ended(deployment)));
    let child = start_on(&nix, &server);
    server.until("it ends", |world| world.ended(deployment)).await;
    server.with(|world| assert_eq!(world.story(deployment), GOOD));
    assert_eq!(calls(&nix).len(), 1);
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_whose_supervisor_died_is_interrupted_and_not_repeated() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let gate = gate(&nix);
    let path = closure(&nix, &format!("read go < {}", text(&gate)));
    let mut child = start_on(&nix, &server);
    let deployment = server.with(|world| world.request(&path));
    until_begun(&server, &nix, deployment).await;
    kill(&child);
    assert_eq!(exit_code(&mut child).await, None);
    let pids = calls(&nix).join(" ");
    crate::nix::run("sh", &["-c", &format!("kill -KILL {pids}")]);
    let child = start_on(&nix, &server);
    server.until("it ends", |world| world.ended(deployment)).await;
    server.with(|world| {
        assert_eq!(failure(world), Some((FailureReason::Interrupted, FailureOutcome::Unknown)));
    });
    assert_eq!(calls(&nix).len(), 1);
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_deployment_waits_until_the_running_one_ended() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let gate = gate(&nix);
    let slow = closure(&nix, &format!("read go < {}", text(&gate)));
    let (older, newer) = (closure(&nix, "true"), closure(&nix, "true"));
    let child = start_on(&nix, &server);
    let one = server.with(|world| world.request(&slow));
    until_begun(&server, &nix, one).await;
    let two = server.with(|world| world.request(&older));
    let three = server.with(|world| world.request(&newer));
    server.cut();
    server.until("another session", |world| world.sessions >= 2).await;
    let_go(gate).await;
    server.until("the newest ends", |world| world.ended(three)).await;
    server.with(|world| {
        assert_eq!(world.story(one), GOOD);
        assert_eq!(world.agent.end_of(two), Some(End::Superseded));
        assert_eq!(world.story(three), GOOD);
    });
    assert_eq!(calls(&nix).len(), 2);
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_on_one_machine_do_not_disturb_each_other() {
    let nix = Nix::new();
    let path = nix.publish("shared", &[("bin/hello", "hello")], true);
    let mut agents = Vec::new();
    for number in 0..3 {
        let server = Server::start().await;
        let mut args = nix.args();
        args[1] = text(&nix.path(&format!("profiles-{number}/system")));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let child = start(&server, &nix.path(&format!("state-{number}")), &args);
        let deployment = server.with(|world| world.request(&path));
        agents.push((server, child, deployment, nix.path(&format!("profiles-{number}/system"))));
    }
    for (server, child, deployment, profile) in agents {
        server.until("it ends", |world| world.ended(deployment)).await;
        server.with(|world| assert_eq!(world.story(deployment), GOOD));
        assert_eq!(std::fs::canonicalize(profile).expect("it is set"), Path::new(path.as_str()));
        stop(child).await;
    }
}

/// Starts an agent that is killed as it comes to sync the n-th line of its journal.
fn start_doomed(nix: &Nix, server: &Server, state: &Path, n: usize) -> Child {
    let args = nix.args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let doomed = agent(server, state, &args);
    let doomed = doomed.as_std();
    let mut command = Command::new("strace");
    command
        .args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-P"])
        .arg(state.join("journal"))
        .args(["-e", &format!("inject=fdatasync:signal=KILL:when={n}")])
        .arg(doomed.get_program())
        .args(doomed.get_args())
        .envs(doomed.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command.spawn().expect("this test needs strace (apt-get install strace)")
}

/// Takes the last line off the journal, as a power cut does before it is synced.
fn lose_last_line(state: &Path) {
    let path = state.join("journal");
    let text = std::fs::read_to_string(&path).expect("a journal");
    let mut lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() > 1, "the first line is never at risk");
    lines.pop();
    std::fs::write(&path, lines.join("\n") + "\n").expect("written");
}

/// Kills an agent at each line of its journal in turn, and returns at how many.
async fn killed_at_each_line(
    nix: &Nix,
    path: &StorePath,
    lose: bool,
    story: &[&str],
    begun: usize,
) -> usize {
    for n in 1.. {
        let server = Server::start().await;
        let state = nix.path(&format!("state-{begun}-{n}"));
        let _ = std::fs::remove_file(nix.path("calls"));
        let deployment = server.with(|world| world.request(path));
        let mut doomed = start_doomed(nix, &server, &state, n);
        let is_killed = tokio::select! {
            status = doomed.wait() => {
                assert_eq!(status.expect("a status").signal(), Some(9), "it ended by itself");
                true
            }
            () = server.until("it is over", |world| world.ended(deployment)) => false,
        };
        if !is_killed {
            kill(&doomed);
            exit_code(&mut doomed).await;
            // The answer to the last report may be what it was killed at.
            return n - 1;
        }
        if lose {
            lose_last_line(&state);
        }
        let args = nix.args();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let child = start(&server, &state, &args);
        server.until(&format!("it ends, killed at line {n}"), |w| w.ended(deployment)).await;
        // It may have ended before the kill; then there was nothing left to do.
        server.until("another session", |world| world.sessions >= 2).await;
        server.with(|world| assert_eq!(world.story(deployment), story, "killed at line {n}"));
        assert_eq!(calls(nix).len(), begun, "killed at line {n}");
        stop(child).await;
    }
    unreachable!("the loop ends by returning")
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_line_of_the_journal_it_goes_on_from_there() {
    let nix = Nix::new();
    let path = closure(&nix, "echo activated");
    let lines = killed_at_each_line(&nix, &path, false, &GOOD, 1).await;
    assert!(lines >= 8, "only {lines} lines were written");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_any_line_of_the_journal_is_on_disk_it_goes_on_from_the_line_before() {
    let nix = Nix::new();
    let path = closure(&nix, "echo activated");
    let lines = killed_at_each_line(&nix, &path, true, &GOOD, 1).await;
    assert!(lines >= 8, "only {lines} lines were written");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_line_of_a_failing_deployment_it_reports_the_failure_once() {
    let nix = Nix::new();
    let path = closure(&nix, "echo no; exit 3");
    let bad = ["DeploymentStarted", "ClosureFetched", "ActivationFailed", "DeploymentFailed"];
    let lines = killed_at_each_line(&nix, &path, false, &bad, 1).await;
    assert!(lines >= 8, "only {lines} lines were written");
    let nowhere = StorePath::new("/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-nowhere");
    let bad = ["DeploymentStarted", "DeploymentFailed"];
    let lines = killed_at_each_line(&nix, &nowhere.expect("a path"), true, &bad, 0).await;
    assert!(lines >= 5, "only {lines} lines were written");
}
