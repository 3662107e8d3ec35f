//! The same on logs of several sizes, to show that no cost grows with the log.

use super::arena::{Arena, Round};
use super::events::Source;
use super::producers::produce;
use super::reading::{FILL_EVENTS, Stage};
use super::store::{Backend, Place, append, head, per_second, settle};
use super::table::{count, median, rate, ratio, time};
use crate::Settings;
use crate::common::{Table, quantile_of};
use anyhow::{Context, Result, ensure};
use ledger_core::{EventId, Position};
use ledger_store::Log;
use std::time::{Duration, Instant};

const SIZES: [u64; 3] = [10_000, 1_000_000, 10_000_000];
const SIZES_QUICK: [u64; 2] = [10_000, 200_000];
/// Writes of [`FILL_EVENTS`] events before it is the raw engine's turn, how many turns
/// there are, lone writes, and lone writes of many producers, that are timed at each size.
const TURN: usize = 5;
const TURNS: u64 = 9;
const LONE_WRITES: u64 = 400;
const PRODUCED: u64 = 20_000;
const PRODUCERS: usize = 512;
/// Events that are looked up by their id, spread over the log.
const FOUND: u64 = 200;
/// Events that are read in all, from the first one: a small log has fewer and is read
/// more than once for that, of a large one these are a part.
const PASSED: u64 = 1_000_000;
const PASSES_MAX: u64 = 9;
/// Newest events that are read.
const NEWEST: u64 = 5_000;
/// What is added to a small log at most, as a part of it, before another copy is taken.
const GROWTH: u64 = 2;

/// What is measured at one size: a row's name, and its figure.
type Figures = Vec<(String, String)>;

pub(crate) async fn run(settings: &Settings, backend: Backend) -> Result<()> {
    let sizes: &[u64] = if settings.quick { &SIZES_QUICK } else { &SIZES };
    let sizes: Vec<u64> = sizes.iter().copied().filter(|size| *size <= settings.largest).collect();
    let smallest = count(SIZES[0]);
    ensure!(!sizes.is_empty(), "--largest leaves no size; the smallest is {smallest}");
    let place = Place::new(backend, &settings.folder).await?;
    let mut source = Source::new()?;
    let mut columns = Vec::new();
    for size in &sizes {
        columns.push(measure(&place, &mut source, *size).await?);
    }
    println!(
        "The same on {} logs of several sizes. One log grows; what is appended to measure goes into copies of it. Times in milliseconds.\n",
        backend.name()
    );
    let mut header = vec!["events in the log".to_owned()];
    header.extend(sizes.iter().map(|size| count(*size)));
    let mut table = Table::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    let first = columns.first().context("there is a size")?;
    for (place, (name, _)) in first.iter().enumerate() {
        let mut row = vec![name.clone()];
        row.extend(columns.iter().filter_map(|column| Some(column.get(place)?.1.clone())));
        table.row(&row);
    }
    println!("{table}");
    Ok(())
}

async fn measure(place: &Place, source: &mut Source, size: u64) -> Result<Figures> {
    let mut figures = Figures::new();
    let mut figure = |name: &str, value: String| figures.push((name.to_owned(), value));
    let grown = grow(place, source, size).await?;
    figure(
        &format!("growing to that in writes of {}, events/s", count(FILL_EVENTS as u64)),
        rate(grown),
    );
    figure("bytes per event", format!("{:.1}", place.bytes().await? as f64 / size as f64));

    let appended = appends(place, source, size).await?;
    let (lone, bare) = (&appended.lone, &appended.bare);
    figure("lone append, p50", time(lone, 500)?);
    figure("lone append, p99", time(lone, 990)?);
    figure("bare commit of the raw engine, p50", time(bare, 500)?);
    figure("bare commit of the raw engine, p99", time(bare, 990)?);
    let of = |times: &[Duration]| -> Result<f64> { Ok(quantile_of(times, 500)?.as_secs_f64()) };
    figure("lone append / bare commit, p50", ratio(of(lone)?, of(bare)?));
    let per = count(FILL_EVENTS as u64);
    let [store, raw, of_raw] = &appended.many;
    figure(&format!("in writes of {per}, events/s"), rate(median(store)?));
    figure(&format!("the raw engine, {per} in a transaction, events/s"), rate(median(raw)?));
    figure(&format!("store / raw, by {per}"), ratio(median(of_raw)?, 1.0));
    figure(&format!("{PRODUCERS} producers, events/s"), rate(median(&appended.produced)?));
    figure(&format!("{PRODUCERS} producers, latency p99"), time(&appended.latencies, 990)?);

    let began = Instant::now();
    let log = place.open().await?;
    figure(
        "opening it and folding it for decisions, events/s",
        rate(size as f64 / began.elapsed().as_secs_f64()),
    );
    figure("one event by its id, p50", time(&find(&log, size).await?, 500)?);
    let began = Instant::now();
    let newest = log.read_bare(Position(size.saturating_sub(NEWEST) + 1), NEWEST as usize).await?;
    let newest = newest.len() as f64 / began.elapsed().as_secs_f64();
    figure(&format!("reading the newest {}, events/s", count(NEWEST)), rate(newest));
    let last = size.min(PASSED);
    for stage in Stage::ALL {
        let mut passes = Vec::new();
        for _ in 0..(PASSED / size).clamp(1, PASSES_MAX) {
            // A server that starts takes the whole log, as opening it does.
            if stage != Stage::Served || last == size {
                passes.push(stage.measure(place, &log, last).await?);
            }
        }
        let passed = median(&passes).map_or_else(|_| "not measured".to_owned(), rate);
        figure(&format!("{}, events/s", stage.name()), passed);
    }
    log.close().await;
    Ok(figures)
}

/// Lets the log grow to the size, durable. Returns events a second.
async fn grow(place: &Place, source: &mut Source, size: u64) -> Result<f64> {
    let log = place.open().await?;
    if head(&log) == 0 {
        append(&log, vec![source.opening()?]).await?;
    }
    let mut times = Vec::new();
    let before = head(&log);
    while head(&log) < size {
        let n_events = (size - head(&log)).min(FILL_EVENTS as u64);
        times.extend(append(&log, source.writes(1, usize::try_from(n_events)?)?).await?);
    }
    let n_events = usize::try_from(head(&log) - before)?;
    log.close().await;
    Ok(per_second(n_events, &times))
}

/// What appending to a log of some size took.
#[derive(Default)]
struct Appended {
    /// Each lone write, and each commit of its rows by the raw engine.
    lone: Vec<Duration>,
    bare: Vec<Duration>,
    /// Events a second in writes of [`FILL_EVENTS`], by turns: of the store, of the raw
    /// engine, and the one by the other.
    many: [Vec<f64>; 3],
    produced: Vec<f64>,
    latencies: Vec<Duration>,
}

async fn appends(base: &Place, source: &Source, size: u64) -> Result<Appended> {
    // A small log would be another one after a few writes: it is copied anew for each part.
    let n_turns = (size / GROWTH / (TURN * FILL_EVENTS) as u64).clamp(1, TURNS);
    let n_copies = TURNS.div_ceil(n_turns);
    let n_lone = usize::try_from(LONE_WRITES.div_ceil(n_copies))?;
    let n_produced = usize::try_from(PRODUCED.div_ceil(n_copies))?;
    let mut appended = Appended::default();
    for _ in 0..n_copies {
        let mut arena = Arena::of(base, source).await?;
        // Statements are prepared, caches are warm.
        arena.round(n_lone.div_ceil(10), 1, 1).await?;
        let lone = arena.round(n_lone, 1, 1).await?;
        appended.lone.extend(lone.store);
        appended.bare.extend(lone.raw);
        for _ in 0..n_turns {
            let Round { store_rate, raw_rate, .. } = arena.round(TURN, FILL_EVENTS, 1).await?;
            let turn = [store_rate, raw_rate, store_rate / raw_rate];
            appended.many.iter_mut().zip(turn).for_each(|(all, one)| all.push(one));
        }
        let (log, source) = arena.timed();
        let writes = source.writes(n_produced, 1)?;
        settle();
        let produced = produce(log, writes, PRODUCERS).await?;
        appended.produced.push(produced.rate);
        appended.latencies.extend(produced.latencies);
        arena.close().await?;
    }
    Ok(appended)
}

/// Looks up events all over the log by their ids.
async fn find(log: &Log, size: u64) -> Result<Vec<Duration>> {
    let mut ids: Vec<EventId> = Vec::new();
    for number in 0..FOUND {
        let position = Position(1 + number * (size / FOUND));
        ids.extend(log.read_bare(position, 1).await?.iter().map(|record| record.event_id));
    }
    let mut times = Vec::new();
    for id in ids {
        let began = Instant::now();
        log.find(id).await?.context("an event that was read is not found")?;
        times.push(began.elapsed());
    }
    Ok(times)
}
