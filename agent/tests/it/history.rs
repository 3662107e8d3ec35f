//! A server whose history is another one than it was. The real program.

use crate::rig::{ends, exit_code, folder, kill, start, terminate};
use crate::server::{Server, leaves};
use api_wire::agent::FromAgent;
use ledger_core::checkpoint::Note;
use ledger_core::merkle::NodeHash;
use std::path::Path;
use tempfile::TempDir;

fn note(folder: &TempDir, name: &str) -> Option<Note> {
    let text = std::fs::read_to_string(folder.path().join("state").join(name)).ok()?;
    Some(text.parse().expect("a note"))
}

/// Lets an agent see the history that the server shows.
async fn see(server: &Server, folder: &TempDir) {
    let sessions = server.with(|world| world.sessions);
    let mut child = start(server, &folder.path().join("state"), &[]);
    let state = folder.path().join("state");
    server.until("a session", |world| world.sessions > sessions).await;
    let size = server.with(|world| world.history.leaves.len() as u64);
    let seen = async {
        while note(folder, "checkpoint").is_none_or(|note| note.checkpoint().size < size) {
            assert!(Path::new(&state).exists());
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::server::PATIENCE, seen).await.expect("remembered in time");
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
}

/// What a rewritten history may look like, and what the agent says of it.
type Rewriting = (&'static str, fn(&mut crate::server::World));

const REWRITINGS: &[Rewriting] = &[
    ("does not begin with the 5", |world| world.history.leaves = leaves(2, 9)),
    ("does not begin with the 5", |world| world.history.leaves[4] = NodeHash::leaf(b"x")),
    ("has only 4", |world| world.history.leaves.truncate(4)),
    ("no checkpoint at all", |world| world.history.hidden = true),
    ("is ledger.example.org/b now", |world| world.history.origin = "ledger.example.org/b"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_history_stops_the_agent_with_code_3_and_both_checkpoints_are_kept() {
    for (words, rewrite) in REWRITINGS {
        let (server, folder) = (Server::start().await, folder());
        see(&server, &folder).await;
        let seen = note(&folder, "checkpoint").expect("it remembers");
        server.with(rewrite);
        server.with(|world| {
            world.request(&crate::rig::nowhere());
        });
        let (code, said) = ends(&server, &folder).await;
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("history was rewritten") && said.contains(words), "{said}");
        assert!(said.contains("stops deploying") && said.contains("checkpoint.contradicts"));
        let claimed = |message: &FromAgent| matches!(message, FromAgent::Claim { .. });
        assert!(!server.with(|world| world.heard.iter().any(claimed)), "it went on deploying");
        assert_eq!(note(&folder, "checkpoint"), Some(seen));
        if *words == "no checkpoint at all" {
            continue;
        }
        assert!(note(&folder, "checkpoint.contradicts").is_some());
        // Not even a server that shows the old history again is believed unasked.
        server.with(|world| world.history = Default::default());
        let (code, said) = ends(&server, &folder).await;
        assert_eq!(code, Some(3), "{said}");
        std::fs::remove_file(folder.path().join("state/checkpoint.contradicts")).expect("removed");
        see(&server, &folder).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_grew_is_remembered_also_by_a_killed_agent() {
    let (server, folder) = (Server::start().await, folder());
    for n in [5, 6, 13, 13] {
        server.with(|world| world.history.leaves = leaves(1, n));
        see(&server, &folder).await;
        assert_eq!(note(&folder, "checkpoint").map(|n| n.checkpoint().size), Some(u64::from(n)));
    }
    let asked = |world: &mut crate::server::World| {
        let sizes = world.heard.iter().filter_map(|message| match message {
            FromAgent::History { size } => Some(*size),
            _ => None,
        });
        sizes.collect::<Vec<_>>()
    };
    assert_eq!(server.with(asked), [None, Some(5), Some(6), Some(13)]);
    let mut child = start(&server, &folder.path().join("state"), &[]);
    server.until("a session", |world| world.sessions >= 5).await;
    kill(&child);
    exit_code(&mut child).await;
    server.with(|world| world.history.leaves = leaves(2, 20));
    assert_eq!(ends(&server, &folder).await.0, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_no_key_of_the_log_signed_opens_no_session() {
    let (server, folder) = (Server::start().await, folder());
    server.with(|world| world.history.keys = [1, 2]);
    let mut child = start(&server, &folder.path().join("state"), &[]);
    // It tries again, and deploys nothing meanwhile.
    server.with(|world| {
        world.request(&crate::rig::nowhere());
    });
    server.until("another try", |world| world.sessions >= 2).await;
    let claimed = |message: &FromAgent| matches!(message, FromAgent::Claim { .. });
    assert!(!server.with(|world| world.heard.iter().any(claimed)), "it deployed");
    assert_eq!(note(&folder, "checkpoint"), None);
    server.with(|world| world.history.keys = [1, 1]);
    server.until("a claim", |world| world.heard.iter().any(claimed)).await;
    terminate(&child);
    exit_code(&mut child).await;
}
