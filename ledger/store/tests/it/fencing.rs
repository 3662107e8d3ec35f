//! Several servers on one database: each appends behind what the others did, and
//! one that was cut off or paused in the middle of a write does no harm.

use crate::attack_postgres::{append, number, run};
use crate::postgres::Database;
use crate::support::*;
use ledger_core::{EventId, Position, Rejection, RequestId, StreamId, Version, WorkspaceName};
use ledger_store::{Expectation, Log, Readiness, Write, WriteError, Written};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) async fn open(database: &Database) -> Log {
    Log::open_postgres(&database.service()).await.unwrap()
}

/// Writes a request until it is answered for good, as clients do.
pub(crate) async fn insist(log: &Log, request_id: RequestId) -> Written {
    let again = || Write { request_id, ..one_event() };
    let written = async {
        loop {
            match log.write(again()).await {
                Ok(written) => return written,
                Err(WriteError::Unavailable { .. } | WriteError::Database(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    soon("the write", written).await
}

#[tokio::test]
async fn a_database_without_the_schema_is_refused_with_what_to_do() {
    let database = Database::empty().await;
    // Without a schema, no role of ours need be there.
    let refused = Log::open_postgres(&database.superuser()).await.err().unwrap().to_string();
    assert!(refused.contains("has schema 0") && refused.contains("ledger migrate"), "{refused}");
    Log::migrate_postgres(&database.superuser()).await.unwrap();
    let mut connection = database.connect().await;
    let newer = "INSERT INTO ledger.migrations VALUES (9999, 'of a later program')";
    run(&mut connection, newer).await.unwrap();
    for refused in [
        open_error(Log::open_postgres(&database.service()).await),
        open_error(Log::migrate_postgres(&database.superuser()).await),
    ] {
        assert!(refused.contains("has schema 9999"), "{refused}");
    }
}

fn open_error<T>(result: Result<T, ledger_store::OpenError>) -> String {
    result.err().unwrap().to_string()
}

#[tokio::test]
async fn migrating_at_once_from_many_places_is_done_once() {
    let database = Database::empty().await;
    let url = database.superuser();
    let migrations = (0..8).map(|_| Log::migrate_postgres(&url));
    for migrated in futures_util::future::join_all(migrations).await {
        migrated.unwrap();
    }
    let log = open(&database).await;
    assert_eq!(positions(log.write(one_event()).await), (1, 1));
}

#[tokio::test]
async fn the_owner_of_a_database_may_migrate_it() {
    let database = Database::empty().await;
    let (url, login) = database.login("CREATEROLE").await;
    let mut administrator = database.connect().await;
    let owns = format!(
        "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' OWNER TO {login}'; END $$"
    );
    run(&mut administrator, &owns).await.unwrap();
    Log::migrate_postgres(&url).await.unwrap();
    Log::migrate_postgres(&url).await.unwrap();
    let log = open(&database).await;
    assert_eq!(positions(log.write(one_event()).await), (1, 1));
    // It was the owner of the tables only for so long.
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let refused = run(&mut connection, "UPDATE ledger.head SET position = 9").await.unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
}

#[tokio::test]
async fn what_another_server_appended_is_read_before_the_next_verdict() {
    let database = Database::new().await;
    let (first, second) = (open(&database).await, open(&database).await);
    write(&first, create_workspace()).await;
    let exists = Rejection::WorkspaceExists { workspace: workspace() };
    let again = second.write(create_workspace()).await;
    assert!(matches!(again, Err(WriteError::Rejected(r)) if r == exists));
    // Names that the other server stored are used, not stored again.
    assert_eq!(positions(second.write(events(vec![created("default")])).await), (2, 2));
    write(&first, connect(1)).await;
    write(&second, connect(2)).await;
    assert_eq!(read_all(&first).await, read_all(&second).await);
    assert_eq!(first.tree().await.unwrap(), second.tree().await.unwrap());
    assert_eq!(first.state().await, second.state().await);
}

#[tokio::test]
async fn a_request_counts_once_whichever_servers_get_it() {
    let database = Database::new().await;
    let (first, second) = (open(&database).await, open(&database).await);
    let request_id = fresh_request();
    let deliver = |log: &Log| {
        let log = log.clone();
        async move { log.write(Write { request_id, ..one_event() }).await.unwrap() }
    };
    let (a, b) = tokio::join!(deliver(&first), deliver(&second));
    assert_eq!((a.positions, b.positions), (Some((Position(1), Position(1))), a.positions));
    assert!(a.repeated != b.repeated, "one of them wrote it");
    assert!(deliver(&first).await.repeated && deliver(&second).await.repeated);
    let other =
        Write { given: ledger_core::event::Digest::of(b"other"), request_id, ..one_event() };
    assert!(matches!(second.write(other).await, Err(WriteError::IdempotencyMismatch { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_write_at_once_without_a_gap() {
    const N_PRODUCERS: usize = 8;
    const N_WRITES: usize = 40;
    let database = Database::new().await;
    let logs = [open(&database).await, open(&database).await];
    let mut producers = tokio::task::JoinSet::new();
    for n in 0..N_PRODUCERS {
        let log = logs[n % 2].clone();
        producers.spawn(async move {
            let mut mine = Vec::new();
            for _ in 0..N_WRITES {
                let write = one_event();
                let id = EventId::derive(write.request_id, 0);
                let (position, _) = positions(log.write(write).await);
                let record = log.read(Position(position), 1).await.unwrap().remove(0);
                assert_eq!(record.event_id, id, "what is acknowledged is there");
                mine.push(position);
            }
            assert!(mine.is_sorted());
            mine
        });
    }
    let all: Vec<u64> = producers.join_all().await.concat();
    let distinct: BTreeSet<u64> = all.iter().copied().collect();
    assert!(distinct.into_iter().eq(1..=(N_PRODUCERS * N_WRITES) as u64));
    let records = read_all(&logs[0]).await;
    assert_eq!(records.len(), N_PRODUCERS * N_WRITES);
    assert_eq!(logs[0].tree().await.unwrap(), logs[1].tree().await.unwrap());
    // A third one, which knows nothing, finds the same.
    assert_eq!(open(&database).await.tree().await.unwrap(), logs[0].tree().await.unwrap());
}

/// Follows a log to a position, as a hub does: by its head alone.
async fn heard(log: &Log, position: u64) -> Duration {
    let since = std::time::Instant::now();
    let mut head = log.head();
    let heard = head.wait_for(|head| *head >= Position(position));
    soon("the other server's event", heard).await.unwrap();
    since.elapsed()
}

#[tokio::test]
async fn a_commit_wakes_the_other_server() {
    let database = Database::new().await;
    let (first, second) = (open(&database).await, open(&database).await);
    for n in 1..=20 {
        write(&first, one_event()).await;
        heard(&second, n).await;
        assert_eq!(second.read(Position(n), 10).await.unwrap().len(), 1);
    }
    first.write_output(output(1, 0, b"x")).await.unwrap();
    let mut output_head = second.output_head();
    soon("its output", output_head.wait_for(|head| *head == 1)).await.unwrap();
}

#[tokio::test]
async fn a_commit_wakes_the_other_server_also_when_no_notification_comes() {
    let database = Database::new().await;
    // A superuser's sessions would not count towards the limit.
    let (url, _) = database.login("IN ROLE ledger_service").await;
    let first = Log::open_postgres(&url).await.unwrap();
    let second = Log::open_postgres(&url).await.unwrap();
    write(&first, one_event()).await;
    heard(&second, 1).await;
    let mut connection = database.connect().await;
    // Whoever listens loses its connection, and nobody may make another one.
    let deaf = "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' CONNECTION LIMIT 0'; END $$";
    run(&mut connection, deaf).await.unwrap();
    let listening = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'ledger listening'";
    assert_eq!(number(&mut connection, listening).await, 2);
    for n in 2..=4 {
        write(&first, one_event()).await;
        heard(&second, n).await;
    }
}

#[tokio::test]
async fn a_server_whose_sessions_are_killed_reconnects_and_loses_nothing() {
    let database = Database::new().await;
    let log = open(&database).await;
    let mut connection = database.connect().await;
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let (mut requests, mut n_killed) = (Vec::new(), 0);
    for _ in 0..20 {
        let request = fresh_request();
        let (killed, written) = tokio::join!(number(&mut connection, kill), insist(&log, request));
        n_killed += killed;
        requests.push((request, written.positions.unwrap()));
    }
    assert!(n_killed >= 10, "only {n_killed} sessions were killed");
    assert_eq!(log.readiness(), Readiness::Ready);
    let records = soon("reading", async {
        loop {
            // A reader's session may have been killed, too.
            if let Ok(records) = log.read(Position(1), 100).await {
                return records;
            }
        }
    })
    .await;
    assert_eq!(records.len(), 20, "each request counts once");
    for (request, (first, last)) in requests {
        assert_eq!(first, last);
        assert_eq!(records[first.0 as usize - 1].event_id, EventId::derive(request, 0));
    }
    // Whatever came through unheard, and what was taken back, it knows the log as it is.
    let fresh = open(&database).await;
    assert_eq!(log.tree().await.unwrap(), fresh.tree().await.unwrap());
    assert_eq!(log.state().await.unwrap(), fresh.state().await.unwrap());
}

/// Keeps whoever has the log's lock from appending, for as long as the session lives.
async fn hold_up(database: &Database) -> PgConnection {
    let mut connection = database.connect().await;
    run(&mut connection, "BEGIN; LOCK TABLE ledger.events IN SHARE MODE").await.unwrap();
    connection
}

/// Waits until a writer of ours is in the middle of its append.
async fn in_the_middle(connection: &mut PgConnection) -> i64 {
    let waiting = "SELECT coalesce(max(pid), 0)::bigint FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock' \
         AND query LIKE 'SELECT ledger.append%'";
    soon("the writer in the middle", async {
        loop {
            match number(connection, waiting).await {
                0 => tokio::task::yield_now().await,
                pid => return pid,
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_server_cut_off_in_the_middle_of_a_write_leaves_no_gap() {
    let database = Database::new().await;
    let (first, second) = (open(&database).await, open(&database).await);
    write(&first, one_event()).await;
    let (mut held_up, mut connection) = (hold_up(&database).await, database.connect().await);
    let request_id = fresh_request();
    let cut_off = tokio::spawn({
        let first = first.clone();
        async move { first.write(Write { request_id, ..one_event() }).await }
    });
    // It holds the log's lock. Its session dies, and with it the lock.
    let pid = in_the_middle(&mut connection).await;
    number(&mut connection, &format!("SELECT count(pg_terminate_backend({pid}))")).await;
    let refused = cut_off.await.unwrap();
    assert!(matches!(refused, Err(WriteError::Database(_))), "{refused:?}");
    run(&mut held_up, "COMMIT").await.unwrap();
    // Another one appends where it would have.
    assert_eq!(positions(second.write(one_event()).await), (2, 2));
    // It goes on behind that, and knows that its write did not come through.
    let written = insist(&first, request_id).await;
    assert_eq!(written, Written { positions: Some((Position(3), Position(3))), repeated: false });
    assert_eq!(read_all(&second).await.len(), 3);
    assert_eq!(first.tree().await.unwrap(), second.tree().await.unwrap());
}

/// An event for a stream that has this version.
pub(crate) fn expecting(version: u64) -> Write {
    let stream = StreamId::Node(node());
    Write { expect: vec![Expectation { stream, version: Version(version) }], ..one_event() }
}

/// What was judged before another server appended is judged again after.
#[tokio::test]
async fn a_server_that_was_overtaken_judges_again() {
    let database = Database::new().await;
    let log = open(&database).await;
    write(&log, one_event()).await;
    // Another server has the lock, and this one has looked before that.
    let mut other = PgConnection::connect(&database.service()).await.unwrap();
    run(&mut other, "BEGIN; SELECT * FROM ledger.lock('{}')").await.unwrap();
    let (stale, right) = (log.write(expecting(1)), log.write(expecting(2)));
    let overtake = async {
        in_the_middle(&mut database.connect().await).await;
        run(&mut other, &append(1, "2", "recorded_at", "gen_random_uuid()")).await.unwrap();
        run(&mut other, "COMMIT").await.unwrap();
    };
    let (stale, right, ()) = tokio::join!(stale, right, overtake);
    assert!(matches!(stale, Err(WriteError::Conflict { actual: Version(2), .. })), "{stale:?}");
    assert_eq!(positions(right), (3, 3));
    assert_eq!(log.tree().await.unwrap(), open(&database).await.tree().await.unwrap());
}

#[tokio::test]
async fn a_server_that_believes_in_an_older_end_cannot_append() {
    let database = Database::new().await;
    let log = open(&database).await;
    write(&log, create_workspace()).await;
    // A session that took the lock, lost it, and goes on as if it had it.
    let mut stale = PgConnection::connect(&database.service()).await.unwrap();
    run(&mut stale, "BEGIN; SELECT * FROM ledger.lock('{}'); COMMIT").await.unwrap();
    write(&log, one_event()).await;
    let append = "SELECT ledger.append(1, '{0}', '{1}', '{0}', '{1}', '{1}', '{1}', '{NULL}', \
         '{1}', ARRAY[gen_random_uuid()], '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{x}', '{}', \
         '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', 0, '{}', '{}', '{}', '{}', 0, '{}', '{}', '{}')";
    let refused = run(&mut stale, append).await.unwrap_err();
    assert!(refused.contains("the log ends at 2"), "{refused}");
    assert_eq!(positions(log.write(one_event()).await), (3, 3));
}

#[tokio::test]
async fn the_clock_is_the_databases() {
    let database = Database::new().await;
    let log = open(&database).await;
    let mut connection = database.connect().await;
    let clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    for _ in 0..3 {
        let before = number(&mut connection, clock).await;
        let (position, _) = positions(log.write(one_event()).await);
        let after = number(&mut connection, clock).await;
        let record = log.read(Position(position), 1).await.unwrap().remove(0);
        // The moment is reckoned from the last lock on, by this machine's own clock.
        let between = before - SECOND / 10..after + SECOND / 10;
        assert!(between.contains(&record.recorded_at.micros()));
    }
    let other = WorkspaceName::new("other").unwrap();
    write(&log, command(ledger_core::Command::CreateWorkspace { workspace: other })).await;
}
