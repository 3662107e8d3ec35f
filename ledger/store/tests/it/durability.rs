//! The order of a write: first the disk, then the answer. A kill cannot show
//! it, since the system keeps what a dead process wrote; `strace` can, and
//! PostgreSQL tells itself up to where its log is on the disk.

use crate::child::{Acknowledged, Server};
use crate::postgres::Database;
use crate::support::{Place, one_event, positions, soon};
use ledger_store::{Log, Options};
use sqlx::{Executor, PgConnection, Row};

const N_WRITES: usize = 10;

/// Writes under `strace`, and counts the writes whose answer left after the
/// write-ahead log was synced.
fn count_durable(durable: bool) -> usize {
    let place = Place::sqlite();
    let trace = place.folder().join("strace.out");
    let strace = [
        "strace",
        "-f",
        "-y",
        "-s",
        "64",
        "-e",
        "trace=read,write,fsync,fdatasync",
        "-o",
        trace.to_str().unwrap(),
        "--",
    ];
    let mut server = Server::start(place.folder(), &strace, durable);
    for n in 0..N_WRITES {
        let answer = server.ask(&format!("write {}", 700_000 + n));
        assert!(Acknowledged::parse(&answer).is_some(), "{answer}");
    }
    server.stop();
    let trace = std::fs::read_to_string(&trace).unwrap();
    (0..N_WRITES).filter(|n| is_synced_before_answer(&trace, 700_000 + n)).count()
}

/// Looks between the arrival of a request and the first byte of its answer.
fn is_synced_before_answer(trace: &str, n: usize) -> bool {
    let (request, answer) = (format!("\"write {n}\\n"), format!("\"> written {n} "));
    let mut lines = trace.lines().skip_while(|line| !line.contains(&request)).skip(1);
    // Calls of several threads interleave: a call that waits is cut in two
    // lines, of which the first has the file and the second the result.
    let mut waiting = std::collections::HashSet::new();
    let mut synced = false;
    let answered = lines.any(|line| {
        let thread = line.split_whitespace().next().unwrap_or_default();
        let of_log = line.contains("sync(") && line.contains("ledger.db-wal>");
        if of_log && line.ends_with("<unfinished ...>") {
            waiting.insert(thread);
        } else if of_log || (line.contains("sync resumed>") && waiting.remove(thread)) {
            synced |= line.ends_with("= 0");
        }
        line.contains(&answer)
    });
    assert!(answered, "the trace has no answer to request {n}");
    synced
}

#[test]
fn an_answer_leaves_after_the_disk_has_the_write() {
    assert_eq!(count_durable(true), N_WRITES);
}

#[test]
fn the_check_notices_a_log_that_does_not_wait_for_the_disk() {
    assert_eq!(count_durable(false), 0);
}

/// A log on PostgreSQL, and a connection that looks over the database's shoulder.
struct Watched {
    log: Log,
    watcher: PgConnection,
    database: Database,
}

impl Watched {
    async fn open(durable: bool) -> Self {
        let database = Database::new().await;
        let options = Options { durable, ..Options::default() };
        let log = Log::open_postgres_with(&database.service(), None, options).await.unwrap();
        let mut watcher = database.connect().await;
        watcher.execute("CREATE EXTENSION pg_walinspect").await.unwrap();
        Self { log, watcher, database }
    }

    /// Up to where the database's own log is on the disk.
    async fn flushed(&mut self) -> String {
        let sql = "SELECT pg_current_wal_flush_lsn()::text";
        self.watcher.fetch_one(sql).await.unwrap().get(0)
    }

    /// Writes once, and tells whether the commit was on the disk when the answer came.
    async fn is_flushed_before_answer(&mut self) -> bool {
        let before = self.flushed().await;
        let (position, _) = positions(self.log.write(one_event()).await);
        let at_answer = self.flushed().await;
        // Who flushes its own commit flushes all that stand before it.
        let mut other = self.database.connect().await;
        other.execute("SET synchronous_commit = on").await.unwrap();
        other.execute("CREATE TABLE flushed (); DROP TABLE flushed").await.unwrap();
        let commit = "SELECT end_lsn <= $3::pg_lsn \
             FROM pg_get_wal_records_info($1::pg_lsn, pg_current_wal_flush_lsn()) \
             WHERE resource_manager = 'Transaction' AND record_type LIKE 'COMMIT%' \
             AND xid = (SELECT xmin FROM ledger.events WHERE position = $2)";
        let commit = sqlx::query_scalar(commit)
            .bind(before)
            .bind(i64::try_from(position).unwrap())
            .bind(at_answer);
        commit.fetch_one(&mut self.watcher).await.unwrap()
    }
}

#[tokio::test]
async fn on_postgres_an_answer_leaves_after_the_disk_has_the_write() {
    let mut watched = Watched::open(true).await;
    for _ in 0..N_WRITES {
        assert!(watched.is_flushed_before_answer().await);
    }
    watched.log.close().await;
}

#[tokio::test]
async fn the_check_notices_a_log_on_postgres_that_does_not_wait_for_the_disk() {
    let mut watched = Watched::open(false).await;
    // The commit of another test may by chance have flushed this one's, too.
    soon("an answer before the disk", async { while watched.is_flushed_before_answer().await {} })
        .await;
    watched.log.close().await;
}
