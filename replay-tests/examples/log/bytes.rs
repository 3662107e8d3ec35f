//! What an event takes on the disk.

use super::events::{Source, Told};
use super::producers::produce;
use super::reading::FILL_EVENTS;
use super::store::{Backend, Place, append, head};
use super::table::count;
use crate::Settings;
use crate::common::Table;
use anyhow::Result;

/// How many lone events wait at once, so that it takes no hour; it changes no row.
const PRODUCERS: usize = 256;

/// A table or index has a row if it takes a byte for so many events.
const SEEN_BY: u64 = 20;

/// A closed log and what it takes.
struct Stored {
    events: u64,
    bytes: u64,
    parts: Option<Vec<(String, u64)>>,
    told: Told,
}

pub(crate) async fn run(settings: &Settings, backend: Backend) -> Result<()> {
    let n_events = settings.few_or(20_000, 200_000);
    let alone = store(settings, backend, n_events, 1).await?;
    let together = store(settings, backend, n_events, FILL_EVENTS).await?;
    println!(
        "Bytes per event on {}, tables, indexes and all, after everything was merged into the database; {} events. Mean payload {:.1} bytes; {:.1} events in a hundred have an annex.\n",
        backend.name(),
        count(alone.events),
        alone.told.mean_payload(),
        100.0 * alone.told.annexes as f64 / alone.told.events.max(1) as f64,
    );
    let writes = format!("in writes of {}", count(FILL_EVENTS as u64));
    let mut table = Table::new(&["what", "alone", &writes]);
    table.row(&[
        "**the whole database**".to_owned(),
        alone.each(alone.bytes),
        together.each(together.bytes),
    ]);
    match (&alone.parts, &together.parts) {
        (Some(parts), Some(others)) => {
            let (mut rest, mut rest_together) = (0, 0);
            for (name, bytes) in parts {
                let other = others.iter().find(|(other, _)| other == name);
                let other = other.map_or(0, |(_, bytes)| *bytes);
                if bytes.max(&other) < &(alone.events / SEEN_BY) {
                    rest += bytes;
                    rest_together += other;
                } else {
                    table.row(&[format!("`{name}`"), alone.each(*bytes), together.each(other)]);
                }
            }
            table.row(&["the rest".to_owned(), alone.each(rest), together.each(rest_together)]);
            println!("{table}");
        }
        _ => println!("{table}\nThis database does not tell what its tables and indexes take.\n"),
    }
    Ok(())
}

async fn store(
    settings: &Settings,
    backend: Backend,
    n_events: usize,
    per_write: usize,
) -> Result<Stored> {
    let place = Place::new(backend, &settings.folder).await?;
    let log = place.open_hasty().await?;
    let mut source = Source::new()?;
    append(&log, vec![source.opening()?]).await?;
    source.told();
    let writes = source.writes(n_events / per_write, per_write)?;
    if per_write == 1 {
        produce(&log, writes, PRODUCERS).await?;
    } else {
        append(&log, writes).await?;
    }
    let events = head(&log);
    log.close().await;
    Ok(Stored {
        events,
        bytes: place.bytes().await?,
        parts: place.parts().await?,
        told: source.told(),
    })
}

impl Stored {
    fn each(&self, bytes: u64) -> String {
        format!("{:.1}", bytes as f64 / self.events.max(1) as f64)
    }
}
