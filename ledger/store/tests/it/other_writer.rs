//! Events that somebody else appended, as other servers do on a shared database.
//! On SQLite nobody does, so a raw connection takes their part.

use crate::attack::{execute, raw};
use crate::support::*;
use ledger_core::{Position, Rejection};
use ledger_store::{ReadError, Readiness, WriteError};

/// Appends the creation of the workspace `other`, as a whole event.
const CREATE_OTHER: &str = "
    INSERT INTO names SELECT max(id) + 1, 'workspace/other' FROM names;
    INSERT INTO events (position, stream, version, event_id, type, recorded_at, lag, actor_kind,
        actor, payload)
    SELECT (SELECT max(position) + 1 FROM events),
        (SELECT id FROM names WHERE name = 'workspace/other'), 1, randomblob(16), type,
        (SELECT max(recorded_at) FROM events), 0, actor_kind, actor, payload
    FROM events WHERE position = 1";

#[tokio::test]
async fn what_others_appended_is_read_before_the_next_verdict() {
    let place = Place::sqlite();
    let log = place.open().await;
    write(&log, create_workspace()).await;
    execute(&mut raw(&place).await, CREATE_OTHER).await.unwrap();
    let other = ledger_core::WorkspaceName::new("other").unwrap();
    let again = command(ledger_core::Command::CreateWorkspace { workspace: other.clone() });
    let exists = Rejection::WorkspaceExists { workspace: other };
    assert!(matches!(log.write(again).await, Err(WriteError::Rejected(r)) if r == exists));
    // Who waits for the head hears of it too.
    assert_eq!(*log.head().borrow(), Position(2));
    assert_eq!(positions(log.write(one_event()).await), (3, 3));
    assert_eq!(read_all(&log).await.len(), 3);
    // The name that somebody else gave a number is used, not made again.
    assert_eq!(positions(log.write(events(vec![created("other")])).await), (4, 4));
}

#[tokio::test]
async fn nothing_is_appended_to_a_log_that_was_cut_off() {
    let place = Place::sqlite();
    let log = place.open().await;
    for _ in 0..3 {
        write(&log, one_event()).await;
    }
    let sql = "DROP TRIGGER events_no_delete; DELETE FROM events WHERE position = 3";
    execute(&mut raw(&place).await, sql).await.unwrap();
    let refused = log.write(one_event()).await;
    assert!(matches!(refused, Err(WriteError::Unavailable { why }) if why.contains("gap")));
    assert!(matches!(log.readiness(), Readiness::NotReady(_)));
    assert!(matches!(log.read(Position(1), 10).await, Err(ReadError::Gap { .. })));
}
