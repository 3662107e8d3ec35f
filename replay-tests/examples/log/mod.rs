//! The parts of the benchmark of the log. To add a database, give [`store::Place`]
//! a variant that does for it what `sqlite` does for SQLite.

pub(crate) mod arena;
pub(crate) mod batches;
pub(crate) mod bytes;
pub(crate) mod events;
mod postgres;
mod postgres_raw;
pub(crate) mod producers;
pub(crate) mod raw;
pub(crate) mod reading;
pub(crate) mod sizes;
mod sqlite;
mod sqlite_raw;
pub(crate) mod store;
pub(crate) mod table;
