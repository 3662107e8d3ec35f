//! Where a log lies, and the log itself through `ledger_store::Log`.

use super::postgres::Schema;
use super::raw::{Contents, Engine, Tap};
use super::sqlite::Folder;
use crate::postgres::Server;
use anyhow::{Context, Result, ensure};
use ledger_store::{Log, Options, SystemClock, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What keeps the log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    Sqlite,
    Postgres(&'static Server),
}

impl Backend {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Sqlite => format!("SQLite {}", rusqlite::version()),
            Self::Postgres(server) => server.name().to_owned(),
        }
    }

    /// Ends what was started for it.
    pub(crate) fn stop(self) {
        match self {
            Self::Sqlite => {}
            Self::Postgres(server) => server.stop(),
        }
    }
}

/// A database of its own. It is gone with this value.
pub(crate) enum Place {
    Sqlite(Folder),
    Postgres(Schema),
}

impl Place {
    /// Makes a place without tables, in the folder where a backend needs one.
    pub(crate) async fn new(backend: Backend, under: &Path) -> Result<Self> {
        Ok(match backend {
            Backend::Sqlite => Self::Sqlite(Folder::new(under)?),
            Backend::Postgres(server) => Self::Postgres(Schema::new(server).await?),
        })
    }

    /// Copies a place whose log is closed.
    pub(crate) async fn copy(&self) -> Result<Self> {
        Ok(match self {
            Self::Sqlite(folder) => Self::Sqlite(folder.copy()?),
            Self::Postgres(schema) => Self::Postgres(schema.copy().await?),
        })
    }

    /// Opens the log as a server does.
    pub(crate) async fn open(&self) -> Result<Log> {
        self.open_with(Options::default()).await
    }

    /// Opens the log without syncs: for rows that only are to be there.
    pub(crate) async fn open_hasty(&self) -> Result<Log> {
        self.open_with(Options { durable: false, ..Options::default() }).await
    }

    async fn open_with(&self, options: Options) -> Result<Log> {
        Ok(match self {
            Self::Sqlite(folder) => {
                Log::open_sqlite_with(folder.path(), Arc::new(SystemClock), options).await?
            }
            Self::Postgres(schema) => Log::open_postgres_with(&schema.url(), None, options).await?,
        })
    }

    /// Connects the raw engine, as durable as the store, and makes its tables if
    /// there are none.
    pub(crate) async fn engine(&self) -> Result<Box<dyn Engine>> {
        Ok(match self {
            Self::Sqlite(folder) => Box::new(folder.engine()?),
            Self::Postgres(schema) => Box::new(schema.engine()?),
        })
    }

    /// Begins to take rows out of the log: those to come, and those that are
    /// there if `all`.
    pub(crate) async fn tap(&self, all: bool) -> Result<Box<dyn Tap>> {
        Ok(match self {
            Self::Sqlite(folder) => Box::new(folder.tap(all)?),
            Self::Postgres(schema) => Box::new(schema.tap(all).await?),
        })
    }

    /// Looks at what is there.
    pub(crate) async fn contents(&self) -> Result<Contents> {
        match self {
            Self::Sqlite(folder) => folder.contents(),
            Self::Postgres(schema) => schema.contents().await,
        }
    }

    /// Returns how many bytes the database takes, once its log is closed.
    pub(crate) async fn bytes(&self) -> Result<u64> {
        match self {
            Self::Sqlite(folder) => folder.bytes(),
            Self::Postgres(schema) => schema.bytes().await,
        }
    }

    /// Returns the bytes by table and index, the largest first. `None` if the
    /// database cannot tell.
    pub(crate) async fn parts(&self) -> Result<Option<Vec<(String, u64)>>> {
        match self {
            Self::Sqlite(folder) => folder.parts(),
            Self::Postgres(schema) => Ok(Some(schema.parts().await?)),
        }
    }

    /// Selects the columns of every event up to the last, which ends a page of so
    /// many, through the driver that the store uses. Returns the last position.
    pub(crate) async fn select_by_driver(&self, page: usize, last: u64) -> Result<u64> {
        match self {
            Self::Sqlite(folder) => folder.select_bare(page, last),
            Self::Postgres(schema) => schema.select_by_sqlx(page, last).await,
        }
    }

    /// The same through the thinnest driver there is.
    pub(crate) async fn select_bare(&self, page: usize, last: u64) -> Result<u64> {
        match self {
            Self::Sqlite(folder) => folder.select_bare(page, last),
            Self::Postgres(schema) => schema.select_bare(page, last).await,
        }
    }
}

/// Writes one after the other, each when the one before is acknowledged.
/// Returns what each took.
pub(crate) async fn append(log: &Log, writes: Vec<Write>) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(writes.len());
    for write in writes {
        let began = Instant::now();
        let written = log.write(write).await?;
        times.push(began.elapsed());
        ensure!(written.positions.is_some(), "a write appended nothing");
    }
    Ok(times)
}

/// Lets the disk finish what was written before, so that it burdens nothing that
/// is timed next.
pub(crate) fn settle() {
    rustix::fs::sync();
}

/// Returns what one of these did a second.
pub(crate) fn per_second(count: usize, times: &[Duration]) -> f64 {
    count as f64 / times.iter().sum::<Duration>().as_secs_f64()
}

/// Returns the position of the newest event.
pub(crate) fn head(log: &Log) -> u64 {
    log.head().borrow().0
}

/// Names the file system that the folder is on.
pub(crate) fn file_system(folder: &Path) -> Result<String> {
    let folder = folder.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let found = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    // Of two mounts on one point, the later one is seen.
    let (_, kind) = found.max_by_key(|(length, _)| *length).context("no mount holds the folder")?;
    Ok(kind.to_owned())
}
