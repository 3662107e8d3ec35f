//! The file as somebody with another program sees it.

use crate::support::*;
use ledger_core::{Position, Record, StreamId, Version};
use ledger_store::{Log, OpenError, ReadError};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};

/// Opens the database as any other program would: with SQLite's own defaults.
pub(crate) async fn raw(place: &Place) -> SqliteConnection {
    let path = place.folder().join("ledger.db");
    SqliteConnectOptions::new().filename(path).foreign_keys(false).connect().await.unwrap()
}

pub(crate) async fn execute(connection: &mut SqliteConnection, sql: &str) -> Result<u64, String> {
    let result = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    result.map(|done| done.rows_affected()).map_err(|error| error.to_string())
}

/// A log with something in every table.
pub(crate) async fn filled(place: &Place) -> Log {
    let log = place.open().await;
    write(&log, create_workspace()).await;
    write(&log, connect(1)).await;
    write(&log, connect(2)).await;
    log.write_output(output(1, 0, b"building\n")).await.unwrap();
    log.write_output(output(1, 9, b"done\n")).await.unwrap();
    log
}

/// The same, with a full tile, a checkpoint and an erased annex behind the first events.
pub(crate) async fn full(place: &Place) -> Log {
    let log = filled(place).await;
    write(&log, erase(3)).await;
    write(&log, events((0..260).map(|_| one()).collect())).await;
    let tree = log.tree().await.unwrap();
    log.write_checkpoint(&signed(&tree)).await.unwrap();
    log
}

/// Tries each statement, and checks that it is refused for one of these reasons and changes nothing.
async fn check_refused(reason: &str, statements: &[&str]) {
    let place = Place::sqlite();
    let log = full(&place).await;
    let before = read_all(&log).await;
    let mut raw = raw(&place).await;
    for sql in statements {
        match execute(&mut raw, sql).await {
            Ok(n_rows) => panic!("{sql} was accepted and changed {n_rows} rows"),
            Err(error) => assert!(error.contains(reason), "{sql} failed otherwise: {error}"),
        }
    }
    check_unharmed(&log, &before).await;
}

/// Checks that the log is what it was, with its output, and goes on.
pub(crate) async fn check_unharmed(log: &Log, before: &[Record]) {
    assert_eq!(read_all(log).await, before);
    let (pieces, _) = log.read_output(&[deployment(1)], 0, 10).await.unwrap();
    assert_eq!(pieces.len(), 2);
    let next = before.len() as u64 + 1;
    assert_eq!(positions(log.write(one_event()).await), (next, next));
}

#[tokio::test]
async fn no_row_is_updated_or_deleted() {
    check_refused(
        "append-only",
        &[
            "UPDATE events SET payload = x'00' WHERE position = 1",
            "UPDATE OR REPLACE events SET position = 1 WHERE position = 2",
            "DELETE FROM events WHERE position = 1",
            "DELETE FROM events",
            "UPDATE names SET name = 'agent/default/other' WHERE id = 1",
            "DELETE FROM names WHERE id = 1",
            "DELETE FROM names",
            "UPDATE annexes SET bytes = x'00'",
            "DELETE FROM annexes",
            "UPDATE tiles SET hashes = zeroblob(8192)",
            "DELETE FROM tiles",
            "UPDATE checkpoints SET note = 'x'",
            "UPDATE OR REPLACE checkpoints SET size = 4",
            "DELETE FROM checkpoints",
            "UPDATE erasures SET ordered = 1",
            "DELETE FROM erasures",
            "UPDATE outputs SET bytes = x'00', length = 1",
            "DELETE FROM outputs WHERE cursor = 2",
            "DELETE FROM outputs",
        ],
    )
    .await;
}

/// An event like the one at position 1, with some columns set to something else.
macro_rules! event_like {
    ($insert:literal, $position:literal, $stream:literal, $version:literal, $id:literal, $at:literal, $rest:literal) => {
        concat!(
            $insert,
            " INTO events (position, stream, version, event_id, type, recorded_at, lag, \
             actor_kind, actor, payload) SELECT ",
            $position,
            ", ",
            $stream,
            ", ",
            $version,
            ", ",
            $id,
            ", type, ",
            $at,
            ", 0, actor_kind, actor, payload FROM events WHERE position = 1 ",
            $rest
        )
    };
}

#[tokio::test]
async fn no_event_is_inserted_over_another_or_out_of_order() {
    // The log has 266 events; the workspace's stream, of the first, has one.
    check_refused(
        "events: ",
        &[
            event_like!("INSERT", "268", "stream", "2", "randomblob(16)", "recorded_at", ""),
            event_like!("INSERT", "0", "stream", "2", "randomblob(16)", "recorded_at", ""),
            event_like!("INSERT", "-1", "stream", "2", "randomblob(16)", "recorded_at", ""),
            event_like!("INSERT", "NULL", "stream", "2", "randomblob(16)", "recorded_at", ""),
            event_like!("INSERT OR REPLACE", "1", "stream", "1", "event_id", "recorded_at", ""),
            event_like!("INSERT OR IGNORE", "1", "stream", "1", "event_id", "recorded_at", ""),
            event_like!("REPLACE", "5", "stream", "2", "randomblob(16)", "recorded_at", ""),
            event_like!(
                "INSERT",
                "1",
                "stream",
                "1",
                "event_id",
                "recorded_at",
                "ON CONFLICT (position) DO UPDATE SET payload = x'00'"
            ),
            // At the right position, over another one's stream version or id.
            event_like!("REPLACE", "267", "stream", "1", "randomblob(16)", "recorded_at", ""),
            event_like!("REPLACE", "267", "stream", "3", "randomblob(16)", "recorded_at", ""),
            event_like!("REPLACE", "267", "stream", "2", "event_id", "recorded_at", ""),
            event_like!(
                "INSERT",
                "267",
                "stream",
                "1",
                "randomblob(16)",
                "recorded_at",
                "ON CONFLICT (stream, version) DO UPDATE SET payload = x'00'"
            ),
            event_like!(
                "INSERT",
                "267",
                "stream",
                "2",
                "event_id",
                "recorded_at",
                "ON CONFLICT (event_id) DO UPDATE SET payload = x'00'"
            ),
            // At the right position, before its predecessor.
            event_like!("INSERT", "267", "stream", "2", "randomblob(16)", "recorded_at - 1", ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn no_other_row_is_inserted_over_another_or_out_of_order() {
    check_refused(
        "names: ",
        &[
            "INSERT INTO names VALUES (999, 'x')",
            "REPLACE INTO names VALUES (1, 'x')",
            "REPLACE INTO names SELECT max(id) + 1, (SELECT name FROM names WHERE id = 1) FROM names",
            "INSERT INTO names VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'x'",
            "INSERT INTO names SELECT max(id) + 1, (SELECT name FROM names WHERE id = 1) FROM names \
             WHERE true ON CONFLICT (name) DO UPDATE SET name = 'x'",
        ],
    )
    .await;
    check_refused(
        "annexes: ",
        &[
            "REPLACE INTO annexes SELECT position, salt, x'00' FROM annexes",
            "INSERT INTO annexes SELECT position, salt, bytes FROM annexes WHERE true \
             ON CONFLICT (position) DO UPDATE SET bytes = x'00'",
            "INSERT INTO annexes VALUES (5, zeroblob(16), x'00')",
            "INSERT INTO annexes VALUES (99, zeroblob(16), x'00')",
        ],
    )
    .await;
    check_refused(
        "tiles: ",
        &[
            "REPLACE INTO tiles VALUES (0, 0, zeroblob(8192))",
            "REPLACE INTO tiles (rowid, level, idx, hashes) VALUES (1, 0, 1, zeroblob(8192))",
            "INSERT INTO tiles VALUES (0, 0, zeroblob(8192)) \
             ON CONFLICT (level, idx) DO UPDATE SET hashes = zeroblob(8192)",
            "INSERT INTO tiles VALUES (0, 1, zeroblob(8192))",
            "INSERT INTO tiles VALUES (0, 7, zeroblob(8192))",
            "INSERT INTO tiles VALUES (1, 0, zeroblob(8192))",
            "INSERT INTO tiles VALUES (-1, 0, zeroblob(8192))",
        ],
    )
    .await;
    check_refused(
        "checkpoints: ",
        &[
            "REPLACE INTO checkpoints SELECT size, 'x' FROM checkpoints",
            "INSERT INTO checkpoints SELECT size, 'x' FROM checkpoints WHERE true \
             ON CONFLICT (size) DO UPDATE SET note = 'x'",
            "INSERT INTO checkpoints VALUES (3, 'x')",
            "INSERT INTO checkpoints VALUES (99999, 'x')",
        ],
    )
    .await;
    check_refused(
        "erasures: ",
        &[
            "REPLACE INTO erasures SELECT position, 1 FROM erasures",
            "INSERT INTO erasures SELECT position, ordered FROM erasures WHERE true \
             ON CONFLICT (position) DO UPDATE SET ordered = 1",
            "INSERT INTO erasures VALUES (5, 1)",
            // Ordered by an event that orders another one's.
            "INSERT INTO erasures SELECT 5, ordered FROM erasures",
        ],
    )
    .await;
    check_refused(
        "outputs: ",
        &[
            "REPLACE INTO outputs VALUES (1, zeroblob(16), 0, 1, 0, x'00')",
            "INSERT INTO outputs VALUES (9, zeroblob(16), 0, 1, 0, x'00')",
            "REPLACE INTO outputs SELECT 3, deployment, start, length, 0, bytes FROM outputs \
             WHERE cursor = 1",
            "INSERT INTO outputs SELECT 3, deployment, 20, 1, 0, x'00' FROM outputs WHERE cursor = 1",
            "INSERT INTO outputs VALUES (1, zeroblob(16), 0, 1, 0, x'00') \
             ON CONFLICT (cursor) DO UPDATE SET bytes = x'00'",
        ],
    )
    .await;
}

#[tokio::test]
async fn the_attack_would_work_without_the_guards() {
    // So that the tests above are known to try something.
    let place = Place::sqlite();
    let log = filled(&place).await;
    let mut raw = raw(&place).await;
    for trigger in ["events_guard", "events_no_update", "names_no_update"] {
        execute(&mut raw, &format!("DROP TRIGGER {trigger}")).await.unwrap();
    }
    let replace = event_like!("REPLACE", "1", "stream", "1", "event_id", "recorded_at", "");
    assert_eq!(execute(&mut raw, replace).await, Ok(1));
    let update = "UPDATE events SET actor_kind = 2 WHERE position = 1";
    assert_eq!(execute(&mut raw, update).await, Ok(1));
    let rename = "UPDATE names SET name = 'workspace/other' WHERE name = 'workspace/default'";
    assert_eq!(execute(&mut raw, rename).await, Ok(1));
    assert_ne!(read_all(&log).await[0].stream, StreamId::Workspace(workspace()));
}

/// Damages a log, and returns what reading it all then says.
async fn damage(sql: &str) -> (Result<usize, ReadError>, Result<Log, OpenError>) {
    let place = Place::sqlite();
    let log = filled(&place).await;
    let mut raw = raw(&place).await;
    let triggers = ["no_update", "no_delete", "guard"].map(|kind| {
        ["names", "events", "annexes"].map(|table| format!("DROP TRIGGER {table}_{kind};")).concat()
    });
    execute(&mut raw, &format!("{} {sql}", triggers.concat())).await.unwrap();
    let read = log.read(Position(1), 100).await.map(|records| records.len());
    log.close().await;
    let opened = Log::open_sqlite(place.folder(), ManualClock::new()).await;
    (read, opened)
}

#[tokio::test]
async fn a_missing_event_stops_reading_and_opening() {
    for (position, after) in [(1, 2), (3, 4), (5, 6)] {
        let gap = |error: &ReadError| {
            matches!(error, ReadError::Gap { expected, found }
                if *expected == Position(position) && *found == Position(after))
        };
        let (read, opened) =
            damage(&format!("DELETE FROM events WHERE position = {position}")).await;
        assert!(read.is_err_and(|error| gap(&error)), "position {position}");
        // A log that was cut off at its end looks whole to who did not know it before:
        // only a checkpoint tells.
        if position < 5 {
            assert!(matches!(opened, Err(OpenError::Read(error)) if gap(&error)));
        }
    }
}

#[tokio::test]
async fn a_damaged_value_is_named_with_its_place() {
    let cases = [
        ("UPDATE names SET name = 'nonsense' WHERE name = 'sessions/default'", "stream"),
        ("DELETE FROM names WHERE name = 'sessions/default'", "stream"),
        ("DELETE FROM names WHERE name = 'AgentConnected'", "type"),
        ("UPDATE events SET actor_kind = 9 WHERE position >= 3", "actor_kind"),
        ("UPDATE events SET lag = -9223372036854775808 WHERE position = 3", "lag"),
        ("UPDATE events SET recorded_at = 9223372036854775807 WHERE position >= 3", "recorded_at"),
        ("UPDATE events SET version = -1 WHERE position = 3", "version"),
        ("UPDATE annexes SET bytes = x'7b7d'", "annex"),
    ];
    for (sql, column) in cases {
        let (read, _) = damage(sql).await;
        match read {
            Err(ReadError::Corrupt { position, column: found, .. }) => {
                assert_eq!(found, column, "{sql}");
                assert!(position == Position(3) || position == Position(2), "{sql}: {position}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_missing_version_of_a_stream_is_noticed() {
    let place = Place::sqlite();
    let log = place.open().await;
    for _ in 0..3 {
        write(&log, one_event()).await;
    }
    let mut raw = raw(&place).await;
    let sql = "DROP TRIGGER events_no_delete; DELETE FROM events WHERE version = 2";
    execute(&mut raw, sql).await.unwrap();
    let result = log.read_stream(&StreamId::Node(node()), Version(1), 10).await;
    assert!(matches!(
        result,
        Err(ReadError::Corrupt { position: Position(3), column: "version", .. })
    ));
}

#[tokio::test]
async fn an_event_of_a_newer_program_stops_opening() {
    let (_, opened) =
        damage("UPDATE names SET name = 'SomethingNew' WHERE name = 'AgentRegistered'").await;
    let Err(OpenError::Read(ReadError::Corrupt { what, .. })) = opened else {
        panic!("the log was opened")
    };
    assert!(what.contains("SomethingNew") && what.contains("a newer one wrote it"), "{what}");
}

#[tokio::test]
async fn a_damaged_annex_keeps_nothing_else_from_being_read() {
    let place = Place::sqlite();
    let log = filled(&place).await;
    let whole = read_all(&log).await;
    let with: Vec<Position> =
        whole.iter().filter(|r| r.annex.is_some()).map(|r| r.position).collect();
    let [damaged, sound] = with[..] else { panic!("two annexes, not {with:?}") };
    let mut raw = raw(&place).await;
    let sql = format!(
        "DROP TRIGGER annexes_no_update; UPDATE annexes SET bytes = x'7b7d' WHERE position = {damaged}"
    );
    execute(&mut raw, &sql).await.unwrap();
    assert!(matches!(log.read(damaged, 1).await, Err(ReadError::Corrupt { .. })));
    let bare = log.read_bare(Position(1), 100).await.unwrap();
    assert!(bare.iter().map(|r| r.event_id).eq(whole.iter().map(|r| r.event_id)));
    assert!(bare.iter().all(|record| record.annex.is_none()));
    let stream = &whole[damaged.0 as usize - 1].stream;
    let in_stream = log.read_stream_bare(stream, Version(1), 100).await.unwrap();
    assert!(in_stream.iter().any(|record| record.position == damaged));
    let mut annexes = log.annexes(&[Position(1), damaged, sound]).await.unwrap();
    assert_eq!(annexes.len(), 2);
    let error = annexes.remove(&damaged).unwrap().unwrap_err();
    assert!(
        matches!(error, ReadError::Corrupt { position, column: "annex", .. } if position == damaged)
    );
    let annex = annexes.remove(&sound).unwrap().unwrap();
    assert_eq!(Some(annex), whole[sound.0 as usize - 1].annex);
}
