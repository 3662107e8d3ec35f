//! Reading, decoding, folding: the whole log from its first event.

use super::events::Source;
use super::store::{Backend, Place, append, head};
use super::table::{count, median, rate, ratio};
use crate::Settings;
use crate::common::Table;
use anyhow::{Result, ensure};
use ledger_core::limits::PAGE_RECORDS_MAX;
use ledger_core::{Position, Record, State};
use ledger_store::Log;
use projections::image::Image;
use projections::{Runner, projection};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long a runner may take for a whole log.
const DEADLINE: Duration = Duration::from_secs(3_600);
/// Events of one write that fills a log.
pub(crate) const FILL_EVENTS: usize = 1_000;

/// How far the log's events are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    SelectedBare,
    Selected,
    Read,
    Decoded,
    Decided,
    Shown,
    Served,
}

impl Stage {
    pub(crate) const ALL: [Self; 7] = [
        Self::SelectedBare,
        Self::Selected,
        Self::Read,
        Self::Decoded,
        Self::Decided,
        Self::Shown,
        Self::Served,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SelectedBare => "the columns selected, by the thinnest driver",
            Self::Selected => "the columns selected, by the store's driver",
            Self::Read => "read as records (`Log::read_bare`)",
            Self::Decoded => "read, payloads decoded to events (`Record::event`)",
            Self::Decided => "read, decoded, folded to what decisions are taken from (`State`)",
            Self::Shown => "read, decoded, folded to what a server shows (`Image`)",
            Self::Served => "the same as a server that starts does it (`Runner`)",
        }
    }

    /// Takes the log's events up to the last one, which ends a page. Returns events
    /// a second.
    pub(crate) async fn measure(self, place: &Place, log: &Log, last: u64) -> Result<f64> {
        let began = Instant::now();
        let reached = match self {
            Self::SelectedBare => place.select_bare(PAGE_RECORDS_MAX, last).await?,
            Self::Selected => place.select_by_driver(PAGE_RECORDS_MAX, last).await?,
            Self::Read => {
                let keep = |records: &[Record]| {
                    black_box(records);
                    Ok(())
                };
                read(log, last, keep).await?
            }
            Self::Decoded => read(log, last, decode).await?,
            Self::Decided => {
                let mut state = State::default();
                let fold = |records: &[Record]| {
                    records.iter().for_each(|record| state.apply(record));
                    Ok(())
                };
                let reached = read(log, last, fold).await?;
                black_box(&state);
                reached
            }
            Self::Shown => {
                let mut image = Image::default();
                let fold = |records: &[Record]| Ok(projection::fold::<Image>(&mut image, records)?);
                let reached = read(log, last, fold).await?;
                black_box(&image);
                reached
            }
            Self::Served => serve(log, last).await?,
        };
        let elapsed = began.elapsed();
        ensure!(reached == last, "{self:?} reached {reached}, not {last}");
        Ok(last as f64 / elapsed.as_secs_f64())
    }
}

/// Reads page by page up to the last position. Returns which it was.
async fn read(log: &Log, last: u64, mut take: impl FnMut(&[Record]) -> Result<()>) -> Result<u64> {
    let mut reached = Position::ZERO;
    while reached.0 < last {
        let records = log.read_bare(reached.next(), PAGE_RECORDS_MAX).await?;
        let Some(record) = records.last() else { break };
        reached = record.position;
        take(&records)?;
    }
    Ok(reached.0)
}

fn decode(records: &[Record]) -> Result<()> {
    for record in records {
        black_box(record.event()?);
    }
    Ok(())
}

async fn serve(log: &Log, head: u64) -> Result<u64> {
    let runner = Runner::<Image>::start(log.clone(), |_, records| drop(black_box(records)));
    let snapshot = runner.live().wait_for(Position(head), DEADLINE).await?;
    runner.stop().await;
    Ok(snapshot.position.0)
}

pub(crate) async fn run(settings: &Settings, backend: Backend) -> Result<()> {
    let n_passes = settings.few_or(3, 5);
    let n_writes = settings.few_or(50, 200);
    let place = Place::new(backend, &settings.folder).await?;
    let log = place.open_hasty().await?;
    let mut source = Source::new()?;
    append(&log, vec![source.opening()?]).await?;
    for _ in 0..n_writes {
        append(&log, source.writes(1, FILL_EVENTS)?).await?;
    }
    println!(
        "Reading {} events from {}; median of {n_passes} passes in turn, in pages of {}.\n",
        count(head(&log)),
        backend.name(),
        count(PAGE_RECORDS_MAX as u64)
    );
    let mut passes: Vec<Vec<f64>> = Stage::ALL.iter().map(|_| Vec::new()).collect();
    for _ in 0..n_passes {
        for (stage, rates) in Stage::ALL.iter().zip(&mut passes) {
            rates.push(stage.measure(&place, &log, head(&log)).await?);
        }
    }
    print(&passes.iter().map(|rates| median(rates)).collect::<Result<Vec<_>>>()?);
    log.close().await;
    Ok(())
}

fn print(rates: &[f64]) {
    let of = |stage| {
        let found = Stage::ALL.iter().zip(rates).find(|(s, _)| **s == stage);
        found.map_or(0.0, |(_, rate)| *rate)
    };
    let mut table = Table::new(&[
        "what",
        "events/s",
        "of the columns selected",
        "of records read",
        "of events decoded",
    ]);
    for (stage, measured) in Stage::ALL.iter().zip(rates) {
        table.row(&[
            stage.name().to_owned(),
            rate(*measured),
            ratio(*measured, of(Stage::Selected)),
            ratio(*measured, of(Stage::Read)),
            ratio(*measured, of(Stage::Decoded)),
        ]);
    }
    println!("{table}");
}
