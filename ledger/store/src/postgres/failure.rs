//! What a failure of the database means, and what to do about it.

use crate::backend::Failure;
use sqlx::Error;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use std::borrow::Cow;

/// The error of `ledger.append` when the log ends elsewhere than the writer believes.
const OVERTAKEN: &str = "LG001";
/// The error when a request wrote something that the writer believes to be new.
const REPEATED: &str = "LG002";
/// The error when another event stands where the writer read the newest one.
const REPLACED: &str = "LG003";

/// Says what a failure means, and what to do about it.
pub(super) fn failure(error: Error) -> Failure {
    let (surroundings, why) = match &error {
        Error::Database(_) => by_code(code(&error).as_deref().unwrap_or_default()),
        // Something that is stored cannot be what this program wrote.
        Error::ColumnDecode { .. } | Error::ColumnNotFound(_) | Error::Decode(_) => {
            (true, "the database is damaged; stop the servers, run `ledger verify`")
        }
        Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            (true, "the database does not answer; look whether it runs and can be reached")
        }
        Error::Tls(_) => {
            (true, "no TLS connection to the database; check its certificate and `sslmode`")
        }
        _ => (true, "the connection to the database is lost; look whether it runs"),
    };
    Failure {
        surroundings,
        refused: is_refusal(&error),
        overtaken: matches!(code(&error).as_deref(), Some(OVERTAKEN | REPEATED)),
        why: why.to_owned(),
        source: Box::new(error),
    }
}

/// Returns what a batch fails with whose verdicts were taken from another log than is
/// there.
pub(super) fn overtaken() -> Failure {
    let (surroundings, why) = by_code(OVERTAKEN);
    let source = "the log went on after the batch was judged".into();
    Failure { surroundings, refused: true, overtaken: true, why: why.to_owned(), source }
}

/// Returns whether the connection is good for more: one in whose transaction something
/// failed takes nothing but its end.
pub(super) fn is_usable(error: &Error) -> bool {
    matches!(error, Error::Database(_)) && code(error).as_deref() != Some("25P02")
}

/// Returns the SQLSTATE.
fn code(error: &Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(|error| error.code())
}

/// Returns whether the session answered and goes on: then nothing was committed.
/// One that is being ended may have committed before.
fn is_refusal(error: &Error) -> bool {
    let error = error.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>());
    error.is_some_and(|error| error.severity() == PgSeverity::Error)
}

/// Tells by SQLSTATE, as the manual's appendix A lists them.
fn by_code(code: &str) -> (bool, &'static str) {
    match code {
        OVERTAKEN => (true, "another server appends without end; send the request again"),
        REPLACED => {
            (true, "the log is another one than this server has read; start the server again")
        }
        // The connection is given up.
        "25P02" => (true, "a transaction was left open; this server connects anew"),
        "25006" => (true, "the database is read-only; give the address of the primary"),
        "25P03" => (true, "this server was paused for too long while it appended; it reads on"),
        "42501" => (true, "the database refuses; grant this server's role `ledger_service`"),
        "42P01" | "42883" | "3F000" => {
            (true, "the database has not the schema of this program; run `ledger migrate`")
        }
        "53100" => (true, "the disk of the database is full; make room"),
        "53200" => (true, "the database has no memory left"),
        "53300" => (true, "the database takes no more connections; raise max_connections"),
        "55P03" => (true, "another session holds the log's lock; look into pg_locks"),
        "58030" => (true, "the disk of the database fails; look into its log"),
        _ => match code.get(..2) {
            Some("08" | "57") => (true, "the database is stopping, starting or out of reach"),
            Some("28") => (true, "the database refuses the login; check its name and password"),
            Some("3D") => (true, "the database does not exist; check its name"),
            Some("40") => (true, "the database took the write back because of another session"),
            Some("53" | "54") => (true, "the database is at one of its limits; look into its log"),
            Some("58" | "XX") => (true, "the database fails; look into its log"),
            // Something about this one write: a trigger, a constraint, a bound.
            _ => (false, "the database refuses this write"),
        },
    }
}
