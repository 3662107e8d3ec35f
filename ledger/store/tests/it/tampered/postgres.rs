//! A log on PostgreSQL that its owner changed, with every trigger switched off.

use super::*;
use crate::postgres::Database;
use ledger_store::verify_postgres;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};
use std::cell::Cell;
use tokio::runtime::Runtime;

/// A table, its key, and its columns, each with how it is changed.
type Table = (&'static str, &'static str, &'static [(&'static str, Form)]);

const TABLES: &[Table] = &[
    (
        "events",
        "position",
        &[
            ("position", Form::Number),
            ("recorded_at", Form::Number),
            ("place", Form::Number),
            ("lag", Form::Number),
            ("type", Form::Number),
            ("actor", Form::Number),
            ("events", Form::Number),
            ("actor_kind", Form::Number),
            ("event_id", Form::Id),
            ("correlation_id", Form::Id),
            ("causation_id", Form::Id),
            ("given", Form::Bytes),
            ("annex_digest", Form::Bytes),
            ("payload", Form::Bytes),
        ],
    ),
    ("names", "id", &[("id", Form::Number), ("name", Form::Text)]),
    (
        "annexes",
        "position",
        &[("position", Form::Number), ("salt", Form::Bytes), ("bytes", Form::Bytes)],
    ),
    ("erasures", "position", &[("position", Form::Number), ("ordered", Form::Number)]),
    ("tiles", "idx", &[("level", Form::Number), ("idx", Form::Number), ("hashes", Form::Bytes)]),
    ("checkpoints", "size", &[("size", Form::Number), ("note", Form::Text)]),
    (
        "outputs",
        "cursor",
        &[
            ("cursor", Form::Number),
            ("start", Form::Number),
            ("deployment", Form::Id),
            ("bytes", Form::Bytes),
        ],
    ),
    (
        "head",
        "id",
        &[
            ("position", Form::Number),
            ("output", Form::Number),
            ("signed", Form::Number),
            ("names", Form::Number),
        ],
    ),
];

/// How a column is changed.
#[derive(Clone, Copy, Debug)]
enum Form {
    Bytes,
    Number,
    Id,
    Text,
}

impl Form {
    fn changed(self, column: &str, n: u64) -> String {
        match self {
            Self::Bytes => format!(
                "set_byte({column}, ({n} % greatest(octet_length({column}), 1))::int, \
                 get_byte({column}, ({n} % greatest(octet_length({column}), 1))::int) # {})",
                1 << (n % 8)
            ),
            Self::Number => format!("{column} + {}", [1, -1, 2, 7][(n % 4) as usize]),
            Self::Id => {
                let at = 1 + n % 8;
                let digit = n % 10;
                format!("overlay({column}::text placing '{digit}' from {at} for 1)::uuid")
            }
            Self::Text => format!("overlay({column} placing 'Q' from {} for 1)", 1 + n % 9),
        }
    }
}

/// What the owner does.
#[derive(Clone, Debug)]
struct Tampering {
    table: usize,
    column: usize,
    row: u64,
    other: u64,
    kind: u8,
}

impl Tampering {
    fn sql(&self) -> String {
        let (table, key, columns) = TABLES[self.table];
        let (column, form) = columns[self.column % columns.len()];
        let pick = |n: u64| {
            format!(
                "(SELECT ctid FROM ledger.{table} ORDER BY {key} OFFSET {n} % (SELECT count(*) FROM ledger.{table}) LIMIT 1)"
            )
        };
        let (row, other) = (pick(self.row), pick(self.other));
        match self.kind {
            0 => format!("DELETE FROM ledger.{table} WHERE ctid = {row}"),
            1 => format!(
                "UPDATE ledger.{table} t SET {column} = s.{column} FROM ledger.{table} s WHERE t.ctid = {row} AND s.ctid = {other}"
            ),
            2 => format!(
                "DELETE FROM ledger.{table} WHERE {key} >= (SELECT {key} FROM ledger.{table} WHERE ctid = {row})"
            ),
            _ => format!(
                "UPDATE ledger.{table} SET {column} = {} WHERE ctid = {row}",
                form.changed(column, self.other)
            ),
        }
    }
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let kind = prop_oneof![1 => Just(0_u8), 2 => Just(1), 1 => Just(2), 6 => Just(3)];
    (0..TABLES.len(), 0..20_usize, 0..1_000_000_u64, 0..1_000_000_u64, kind)
        .prop_map(|(table, column, row, other, kind)| Tampering { table, column, row, other, kind })
}

/// A log on PostgreSQL, with somebody who may do everything.
pub(super) struct Owned {
    runtime: Runtime,
    database: Database,
    connection: PgConnection,
    outside: Trust,
}

impl Owned {
    fn new() -> Self {
        let newest = Cell::new(None);
        let owned = Self::filled(async |place| newest.set(Some(fill(place).await)));
        let checkpoints = newest.into_inner().into_iter().collect();
        Self { outside: Trust { keys: vec![note_key()], checkpoints }, ..owned }
    }

    pub(super) fn filled(fill: impl AsyncFnOnce(&Place)) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (database, connection) = runtime.block_on(async {
            let place = Place::postgres().await;
            fill(&place).await;
            let Place::Postgres(database) = place else { unreachable!() };
            let connection = database.connect().await;
            (database, connection)
        });
        Self { runtime, database, connection, outside: Trust::default() }
    }

    pub(super) fn triggers(&mut self, table: &str) -> Vec<String> {
        let sql = "SELECT tgname::text FROM pg_trigger \
                   WHERE tgrelid = ('ledger.' || $1)::regclass AND NOT tgisinternal";
        let rows = sqlx::query(sql).bind(table).fetch_all(&mut self.connection);
        self.runtime.block_on(rows).unwrap().iter().map(|row| row.get(0)).collect()
    }

    pub(super) fn execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let done = self.connection.execute(AssertSqlSafe(sql.to_owned()));
        self.runtime.block_on(done).map(drop)
    }

    pub(super) fn verify(&self) -> Result<Verified, VerifyError> {
        verify_postgres(&self.database.service(), &self.outside, &mut |_| true)
    }

    pub(super) fn fault(&self) -> String {
        match self.verify() {
            Err(VerifyError::Fault(fault)) => fault.to_string(),
            other => panic!("no fault was found: {other:?}"),
        }
    }

    /// Returns everything that the log says, but for when pieces of output came.
    fn content(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for (table, key, columns) in TABLES {
            let columns: Vec<&str> = columns.iter().map(|(column, _)| *column).collect();
            let sql = format!(
                "SELECT row({})::text FROM ledger.{table} ORDER BY {key}, 1",
                columns.join(", ")
            );
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut self.connection);
            let rows = self.runtime.block_on(rows).unwrap();
            all.extend(rows.iter().map(|row| format!("{table} {}", row.get::<String, _>(0))));
        }
        all
    }
}

#[test]
fn what_the_owner_of_a_database_changed_is_found() {
    let mut owned = Owned::new();
    let whole = owned.verify().unwrap();
    assert_eq!((whole.size, whole.erased, whole.outputs), (whole.newest.unwrap().size, 1, 42));
    let content = owned.content();
    for (table, ..) in TABLES {
        owned
            .execute(&format!("CREATE TABLE public.{table} AS SELECT * FROM ledger.{table}"))
            .unwrap();
        owned.execute(&format!("ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")).unwrap();
    }
    owned.execute("ALTER TABLE ledger.events_0 DISABLE TRIGGER ALL").unwrap();
    assert!(owned.fault().contains("missing or switched off"), "{}", owned.fault());
    let owned = std::cell::RefCell::new(owned);
    let (found, same) = (Cell::new(0), Cell::new(0));
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let done = TestRunner::new_with_rng(config, rng).run(&tampering(), |tampering| {
        let mut owned = owned.borrow_mut();
        let (table, ..) = TABLES[tampering.table];
        // What a constraint or a type refuses was not done.
        if owned.execute(&tampering.sql()).is_ok() {
            match owned.verify() {
                Err(VerifyError::Fault(fault)) if !fault.to_string().contains("switched off") => {
                    found.set(found.get() + 1);
                }
                // Nothing but the triggers is told of.
                Err(VerifyError::Fault(_)) => {
                    let changed = owned.content();
                    let kept = changed == content
                        || table == "checkpoints" && changed.iter().all(|row| content.contains(row));
                    prop_assert!(kept, "not found: {}", tampering.sql());
                    same.set(same.get() + 1);
                }
                other => return Err(TestCaseError::fail(format!("{}: {other:?}", tampering.sql()))),
            }
            let back = format!(
                "DELETE FROM ledger.{table}; INSERT INTO ledger.{table} SELECT * FROM public.{table}"
            );
            owned.execute(&back).unwrap();
        }
        Ok(())
    });
    done.unwrap();
    let (found, same) = (found.get(), same.get());
    assert!(found > 250, "{found} found, {same} the same");
}

#[test]
fn guards_that_the_owner_took_away_are_found() {
    for (sql, says) in [
        (
            "ALTER TABLE ledger.names DISABLE TRIGGER append_only",
            "the trigger append_only of the table names",
        ),
        ("ALTER TABLE ledger.tiles ENABLE TRIGGER guard", "the trigger guard of the table tiles"),
        (
            "DROP TRIGGER no_truncate ON ledger.outputs",
            "the trigger no_truncate of the table outputs",
        ),
        (
            "CREATE OR REPLACE FUNCTION ledger.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
            "the function refuse was changed",
        ),
        ("ALTER FUNCTION ledger.lock SECURITY INVOKER", "the function lock was changed"),
        ("GRANT INSERT ON ledger.events TO ledger_service", "ledger_service may INSERT"),
        ("DROP INDEX ledger.outputs_start", "the table outputs has 2 unique indexes of 3"),
    ] {
        let mut owned = Owned::new();
        owned.execute(sql).unwrap();
        assert!(owned.fault().contains(says), "{sql}: {}", owned.fault());
    }
}
