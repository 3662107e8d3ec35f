//! The partitions of the events: made ahead of need, and each of them guarded.

use crate::attack_postgres::{POWERFUL, database, number, run};
use crate::support::*;
use ledger_store::Log;

/// An id that no event has.
const FRESH: &str = "gen_random_uuid()";

/// An event like the one at position 1, at another place and with another id.
fn event(table: &str, position: u64, version: u64, id: &str) -> String {
    format!(
        "INSERT INTO ledger.{table} (position, place, event_id, type, recorded_at, actor_kind, \
         actor, payload) SELECT {position}, (place >> 33 << 33) + {version}, {id}, type, \
         recorded_at, actor_kind, actor, payload FROM ledger.events WHERE position = 1"
    )
}

/// A log whose partitions have a hundred positions each.
async fn in_small_partitions(place: &Place) -> Log {
    let mut connection = database(place).connect().await;
    assert_eq!(run(&mut connection, "UPDATE ledger.head SET width = 100").await, Ok(1));
    place.open().await
}

#[tokio::test]
async fn partitions_are_made_ahead_of_need() {
    let place = Place::postgres().await;
    let log = in_small_partitions(&place).await;
    let mut connection = database(&place).connect().await;
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ledger.events'::regclass";
    // What is there is made when the one before is full to four fifths.
    for (n_events, n_partitions) in [(80, 1), (1, 2), (99, 2), (1, 3), (400, 7)] {
        write(&log, events((0..n_events).map(|_| one()).collect())).await;
        assert_eq!(number(&mut connection, partitions).await, n_partitions);
    }
    let records = read_all(&log).await;
    assert_eq!(records.len(), 581);
    let stream = log.read_stream(&records[0].stream, 1.into(), 1_000).await.unwrap();
    assert_eq!(stream, records, "the stream goes through all partitions");
    log.close().await;
    let log = place.open().await;
    assert_eq!(positions(log.write(one_event()).await), (582, 582));
}

#[tokio::test]
async fn every_partition_is_guarded() {
    let place = Place::postgres().await;
    let log = in_small_partitions(&place).await;
    write(&log, create_workspace()).await;
    write(&log, events((0..289).map(|_| one()).collect())).await;
    let before = read_all(&log).await;
    let mut statements = vec![
        // What is unique within a partition is so across partitions.
        event("events", 291, 1, FRESH),
        event("events_200", 291, 1, FRESH),
        event("events", 291, 2, "event_id"),
        event("events_200", 291, 2, "event_id"),
        // The next one, which is empty.
        event("events_300", 300, 2, FRESH),
        "TRUNCATE ledger.events_300".to_owned(),
    ];
    for from in [0, 100, 200] {
        statements.push(format!("TRUNCATE ledger.events_{from}"));
        statements.push(format!("DELETE FROM ledger.events_{from}"));
        statements.push(format!("UPDATE ledger.events_{from} SET payload = ''"));
    }
    for session in POWERFUL {
        let mut connection = database(&place).connect().await;
        run(&mut connection, session).await.unwrap();
        for sql in &statements {
            let refused = run(&mut connection, sql).await.expect_err(sql);
            let known = ["append-only", "events: "].iter().any(|known| refused.contains(known));
            assert!(known, "{session}; {sql} failed otherwise: {refused}");
        }
    }
    assert_eq!(read_all(&log).await, before);
    assert_eq!(positions(log.write(one_event()).await), (291, 291));
}

/// No table of the log and no partition is without its guards, and none of them is one
/// that a session can switch off. Signs of life and the list of migrations are no log.
#[tokio::test]
async fn every_guard_fires_always() {
    let place = Place::postgres().await;
    in_small_partitions(&place).await.write(one_event()).await.unwrap();
    let mut connection = database(&place).connect().await;
    let guards = "SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
         WHERE c.relnamespace = 'ledger'::regnamespace";
    assert!(number(&mut connection, guards).await > 25);
    let ordinary = format!("{guards} AND t.tgenabled <> 'A'");
    assert_eq!(number(&mut connection, &ordinary).await, 0);
    // UPDATE is 16, DELETE 8, INSERT 4 and TRUNCATE 32 in the bits of a trigger.
    let open = "SELECT count(*) FROM pg_class c WHERE c.relnamespace = 'ledger'::regnamespace \
         AND c.relkind IN ('r', 'p') AND c.relname NOT IN ('migrations', 'nodes') AND coalesce((SELECT \
         bit_or(t.tgtype::integer) FROM pg_trigger t WHERE t.tgrelid = c.oid), 0) & 60 <> 60";
    assert_eq!(number(&mut connection, open).await, 0);
}
