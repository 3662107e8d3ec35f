//! A database that goes away under a living server, and comes back: what was
//! acknowledged is there, and the server goes on by itself.

use super::load::{Load, Run};
use super::{FURTHER_WRITES_MAX, LATER_MAX, Told};
use crate::rig::http::{Answer, ask};
use crate::rig::postgres::Postgres;
use crate::rig::random::{self, Random};
use crate::rig::server::Server;
use crate::rig::wait_for;
use ledger_core::RequestId;
use serde_json::json;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const N_OUTAGES: usize = 20;
/// How soon a server looks after the others, and so after the database, where
/// nobody writes: a third of this.
const NODE_TIMEOUT: &str = "1s";
/// For how long the database stays away from a server that nobody writes to.
const AWAY: Duration = Duration::from_secs(5);

#[test]
fn postgres_cut_off_twenty_times_under_load_loses_and_doubles_nothing() {
    let seed = random::seed("LEDGER_KILLS_SEED");
    eprintln!("LEDGER_KILLS_SEED={seed}");
    let mut random = Random::new(seed);
    let mut postgres = Postgres::start();
    let folder = TempDir::with_prefix("ledger-kills-").expect("a folder can be made");
    let mut server = Server::start(folder.path(), postgres.options(&[]));
    let token = server.admin_token();
    let mut load = Load::start(Run::new(1, server.url(), &token), seed);
    let mut told = Told::new(true);

    let begun = Instant::now();
    for outage in 1..=N_OUTAGES {
        load.wait_for_entries(load.entries() + random.below(FURTHER_WRITES_MAX));
        // Not for anything to happen: the moment itself is random.
        std::thread::sleep(LATER_MAX.mul_f64(random.fraction()));
        postgres.stop_at_once();
        wait_for("readiness to be false", || (ready(&server) == 503).then_some(()));
        postgres.start_again();
        wait_for("readiness to be true", || (ready(&server) == 200).then_some(()));
        let run = Run::new(1 + outage, server.url(), &token);
        told.check(&load, &run);
        load.open(run);
    }
    let took = begun.elapsed();
    let outcome = told.end(load, &mut server, &token);
    let starts = outcome.history.count("NodeStarted");
    assert_eq!(starts, 1, "the server did not live through it");
    eprintln!("{N_OUTAGES} outages in {took:?}: {outcome}");
    // A load that no outage meets proves nothing.
    assert!(outcome.retried() >= N_OUTAGES);
}

#[test]
fn a_server_whose_database_is_gone_says_so_and_goes_on_when_it_is_back() {
    let mut postgres = Postgres::start();
    let folder = TempDir::with_prefix("ledger-outage-").expect("a folder can be made");
    let options = postgres.options(&["--node-timeout", NODE_TIMEOUT]);
    let mut server = Server::start(folder.path(), options);
    let token = server.admin_token();
    let create = |server: &Server, id: RequestId, name: &str| {
        let body = json!({ "request_id": id, "name": name });
        ask(server.url(), &token, "/v1/workspaces", Some(&body))
    };
    let [before, during] = [(); 2].map(|()| RequestId::new(uuid::Uuid::now_v7()));
    assert!(create(&server, before, "before").status < 300);

    // Until everything is signed, it writes by itself.
    let head = server.log(&token).len().to_string();
    let checkpoint = server.data().join("checkpoint");
    wait_for("the checkpoint", || {
        let note = std::fs::read_to_string(&checkpoint).ok()?;
        (note.lines().nth(1) == Some(&head)).then_some(())
    });
    postgres.stop_at_once();
    let gone = Instant::now();
    // Nobody writes, and it says so all the same.
    wait_for("readiness to be false", || (ready(&server) == 503).then_some(()));
    eprintln!("without a write, readiness is false after {:?}", gone.elapsed());
    // As long as it takes: every answer is a clear one, and soon.
    while gone.elapsed() < AWAY {
        let asked = Instant::now();
        is_clear(&create(&server, during, "during"));
        is_clear(&ask(server.url(), &token, "/v1/log", None));
        let readiness = ask(server.url(), "", "/readyz", None);
        let why = readiness.body["status"].as_str().unwrap_or_default();
        assert!(readiness.status == 503 && why.contains("database"), "{readiness:?}");
        assert_eq!(ask(server.url(), &token, "/healthz", None).status, 200);
        let took = asked.elapsed();
        assert!(took < AWAY, "the answers took {took:?}");
    }
    // Nor does one start on it.
    let other = TempDir::with_prefix("ledger-outage-").expect("a folder can be made");
    let failed = Server::start_in_vain(other.path(), &postgres.options(&[]));
    assert_eq!(failed.code(), Some(1), "{}", failed.stderr);
    for words in ["postgres://ledger_test@localhost", "look whether it runs"] {
        assert!(failed.stderr.contains(words), "{}", failed.stderr);
    }
    assert!(!failed.stderr.contains("panicked"), "{}", failed.stderr);
    eprintln!("a start without the database says:\n{}", failed.stderr);

    postgres.start_again();
    let back = Instant::now();
    wait_for("readiness to be true", || (ready(&server) == 200).then_some(()));
    eprintln!("without a write, readiness is true {:?} after it is back", back.elapsed());
    for _ in 0..2 {
        assert!(create(&server, during, "during").status < 300);
    }
    let log = server.log(&token);
    crate::rig::story::check_log(&log);
    let made = log.iter().filter(|event| event.type_name == "WorkspaceCreated");
    let made: Vec<_> = made.map(|event| event.stream.to_string()).collect();
    assert_eq!(made, ["workspace/default", "workspace/before", "workspace/during"]);
    assert!(server.terminate().success(), "the server does not stop well");
    assert!(!server.process().stderr().contains("panicked"), "{}", server.process().stderr());
}

/// The status of the server's readiness.
fn ready(server: &Server) -> u16 {
    ask(server.url(), "", "/readyz", None).status
}

/// Checks that an answer says that and why the server cannot do it now.
fn is_clear(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.head.contains("application/problem+json"), "{answer:?}");
    let text = |key: &str| answer.body[key].as_str().unwrap_or_default();
    assert!(!text("code").is_empty() && text("detail").contains("database"), "{answer:?}");
}
