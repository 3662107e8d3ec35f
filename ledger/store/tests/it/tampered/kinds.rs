//! Each kind of tampering by itself, and the line that names it.

use super::*;
use ed25519_dalek::SigningKey;
use ledger_core::checkpoint::{Checkpoint, Note, sign};
use ledger_core::merkle::Tree;
use ledger_core::{Annex, NewEvent, StreamId};

/// Changes a copy, and checks that the fault says all of this.
pub(super) fn check(sql: &str, says: &[&str]) {
    let copy = Copy::new();
    copy.tamper(sql);
    let line = copy.fault();
    for part in says {
        assert!(line.contains(part), "{sql}\nis told as: {line}\nwithout: {part}");
    }
}

#[test]
fn every_changed_column_of_an_event_is_found() {
    // Position 100 is in a full tile, which a checkpoint follows.
    for (column, changed) in [
        ("stream", "stream % 5 + 1"),
        ("version", "version + 1000"),
        ("event_id", "substr(event_id, 1, 15) || x'00'"),
        ("type", "(SELECT id FROM names WHERE name = 'NodeStarted')"),
        ("recorded_at", "recorded_at + 1"),
        ("lag", "lag + 1"),
        ("actor_kind", "actor_kind % 3 + 1"),
        ("actor", "actor % 5 + 1"),
        ("correlation", "coalesce(correlation, 0) % 5 + 1"),
        ("causation_id", "zeroblob(16)"),
        ("annex_digest", "zeroblob(32)"),
        ("payload", "CAST(replace(CAST(payload AS TEXT), '\"', ' \"') AS BLOB)"),
    ] {
        let copy = Copy::new();
        copy.tamper(&format!(
            "UPDATE events SET {column} = CAST({changed} AS {}) WHERE position = 100",
            if changed.contains("blob") || changed.contains("x'") || changed.contains("BLOB") {
                "BLOB"
            } else {
                "INTEGER"
            }
        ));
        let line = copy.fault();
        // What makes the row contradict its neighbours is told at its column.
        assert!(line.contains("position 10"), "{column}: {line}");
    }
    check(
        "UPDATE events SET given = zeroblob(8) WHERE position = 6",
        &["position 6: the event was changed"],
    );
    check(
        "UPDATE events SET events = events + 1 WHERE position = 6",
        &["position 8, column given"],
    );
    // An id that stands there as ids do, but not the event's own.
    check(
        "INSERT INTO names SELECT max(id) + 1, zeroblob(16) FROM names; \
         UPDATE events SET correlation = (SELECT max(id) FROM names) WHERE position = 6",
        &["position 6: the event was changed"],
    );
    // The same stream, written as nothing writes it.
    check(
        "UPDATE names SET name = 'activation/' || lower(format('%s-%s-%s-%s-%s', \
         substr(hex(name), 1, 8), substr(hex(name), 9, 4), substr(hex(name), 13, 4), \
         substr(hex(name), 17, 4), substr(hex(name), 21))) \
         WHERE id = (SELECT min(id) FROM names WHERE typeof(name) = 'blob')",
        &["column stream: activation/", "should be stored as an id"],
    );
    check(
        "UPDATE events SET given = NULL, events = NULL WHERE position = 6",
        &["position 6, column given: the event belongs to no write"],
    );
    check("UPDATE events SET events = -1 WHERE position = 6", &["position 6, column events"]);
    check("UPDATE events SET events = 1 WHERE position = 7", &["position 7, column events"]);
}

#[test]
fn a_value_that_reads_alike_but_is_stored_otherwise_is_found() {
    // A table that is not STRICT holds any of them; the schema's text is put back.
    for (sql, says) in [
        ("payload = CAST(payload AS TEXT)", "column payload: Text stands where a blob should"),
        ("event_id = CAST(event_id AS TEXT)", "column event_id"),
        ("lag = 0.0 + lag", "column lag: Real stands where an integer should"),
        ("recorded_at = CAST(recorded_at AS TEXT)", "column recorded_at: Text"),
        ("version = NULL", "column version: Null"),
    ] {
        let copy = Copy::new();
        let text = copy.schema_of("events");
        let loose =
            text.replace(" STRICT", "").replace("INTEGER NOT NULL", "").replace("NOT NULL", "");
        let set =
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = ?1 WHERE name = 'events'";
        let (on, update) = set.split_once("; ").unwrap();
        let change = |text: &str| {
            let connection = Connection::open(copy.path()).unwrap();
            connection.execute_batch(on).unwrap();
            connection.execute(update, [text]).unwrap();
        };
        change(&loose);
        copy.tamper(&format!("UPDATE events SET {sql} WHERE position = 50"));
        change(&text);
        let line = copy.fault();
        assert!(line.contains("position 50") && line.contains(says), "{sql}: {line}");
    }
}

#[test]
fn a_removed_a_swapped_and_an_inserted_event_are_found() {
    check("DELETE FROM events WHERE position = 77", &["position 77 is missing: 78 stands"]);
    check(
        "UPDATE events SET position = -1 WHERE position = 50; \
         UPDATE events SET position = 50 WHERE position = 51; \
         UPDATE events SET position = 51 WHERE position = -1",
        &["position 50"],
    );
    check(
        "DELETE FROM events WHERE position = 50; \
         UPDATE events SET position = 50 WHERE position = 600",
        &["position 50"],
    );
}

#[test]
fn what_belongs_to_events_is_found() {
    check(
        "UPDATE annexes SET bytes = CAST(bytes || x'20' AS BLOB) WHERE position = (SELECT max(position) FROM annexes)",
        &["annex: it was changed"],
    );
    check(
        "UPDATE annexes SET salt = zeroblob(16) WHERE position = (SELECT min(position) FROM annexes)",
        &["annex: it was changed"],
    );
    check(
        "DELETE FROM annexes WHERE position = (SELECT max(position) FROM annexes)",
        &["annex: it was removed, and no erasure is recorded"],
    );
    check(
        "INSERT INTO annexes VALUES (1, zeroblob(16), x'7b7d')",
        &["position 1, annex: it was put there"],
    );
    check(
        "INSERT INTO annexes VALUES (9999, zeroblob(16), x'7b7d')",
        &["an annex of position 9999"],
    );
    check(
        "UPDATE outputs SET bytes = CAST('Round' || substr(CAST(bytes AS TEXT), 6) AS BLOB) WHERE cursor = 9",
        &["the output of deployment", "it was changed"],
    );
    check(
        "DELETE FROM outputs WHERE cursor = (SELECT max(cursor) FROM outputs)",
        &["bytes are stored"],
    );
    check("DELETE FROM outputs WHERE cursor = 4", &["the cursor 5 stands where 4 should"]);
    check(
        "INSERT INTO outputs SELECT max(cursor) + 1, zeroblob(16), 0, 1, max(stored_at), x'41' FROM outputs",
        &["the log knows of no such deployment"],
    );
    check(
        "INSERT INTO outputs SELECT cursor + 1, deployment, start + length, 1, stored_at, x'41' \
         FROM outputs WHERE cursor = (SELECT max(cursor) FROM outputs)",
        &["the output of deployment"],
    );
}

#[test]
fn an_erasure_needs_the_event_that_orders_it() {
    let newest_annex = "(SELECT max(position) FROM annexes)";
    // A row without an event, one that points at another event, and one for an annex that is there.
    check(
        &format!(
            "INSERT INTO erasures VALUES ({newest_annex}, {newest_annex} + 1); DELETE FROM annexes WHERE position = {newest_annex}"
        ),
        &["erasure of its annex", "is to order it, and does not"],
    );
    check("UPDATE erasures SET ordered = ordered + 1", &["erasure of its annex"]);
    check("UPDATE erasures SET ordered = 1", &["stands before it"]);
    check("DELETE FROM erasures", &["no erasure is recorded"]);
    check("INSERT INTO erasures VALUES (2, 300)", &["position 2, erasure of its annex"]);
    check(
        "INSERT INTO erasures VALUES (99999, 100000)",
        &["an erasure of the annex of position 99999"],
    );
}

#[test]
fn tiles_are_what_the_events_give() {
    let changed = |level, at| {
        format!(
            "UPDATE tiles SET hashes = CAST(substr(hashes, 1, {at}) || x'0000' || substr(hashes, {at} + 3) AS BLOB) \
             WHERE level = {level} AND idx = 0"
        )
    };
    // The checkpoint over everything holds: so it was the tile.
    check(&changed(0, 64), &["tile 0 of level 0: the hash of position 3 in it was changed"]);
    check("DELETE FROM tiles WHERE level = 0 AND idx = 1", &["tile 1 of level 0: it is missing"]);
    check("INSERT INTO tiles VALUES (0, 77, zeroblob(8192))", &["the table tiles has"]);
    check(
        "UPDATE tiles SET hashes = zeroblob(32) WHERE idx = 1",
        &["tile 1 of level 0", "256 hashes"],
    );
    check("UPDATE tiles SET level = 1 WHERE idx = 1", &["tile 1 of level 0: it is missing"]);
}

#[test]
fn a_removed_tail_is_found_by_the_newest_checkpoint() {
    let tail = "DELETE FROM annexes WHERE position > 400; \
         DELETE FROM erasures WHERE ordered > 400; DELETE FROM tiles WHERE idx = 1; \
         DELETE FROM events WHERE position > 400";
    let copy = Copy::new();
    // Not in the middle of a write, and with no name too much.
    copy.tamper(&tail.replace("400", "5"));
    let line = copy.fault();
    assert!(line.contains("position"), "{line}");
    let copy = Copy::new();
    let last = world().newest.checkpoint().size;
    let cut = last - 300;
    copy.tamper(&format!(
        "DELETE FROM annexes WHERE position > {cut}; DELETE FROM tiles WHERE 256 * (idx + 1) > {cut}; \
         DELETE FROM events WHERE position > {cut}"
    ));
    let says = format!(
        "the log ends at position {cut}, and a checkpoint over {last} events is there: its tail was removed"
    );
    assert_eq!(copy.fault(), says);
    // And with the checkpoint removed, too, by one that was kept elsewhere.
    copy.tamper(&format!("DELETE FROM checkpoints WHERE size > {cut}"));
    let outside = Trust { checkpoints: vec![world().newest.clone()], ..Trust::default() };
    let line = copy.fault_by(&outside);
    assert!(line.contains(&format!("a checkpoint that was given over {last} events")), "{line}");
}

/// Rewrites everything from the position on as the program itself would write it,
/// with its tree, and signs it with the key if there is one.
fn rewrite(from: u64, key: Option<&SigningKey>) -> Copy {
    let copy = Copy::new();
    copy.tamper(&format!(
        "DELETE FROM annexes WHERE position >= {from}; DELETE FROM tiles WHERE 256 * (idx + 1) >= {from}; \
         DELETE FROM events WHERE position >= {from}; CREATE TABLE kept AS SELECT * FROM checkpoints; \
         DELETE FROM checkpoints WHERE size >= {from}; \
         DELETE FROM names WHERE id > (SELECT max(max(stream), max(type), max(actor)) FROM events)"
    ));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let log = Log::open_sqlite(copy.folder(), ManualClock::at(NOON + HOUR / 60)).await.unwrap();
        let until = world().newest.checkpoint().size + 1 - from + u64::from(key.is_some());
        write(&log, events((0..until).map(other).collect())).await;
        let tree: Tree = log.tree().await.unwrap();
        log.close().await;
        copy.tamper(
            "DELETE FROM checkpoints; INSERT INTO checkpoints SELECT * FROM kept; DROP TABLE kept",
        );
        if let Some(key) = key {
            let origin = note_key().name;
            let checkpoint = Checkpoint { origin, size: tree.size(), root: tree.root() };
            let note = sign(&checkpoint, key).to_string();
            copy.tamper(&format!("INSERT INTO checkpoints VALUES ({}, '{note}')", tree.size()));
        }
    });
    copy
}

fn other(n: u64) -> NewEvent {
    let annex = Annex { description: Some(format!("{n}")), ..Annex::default() };
    NewEvent::new(StreamId::Node(node()), ledger_core::event::NodeStopped {}).with_annex(annex)
}

fn first_of_the_last_write() -> u64 {
    world().newest.checkpoint().size - 299
}

#[test]
fn a_rewritten_suffix_is_found_by_the_old_checkpoint() {
    let line = rewrite(first_of_the_last_write(), None).fault();
    let size = world().newest.checkpoint().size;
    assert!(
        line.starts_with(&format!("the checkpoint over {size} events: it does not hold")),
        "{line}"
    );
    assert!(line.contains("history was rewritten"), "{line}");
}

#[test]
fn a_fork_between_two_checkpoints_is_found() {
    let line = rewrite(first_of_the_last_write(), Some(&signing_key())).fault();
    let size = world().newest.checkpoint().size;
    let says = format!(
        "the history was forked: the checkpoint over {size} events and the checkpoint over {} events are signed",
        size + 1
    );
    assert!(line.starts_with(&says), "{line}");
}

#[test]
fn a_fork_is_found_by_a_checkpoint_that_was_kept_elsewhere() {
    let copy = rewrite(first_of_the_last_write(), Some(&signing_key()));
    copy.tamper(&format!(
        "DELETE FROM checkpoints WHERE size = {}",
        world().newest.checkpoint().size
    ));
    // Within itself, the rewritten history is whole: its author holds the key.
    assert!(copy.verify(&Trust::default()).is_ok());
    let outside = Trust { checkpoints: vec![world().newest.clone()], ..Trust::default() };
    let line = copy.fault_by(&outside);
    assert!(line.starts_with("the history was forked: the checkpoint that was given"), "{line}");
}

#[test]
fn checkpoints_count_only_under_the_right_key_and_name() {
    let newest = world().newest.checkpoint().clone();
    let put = |note: &Note| {
        let copy = Copy::new();
        copy.tamper(&format!(
            "UPDATE checkpoints SET note = '{note}' WHERE size = {}",
            newest.size
        ));
        copy.fault()
    };
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let line = put(&sign(&newest, &stranger));
    assert!(line.contains("signed by another key"), "{line}");
    let origin = "ledger.example.org/other".parse().unwrap();
    let line = put(&sign(&Checkpoint { origin, ..newest.clone() }, &signing_key()));
    assert!(line.contains("another key") || line.contains("another log"), "{line}");
    let older = Checkpoint { size: newest.size - 1, ..newest.clone() };
    let line = put(&sign(&older, &signing_key()));
    assert!(line.contains("it was changed or moved"), "{line}");
    let copy = Copy::new();
    copy.tamper(
        "UPDATE checkpoints SET note = replace(note, 'test', 'best') WHERE size = 5 OR size > 300",
    );
    assert!(copy.fault().contains("checkpoint over"), "{}", copy.fault());
    // A key from outside alone counts.
    let key =
        NoteKey { key: PublicKey::from_bytes(stranger.verifying_key().to_bytes()), ..note_key() };
    let trust = Trust { keys: vec![key], ..Trust::default() };
    assert!(Copy::new().fault_by(&trust).contains("signed by another key"));
}
