//! What is read along with the events of a log on PostgreSQL, in more pages than one.

use super::postgres::Owned;
use super::*;
use ledger_core::{Annex, EventId, NewEvent, StreamId, event};
use ledger_store::verify_postgres;
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes, and events of each: more than what stands beside them is read for at once.
const WRITES: usize = 10;
const EVENTS: usize = 1_000;
/// Of the events of a write, every so manyth has an annex.
const ANNEX_EVERY: usize = 30;
/// Pieces of output behind each write.
const PIECES: u64 = 10;

/// Fills a log, with annexes, pieces of output and a checkpoint behind each write.
async fn fill_long(place: &Place) {
    let log = place.open().await;
    let NoteKey { name: origin, key: public_key } = note_key();
    write(&log, command(Command::AddSigningKey { node: node(), origin, public_key })).await;
    let asked = event::DeploymentRequested {
        activation: ledger_core::ActivationId::new(fresh_request().uuid()),
        store_path: store_path(1),
        rollback_script: None,
    };
    let stream = StreamId::Agent(workspace(), agent(1));
    let asked = events(vec![NewEvent::new(stream, asked)]);
    let deployment = EventId::derive(asked.request_id, 0).into();
    write(&log, asked).await;
    let annex = Annex { description: Some("for a while".to_owned()), ..Annex::default() };
    for written in 0..WRITES as u64 {
        let each = (0..EVENTS).map(|n| match n % ANNEX_EVERY {
            0 => one().with_annex(annex.clone()),
            _ => one(),
        });
        write(&log, events(each.collect())).await;
        for piece in 0..PIECES {
            let offset = written * PIECES + piece;
            let said = OutputWrite { deployment, offset, bytes: b".".to_vec() };
            log.write_output(said).await.unwrap();
        }
        sign_now(&log).await;
    }
    log.close().await;
}

#[test]
fn what_stands_beside_a_long_log_is_held_against_it() {
    let mut owned = Owned::filled(fill_long);
    let verified = owned.verify().unwrap();
    assert_eq!(verified.size, 2 + (WRITES * EVENTS) as u64);
    assert_eq!(verified.annexes, (WRITES * EVENTS.div_ceil(ANNEX_EVERY)) as u64);
    assert_eq!(verified.checkpoints, WRITES as u64);
    // The newest annex, and a position that never had one, far behind the first page.
    let last = 2 + (WRITES - 1) * EVENTS + EVENTS / ANNEX_EVERY * ANNEX_EVERY + 1;
    for (table, sql, says) in [
        (
            "annexes",
            format!("UPDATE ledger.annexes SET bytes = 'other' WHERE position = {last}"),
            format!("position {last}, annex: it was changed"),
        ),
        (
            "annexes",
            format!("DELETE FROM ledger.annexes WHERE position = {last}"),
            format!("position {last}, annex: it was removed"),
        ),
        (
            "annexes",
            format!("UPDATE ledger.annexes SET position = position + 1 WHERE position = {last}"),
            format!("position {}, annex: it was put there", last + 1),
        ),
        (
            "annexes",
            format!(
                "INSERT INTO ledger.annexes SELECT {last} + 1, salt, bytes FROM ledger.annexes \
                 WHERE position = {last}"
            ),
            format!("position {}, annex: it was put there", last + 1),
        ),
        (
            "annexes",
            "INSERT INTO ledger.annexes SELECT 0, salt, bytes FROM ledger.annexes LIMIT 1"
                .to_owned(),
            "the table annexes has".to_owned(),
        ),
        (
            "tiles",
            "UPDATE ledger.tiles SET hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1) \
             WHERE level = 0 AND idx = 35"
                .to_owned(),
            "the hash of position 8962 in it was changed".to_owned(),
        ),
        (
            "outputs",
            "DELETE FROM ledger.outputs WHERE cursor = 90".to_owned(),
            "the cursor 91 stands where 90 should".to_owned(),
        ),
        (
            "checkpoints",
            "UPDATE ledger.checkpoints SET size = size + 1 WHERE size = 9002".to_owned(),
            "the checkpoint over 9003 events: it was changed or moved".to_owned(),
        ),
    ] {
        owned.execute(&format!("ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")).unwrap();
        let kept = format!("CREATE TABLE public.{table} AS SELECT * FROM ledger.{table}");
        owned.execute(&kept).unwrap();
        owned.execute(&sql).unwrap();
        let fault = owned.fault();
        assert!(fault.contains(&says), "{sql}: {fault}");
        let back = format!(
            "DELETE FROM ledger.{table}; INSERT INTO ledger.{table} SELECT * FROM public.{table}; \
             DROP TABLE public.{table}"
        );
        owned.execute(&back).unwrap();
        for trigger in owned.triggers(table) {
            let sql = format!("ALTER TABLE ledger.{table} ENABLE ALWAYS TRIGGER {trigger}");
            owned.execute(&sql).unwrap();
        }
        owned.verify().unwrap();
    }
}

#[test]
fn a_column_of_another_type_is_found() {
    let mut owned = Owned::filled(fill_short);
    owned.execute("ALTER TABLE ledger.events ALTER COLUMN actor_kind TYPE integer").unwrap();
    let fault = owned.fault();
    assert!(fault.contains("the table events, column actor_kind: it is INT4, no INT2"), "{fault}");
}

async fn fill_short(place: &Place) {
    let log = place.open().await;
    write(&log, one_event()).await;
    log.close().await;
}

/// Whoever may change the role or the database may set such a limit for every session.
#[test]
fn no_limit_of_the_database_ends_a_verification() {
    let mut owned = Owned::filled(fill_short);
    for limit in ["statement_timeout", "idle_in_transaction_session_timeout"] {
        let sql = format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {limit} = 1', current_database()); END $$"
        );
        owned.execute(&sql).unwrap();
    }
    assert_eq!(owned.verify().unwrap().size, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_verified_as_it_was_at_one_moment() {
    let Place::Postgres(database) = Place::postgres().await else { unreachable!() };
    let url = database.service();
    let place = Place::Postgres(database);
    let log = place.open().await;
    let NoteKey { name: origin, key: public_key } = note_key();
    write(&log, command(Command::AddSigningKey { node: node(), origin, public_key })).await;
    let verified = AtomicBool::new(false);
    let appending = async {
        let mut written = 1;
        while !verified.load(Ordering::Relaxed) {
            write(&log, events((0..100).map(|_| one()).collect())).await;
            sign_now(&log).await;
            written += 100;
        }
        written
    };
    let verifying = async {
        let all = tokio::task::spawn_blocking(move || {
            let verify = || verify_postgres(&url, &Trust::default(), &mut |_| true);
            [verify(), verify(), verify(), verify(), verify()]
        });
        let all = all.await;
        verified.store(true, Ordering::Relaxed);
        all.unwrap()
    };
    let (written, all) = tokio::join!(appending, verifying);
    let sizes: Vec<u64> = all.into_iter().map(|verified| verified.unwrap().size).collect();
    assert!(sizes.is_sorted() && sizes.iter().all(|size| *size <= written), "{sizes:?}");
    log.close().await;
}
