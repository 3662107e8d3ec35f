//! What stands around the events: names, schema, triggers, indexes.

use super::kinds::check;
use super::*;

#[test]
fn the_tables_of_names_and_the_indexes_are_part_of_it() {
    check(
        "UPDATE names SET name = 'agent/default/agent-7' WHERE name = 'agent/default/agent-1'",
        &["position"],
    );
    check(
        "UPDATE names SET name = 'Agent/x' WHERE name = 'agent/default/agent-1'",
        &["column stream", "no stream"],
    );
    check("INSERT INTO names SELECT max(id) + 1, 'more' FROM names", &["no event has \"more\""]);
    check("DELETE FROM names WHERE id = 1", &["the table names: 2 stands where 1 should"]);
    check("DROP INDEX events_id", &["index events_id is missing"]);
    check("CREATE INDEX more ON events (lag)", &["index more is none that a migration makes"]);
    check("ALTER TABLE tiles ADD COLUMN more INTEGER", &["table tiles was changed"]);
    for (trigger, again, says) in [
        ("events_no_update", "", "trigger events_no_update is missing"),
        (
            "events_no_delete",
            "CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT 1; END",
            "trigger events_no_delete was changed",
        ),
    ] {
        let copy = Copy::new();
        let connection = Connection::open(copy.path()).unwrap();
        connection.execute_batch(&format!("DROP TRIGGER {trigger}; {again}")).unwrap();
        connection.close().unwrap();
        assert!(copy.fault().contains(says), "{}", copy.fault());
    }
}

#[test]
fn an_index_that_disagrees_with_its_table_is_found() {
    for (index, change) in [
        (
            "events_id",
            "UPDATE events SET event_id = x'00000000000070008000000000000000' WHERE position = 7; \
           UPDATE events SET event_id = (SELECT event_id FROM kept WHERE position = 7) WHERE position = 7",
        ),
        ("events_stream", "UPDATE events SET version = version + 7 WHERE position = 7"),
        ("outputs_deployment", "UPDATE outputs SET start = start + 7 WHERE cursor = 7"),
        ("tiles_place", "UPDATE tiles SET idx = 7 WHERE idx = 0 AND level = 0"),
    ] {
        let copy = Copy::new();
        let text = copy.schema_of(index);
        // The index follows the change; then the table is put back without it.
        copy.tamper(&format!("CREATE TABLE kept AS SELECT * FROM events; {change}"));
        let page: i64 = {
            let connection = Connection::open(copy.path()).unwrap();
            connection
                .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?", [index], |r| {
                    r.get(0)
                })
                .unwrap()
        };
        let connection = Connection::open(copy.path()).unwrap();
        connection.execute_batch("PRAGMA writable_schema = ON").unwrap();
        connection.execute("DELETE FROM sqlite_schema WHERE name = ?", [index]).unwrap();
        connection.close().unwrap();
        let back = match index {
            "events_id" => {
                "UPDATE events SET event_id = x'00000000000070008000000000000001' WHERE position = 8; \
               UPDATE events SET event_id = (SELECT event_id FROM kept WHERE position = 8) WHERE position = 8; \
               UPDATE events SET lag = lag WHERE position = 8"
            }
            "events_stream" => "UPDATE events SET version = version - 7 WHERE position = 7",
            "outputs_deployment" => "UPDATE outputs SET start = start - 7 WHERE cursor = 7",
            _ => "UPDATE tiles SET idx = 0 WHERE idx = 7",
        };
        copy.tamper(&format!("{back}; DROP TABLE kept"));
        let connection = Connection::open(copy.path()).unwrap();
        connection.execute_batch("PRAGMA writable_schema = ON").unwrap();
        let table = text.split_whitespace().nth(5).unwrap().to_owned();
        connection
            .execute(
                "INSERT INTO sqlite_schema VALUES ('index', ?1, ?2, ?3, ?4)",
                (index, &table, page, &text),
            )
            .unwrap();
        connection.close().unwrap();
        if index == "events_id" {
            // This one was put back whole, too: the way of the test itself is sound.
            assert!(copy.verify(&Trust::default()).is_ok());
        } else {
            let line = copy.fault();
            assert!(
                line.contains(index) || line.contains("tile 0 of level 0: it is missing"),
                "{index}: {line}"
            );
        }
    }
}
