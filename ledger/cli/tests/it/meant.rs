//! A word that is not there: what was likely meant is asked.

use crate::support::{Agent, Server, ledger, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_agent_is_asked_about_wherever_it_is_named() {
    let server = Server::start();
    let token = server.token("agent");
    let _one = Agent::connect(&server.url, &token, "web-1").await;
    let _two = Agent::connect(&server.url, &token, "database").await;
    let path = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web";
    let spec = format!(r#"{{"agents":{{"web1":"{path}","database":"{path}"}}}}"#);
    let spec = server.file("deploy.json", &spec);
    for (args, code) in [
        (vec!["activate", &spec], 4),
        (vec!["activate", &spec, "--dry-run"], 4),
        (vec!["agents", "retire", "wbe-1"], 4),
        (vec!["agents", "rekey", "web"], 4),
        (vec!["deployment", "web1#1"], 4),
        (vec!["cancel", "web1#1"], 4),
        (vec!["deployments", "--agent", "web1"], 4),
        // Nothing of an agent that is not there is no failure.
        (vec!["log", "--agent", "web1"], 0),
        (vec!["log", "--agent", "web1", "--format", "jsonl"], 0),
    ] {
        let run = server.admin(&args);
        assert_eq!((run.code, &*run.stdout), (code, ""), "{args:?}: {run:?}");
        let hints = run.stderr.lines().filter(|line| line.starts_with("Hint: ")).count();
        assert!(hints == 1 && run.stderr.contains("did you mean web-1?"), "{args:?}: {run:?}");
    }
    for args in [vec!["deployments", "--agent", "database"], vec!["deployment", "database#1"]] {
        let run = server.admin(&args);
        assert!(!run.stderr.contains("did you mean"), "it is there: {args:?}: {run:?}");
    }
    // The token of CI may not list the agents: then there is the general hint.
    let activate = run(&mut server.with_token(&server.token("activate"), &["activate", &spec]));
    assert!(activate.stderr.contains("Hint: `ledger agents` lists"), "{activate:?}");
}

#[test]
fn a_misspelt_workspace_type_or_verb_is_asked_about() {
    let server = Server::start();
    assert_eq!(server.admin(&["workspace", "create", "team-1"]).code, 0);
    for args in [
        vec!["agents", "-w", "taem-1"],
        vec!["log", "-w", "team1"],
        vec!["token", "list", "-w", "team-2"],
    ] {
        let run = server.admin(&args);
        assert_eq!(run.code, 4, "{run:?}");
        assert!(run.stderr.contains("Hint: did you mean team-1?"), "{args:?}: {run:?}");
    }
    let far = server.admin(&["agents", "-w", "elsewhere"]);
    assert!(far.stderr.contains("Hint: `ledger workspace list`"), "{far:?}");
    for (words, meant) in [
        ("activat deploy.json", "'activate'"),
        ("token creat", "'create'"),
        ("log --type DeploymentFaild", "'DeploymentFailed'"),
        ("log --agnet web-1", "'--agent'"),
        ("deployments --format jsn", "'json'"),
    ] {
        let args: Vec<&str> = words.split(' ').collect();
        let run = run(&mut ledger(&args));
        assert_eq!(run.code, 2, "{words}: {run:?}");
        assert!(run.stderr.contains("tip: ") && run.stderr.contains(meant), "{words}: {run:?}");
    }
}
