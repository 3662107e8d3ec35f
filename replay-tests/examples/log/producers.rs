//! Appends by the number of producers that await their acknowledgements at once.

use super::arena::Arena;
use super::store::{Backend, settle};
use super::table::{count, median, rate, ratio, time};
use crate::Settings;
use crate::common::Table;
use anyhow::{Result, ensure};
use ledger_store::{Log, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// Producers, and the events that all of them write together.
const PRODUCERS: [(usize, usize); 5] =
    [(1, 2_000), (8, 8_000), (64, 40_000), (512, 100_000), (4_096, 200_000)];
/// Events in a transaction of the raw engine: where it is about at its best.
const RAW_EVENTS: usize = 1_000;

/// What producers saw.
pub(crate) struct Produced {
    /// Events a second, of all together.
    pub(crate) rate: f64,
    /// Until each acknowledgement.
    pub(crate) latencies: Vec<Duration>,
}

/// What one number of producers reached, by rounds.
#[derive(Clone, Default)]
struct Reached {
    /// Events a second, and beside the raw engine in the same round.
    rates: Vec<f64>,
    of_raw: Vec<f64>,
    latencies: Vec<Duration>,
}

pub(crate) async fn run(settings: &Settings, backend: Backend) -> Result<()> {
    let mut arena = Arena::new(backend, &settings.folder).await?;
    let n_rounds = settings.few_or(2, 3);
    let mut raws = Vec::new();
    let mut reached = vec![Reached::default(); PRODUCERS.len()];
    for _ in 0..n_rounds {
        for ((n_producers, n_events), reached) in PRODUCERS.iter().zip(&mut reached) {
            let n_events = settings.few_or(n_events / 5, *n_events);
            let (log, source) = arena.timed();
            let writes = source.writes(n_events, 1)?;
            settle();
            let produced = produce(log, writes, *n_producers).await?;
            // In turn with the producers and with as many events, so that both see the
            // same machine and a log of the same size.
            let raw = arena.raw(n_events.div_ceil(RAW_EVENTS), RAW_EVENTS).await?;
            reached.rates.push(produced.rate);
            reached.of_raw.push(produced.rate / raw);
            reached.latencies.extend(produced.latencies);
            raws.push(raw);
        }
    }
    println!(
        "Appends by concurrent producers on {}: each awaits the acknowledgement of one event before it sends the next. The raw engine commits {} such events in a transaction, all their rows, {} events/s. Medians of {n_rounds} rounds in turn; latency in milliseconds.\n",
        backend.name(),
        count(RAW_EVENTS as u64),
        rate(median(&raws)?)
    );
    let mut table = Table::new(&["producers", "events/s", "store / raw", "p50", "p99", "p99.9"]);
    for ((n_producers, _), Reached { rates, of_raw, latencies }) in PRODUCERS.iter().zip(&reached) {
        table.row(&[
            count(*n_producers as u64),
            rate(median(rates)?),
            ratio(median(of_raw)?, 1.0),
            time(latencies, 500)?,
            time(latencies, 990)?,
            time(latencies, 999)?,
        ]);
    }
    println!("{table}");
    arena.close().await
}

/// Deals writes of one event out to producers, who send them one by one.
pub(crate) async fn produce(log: &Log, writes: Vec<Write>, n_producers: usize) -> Result<Produced> {
    let n_writes = writes.len();
    let mut dealt: Vec<Vec<Write>> = (0..n_producers).map(|_| Vec::new()).collect();
    // In turn, so that the history goes in about in its order.
    for (number, write) in writes.into_iter().enumerate() {
        dealt[number % n_producers].push(write);
    }
    let start = Arc::new(Barrier::new(n_producers + 1));
    let mut producers = JoinSet::new();
    for writes in dealt {
        let (log, start) = (log.clone(), Arc::clone(&start));
        producers.spawn(async move {
            start.wait().await;
            super::store::append(&log, writes).await
        });
    }
    start.wait().await;
    let began = Instant::now();
    let mut latencies = Vec::with_capacity(n_writes);
    while let Some(times) = producers.join_next().await {
        latencies.extend(times??);
    }
    let elapsed = began.elapsed();
    ensure!(latencies.len() == n_writes, "not every write was acknowledged");
    Ok(Produced { rate: n_writes as f64 / elapsed.as_secs_f64(), latencies })
}
