//! The triggers, functions and indexes that keep the tables, against the migrations.

use super::rows::get;
use super::{MIGRATIONS, trouble};
use crate::verify::Stop;
use ledger_core::verify::Fault;
use sqlx::PgConnection;
use std::collections::BTreeSet;

/// The triggers of each table, and how many indexes see to it that nothing stands
/// there twice.
const TABLES: &[(&str, &[&str], i64)] = &[
    ("annexes", &["guard", "no_truncate", "no_update", "only_erased"], 1),
    ("checkpoints", &["append_only", "guard", "no_truncate"], 1),
    ("erasures", &["append_only", "guard", "no_truncate"], 1),
    ("events", EVENTS, 1),
    ("head", &["guard", "no_truncate", "one_row"], 1),
    ("names", &["append_only", "guard", "no_truncate"], 2),
    ("outputs", &["append_only", "guard", "no_truncate"], 3),
    ("tiles", &["append_only", "guard", "no_truncate"], 1),
];
/// Those of the events, and of each partition of them.
const EVENTS: &[&str] = &["append_only", "guard", "no_truncate"];
/// The unique indexes of a partition: by position, by stream and version.
const PARTITION_UNIQUE: i64 = 2;
/// All indexes of a partition: one more by id.
const PARTITION_INDEXES: i64 = 3;

const TRIGGERS: &str = "SELECT c.relname::text, t.tgname::text FROM pg_trigger t \
     JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = 'ledger'::regnamespace \
     AND NOT t.tgisinternal AND t.tgenabled = 'A'";
const RELATIONS: &str = "SELECT c.relname::text, c.relispartition, \
     (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid), \
     (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid) \
     FROM pg_class c WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p')";
const FUNCTIONS: &str = "SELECT p.proname::text, p.prosrc, p.prosecdef, \
     p.proowner = n.nspowner FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
     WHERE n.nspname = 'ledger' ORDER BY 1";
/// The functions that run as the owner, whoever calls them.
const AS_OWNER: [&str; 4] = ["append", "beat", "last_seen", "lock"];
/// What somebody beside the owner may do to a table but read it.
const RIGHTS: &str = "SELECT c.relname::text, a.privilege_type::text, \
     coalesce(r.rolname::text, 'everybody') FROM pg_class c \
     CROSS JOIN LATERAL aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee \
     WHERE c.relnamespace = 'ledger'::regnamespace AND a.grantee <> c.relowner \
     AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER') ORDER BY 1, 2";

/// Checks that everything is there, is switched on, and says what it said.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), Stop> {
    let rows = sqlx::query(TRIGGERS).fetch_all(&mut *connection).await.map_err(trouble)?;
    let pairs = rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?)));
    let triggers: BTreeSet<(String, String)> = pairs.collect::<Result<_, Stop>>()?;
    let rows = sqlx::query(RELATIONS).fetch_all(&mut *connection).await.map_err(trouble)?;
    let mut relations = BTreeSet::new();
    for row in &rows {
        let (name, is_partition): (String, bool) = (get(row, 0)?, get(row, 1)?);
        let known = TABLES.iter().find(|(table, ..)| *table == name);
        let (guards, unique, all) = match known {
            Some((_, guards, unique)) => (*guards, *unique, *unique),
            None if is_partition => (EVENTS, PARTITION_UNIQUE, PARTITION_INDEXES),
            None => continue,
        };
        check_relation(&name, guards, &triggers)?;
        for (idx, kind, expected) in [(2, "unique indexes", unique), (3, "indexes", all)] {
            let found: i64 = get(row, idx)?;
            if found < expected {
                let what = format_args!("the table {name} has {found} {kind} of {expected}");
                return Err(Fault::container(what).into());
            }
        }
        relations.insert(name);
    }
    match TABLES.iter().find(|(table, ..)| !relations.contains(*table)) {
        Some((table, ..)) => {
            Err(Fault::container(format_args!("the table {table} is missing")).into())
        }
        None => {
            check_functions(connection).await?;
            check_rights(connection).await
        }
    }
}

fn check_relation(
    name: &str,
    guards: &[&str],
    triggers: &BTreeSet<(String, String)>,
) -> Result<(), Fault> {
    for guard in guards {
        if !triggers.contains(&(name.to_owned(), (*guard).to_owned())) {
            return Err(Fault::container(format_args!(
                "the trigger {guard} of the table {name} is missing or switched off"
            )));
        }
    }
    let of_table = triggers.iter().filter(|(table, _)| table == name);
    match of_table.map(|(_, trigger)| trigger).find(|trigger| !guards.contains(&trigger.as_str())) {
        Some(trigger) => Err(Fault::container(format_args!(
            "the trigger {trigger} of the table {name} is none that a migration makes"
        ))),
        None => Ok(()),
    }
}

/// A function's text stands in a migration, word by word.
async fn check_functions(connection: &mut PgConnection) -> Result<(), Stop> {
    let rows = sqlx::query(FUNCTIONS).fetch_all(connection).await.map_err(trouble)?;
    for row in &rows {
        let (name, text): (&str, &str) = (get(row, 0)?, get(row, 1)?);
        let (as_owner, is_ours): (bool, bool) = (get(row, 2)?, get(row, 3)?);
        if !MIGRATIONS.iter().any(|(.., sql)| sql.contains(text)) {
            let what = format_args!("the function {name} was changed: no migration makes it so");
            return Err(Fault::container(what).into());
        }
        if !is_ours || as_owner != AS_OWNER.contains(&name) {
            let what = format_args!("the function {name} was changed: it runs as somebody else");
            return Err(Fault::container(what).into());
        }
    }
    Ok(())
}

async fn check_rights(connection: &mut PgConnection) -> Result<(), Stop> {
    let rows = sqlx::query(RIGHTS).fetch_all(connection).await.map_err(trouble)?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (table, right, role): (&str, &str, &str) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
    let what = format_args!("the table {table}: {role} may {right}, which no migration grants");
    Err(Fault::container(what).into())
}
