//! The server under requests that schemathesis makes from the API's description: good
//! ones, bad ones, and sequences of them. It must find nothing.

use crate::rig::DEADLINE;
use crate::rig::process::{Output, Process, command};
use crate::rig::story::check_log;
use crate::rig::wire::{Puppet, Socket};
use crate::rig::world::World;
use api_client::endpoint::Endpoint;
use api_client::http::{Client, new_request_id};
use api_wire::agent::{FromAgent, FromServer};
use api_wire::http::{ActivateAnswer, ActivateRequest};
use api_wire::token::Secret;
use data_encoding::{BASE64, HEXLOWER};
use ledger_core::agent::Report;
use ledger_core::event::{Digest, FailureOutcome, FailureReason, OutputDigest};
use ledger_core::{ActivationId, DeploymentId, Timestamp};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What is read of every run, and copied into its folder.
const FILES: [&str; 2] = ["schemathesis.toml", "hooks.py"];

const PATH: &str = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web";

/// One run of schemathesis.
struct Run {
    who: &'static str,
    /// What it sends as its token, if anything.
    token: Option<String>,
    more: &'static [&'static str],
    /// How many requests it makes at the least: fewer would say little.
    requests_min: u32,
}

/// The program in the folder that `./dev setup` made for these requirements.
fn program() -> PathBuf {
    let given = std::env::var_os("LEDGER_SCHEMATHESIS").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
        let requirements = fs::read(sources().join("requirements.txt")).expect("it can be read");
        let hash = HEXLOWER.encode(&Sha256::digest(requirements));
        cache.unwrap_or_else(home).join("ledger").join(format!("schemathesis-{}", &hash[..12]))
    });
    assert!(
        folder.join("complete").exists(),
        "{} is missing: ./dev setup installs schemathesis there",
        folder.display()
    );
    folder.join("bin/schemathesis")
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis")
}

/// Two agents: what waits for the one, after six others, and what the other failed to
/// do. They are those of the description's examples, and so is the last activation.
fn inhabit(world: &World) -> ActivateAnswer {
    let (web_1, web_2) = (Puppet::new("web-1"), Puppet::new("web-2"));
    let (_first, _) = web_1.connect(world);
    let (mut second, _) = web_2.connect(world);
    for _ in 0..6 {
        activate(world, api_client::http::new_activation_id(), &["web-1"]);
    }
    let id = "0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90".parse().expect("it is an id");
    let answer = activate(world, id, &["web-1", "web-2"]);
    assert_eq!(answer.deployments[0].index, Some(7));
    fail(&mut second, answer.deployments[1].id.expect("it was recorded"));
    answer
}

fn activate(world: &World, id: ActivationId, agents: &[&str]) -> ActivateAnswer {
    let agents: BTreeMap<&str, &str> = agents.iter().map(|agent| (*agent, PATH)).collect();
    let spec = json!({ "agents": agents }).to_string();
    let agents = Vec::new();
    let body = ActivateRequest { id, spec, agents, dry_run: false, ci: None, description: None };
    ask(world, async |client| client.activate(&body).await.expect("it is recorded"))
}

/// Plays a deployment that says something and fails.
fn fail(socket: &mut Socket, deployment: DeploymentId) {
    let said = b"no such path\n";
    let digest = OutputDigest { blake3: Digest::of(said), bytes: said.len() as u64 };
    let report = Report::Failed {
        reason: FailureReason::FetchFailed,
        outcome: FailureOutcome::Unchanged,
        output: digest,
        error: "no such path".to_owned(),
    };
    let occurred_at = Timestamp::from_micros(1_772_366_400_000_000);
    for message in [
        FromAgent::Claim { request_id: new_request_id(), deployment },
        FromAgent::Output {
            request_id: new_request_id(),
            deployment,
            offset: 0,
            bytes: BASE64.encode(said),
        },
        FromAgent::Report { request_id: new_request_id(), deployment, report, occurred_at },
    ] {
        socket.send(&message);
        loop {
            match socket.receive() {
                FromServer::Claimed { .. } | FromServer::Acknowledged { .. } => break,
                FromServer::Events { .. } => {}
                other => panic!("the server does not take it: {other:?}"),
            }
        }
    }
}

/// Asks the server something as its administrator.
fn ask<T>(world: &World, what: impl AsyncFnOnce(Client) -> T) -> T {
    let secret = Secret::parse(&world.server.admin_token()).expect("it is a token");
    let endpoint = Endpoint::new(world.server.url(), secret).expect("it is this machine");
    let client = Client::new(endpoint, "replay-tests").expect("a client can be made");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(what(client))
}

/// Returns the ids of all tokens, which no run may revoke.
fn held_tokens(world: &World) -> String {
    let list = ask(world, async |client| client.tokens().await.expect("they are listed"));
    let ids: Vec<String> = list.tokens.iter().map(|token| token.id.to_string()).collect();
    ids.join(",")
}

/// Writes what the runs read into a folder of their own.
fn prepare(world: &World, answer: &ActivateAnswer) -> PathBuf {
    let folder = world.folder().join("schemathesis");
    fs::create_dir(&folder).expect("a folder can be made");
    for file in FILES {
        fs::copy(sources().join(file), folder.join(file)).expect("it can be copied");
    }
    let deployments = answer.deployments.iter().filter_map(|of| of.id);
    let deployments: String = deployments.map(|id| format!("\"{id}\"\n")).collect();
    fs::write(folder.join("deployments.dict"), deployments).expect("it can be written");
    folder
}

impl Run {
    fn start(&self, world: &World, folder: &Path, held: &str) -> Process {
        let url = world.server.url();
        let mut schemathesis = command(program(), folder);
        schemathesis
            .current_dir(folder)
            .env("LEDGER_HELD_TOKENS", held)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["run", &format!("{url}/v1/openapi.json"), "--url", url, "--no-color"])
            .args(self.more);
        if let Some(token) = &self.token {
            schemathesis.args(["--header", &format!("Authorization: Bearer {token}")]);
        }
        if self.token.as_ref().is_some_and(|token| token.starts_with("ldg_")) {
            schemathesis.env("LEDGER_MANY_ADDRESSES", "1");
        }
        Process::start(self.who, schemathesis, world.folder())
    }

    fn check(&self, output: &Output) {
        let who = self.who;
        let said = format!("{}\n{}", output.stdout, output.stderr);
        assert_eq!(output.code(), Some(0), "asked with {who}:\n{said}");
        let generated = output.stdout.lines().find_map(|line| {
            let (number, _) = line.trim().split_once(" generated")?;
            number.parse::<u32>().ok()
        });
        assert!(generated >= Some(self.requests_min), "asked with {who}, too little:\n{said}");
    }
}

/// What a token that may do little is asked with: good requests, each refused or not.
const BRIEF: &[&str] = &["--mode", "positive", "--max-examples", "3"];

fn runs(world: &World) -> Vec<Run> {
    let brief = |who, token| Run { who, token, more: BRIEF, requests_min: 100 };
    let thorough = Run {
        who: "the ledger's admin",
        token: Some(world.server.admin_token()),
        more: &["--max-examples", "12"],
        requests_min: 1_000,
    };
    vec![
        thorough,
        brief("a workspace's admin", Some(world.token("admin", &[]))),
        brief("a reader", Some(world.token("read", &[]))),
        brief("an activator", Some(world.token("activate", &[]))),
        brief("an agent", Some(world.token("agent", &[]))),
        brief("nobody", None),
        brief("garbage", Some("garbage".to_owned())),
    ]
}

#[test]
fn schemathesis_finds_nothing_whoever_asks() {
    let mut world = World::new();
    let answer = inhabit(&world);
    let runs = runs(&world);
    let held = held_tokens(&world);
    let folder = prepare(&world, &answer);
    // Two at once, which is what a small machine has processors for.
    for pair in runs.chunks(2) {
        let started: Vec<Process> =
            pair.iter().map(|run| run.start(&world, &folder, &held)).collect();
        for (run, mut process) in pair.iter().zip(started) {
            // Thousands of requests, on a machine that runs other tests beside it.
            process.wait_within(5 * DEADLINE);
            run.check(&process.output());
        }
    }
    assert_eq!(world.server.process().has_ended(), None, "the server died");
    let stderr = world.server.process().stderr();
    assert!(!stderr.contains("panicked"), "the server panicked:\n{stderr}");
    // The tokens are as good as before, and the writes got as far as the log.
    let log = world.log();
    check_log(&log);
    for (type_name, least) in [
        ("WorkspaceCreated", 2),
        ("TokenIssued", 8),
        ("TokenRevoked", 1),
        ("AgentRekeyed", 1),
        ("AgentRetired", 1),
        ("ActivationRequested", 8),
    ] {
        let times = log.iter().filter(|event| event.type_name == type_name).count();
        assert!(times >= least, "{type_name} is in the log {times} times: too little was reached");
    }
    for run in &runs {
        if let Some(token) = run.token.as_ref().filter(|token| token.starts_with("ldg_")) {
            let asked = world.start_ledger(token, &["log"]).output();
            assert!(!asked.stderr.contains("not known"), "{} lost its token", run.who);
        }
    }
}
