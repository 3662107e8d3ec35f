//! The database as somebody with `psql` sees it: with a server's login, as the
//! owner of the tables, and as a superuser who switches ordinary triggers off.

use crate::attack::{check_unharmed, filled, full};
use crate::postgres::Database;
use crate::support::*;
use ledger_core::{Position, StreamId};
use ledger_store::Log;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

pub(crate) async fn run(connection: &mut PgConnection, sql: &str) -> Result<u64, String> {
    let result = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    result.map(|done| done.rows_affected()).map_err(|error| error.to_string())
}

/// Returns the one number that a query gives.
pub(crate) async fn number(connection: &mut PgConnection, sql: &str) -> i64 {
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(connection).await.unwrap();
    row.get(0)
}

pub(crate) fn database(place: &Place) -> &Database {
    match place {
        Place::Postgres(database) => database,
        Place::Sqlite(_) => panic!("it lies in a file"),
    }
}

/// Sessions that may do more than a server's login: how each begins.
pub(crate) const POWERFUL: [&str; 3] =
    ["SET ROLE ledger_owner", "SELECT 1", "SET session_replication_role = replica"];

/// Tries each statement in each of the sessions, and checks that it is refused for
/// one of these reasons and changes nothing.
async fn check_refused(sessions: &[&str], reasons: &[&str], statements: &[&str]) {
    let place = Place::postgres().await;
    let log = full(&place).await;
    let before = read_all(&log).await;
    for session in sessions {
        let mut connection = database(&place).connect().await;
        run(&mut connection, session).await.unwrap();
        for sql in statements {
            match run(&mut connection, sql).await {
                Ok(n_rows) => panic!("{session}; {sql} was accepted, {n_rows} rows changed"),
                Err(error) => assert!(
                    reasons.iter().any(|reason| error.contains(reason)),
                    "{session}; {sql} failed otherwise: {error}"
                ),
            }
        }
    }
    check_unharmed(&log, &before).await;
}

#[tokio::test]
async fn a_servers_login_has_nothing_but_its_functions() {
    check_refused(
        &["SET ROLE ledger_service"],
        &["permission denied", "must be owner", "must be superuser"],
        &[
            "INSERT INTO ledger.events SELECT * FROM ledger.events WHERE position = 1",
            "INSERT INTO ledger.events_0 SELECT * FROM ledger.events WHERE position = 1",
            "INSERT INTO ledger.events SELECT * FROM ledger.events WHERE position = 1 \
             ON CONFLICT (position) DO UPDATE SET payload = ''",
            "UPDATE ledger.events SET payload = '' WHERE position = 1",
            "UPDATE ledger.events_0 SET payload = '' WHERE position = 1",
            "DELETE FROM ledger.events WHERE position = 1",
            "DELETE FROM ledger.annexes",
            "INSERT INTO ledger.erasures VALUES (2, 1)",
            "TRUNCATE ledger.events",
            "TRUNCATE ledger.events_0",
            "MERGE INTO ledger.names n USING (SELECT 1) x ON n.id = 1 \
             WHEN MATCHED THEN UPDATE SET name = 'x'",
            "COPY ledger.names FROM PROGRAM 'echo x'",
            "UPDATE ledger.head SET position = 0",
            "SELECT * FROM ledger.head FOR UPDATE",
            "DO $$ BEGIN LOCK TABLE ledger.events; END $$",
            "SELECT ledger.add_partition()",
            "SELECT ledger.add_guard('ledger.events', 'x', 'y')",
            "SELECT ledger.guard_events()",
            "ALTER TABLE ledger.events DISABLE TRIGGER ALL",
            "DROP TRIGGER guard ON ledger.events",
            "CREATE TABLE ledger.mine (x integer)",
            "CREATE FUNCTION ledger.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "ALTER FUNCTION ledger.lock SECURITY INVOKER",
            "SET session_replication_role = replica",
            "DROP SCHEMA ledger CASCADE",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_servers_login_cannot_become_another_one() {
    let place = Place::postgres().await;
    let log = place.open().await;
    write(&log, create_workspace()).await;
    let (url, _) = database(&place).login("IN ROLE ledger_service").await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    for sql in ["SET ROLE ledger_owner", "SET SESSION AUTHORIZATION postgres"] {
        let refused = run(&mut connection, sql).await.unwrap_err();
        assert!(refused.contains("permission denied"), "{sql}: {refused}");
    }
    // What the functions name is the ledger's, whatever else has such a name.
    let shadows = "CREATE TEMPORARY TABLE head AS SELECT * FROM ledger.head; \
         CREATE TEMPORARY TABLE events AS SELECT * FROM ledger.events; \
         UPDATE pg_temp.head SET position = 77; \
         SET search_path = pg_temp, ledger";
    run(&mut connection, shadows).await.unwrap();
    assert_eq!(number(&mut connection, "SELECT position FROM ledger.lock('{}')").await, 1);
    // It is all that a server needs.
    let log = Log::open_postgres(&url).await.unwrap();
    assert_eq!(positions(log.write(one_event()).await), (2, 2));
}

#[tokio::test]
async fn no_row_is_updated_deleted_or_truncated() {
    check_refused(
        &POWERFUL,
        &["append-only"],
        &[
            "UPDATE ledger.events SET payload = '' WHERE position = 1",
            "UPDATE ledger.events SET position = 10000001 WHERE position = 266",
            "UPDATE ONLY ledger.events_0 SET payload = '' WHERE position = 1",
            "DELETE FROM ledger.events WHERE position = 1",
            "DELETE FROM ledger.events_0 WHERE position = 266",
            "WITH gone AS (DELETE FROM ledger.events RETURNING *) SELECT * FROM gone",
            "TRUNCATE ledger.events",
            "TRUNCATE ledger.events_0",
            "TRUNCATE ONLY ledger.events_0",
            "MERGE INTO ledger.events e USING (SELECT 1) x ON e.position = 1 \
             WHEN MATCHED THEN DELETE",
            "MERGE INTO ledger.events_0 e USING (SELECT 1) x ON e.position = 1 \
             WHEN MATCHED THEN UPDATE SET payload = ''",
            "INSERT INTO ledger.events SELECT * FROM ledger.events WHERE position = 1 \
             ON CONFLICT (position) DO UPDATE SET payload = ''",
            "UPDATE ledger.names SET name = 'agent/default/other' WHERE id = 1",
            "DELETE FROM ledger.names WHERE id = 1",
            "TRUNCATE ledger.names",
            "INSERT INTO ledger.names VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'x'",
            "UPDATE ledger.annexes SET bytes = ''",
            "DELETE FROM ledger.annexes",
            "TRUNCATE ledger.annexes",
            "UPDATE ledger.erasures SET ordered = 1",
            "DELETE FROM ledger.erasures",
            "TRUNCATE ledger.erasures",
            "UPDATE ledger.tiles SET hashes = ''",
            "DELETE FROM ledger.tiles",
            "TRUNCATE ledger.tiles",
            "UPDATE ledger.checkpoints SET note = 'x'",
            "UPDATE ledger.checkpoints SET size = 4",
            "DELETE FROM ledger.checkpoints",
            "TRUNCATE ledger.checkpoints",
            "UPDATE ledger.outputs SET bytes = 'x'",
            "DELETE FROM ledger.outputs WHERE cursor = 2",
            "TRUNCATE ledger.outputs",
            "DELETE FROM ledger.head",
            "INSERT INTO ledger.head SELECT * FROM ledger.head",
            "TRUNCATE ledger.head",
            "TRUNCATE ledger.head, ledger.names, ledger.events",
        ],
    )
    .await;
}

/// An event like the one at position 1, with some columns set to something else.
macro_rules! event_like {
    ($table:literal, $position:literal, $version:literal, $id:literal, $at:literal) => {
        concat!(
            "INSERT INTO ledger.",
            $table,
            " (position, place, event_id, type, recorded_at, actor_kind, actor, payload) \
             SELECT ",
            $position,
            ", (place >> 33 << 33) + ",
            $version,
            ", ",
            $id,
            ", type, ",
            $at,
            ", actor_kind, actor, payload FROM ledger.events WHERE position = 1"
        )
    };
    ($table:literal, $position:literal, $version:literal, $id:literal) => {
        event_like!($table, $position, $version, $id, "recorded_at")
    };
}

#[tokio::test]
async fn no_event_is_inserted_over_another_or_out_of_order() {
    // The log has 266 events; the workspace's stream, of the first, has one.
    check_refused(
        &POWERFUL,
        &["events: ", "duplicate key", "null value", "no partition"],
        &[
            event_like!("events", "268", "2", "gen_random_uuid()"),
            event_like!("events_0", "268", "2", "gen_random_uuid()"),
            event_like!("events", "0", "2", "gen_random_uuid()"),
            event_like!("events", "-1", "2", "gen_random_uuid()"),
            event_like!("events", "20000000", "2", "gen_random_uuid()"),
            event_like!("events", "NULL", "2", "gen_random_uuid()"),
            event_like!("events", "1", "1", "event_id"),
            event_like!("events", "5", "2", "gen_random_uuid()"),
            // At the right position, over another one's stream version or id.
            event_like!("events", "267", "1", "gen_random_uuid()"),
            event_like!("events_0", "267", "1", "gen_random_uuid()"),
            event_like!("events", "267", "3", "gen_random_uuid()"),
            event_like!("events", "267", "0", "gen_random_uuid()"),
            event_like!("events", "267", "8589934592", "gen_random_uuid()"),
            event_like!("events_0", "267", "3", "gen_random_uuid()"),
            event_like!("events", "267", "2", "event_id"),
            event_like!("events_0", "267", "2", "event_id"),
            // At the right position, before its predecessor.
            event_like!("events", "267", "2", "gen_random_uuid()", "recorded_at - 1"),
        ],
    )
    .await;
}

/// Two events in one statement: their positions, versions and times.
fn two_events(table: &str, rows: [(i64, i64, i64); 2]) -> String {
    let values = rows.map(|(position, version, later)| format!("({position}, {version}, {later})"));
    format!(
        "INSERT INTO ledger.{table} (position, place, event_id, type, recorded_at, actor_kind, \
         actor, payload) SELECT x.p, (place >> 33 << 33) + x.v, gen_random_uuid(), type, \
         recorded_at + x.t, actor_kind, actor, payload FROM ledger.events, \
         (VALUES {}) x (p, v, t) WHERE position = 1",
        values.join(", ")
    )
}

#[tokio::test]
async fn no_statement_brings_events_that_do_not_follow_each_other() {
    let rows = [
        [(267, 2, 0), (269, 3, 0)],
        [(267, 3, 0), (268, 2, 0)],
        [(267, 2, 0), (268, 4, 0)],
        [(267, 2, 9), (268, 3, 8)],
        [(268, 2, 0), (269, 3, 0)],
    ];
    let statements: Vec<String> = ["events", "events_0"]
        .into_iter()
        .flat_map(|table| rows.map(|rows| two_events(table, rows)))
        .collect();
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    check_refused(&POWERFUL, &["events: "], &statements).await;
}

#[tokio::test]
async fn no_other_row_is_inserted_over_another_or_out_of_order() {
    check_refused(
        &POWERFUL,
        &[
            "names: ",
            "annexes: ",
            "tiles: ",
            "checkpoints: ",
            "erasures: ",
            "outputs: ",
            "head: ",
            "duplicate key",
            "names_id_check",
        ],
        &[
            "INSERT INTO ledger.names VALUES (999, 'x')",
            "INSERT INTO ledger.names VALUES (0, 'x')",
            "INSERT INTO ledger.names SELECT 1 + max(id), 'NodeStopped' FROM ledger.names",
            "INSERT INTO ledger.annexes VALUES (5, decode(repeat('00', 16), 'hex'), '')",
            "INSERT INTO ledger.annexes VALUES (99, decode(repeat('00', 16), 'hex'), '')",
            // The one that was erased.
            "INSERT INTO ledger.annexes VALUES (3, decode(repeat('00', 16), 'hex'), '')",
            "INSERT INTO ledger.tiles VALUES (0, 0, decode(repeat('00', 8192), 'hex'))",
            "INSERT INTO ledger.tiles VALUES (0, 1, decode(repeat('00', 8192), 'hex'))",
            "INSERT INTO ledger.tiles VALUES (0, 7, decode(repeat('00', 8192), 'hex'))",
            "INSERT INTO ledger.tiles VALUES (1, 0, decode(repeat('00', 8192), 'hex'))",
            "INSERT INTO ledger.tiles VALUES (-1, 0, decode(repeat('00', 8192), 'hex'))",
            "INSERT INTO ledger.checkpoints SELECT size, 'x' FROM ledger.checkpoints",
            "INSERT INTO ledger.checkpoints VALUES (3, 'x')",
            "INSERT INTO ledger.checkpoints VALUES (99999, 'x')",
            "INSERT INTO ledger.erasures VALUES (5, 1)",
            "INSERT INTO ledger.erasures SELECT position, ordered FROM ledger.erasures",
            // Ordered by an event that orders another one's.
            "INSERT INTO ledger.erasures SELECT 5, ordered FROM ledger.erasures",
            "INSERT INTO ledger.outputs VALUES (1, 0, 0, gen_random_uuid(), 'x')",
            "INSERT INTO ledger.outputs VALUES (9, 0, 0, gen_random_uuid(), 'x')",
            "INSERT INTO ledger.outputs VALUES (3, 1, 0, gen_random_uuid(), 'x')",
            "INSERT INTO ledger.outputs SELECT 3, start, 0, deployment, bytes \
             FROM ledger.outputs WHERE cursor = 2",
            "INSERT INTO ledger.outputs SELECT 3, 20, 0, deployment, bytes \
             FROM ledger.outputs WHERE cursor = 2",
            "UPDATE ledger.head SET position = position - 1",
            "UPDATE ledger.head SET position = position + 1",
            "UPDATE ledger.head SET output = output - 1",
            "UPDATE ledger.head SET signed = 0",
            "UPDATE ledger.head SET recorded_at = 0",
            "UPDATE ledger.head SET names = 0",
            "UPDATE ledger.head SET room = 0",
        ],
    )
    .await;
}

/// Arguments of `ledger.append` for one event like the one at position 1.
pub(crate) fn append(behind: i64, version: &str, at: &str, id: &str) -> String {
    format!(
        "SELECT ledger.append({behind}, ARRAY[{at}]::bigint[], ARRAY[{version}]::bigint[], '{{0}}', \
         ARRAY[(place >> 33)::integer], ARRAY[type], ARRAY[actor], '{{NULL}}', ARRAY[actor_kind], \
         ARRAY[{id}]::uuid[], '{{NULL}}', '{{NULL}}', '{{NULL}}', '{{NULL}}', ARRAY[payload], \
         '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', \
         2, '{{}}', '{{}}', '{{}}', '{{}}', 0, '{{}}', '{{}}', '{{}}') \
         FROM ledger.events WHERE position = 1"
    )
}

#[tokio::test]
async fn the_function_appends_only_what_follows() {
    let fresh = "gen_random_uuid()";
    let statements = [
        append(265, "2", "recorded_at", fresh),
        append(267, "2", "recorded_at", fresh),
        append(0, "1", "recorded_at", fresh),
        append(266, "1", "recorded_at", fresh),
        append(266, "3", "recorded_at", fresh),
        append(266, "2", "recorded_at - 1", fresh),
        append(266, "2", "recorded_at", "event_id"),
        append(266, "NULL", "recorded_at", fresh),
    ];
    let statements = statements.each_ref().map(String::as_str);
    let reasons = ["the log ends at 266", "events: ", "duplicate key", "null value"];
    check_refused(&["SET ROLE ledger_service"], &reasons, &statements).await;
    // So that the ones above are known to be refused for what they say.
    let place = Place::postgres().await;
    let log = full(&place).await;
    let mut connection = PgConnection::connect(&database(&place).service()).await.unwrap();
    run(&mut connection, &append(266, "2", "recorded_at", fresh)).await.unwrap();
    assert_eq!(positions(log.write(one_event()).await), (268, 268));
}

#[tokio::test]
async fn the_function_refuses_what_no_server_sends_and_what_would_stay() {
    let place = Place::postgres().await;
    let log = full(&place).await;
    let before = read_all(&log).await;
    let mut connection = PgConnection::connect(&database(&place).service()).await.unwrap();
    // One that it takes, but for what is put in place of a part of it.
    let good = append(266, "2", "recorded_at", "gen_random_uuid()");
    for (part, bad, says) in [
        ("ARRAY[(place >> 33)::integer]", "'{9999}'", "names: "),
        ("ARRAY[type]", "'{0}'", "names: "),
        ("ARRAY[actor]", "'{-1}'", "names: "),
        ("ARRAY[payload], '{}'", "ARRAY[payload], '{evil}'", "names: "),
        ("ARRAY[payload], '{}'", "ARRAY[payload], '{NULL}'", "names: "),
        ("ARRAY[type]", "'{NULL, 0}'", "names: "),
        ("ARRAY[type], ARRAY[actor]", "NULL, ARRAY[actor]", "null value"),
        ("ARRAY[type]", "ARRAY[NULL]::integer[]", "null value"),
        ("ARRAY[recorded_at]", "ARRAY[recorded_at, recorded_at]", "not every column"),
        ("ARRAY[recorded_at]", "'{253402300800000000}'", "behind the year 9999"),
        (
            "ARRAY[payload], '{}', '{}', '{}', '{}'",
            "ARRAY[payload], '{}', '{NULL, 1}', '{x, x}', '{x, x}'",
            "an annex comes with its event",
        ),
        ("0, '{}', '{}', '{}')", "0, '{}', '{}', ARRAY[NULL, event_id])", "wrote something before"),
        ("0, '{}', '{}', '{}')", "266, '{NULL}', '{x}', '{}')", "checkpoints: "),
        (") FROM", ", gen_random_uuid()) FROM", "is another one than"),
    ] {
        assert!(good.contains(part), "{part}");
        let sql = good.replacen(part, bad, 1);
        let refused = run(&mut connection, &sql).await.unwrap_err();
        assert!(refused.contains(says), "{sql}: {refused}");
    }
    check_unharmed(&log, &before).await;
}

#[tokio::test]
async fn the_attack_would_work_without_the_guards() {
    // So that the tests above are known to try something.
    let place = Place::postgres().await;
    let log = filled(&place).await;
    let mut connection = database(&place).connect().await;
    for table in ["events", "events_0", "names"] {
        let sql = format!("ALTER TABLE ledger.{table} DISABLE TRIGGER ALL");
        run(&mut connection, &sql).await.unwrap();
    }
    let update = "UPDATE ledger.events SET actor_kind = 2 WHERE position = 1";
    assert_eq!(run(&mut connection, update).await, Ok(1));
    let rename =
        "UPDATE ledger.names SET name = 'workspace/other' WHERE name = 'workspace/default'";
    assert_eq!(run(&mut connection, rename).await, Ok(1));
    // Who had read the name before remembers it.
    let other = place.open().await;
    assert_ne!(read_all(&other).await[0].stream, StreamId::Workspace(workspace()));
    let gap = event_like!("events_0", "9", "2", "gen_random_uuid()");
    assert_eq!(run(&mut connection, gap).await, Ok(1));
    run(&mut connection, "TRUNCATE ledger.events_0").await.unwrap();
    assert!(log.read(Position(1), 10).await.is_err(), "nothing is left");
}
