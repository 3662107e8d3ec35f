//! A plain profile on real Nix, by the real program.

use crate::nix::Nix;
use crate::rig::{agent, exit_code, start, terminate};
use crate::server::Server;
use ledger_core::event::{ClosureKind, Event};

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_closure_is_refused_though_the_machine_would_take_it() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let path = nix.publish("unsigned", &[("bin/hello", "hello")], false);
    let mut args = vec!["--profile".to_owned(), crate::nix::text(&nix.profile())];
    if !rustix::process::geteuid().is_root() {
        // Another user's word counts only with a cache of the agent's own.
        args.extend(["--substituter".to_owned(), nix.cache()]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let config = format!("substituters = {}\nrequire-sigs = false\n", nix.cache());
    let mut command = agent(&server, &nix.path("state"), &args);
    let mut agent = command.env("NIX_CONFIG", config).spawn().expect("it starts");
    let deployment = server.with(|world| world.request(&path));
    server.until("it ends", |world| world.ended(deployment)).await;
    server.with(|world| {
        assert_eq!(world.story(deployment), ["DeploymentStarted", "DeploymentFailed"]);
        let error = world.error(deployment);
        assert!(error.contains("is not signed by any of the keys"), "{error}");
    });
    assert!(!std::path::Path::new(path.as_str()).exists());
    terminate(&agent);
    assert_eq!(exit_code(&mut agent).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_profile_is_fetched_activated_and_reported() {
    let (nix, server) = (Nix::new(), Server::start().await);
    let args = nix.args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut agent = start(&server, &nix.path("state"), &args);
    server.until("a session", |world| world.sessions >= 1).await;

    let first = nix.publish("plain-1", &[("bin/hello", "#!/bin/sh\necho hello\n")], true);
    let one = server.with(|world| world.request(&first));
    server.until("the first ends", |world| world.ended(one)).await;
    let second = nix.publish("plain-2", &[("bin/hello", "#!/bin/sh\necho again\n")], true);
    let two = server.with(|world| world.request(&second));
    server.until("the second ends", |world| world.ended(two)).await;

    server.with(|world| {
        let good =
            ["DeploymentStarted", "ClosureFetched", "ActivationSucceeded", "DeploymentSucceeded"];
        assert_eq!(world.story(one), good);
        assert_eq!(world.story(two), good);
        let activated: Vec<_> = world
            .events
            .iter()
            .filter_map(|event| match event {
                Event::ActivationSucceeded(event) => {
                    assert_eq!(event.kind, ClosureKind::Plain);
                    Some((event.generation, event.previous.clone()))
                }
                Event::ClosureFetched(event) => {
                    assert_eq!(event.closure_paths, 2);
                    assert!(event.closure_bytes > 0);
                    None
                }
                _ => None,
            })
            .collect();
        assert_eq!(activated, [(Some(1), None), (Some(2), Some(first.clone()))]);
        let output = world.output(two);
        for line in [
            &*format!("fetching {second}"),
            "$ nix-store --realise",
            "copying path",
            "activating (plain)",
            "$ nix-env --profile",
            "generation 2",
        ] {
            assert!(output.contains(line), "{line:?} is missing in\n{output}");
        }
    });
    assert_eq!(
        std::fs::canonicalize(nix.profile()).expect("a profile"),
        std::path::Path::new(second.as_str())
    );
    terminate(&agent);
    assert_eq!(exit_code(&mut agent).await, Some(0));
}
