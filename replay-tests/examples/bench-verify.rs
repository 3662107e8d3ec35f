//! verification: events a second that `ledger verify` recomputes on both databases
//!
//! `./dev bench verify [EVENTS [FOLDER]]`; a log on SQLite that lies in the folder is
//! taken as it is. PostgreSQL is started for it, or is the one of `DATABASE_URL`.

#![allow(clippy::unwrap_used, reason = "it ends by panicking")]

#[expect(dead_code, reason = "this benchmark makes no copies")]
#[path = "common/postgres.rs"]
mod postgres;

use ledger_core::event::{self, ClosureKind, Digest, OutputDigest};
use ledger_core::record::ActorKind;
use ledger_core::verify::{Trust, Verified};
use ledger_core::{
    ActivationId, Actor, AgentName, DeploymentId, EventId, NewEvent, NodeId, RequestId, SessionId,
    StorePath, StreamId, WorkspaceName,
};
use ledger_store::{
    Change, Log, Options, SystemClock, VerifyError, Write, verify_postgres, verify_sqlite,
};
use postgres::{Database, Server};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// Events of one write.
const BATCH: usize = 2_000;
/// Passes over each log.
const PASSES: usize = 3;
/// A log that need not survive is filled without waiting for the disk.
const HASTY: Options = Options { durable: false, thread: true };

fn main() {
    let mut args = std::env::args().skip(1);
    let n_events: usize = args.next().map_or(1_000_000, |n| n.parse().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let folder = args.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if !folder.join("ledger.db").exists() {
        runtime.block_on(async {
            let clock = Arc::new(SystemClock);
            fill(Log::open_sqlite_with(&folder, clock, HASTY).await.unwrap(), n_events).await;
        });
    }
    passes("SQLite", || verify_sqlite(&folder, &Trust::default(), &mut |_| true));
    let (server, database) = runtime.block_on(async {
        let server = Server::get(&std::env::temp_dir()).await.unwrap();
        let database = Database::new(server).await.unwrap();
        let log = Log::open_postgres_with(&database.service(), None, HASTY).await.unwrap();
        fill(log, n_events).await;
        (server, database)
    });
    let url = database.service();
    passes(server.name(), || verify_postgres(&url, &Trust::default(), &mut |_| true));
    drop(database);
    server.stop();
}

fn passes(name: &str, verify: impl Fn() -> Result<Verified, VerifyError>) {
    for _ in 0..PASSES {
        let begun = Instant::now();
        let verified = verify().unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        let (size, rate) = (verified.size, verified.size as f64 / seconds);
        println!("{name}: {size} events in {seconds:.2} s, {rate:.0} events a second");
    }
}

async fn fill(log: Log, n_events: usize) {
    let actor = Actor { kind: ActorKind::Node, id: NodeId::new(Uuid::now_v7()).to_string() };
    let mut made = 0;
    while made < n_events {
        let request_id = RequestId::new(Uuid::now_v7());
        let mut events = Vec::with_capacity(BATCH);
        while events.len() < BATCH.min(n_events - made) {
            let deployment = EventId::derive(request_id, events.len() as u32).into();
            events.extend(deployment_of(made + events.len(), deployment));
        }
        events.truncate(n_events - made);
        made += events.len();
        let (given, change) = (Digest::of(b"an example"), Change::Events(Arc::new(events)));
        let actor = actor.clone();
        log.write(Write { request_id, given, actor, expect: Vec::new(), change }).await.unwrap();
    }
    log.close().await;
}

/// The five events of a deployment.
fn deployment_of(n: usize, deployment: DeploymentId) -> Vec<NewEvent> {
    let agent = AgentName::new(format!("web-{}", n / 5 % 10_000)).unwrap();
    let stream = StreamId::Agent(WorkspaceName::initial(), agent);
    let activation = ActivationId::new(deployment.uuid());
    let path = format!("/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-nixos-system-web-{n}");
    let store_path = StorePath::new(path).unwrap();
    let output = OutputDigest { blake3: Digest::of(b""), bytes: 0 };
    let all: [ledger_core::Event; 5] = [
        event::DeploymentRequested {
            activation,
            store_path: store_path.clone(),
            rollback_script: None,
        }
        .into(),
        event::DeploymentStarted { deployment, session: SessionId::new(deployment.uuid()) }.into(),
        event::ClosureFetched { deployment, closure_bytes: 1_234_567_890, closure_paths: 1_234 }
            .into(),
        event::ActivationSucceeded {
            deployment,
            kind: ClosureKind::Nixos,
            generation: Some(n as u64),
            previous: Some(store_path),
        }
        .into(),
        event::DeploymentSucceeded { deployment, output }.into(),
    ];
    all.map(|event| {
        NewEvent::new(stream.clone(), event).correlated(activation).caused_by(deployment.into())
    })
    .into()
}
