//! Which log is meant, where a verb reads it without a server.

use crate::database::DatabaseUrl;
use crate::failure::Failure;
use crate::verbs::serve::default_data_folder;
use clap::Args;
use std::path::PathBuf;

/// Where a log lies.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub(crate) struct Which {
    /// The log in this data folder [default: the one that `ledger serve` uses]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The log in this PostgreSQL database
    #[arg(long, value_name = "URL")]
    database: Option<DatabaseUrl>,
}

/// A log that is meant.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Folder(PathBuf),
    Database(DatabaseUrl),
}

impl Which {
    /// Returns where the log lies: as the options say, or the variables of `ledger serve`.
    pub(crate) fn place(self) -> Result<Place, Failure> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(data) = self.data {
            return Ok(Place::Folder(data));
        }
        if let Some(database) = self.database {
            return Ok(Place::Database(database));
        }
        if let Some(url) = variable("LEDGER_DATABASE") {
            let url = url.to_str().and_then(|url| url.parse().ok()).ok_or_else(|| {
                Failure::usage(
                    "LEDGER_DATABASE is no address like postgres://ledger@db.example.org/ledger",
                )
            })?;
            return Ok(Place::Database(url));
        }
        let folder = variable("LEDGER_DATA").map(PathBuf::from).or_else(default_data_folder);
        folder.map(Place::Folder).ok_or_else(|| {
            Failure::usage("it is not said which log is meant")
                .hint("use --data DIR or --database URL")
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "the log in {}", folder.display()),
            Self::Database(url) => write!(f, "the log in {url}"),
        }
    }
}
