//! the log: appends, reads, folds and bytes, next to the raw engine in the same run

#[expect(dead_code, reason = "this benchmark starts no programs")]
mod common;
mod log;

use anyhow::{Context, Result, bail};
use common::{load, machine};
use log::store::{Backend, file_system};
use log::{batches, bytes, producers, reading, sizes};
use std::path::PathBuf;

/// What can be measured, in this order.
const SECTIONS: [&str; 5] = ["batches", "producers", "reading", "bytes", "sizes"];

/// Processes that ran in the last minute, beyond which the figures are not of the log alone.
const LOAD_MAX: f64 = 0.5;

const USAGE: &str = "\
./dev bench log [--quick] [--only SECTION]… [--largest N] [--folder DIR]

--quick           small counts, to see that it works
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
}

impl Settings {
    /// Returns what was asked for. `None` when help was.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut settings = Self {
            quick: false,
            folder: std::env::temp_dir(),
            largest: u64::MAX,
            only: Vec::new(),
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
                "--only" => {
                    let section = value()?;
                    if !SECTIONS.contains(&section.as_str()) {
                        bail!("there is no section {section:?}\n\n{USAGE}");
                    }
                    settings.only.push(section);
                }
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
    for backend in Backend::ALL {
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
    }
    println!("Load after: {}.", load()?);
    Ok(())
}
