//! The file itself: who may open it, and when it is refused.

use crate::attack::{execute, raw};
use crate::support::*;
use futures_util::future::join_all;
use ledger_core::merkle::Tree;
use ledger_core::{NewEvent, StreamId, Timestamp};
use ledger_store::{Log, OpenError, Readiness, Write, WriteError};

#[tokio::test]
async fn a_second_opening_is_refused_until_the_first_is_closed() {
    let place = Place::sqlite();
    let log = place.open().await;
    let second = Log::open_sqlite(place.folder(), ManualClock::new()).await;
    let Err(error @ OpenError::InUse { .. }) = second else { panic!("it was opened twice") };
    assert!(error.to_string().contains("ledger.lock"), "{error}");
    log.close().await;
    place.open().await;
}

#[tokio::test]
async fn a_log_that_every_handle_left_can_be_opened_again() {
    let place = Place::sqlite();
    let log = place.open().await;
    write(&log, one_event()).await;
    drop(log);
    // Nobody waits for the writer's end here, so it may take a moment.
    let reopened = async {
        loop {
            match Log::open_sqlite(place.folder(), ManualClock::new()).await {
                Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
                other => break other.unwrap(),
            }
        }
    };
    let log = soon("the writer's end", reopened).await;
    assert_eq!(read_all(&log).await.len(), 1);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let place = Place::sqlite();
    place.open().await.close().await;
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
               VALUES (99, 'later', true, x'00', 0)";
    execute(&mut raw(&place).await, sql).await.unwrap();
    let opened = Log::open_sqlite(place.folder(), ManualClock::new()).await;
    assert!(matches!(opened, Err(OpenError::TooNew { found: 99, known: 1 })));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let place = Place::sqlite();
    let path = place.folder().join("ledger.db");
    std::fs::write(&path, "this is a letter to my aunt, and no database").unwrap();
    let opened = Log::open_sqlite(place.folder(), ManualClock::new()).await;
    assert!(matches!(opened, Err(OpenError::Database { .. })));
    // It is left as it was.
    assert!(std::fs::read_to_string(path).unwrap().starts_with("this is a letter"));
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let place = Place::sqlite();
    let opened = Log::open_sqlite(&place.folder().join("nowhere"), ManualClock::new()).await;
    assert!(matches!(opened, Err(OpenError::File { path, .. }) if path.contains("nowhere")));
}

#[tokio::test]
async fn a_closed_log_is_one_file() {
    let place = Place::sqlite();
    let log = place.open().await;
    write(&log, one_event()).await;
    read_all(&log).await;
    log.close().await;
    for file in ["ledger.db-wal", "ledger.db-shm"] {
        assert!(!place.folder().join(file).exists(), "{file} was left behind");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::sqlite();
    // Also a file that was more open before.
    std::fs::write(place.folder().join("ledger.lock"), "").unwrap();
    let log = place.open().await;
    write(&log, one_event()).await;
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(place.folder()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["ledger.db", "ledger.db-shm", "ledger.db-wal", "ledger.lock"]);
}

/// A write that a trigger of this test refuses: the database says no to it alone.
fn poison() -> Write {
    let occurred_at = Some(Timestamp::from_micros(0));
    events(vec![NewEvent { occurred_at, ..created("poison") }])
}

async fn lay_poison(place: &Place) {
    let sql = "CREATE TRIGGER poison BEFORE INSERT ON events WHEN NEW.lag <> 0 \
               BEGIN SELECT RAISE(ABORT, 'poison'); END";
    execute(&mut raw(place).await, sql).await.unwrap();
}

#[tokio::test]
async fn a_write_that_the_database_refuses_fails_alone() {
    let place = Place::sqlite();
    let log = place.open().await;
    lay_poison(&place).await;
    let verdicts = join_all([
        log.write(one_event()),
        log.write(poison()),
        log.write(create_workspace()),
        log.write(poison()),
        log.write(create_workspace()),
        log.write(one_event()),
    ])
    .await;
    let [first, bad, workspace, worse, again, last] = <[_; 6]>::try_from(verdicts).unwrap();
    assert_eq!(positions(first), (1, 1));
    assert!(matches!(bad, Err(WriteError::Database(_))));
    assert_eq!(positions(workspace), (2, 2));
    assert!(matches!(worse, Err(WriteError::Database(_))));
    assert!(matches!(again, Err(WriteError::Rejected(_))));
    assert_eq!(positions(last), (3, 3));
    assert_eq!(read_all(&log).await.len(), 3);
    assert_eq!(log.readiness(), Readiness::Ready);
    // What was judged and taken back left no trace in the state either.
    let state = log.state().await.unwrap();
    assert_eq!(state.workspaces.len(), 1);
}

#[tokio::test]
async fn a_batch_that_is_inserted_while_it_is_judged_is_whole_or_not_at_all() {
    let place = Place::sqlite();
    let log = place.open().await;
    lay_poison(&place).await;
    let poisoned = |n_events: usize, at: usize| {
        let event = |n| {
            let occurred_at = (n == at).then(|| Timestamp::from_micros(0));
            NewEvent { occurred_at, ..created(&format!("w{n}")) }
        };
        events((0..n_events).map(event).collect())
    };
    // In the first rows that go to the other thread, in later ones, in those that
    // do not fill a hundred.
    for (n_events, at) in
        [(400, 3), (400, 127), (400, 128), (400, 250), (400, 399), (10_000, 5_000)]
    {
        let (bad, good) =
            tokio::join!(log.write(poisoned(n_events, at)), log.write(poisoned(40, usize::MAX)));
        assert!(matches!(bad, Err(WriteError::Database(_))), "{n_events} {at}");
        let (first, last) = positions(good);
        assert_eq!(last - first, 39);
        assert_eq!(log.head().borrow().0, last);
        assert_eq!(log.readiness(), Readiness::Ready);
    }
    let head = log.head().borrow().0;
    assert_eq!(head, 6 * 40);
    // A stream that must be looked up brings the connection back in the middle of a batch.
    let writes = (0..30).map(|n| match n % 2 {
        0 => poisoned(40, usize::MAX),
        _ => events(vec![NewEvent { stream: StreamId::Activation(activation([]).1), ..one() }]),
    });
    let verdicts = join_all(writes.map(|write| log.write(write))).await;
    let n_events: u64 = verdicts.into_iter().map(positions).map(|(a, b)| b - a + 1).sum();
    assert_eq!(n_events, 15 * 41);
    assert_eq!(read_all(&log).await.len() as u64, head + n_events);
    let tree = log.tree().await.unwrap();
    let mut again = Tree::default();
    for record in read_all(&log).await {
        again.push(record.leaf_hash(), &mut |_| {});
    }
    assert_eq!(tree, again);
}

#[tokio::test]
async fn a_locked_database_refuses_writes_until_it_is_free() {
    let place = Place::sqlite();
    let log = place.open().await;
    write(&log, one_event()).await;
    let mut raw = raw(&place).await;
    execute(&mut raw, "BEGIN IMMEDIATE").await.unwrap();
    let refused = log.write(one_event()).await;
    assert!(matches!(refused, Err(WriteError::Unavailable { why }) if why.contains("locked")));
    assert!(matches!(log.readiness(), Readiness::NotReady(why) if why.contains("locked")));
    // Readers go on meanwhile.
    assert_eq!(read_all(&log).await.len(), 1);
    execute(&mut raw, "ROLLBACK").await.unwrap();
    let ready = async {
        while log.readiness() != Readiness::Ready {
            tokio::task::yield_now().await;
        }
    };
    soon("the writer's recovery", ready).await;
    assert_eq!(positions(log.write(one_event()).await), (2, 2));
}
