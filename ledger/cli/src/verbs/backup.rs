//! `ledger backup` and `ledger migrate`: what is done to the database itself.

use super::which::{Place, Which};
use crate::daemon::StopSignals;
use crate::failure::{Exit, Failure, Outcome};
use crate::screen::watched;
use crate::terminal::note;
use crate::verbs::serve::default_data_folder;
use clap::Args;
use ledger_store::{ArchiveError, Backup as Copy, Log};
use std::path::PathBuf;

const BACKUP_EXAMPLES: &str = "\
Examples:
  ledger backup --data /srv/ledger --to /backup/ledger.db
  ledger backup --to \"/backup/ledger-$(date +%F).db\"

The server goes on meanwhile. The copy is one moment of the log, durable, readable by its owner alone, and there whole or not at all. To restore it, put it as ledger.db into a data folder with the keys of the old one: token-key, node and signing-key, which a backup of yours must have, too.

A log on PostgreSQL is backed up by PostgreSQL's own means, or by `ledger export`.";

const MIGRATE_EXAMPLES: &str = "\
Examples:
  ledger migrate --database postgres://postgres@db.example.org/ledger
  ledger migrate --data /srv/ledger

On PostgreSQL this makes the roles and the schema, and brings an older one up to date, all of it or nothing; the login must be a superuser's, or the database owner's with CREATEROLE. Servers then use a login that is granted the role ledger_service. On SQLite a server does it by itself when it starts.";

/// Copy the log of a running server, all as of one moment
#[derive(Args, Debug)]
#[command(after_help = BACKUP_EXAMPLES)]
pub(crate) struct Backup {
    /// The data folder [default: the one that `ledger serve` uses]
    #[arg(long, value_name = "DIR", env = "LEDGER_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// The file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Make the tables of a log, or bring them up to this program
#[derive(Args, Debug)]
#[command(after_help = MIGRATE_EXAMPLES)]
pub(crate) struct Migrate {
    #[command(flatten)]
    which: Which,
}

impl Backup {
    pub(crate) async fn run(self) -> Outcome {
        let data = self.data.or_else(default_data_folder).ok_or_else(|| {
            Failure::usage("there is no place for the data folder").hint("use --data DIR")
        })?;
        let (from, to) = (data.display().to_string(), self.to);
        let failed = |error: ArchiveError| {
            let exists = matches!(error, ArchiveError::Exists { .. });
            let failure = Failure::from(error).context(format!("{from} was not backed up"));
            if exists { failure.exit_as(Exit::Usage) } else { failure }
        };
        let mut signals = StopSignals::new()?;
        let copy = Copy::begin(&data, &to).map_err(failed)?;
        let interrupt = copy.interrupter();
        let mut copying = tokio::task::spawn_blocking(move || copy.run());
        let copied = watched("copying the log", async {
            loop {
                tokio::select! {
                    copied = &mut copying => return copied,
                    () = signals.next() => interrupt.interrupt(),
                }
            }
        });
        copied.await?.map_err(failed)?;
        note(format!("{from} is copied to {}", to.display()));
        Ok(Exit::Done)
    }
}

impl Migrate {
    pub(crate) async fn run(self) -> Outcome {
        let place = self.which.place()?;
        let migrated = watched("migrating", async {
            match &place {
                Place::Folder(folder) => Log::migrate_sqlite(folder).await,
                Place::Database(url) => Log::migrate_postgres(url.reveal()).await,
            }
        });
        let failed = |error| Failure::from(error).context(format!("{place} was not migrated"));
        migrated.await.map_err(failed)?;
        note(format!("{place} has the schema of this program"));
        Ok(Exit::Done)
    }
}
