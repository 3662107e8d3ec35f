//! the log on both databases: appends, reads, folds and bytes, next to the raw engine in the same run

#[expect(dead_code, reason = "this benchmark starts no programs")]
mod common;
mod log;
#[path = "common/postgres.rs"]
mod postgres;

use anyhow::{Context, Result, bail};
use common::{load, machine};
use log::store::{Backend, file_system};
use log::{batches, bytes, producers, reading, sizes};
use postgres::Server;
use std::path::PathBuf;

/// What can be measured, in this order.
const SECTIONS: [&str; 5] = ["batches", "producers", "reading", "bytes", "sizes"];
/// On what.
const DATABASES: [&str; 2] = ["sqlite", "postgresql"];

/// Processes that ran in the last minute, beyond which the figures are not of the log alone.
const LOAD_MAX: f64 = 0.5;

const USAGE: &str = "\
./dev bench log [--quick] [--on DATABASE]… [--only SECTION]… [--largest N] [--folder DIR]

--quick           small counts, to see that it works
--on DATABASE     sqlite or postgresql; both otherwise. PostgreSQL is started for it,
                  or is the one of DATABASE_URL, whose login must be a superuser
--only SECTION    one of batches, producers, reading, bytes, sizes
--largest N       no log of more than N events in the section sizes
--folder DIR      where the logs are kept while they are measured; the system's
                  temporary folder otherwise. It should be on a real disk.";

/// How it was asked to measure.
pub(crate) struct Settings {
    pub(crate) quick: bool,
    pub(crate) folder: PathBuf,
    pub(crate) largest: u64,
    only: Vec<String>,
    on: Vec<String>,
}

impl Settings {
    /// Returns what was asked for. `None` when help was.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut settings = Self {
            quick: false,
            folder: std::env::temp_dir(),
            largest: u64::MAX,
            only: Vec::new(),
            on: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().with_context(|| format!("{argument} needs a value\n\n{USAGE}"));
            match argument.as_str() {
                "--quick" => settings.quick = true,
                "--folder" => settings.folder = value()?.into(),
                "--largest" => {
                    let text = value()?;
                    settings.largest =
                        text.parse().with_context(|| format!("{text:?} is no number"))?;
                }
                "--only" => settings.only.push(known(&SECTIONS, value()?)?),
                "--on" => settings.on.push(known(&DATABASES, value()?)?),
                "--help" | "-h" => return Ok(None),
                _ => bail!("{argument:?} is not known\n\n{USAGE}"),
            }
        }
        Ok(Some(settings))
    }

    /// Returns the first when it is to be quick, the second otherwise.
    pub(crate) fn few_or(&self, few: usize, many: usize) -> usize {
        if self.quick { few } else { many }
    }

    fn wants(&self, section: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == section)
    }

    async fn backends(&self) -> Result<Vec<Backend>> {
        let wants = |database: &str| self.on.is_empty() || self.on.iter().any(|on| on == database);
        let mut backends = Vec::new();
        if wants("sqlite") {
            backends.push(Backend::Sqlite);
        }
        if wants("postgresql") {
            backends.push(Backend::Postgres(Server::get(&self.folder).await?));
        }
        Ok(backends)
    }
}

fn known(names: &[&str], name: String) -> Result<String> {
    if !names.contains(&name.as_str()) {
        bail!("{name:?} is none of {}\n\n{USAGE}", names.join(", "));
    }
    Ok(name)
}

#[tokio::main]
async fn main() -> Result<()> {
    let Some(settings) = Settings::parse(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    let disk = file_system(&settings.folder)
        .with_context(|| format!("{} cannot be used for the logs", settings.folder.display()))?;
    println!("Machine: {}; the logs are on {disk}.", machine()?);
    let load_before = load()?;
    println!("Load before: {load_before}.\n");
    if load_before.parse::<f64>()? > LOAD_MAX {
        eprintln!("The machine is busy: its figures are worth little, its ratios not much more.");
    }
    for backend in settings.backends().await? {
        for section in SECTIONS.iter().filter(|section| settings.wants(section)) {
            match *section {
                "batches" => batches::run(&settings, backend).await?,
                "producers" => producers::run(&settings, backend).await?,
                "reading" => reading::run(&settings, backend).await?,
                "bytes" => bytes::run(&settings, backend).await?,
                "sizes" => sizes::run(&settings, backend).await?,
                _ => bail!("the section {section} is not written"),
            }
        }
        backend.stop();
    }
    println!("Load after: {}.", load()?);
    Ok(())
}
