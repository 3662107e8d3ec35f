//! `ledger export` and `ledger import`: a log in one file, and back.

use super::verify::{Stopping, at_work, failure, told};
use super::which::{Place, Which};
use crate::failure::{Exit, Failure, Outcome};
use crate::terminal::{note, print};
use clap::Args;
use ledger_core::Position;
use ledger_core::verify::Trust;
use ledger_store::{
    ArchiveError, Range, export_postgres, export_sqlite, import_postgres, import_sqlite,
};
use std::path::PathBuf;

const EXPORT_EXAMPLES: &str = "\
Examples:
  ledger export --data /srv/ledger --to ledger-2026.archive
  ledger export --database postgres://ledger@db.example.org/ledger --to ledger.archive
  ledger export --from 1000 --to-position 2000 --to evidence.archive

A server may use the log meanwhile. The whole log is verified on the way: of one in which something is wrong, no archive is made (exit code 3). The file is there whole, or not at all, and never over another one.

`ledger verify --archive FILE` verifies an archive by itself; docs/reference/archive.md says what stands in one.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  ledger import --archive ledger.archive --data /srv/ledger
  ledger import --archive ledger.archive --database postgres://ledger@db.example.org/ledger

SQLite to PostgreSQL is an export, `ledger migrate` on the new database, and an import. Positions, ids, annexes, output and checkpoints are kept, and so is the root of the tree, which is computed anew. An import that is broken off leaves nothing; do it again.

The keys of a server are in no archive: copy token-key, node and signing-key from the old data folder before the server starts.";

/// Write a whole log, or a range of it, into one compressed file that needs nothing else
#[derive(Args, Debug)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(crate) struct Export {
    #[command(flatten)]
    which: Which,
    /// The file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The first position [default: 1]; with a later one, the archive has no output and
    /// cannot become a log
    #[arg(long, value_name = "N", value_parser = a_position)]
    from: Option<Position>,
    /// The last position [default: the newest one]
    #[arg(long, value_name = "N", value_parser = a_position)]
    to_position: Option<Position>,
}

/// Bring an archive into an empty log, of either kind
#[derive(Args, Debug)]
#[command(after_help = IMPORT_EXAMPLES)]
pub(crate) struct Import {
    /// The archive
    #[arg(long, value_name = "FILE")]
    archive: PathBuf,
    #[command(flatten)]
    which: Which,
}

fn a_position(text: &str) -> Result<Position, String> {
    let position = text.parse().ok().filter(|position| *position > Position::ZERO);
    position.ok_or_else(|| "it must be a number from 1".to_owned())
}

impl Export {
    pub(crate) async fn run(self) -> Outcome {
        let place = self.which.place()?;
        let (what, to) = (place.to_string(), self.to);
        let range = Range { from: self.from, to: self.to_position };
        let file = to.display().to_string();
        let verified = at_work("exporting", Stopping::InGoodOrder, move |watch| match &place {
            Place::Folder(folder) => export_sqlite(folder, range, &to, watch),
            Place::Database(url) => export_postgres(url.reveal(), range, &to, watch),
        })
        .await?
        .map_err(|error| not_done(error, &format!("{what} was not exported")))?;
        for line in told(&verified) {
            print(line)?;
        }
        note(format!("written to {file}"));
        Ok(Exit::Done)
    }
}

impl Import {
    pub(crate) async fn run(self) -> Outcome {
        let place = self.which.place()?;
        let (what, archive) = (place.to_string(), self.archive);
        let (file, trust) = (archive.display().to_string(), Trust::default());
        let into_folder = matches!(place, Place::Folder(_));
        let verified = at_work("importing", Stopping::InGoodOrder, move |watch| match &place {
            Place::Folder(folder) => import_sqlite(folder, &archive, &trust, watch),
            Place::Database(url) => import_postgres(url.reveal(), &archive, &trust, watch),
        })
        .await?
        .map_err(|error| not_done(error, &format!("{file} was not imported")))?;
        for line in told(&verified) {
            print(line)?;
        }
        note(format!("{what} is there"));
        if into_folder {
            note(
                "next: copy token-key, node and signing-key from the old data folder, then start the server",
            );
        }
        Ok(Exit::Done)
    }
}

/// Says how an archive was not written or brought back.
fn not_done(error: ArchiveError, what: &str) -> Failure {
    match error {
        ArchiveError::Verify(error) => failure(error, what),
        error @ (ArchiveError::Exists { .. } | ArchiveError::Range { .. }) => {
            Failure::from(error).context(what.to_owned()).exit_as(Exit::Usage)
        }
        error => Failure::from(error).context(what.to_owned()),
    }
}
