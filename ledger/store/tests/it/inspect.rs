//! What `inspect_postgres` finds on a real PostgreSQL: nothing wrong, and each thing
//! that can be.

use crate::attack_postgres::{database, run};
use crate::postgres::Database;
use crate::support::*;
use ledger_core::{NewEvent, NodeId, StreamId, Timestamp, event};
use ledger_store::{Inspection, Life, Log, LogInspection, inspect_postgres};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The shared server of the tests is inspected by a login as a server has it.
async fn with_login(database: &Database) -> (String, String) {
    database.login("IN ROLE ledger_service").await
}

async fn inspect(url: &str) -> Inspection {
    inspect_postgres(url).await.unwrap()
}

async fn inspect_log(url: &str) -> LogInspection {
    inspect(url).await.log.expect("it is there and can be read")
}

/// Changes the database as a superuser may.
async fn change(database: &Database, sql: &str) {
    run(&mut database.connect().await, sql).await.unwrap();
}

#[tokio::test]
async fn a_database_as_it_should_be_has_nothing_wrong() {
    let database = Database::new().await;
    let (url, name) = with_login(&database).await;
    let found = inspect(&url).await;
    assert!(found.is_supported && found.version.starts_with(char::is_numeric), "{found:?}");
    assert_eq!((&found.missing_steps[..], found.newer_schema), (&[][..], None));
    assert_eq!((found.login.name, found.login.is_enough), (name, true));
    assert_eq!(found.login.too_much, Vec::<String>::new());
    assert_eq!(found.settings.synchronous_commit, "on");
    // One machine has one clock; the question takes its time.
    assert!(found.ahead.abs() < 10 * SECOND, "{}", found.ahead);
    let log = found.log.unwrap();
    assert_eq!((log.size, log.room, log.signed, log.nodes.len()), (0, 0, 0, 0));

    let servers_log = Log::open_postgres(&url).await.unwrap();
    write(&servers_log, one_event()).await;
    let note = signed(&servers_log.tree().await.unwrap());
    servers_log.write_checkpoint(&note).await.unwrap();
    let log = inspect_log(&url).await;
    assert_eq!((log.size, log.room, log.width, log.signed), (1, 9_999_998, 10_000_000, 1));
    assert!(log.signed_until.is_some_and(|until| until <= log.now), "{log:?}");
    assert_eq!(log.unsigned_since, None);
    // Nothing was changed.
    assert_eq!(positions(servers_log.write(one_event()).await), (2, 2));
}

#[tokio::test]
async fn what_cannot_be_reached_is_an_error_with_what_to_do() {
    let error = inspect_postgres("postgres://localhost/ledger?host=/nonexistent").await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("look whether it runs"), "{error}");
    let database = Database::empty().await;
    let gone = database.superuser().replace("ledger_test_", "ledger_gone_");
    let error = inspect_postgres(&gone).await.unwrap_err().to_string();
    assert!(error.contains("does not exist; check its name"), "{error}");
}

#[tokio::test]
async fn each_missing_step_of_the_schema_is_named() {
    let database = Database::empty().await;
    let found = inspect(&database.superuser()).await;
    assert_eq!(found.missing_steps[0], "1 (log)");
    assert!(found.missing_steps.len() > 3 && found.log.is_none(), "{found:?}");
    Log::migrate_postgres(&database.superuser()).await.unwrap();
    let (url, _) = with_login(&database).await;
    change(&database, "DELETE FROM ledger.migrations WHERE version = 3").await;
    let found = inspect(&url).await;
    assert_eq!((&found.missing_steps[..], found.log), (&["3 (functions)".to_owned()][..], None));
    let newer = "INSERT INTO ledger.migrations VALUES (3, 'functions'), (9999, 'of a later one')";
    change(&database, newer).await;
    let found = inspect(&url).await;
    assert_eq!((found.missing_steps.len(), found.newer_schema), (0, Some(9999)));
    assert_eq!(found.log, None);
}

#[tokio::test]
async fn a_login_with_too_few_rights_is_found() {
    let database = Database::new().await;
    let (url, _) = database.login("").await;
    let found = inspect(&url).await;
    assert_eq!((found.login.is_enough, found.log), (false, None));
    assert_eq!(found.login.too_much, Vec::<String>::new());
}

#[tokio::test]
async fn a_login_with_more_rights_than_a_server_needs_is_found() {
    // Who only acts as the service's role can go back.
    let database = Database::new().await;
    for url in [database.superuser(), database.service()] {
        assert_eq!(inspect(&url).await.login.too_much, ["is a superuser"]);
    }
    let (url, name) = with_login(&database).await;
    let too_much = async |give: &str, take: &str| {
        let sql = |text: &str| text.replace("LOGIN", &name);
        change(&database, &sql(give)).await;
        let found = inspect(&url).await;
        assert!(found.login.is_enough && found.log.is_some(), "{give}: {found:?}");
        change(&database, &sql(take)).await;
        assert_eq!(inspect(&url).await.login.too_much, Vec::<String>::new(), "{take}");
        found.login.too_much
    };
    for (give, take, found) in [
        (
            "GRANT ledger_owner TO LOGIN",
            "REVOKE ledger_owner FROM LOGIN",
            "is a member of ledger_owner",
        ),
        ("ALTER ROLE LOGIN CREATEROLE", "ALTER ROLE LOGIN NOCREATEROLE", "may make roles"),
        ("ALTER ROLE LOGIN CREATEDB", "ALTER ROLE LOGIN NOCREATEDB", "may make databases"),
        ("ALTER ROLE LOGIN REPLICATION", "ALTER ROLE LOGIN NOREPLICATION", "may replicate"),
        ("ALTER ROLE LOGIN BYPASSRLS", "ALTER ROLE LOGIN NOBYPASSRLS", "passes row security"),
        (
            "GRANT UPDATE ON ledger.head TO LOGIN",
            "REVOKE UPDATE ON ledger.head FROM LOGIN",
            "may UPDATE on ledger.head",
        ),
        (
            "GRANT EXECUTE ON FUNCTION ledger.add_partition TO LOGIN",
            "REVOKE EXECUTE ON FUNCTION ledger.add_partition FROM LOGIN",
            "may call ledger.add_partition",
        ),
        (
            "GRANT CREATE ON SCHEMA ledger TO LOGIN",
            "REVOKE CREATE ON SCHEMA ledger FROM LOGIN",
            "may make tables and functions in the schema ledger",
        ),
    ] {
        assert_eq!(too_much(give, take).await, [found]);
    }
    let owns =
        "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' OWNER TO LOGIN'; END $$";
    let gives = "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' OWNER TO ' || current_user; END $$";
    assert_eq!(too_much(owns, gives).await, ["owns the database"]);
}

#[tokio::test]
async fn a_commit_that_does_not_wait_for_the_disk_is_found() {
    let database = Database::new().await;
    let (url, _) = with_login(&database).await;
    let off = "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET synchronous_commit = off'; END $$";
    change(&database, off).await;
    assert_eq!(inspect(&url).await.settings.synchronous_commit, "off");
}

#[tokio::test]
async fn partitions_are_counted_by_what_is_there() {
    let place = Place::postgres().await;
    let database = database(&place);
    change(database, "UPDATE ledger.head SET width = 100").await;
    let (url, _) = with_login(database).await;
    let log = place.open().await;
    write(&log, events((0..60).map(|_| one()).collect())).await;
    let found = inspect_log(&url).await;
    assert_eq!((found.size, found.room, found.width), (60, 39, 100));
    write(&log, events((0..30).map(|_| one()).collect())).await;
    assert_eq!(inspect_log(&url).await.room, 109);
    // Somebody takes one away of which the head says that it is there.
    change(database, "ALTER TABLE ledger.events DETACH PARTITION ledger.events_100").await;
    assert_eq!(inspect_log(&url).await.room, 9);
    change(database, "ALTER TABLE ledger.events DETACH PARTITION ledger.events_0").await;
    assert_eq!(inspect_log(&url).await.room, 0);
}

#[tokio::test]
async fn what_is_not_signed_is_found_with_its_time() {
    let place = Place::postgres().await;
    let (url, _) = with_login(database(&place)).await;
    let clock = ManualClock::new();
    let log = place.open_at(Arc::clone(&clock) as _).await;
    write(&log, one_event()).await;
    let found = inspect_log(&url).await;
    let [first, second] = [0, 70].map(|s| Timestamp::from_micros(NOON + s * SECOND));
    assert_eq!((found.signed, found.signed_until, found.unsigned_since), (0, None, Some(first)));
    log.write_checkpoint(&signed(&log.tree().await.unwrap())).await.unwrap();
    clock.pass(70 * SECOND);
    for _ in 0..3 {
        write(&log, one_event()).await;
    }
    let found = inspect_log(&url).await;
    assert_eq!((found.size, found.signed), (4, 1));
    assert_eq!((found.signed_until, found.unsigned_since), (Some(first), Some(second)));
}

#[tokio::test]
async fn servers_are_found_with_what_the_log_says_of_them() {
    let place = Place::postgres().await;
    let (url, _) = with_login(database(&place)).await;
    let log = place.open().await;
    let nodes = [1, 2, 3, 4].map(|n| NodeId::new(Uuid::from_u128(n)));
    let [running, stopped, lost, only_beats] = nodes;
    for node in nodes {
        log.beat(node).await.unwrap();
    }
    let started = || event::NodeStarted { version: "0.1.0".to_owned().try_into().unwrap() };
    let alive_until = Timestamp::from_micros(NOON);
    let confirmed = event::ClockConfirmed { last_recorded_at: alive_until, clock: alive_until };
    let of = |node| StreamId::Node(node);
    write(
        &log,
        events(vec![
            NewEvent::new(of(running), event::NodeStopped {}),
            NewEvent::new(of(running), started()),
            NewEvent::new(of(stopped), started()),
            NewEvent::new(of(stopped), event::NodeStopped {}),
            NewEvent::new(of(lost), started()),
            NewEvent::new(of(lost), event::NodeLost { alive_until }),
            // Something else of it changes nothing.
            NewEvent::new(of(lost), confirmed),
        ]),
    )
    .await;
    let hour = "UPDATE ledger.nodes SET seen_at = seen_at - interval '1 hour' \
         WHERE id = '00000000-0000-0000-0000-000000000003'";
    change(database(&place), hour).await;
    let found = inspect_log(&url).await.nodes;
    let life = |node| found.iter().find(|n| n.node == node).unwrap().life;
    assert_eq!(nodes.map(life), [Life::Running, Life::Stopped, Life::Lost, Life::Stopped]);
    let hour = Duration::from_secs(3600);
    for node in &found {
        assert_eq!(node.silent >= hour, node.node == lost, "{node:?}");
    }
    assert_eq!(found.last().unwrap().node, lost, "the newest signs of life come first");
    assert_eq!(life(only_beats), Life::Stopped);
}
