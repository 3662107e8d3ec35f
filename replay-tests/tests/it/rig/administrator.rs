//! A superuser with `psql`, who looks at a database and holds things up in it.

use super::postgres::Postgres;
use super::wait_for;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::runtime::Runtime;

/// A session at a database.
pub(crate) struct Administrator {
    url: String,
    runtime: Runtime,
    connection: PgConnection,
}

/// A lock, held until it is released.
pub(crate) struct Held(Administrator);

/// A session of a server that writes, as the database lists it.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) pid: i32,
    /// The last statement, or the one that runs.
    pub(crate) query: String,
}

impl Administrator {
    pub(crate) fn of(postgres: &Postgres) -> Self {
        Self::at(postgres.superuser())
    }

    fn at(url: String) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let connection = runtime.block_on(PgConnection::connect(&url)).expect("it takes the login");
        Self { url, runtime, connection }
    }

    /// Runs statements.
    pub(crate) fn run(&mut self, sql: &str) {
        let done = self.connection.execute(AssertSqlSafe(sql));
        self.runtime.block_on(done).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Returns the rows of a question with one column of text.
    pub(crate) fn ask(&mut self, sql: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut self.connection);
        let rows = self.runtime.block_on(rows).unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Takes a lock, in a session of its own.
    pub(crate) fn hold(&self, lock: &str) -> Held {
        let mut other = Self::at(self.url.clone());
        other.run(&format!("BEGIN; {lock}"));
        Held(other)
    }

    /// Waits until the writing session of a login is in such a state, as a condition on
    /// `pg_stat_activity` says, and returns it.
    pub(crate) fn wait_for_writer(&mut self, login: &str, condition: &str) -> Writing {
        let sql = format!(
            "SELECT pid, query FROM pg_stat_activity WHERE usename = '{login}' \
             AND application_name = 'ledger writing' AND ({condition})"
        );
        wait_for(&format!("a session of {login} with {condition}"), || {
            let row = sqlx::query(AssertSqlSafe(&*sql)).fetch_optional(&mut self.connection);
            let row = self.runtime.block_on(row).expect("it answers")?;
            Some(Writing { pid: row.get(0), query: row.get(1) })
        })
    }

    /// Ends a session, and waits until it is gone.
    pub(crate) fn end(&mut self, writing: &Writing) {
        let pid = writing.pid;
        self.run(&format!("SELECT pg_terminate_backend({pid})"));
        let gone = format!("SELECT pid::text FROM pg_stat_activity WHERE pid = {pid}");
        wait_for("the end of a session", || self.ask(&gone).is_empty().then_some(()));
    }

    /// Waits until everything that is in the log is signed.
    pub(crate) fn wait_until_signed(&mut self) {
        let open = "SELECT position::text FROM ledger.head WHERE signed < position";
        wait_for("a checkpoint over everything", || self.ask(open).is_empty().then_some(()));
    }
}

impl Held {
    pub(crate) fn release(mut self) {
        self.0.run("COMMIT");
    }
}
