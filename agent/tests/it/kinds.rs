//! Every kind of closure on real Nix: which programs run, in which order, and
//! what a failure leaves.

use crate::nix::{Nix, text};
use crate::rig::{agent, exit_code, terminate};
use crate::server::{Server, World};
use ledger_core::event::{
    ActivationFailed, ActivationSucceeded, ClosureKind, DeploymentFailed, Event, FailureOutcome,
    FailureReason,
};
use ledger_core::ids::DeploymentId;
use ledger_core::names::StorePath;
use std::path::Path;
use tokio::process::Child;

/// A script that notes its name, its argument and where the profile points,
/// and ends as it is told.
fn script(nix: &Nix, name: &str, end: &str) -> String {
    format!(
        "#!/bin/sh\nPATH=/bin:/usr/bin\necho \"{name} $1 $(readlink {}) ${{LEDGER_TOKEN-no token}}\" >> {}\necho {name} says something\n{end}\n",
        text(&nix.profile()),
        text(&nix.path("calls")),
    )
}

fn calls(nix: &Nix) -> Vec<String> {
    let text = std::fs::read_to_string(nix.path("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Starts the agent with a home of its own, for home-manager's profile.
async fn begin(nix: &Nix, server: &Server) -> Child {
    let args = nix.args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut command = agent(server, &nix.path("state"), &args);
    command.env("HOME", nix.path("home")).env("XDG_STATE_HOME", nix.path("home/state"));
    let child = command.spawn().expect("it starts");
    server.until("a session", |world| world.sessions >= 1).await;
    child
}

async fn deploy(server: &Server, path: &StorePath) -> DeploymentId {
    let deployment = server.with(|world| world.request(path));
    server.until("it ends", |world| world.ended(deployment)).await;
    deployment
}

async fn stop(mut child: Child) {
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
}

fn succeeded(world: &World) -> ActivationSucceeded {
    let found = world.events.iter().rev().find_map(|event| match event {
        Event::ActivationSucceeded(event) => Some(event.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no activation went well: {:#?}", world.events))
}

fn failed(world: &World) -> (Option<ActivationFailed>, DeploymentFailed) {
    let activation = world.events.iter().find_map(|event| match event {
        Event::ActivationFailed(event) => Some(event.clone()),
        _ => None,
    });
    let end = world.events.iter().find_map(|event| match event {
        Event::DeploymentFailed(event) => Some(event.clone()),
        _ => None,
    });
    (activation, end.unwrap_or_else(|| panic!("nothing failed: {:#?}", world.events)))
}

#[tokio::test(flavor = "multi_thread")]
async fn nixos_is_tested_before_profile_and_boot_entry_change() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let switch = script(&nix, "switch", "");
    let files = [("nixos-version", "24.05"), ("bin/switch-to-configuration", &*switch)];
    let path = nix.publish("nixos", &files, true);
    let child = begin(&nix, &server).await;
    let deployment = deploy(&server, &path).await;
    assert_eq!(
        calls(&nix),
        ["switch test  no token", "switch boot system-1-link no token"],
        "the profile is set between the two, and the token is not inherited"
    );
    server.with(|world| {
        let event = succeeded(world);
        assert_eq!((event.kind, event.generation), (ClosureKind::Nixos, Some(1)));
        let output = world.output(deployment);
        assert_eq!(output.matches("switch says something").count(), 2, "{output}");
        assert!(output.contains("activating (nixos)"), "{output}");
    });
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nixos_that_fails_its_test_gets_neither_profile_nor_boot_entry() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let switch = script(&nix, "switch", "echo a unit failed >&2; exit 4");
    let files = [("nixos-version", "24.05"), ("bin/switch-to-configuration", &*switch)];
    let path = nix.publish("nixos", &files, true);
    let child = begin(&nix, &server).await;
    let deployment = deploy(&server, &path).await;
    assert_eq!(calls(&nix), ["switch test  no token"]);
    assert!(nix.profile().symlink_metadata().is_err(), "the profile was not touched");
    server.with(|world| {
        let (activation, end) = failed(world);
        let activation = activation.expect("the activation failed");
        assert_eq!((activation.kind, activation.exit_status), (ClosureKind::Nixos, Some(4)));
        assert_eq!(
            (end.reason, end.outcome),
            (FailureReason::ActivationFailed, FailureOutcome::Unknown)
        );
        assert!(world.error(deployment).contains("a unit failed"), "{}", world.error(deployment));
    });
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn darwin_sets_its_profile_and_activates_for_user_and_system() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let (user, system) = (script(&nix, "user", ""), script(&nix, "system", ""));
    let first = nix.publish(
        "darwin",
        &[("darwin-version", "4"), ("activate-user", &user), ("activate", &system)],
        true,
    );
    let second =
        nix.publish("darwin", &[("darwin-version.json", "{}"), ("activate", &system)], true);
    let child = begin(&nix, &server).await;
    deploy(&server, &first).await;
    deploy(&server, &second).await;
    assert_eq!(
        calls(&nix),
        [
            "user  system-1-link no token",
            "system  system-1-link no token",
            "system  system-2-link no token"
        ]
    );
    server.with(|world| {
        let event = succeeded(world);
        assert_eq!((event.kind, event.generation), (ClosureKind::Darwin, Some(2)));
        assert_eq!(event.previous, Some(first));
    });
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn home_manager_activates_and_leaves_the_profile_alone() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let activate = script(&nix, "home", "");
    let path = nix.publish("home", &[("hm-version", "24.05"), ("activate", &activate)], true);
    let child = begin(&nix, &server).await;
    deploy(&server, &path).await;
    assert_eq!(calls(&nix), ["home   no token"]);
    assert!(nix.profile().symlink_metadata().is_err());
    server.with(|world| {
        let event = succeeded(world);
        assert_eq!((event.kind, event.generation), (ClosureKind::HomeManager, None));
    });
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_cannot_be_set_is_left_as_it_was() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let path = nix.publish("plain", &[("bin/hello", "hello")], true);
    let child = begin(&nix, &server).await;
    // A folder in the place of the link: nix-env cannot put one there.
    std::fs::create_dir_all(nix.profile().join("in-the-way")).expect("a folder");
    let deployment = deploy(&server, &path).await;
    server.with(|world| {
        let (activation, end) = failed(world);
        assert_eq!(activation.expect("it failed").exit_status, Some(1));
        assert_eq!(end.outcome, FailureOutcome::Unchanged);
        assert!(world.error(deployment).contains("error:"), "{}", world.error(deployment));
    });
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_trusted_signed_is_not_fetched_and_nix_says_why() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let path = nix.publish("unsigned", &[("bin/hello", "hello")], false);
    let child = begin(&nix, &server).await;
    let deployment = deploy(&server, &path).await;
    assert!(!Path::new(path.as_str()).exists());
    server.with(|world| {
        let (activation, end) = failed(world);
        assert_eq!(activation, None);
        assert_eq!(
            (end.reason, end.outcome),
            (FailureReason::FetchFailed, FailureOutcome::Unchanged)
        );
        let error = world.error(deployment);
        assert!(error.contains("not signed by any of the keys"), "{error}");
        assert!(world.output(deployment).contains(&error), "the same words are in the output");
    });
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_cache_has_fails_with_the_words_of_nix() {
    let (nix, server) = (Nix::new(), Server::start().await);
    nix.publish("other", &[("bin/hello", "hello")], true);
    let path = StorePath::new("/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-nowhere").expect("path");
    let child = begin(&nix, &server).await;
    let deployment = deploy(&server, &path).await;
    server.with(|world| {
        assert_eq!(failed(world).1.reason, FailureReason::FetchFailed);
        let error = world.error(deployment);
        assert!(error.contains("error:") && error.contains("nowhere"), "{error}");
    });
    stop(child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_arrives_whole_and_in_order() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let end =
        "i=0; while [ $i -lt 20000 ]; do echo \"line $i of a long activation\"; i=$((i+1)); done";
    let activate = script(&nix, "home", end);
    let path = nix.publish("home", &[("hm-version", "24.05"), ("activate", &activate)], true);
    let child = begin(&nix, &server).await;
    let deployment = server.with(|world| world.request(&path));
    server.until("some output", |world| world.output(deployment).len() > 64 * 1024).await;
    server.cut();
    server.until("it ends", |world| world.ended(deployment)).await;
    server.with(|world| {
        let output = world.output(deployment);
        let lines: Vec<&str> = output.lines().filter(|l| l.starts_with("line ")).collect();
        assert_eq!(lines.len(), 20_000);
        assert!(
            lines.iter().enumerate().all(|(n, l)| *l == format!("line {n} of a long activation"))
        );
    });
    stop(child).await;
}
