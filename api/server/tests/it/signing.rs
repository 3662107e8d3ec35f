//! The signer across starts: what it signed is never contradicted.

use crate::node::{DEADLINE, Node, config, data_folder, request_id};
use api_server::{SignError, StartError, start};
use ledger_core::Event;
use ledger_core::checkpoint::{Note, NoteKey};
use ledger_store::{Clock, Log, SystemClock};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PING: Duration = Duration::from_secs(20);

fn key(folder: &Path) -> NoteKey {
    let text = std::fs::read_to_string(folder.join("signing-key.pub")).expect("a key");
    text.parse().expect("a key")
}

fn remembered(folder: &Path) -> Note {
    std::fs::read_to_string(folder.join("checkpoint")).expect("a note").parse().expect("a note")
}

async fn grow(node: &Node) {
    let body = json!({ "request_id": request_id(), "name": format!("w{}", request_id()) });
    node.post("/v1/workspaces", body).await;
}

#[tokio::test]
async fn a_checkpoint_follows_every_growth_and_a_stop_is_signed() {
    let node = Node::new().await;
    let key = key(node.folder.path());
    for _ in 0..3 {
        grow(&node).await;
        let head = node.log.head().borrow().0;
        let signed = async {
            loop {
                let note = node.log.newest_checkpoint().await.expect("read");
                let note = note.map(|note| note.parse::<Note>().expect("a note"));
                if let Some(note) = note.filter(|note| note.checkpoint().size >= head) {
                    return note;
                }
                tokio::task::yield_now().await;
            }
        };
        let note = tokio::time::timeout(DEADLINE, signed).await.expect("signed in time");
        assert!(note.is_signed_by(&key));
    }
    let folder = node.stop().await;
    let note = remembered(folder.path());
    let log = Log::open_sqlite(folder.path(), Arc::new(SystemClock)).await.expect("a log");
    let tree = log.tree().await.expect("a tree");
    assert_eq!((note.checkpoint().size, note.checkpoint().root), (tree.size(), tree.root()));
    assert_eq!(log.newest_checkpoint().await.expect("read"), Some(note.to_string()));
}

#[cfg(unix)]
#[tokio::test]
async fn the_signing_key_is_the_owners_and_is_replaced_on_request() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Node::new().await.stop().await;
    let mode = std::fs::metadata(folder.path().join("signing-key")).expect("a key").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let first = key(folder.path());
    let mut rotated = config(folder.path(), PING);
    rotated.new_signing_key = true;
    let node = Node::on(folder, rotated).await;
    let second = key(node.folder.path());
    assert_ne!(first, second);
    let keys = node.get("/v1/signing-keys").await;
    let mut keys: Vec<&str> =
        keys["keys"].as_array().expect("a list").iter().filter_map(|key| key.as_str()).collect();
    let mut expected = [first.to_string(), second.to_string()];
    keys.sort_unstable();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    let folder = node.stop().await;
    assert!(remembered(folder.path()).is_signed_by(&second));
    assert_eq!(key(folder.path()), second, "the next start keeps it");
}

#[tokio::test]
async fn a_restored_backup_is_not_signed_until_an_operator_accepts_the_fork() {
    let folder = Node::new().await.stop().await;
    let database = folder.path().join("ledger.db");
    let backup = std::fs::read(&database).expect("a database");
    let settings = config(folder.path(), PING);
    let node = Node::on(folder, settings).await;
    grow(&node).await;
    let folder = node.stop().await;
    let signed = remembered(folder.path());
    std::fs::write(&database, &backup).expect("restored");

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = Log::open_sqlite(folder.path(), clock.clone()).await.expect("a log");
    let before = *log.head().borrow();
    let refused = start(config(folder.path(), PING), log, clock.clone()).await;
    let Err(StartError::Sign(error @ SignError::Fork { .. })) = refused else {
        panic!("a fork was signed")
    };
    let text = error.to_string();
    assert!(text.contains("--accept-fork") && text.contains("backup"), "{text}");
    // Nothing was recorded, and nothing was signed.
    let log = Log::open_sqlite(folder.path(), clock.clone()).await.expect("a log");
    assert_eq!(*log.head().borrow(), before);
    log.close().await;
    assert_eq!(remembered(folder.path()), signed);

    let mut accepting = config(folder.path(), PING);
    accepting.accept_fork = true;
    let node = Node::on(folder, accepting).await;
    let accepted = node.event(|event| matches!(event, Event::ForkAccepted(_))).await;
    let Ok(Event::ForkAccepted(accepted)) = accepted.event() else { panic!("not accepted") };
    let old = signed.checkpoint();
    assert_eq!((accepted.size, accepted.root), (old.size, old.root));
    let folder = node.stop().await;
    // From now on, this is the log.
    let config = config(folder.path(), PING);
    Node::on(folder, config).await.stop().await;
}

#[tokio::test]
async fn a_log_keeps_its_name() {
    let folder = data_folder();
    let mut named = config(folder.path(), PING);
    named.origin = Some("ledger.example.org/prod".parse().expect("an origin"));
    let folder = Node::on(folder, named).await.stop().await;
    assert_eq!(key(folder.path()).name.as_str(), "ledger.example.org/prod");
    // Without being told again.
    let unnamed = config(folder.path(), PING);
    let folder = Node::on(folder, unnamed).await.stop().await;
    assert_eq!(key(folder.path()).name.as_str(), "ledger.example.org/prod");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = Log::open_sqlite(folder.path(), clock.clone()).await.expect("a log");
    let mut renamed = config(folder.path(), PING);
    renamed.origin = Some("ledger.example.org/other".parse().expect("an origin"));
    let refused = start(renamed, log, clock).await;
    assert!(matches!(refused, Err(StartError::Sign(SignError::Origin { .. }))));
}
