//! A server whose database is no longer what it was.

use crate::attack_postgres::{number, run};
use crate::fencing::{insist, open};
use crate::postgres::Database;
use crate::support::*;
use ledger_core::Position;
use ledger_store::{ReadError, Readiness, WriteError};

/// Takes the third event away, as a restored backup does under a running server.
async fn cut(database: &Database) {
    let mut connection = database.connect().await;
    for table in ["events", "events_0", "head"] {
        let sql = format!("ALTER TABLE ledger.{table} DISABLE TRIGGER ALL");
        run(&mut connection, &sql).await.unwrap();
    }
    let cut = "DELETE FROM ledger.events WHERE position = 3; UPDATE ledger.head SET position = 2";
    run(&mut connection, cut).await.unwrap();
}

#[tokio::test]
async fn a_log_that_lost_its_end_takes_no_writes() {
    let database = Database::new().await;
    let log = open(&database).await;
    for _ in 0..3 {
        write(&log, one_event()).await;
    }
    cut(&database).await;
    let refused = log.write(one_event()).await;
    assert!(matches!(refused, Err(WriteError::Unavailable { why }) if why.contains("gap")));
    assert!(matches!(log.readiness(), Readiness::NotReady(_)));
    assert!(matches!(log.read(Position(1), 10).await, Err(ReadError::Gap { .. })));
}

#[tokio::test]
async fn a_log_that_was_replaced_takes_no_writes_however_long_it_is() {
    let database = Database::new().await;
    let log = open(&database).await;
    for _ in 0..3 {
        write(&log, one_event()).await;
    }
    let tree = log.tree().await.unwrap();
    // A backup was restored, and another server went on behind it.
    cut(&database).await;
    let other = open(&database).await;
    write(&other, one_event()).await;
    let refuse = || async {
        let refused = log.write(one_event()).await;
        let replaced = |why: &str| why.contains("start the server again");
        assert!(matches!(refused, Err(WriteError::Unavailable { why }) if replaced(&why)));
        assert!(matches!(log.readiness(), Readiness::NotReady(why) if replaced(&why)));
    };
    // It is as long as the one that was read.
    refuse().await;
    // Nor is what comes behind it taken for a continuation.
    write(&other, one_event()).await;
    refuse().await;
    assert!(log.tree().await.is_err());
    let signed = signed(&tree);
    assert!(log.write_checkpoint(&signed).await.is_err());
    assert_eq!(positions(other.write(one_event()).await), (5, 5));
    drop(log);
    assert_eq!(positions(open(&database).await.write(one_event()).await), (6, 6));
}

#[tokio::test]
async fn a_server_that_waited_for_the_lock_in_vain_writes_again() {
    let database = Database::new().await;
    let log = open(&database).await;
    write(&log, one_event()).await;
    let (mut holder, mut administrator) = (database.connect().await, database.connect().await);
    run(&mut holder, "BEGIN; SELECT FROM ledger.head FOR UPDATE").await.unwrap();
    // First the append, then the looks whether it would go by now, which take the lock first.
    let cancelled = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let in_vain = async {
        let mut times = 0;
        while times < 3 {
            times += number(&mut administrator, cancelled).await;
        }
    };
    let (refused, ()) = tokio::join!(log.write(one_event()), soon("three waits", in_vain));
    assert!(matches!(refused, Err(WriteError::Unavailable { .. } | WriteError::Database(_))));
    assert!(matches!(log.readiness(), Readiness::NotReady(_)));
    run(&mut holder, "ROLLBACK").await.unwrap();
    insist(&log, fresh_request()).await;
    assert_eq!(log.readiness(), Readiness::Ready);
    assert_eq!(read_all(&log).await.len(), 2);
}
