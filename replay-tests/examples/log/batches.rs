//! Appends by the number of events in a write, next to the raw engine.

use super::arena::Arena;
use super::store::Backend;
use super::table::{median, rate, ratio, time};
use crate::Settings;
use crate::common::{Table, quantile_of};
use anyhow::Result;
use std::time::Duration;

/// Events of a write, and how many writes a round has.
const SIZES: [(usize, usize); 4] = [(1, 200), (10, 100), (100, 50), (1_000, 20)];
/// Callers that write at once, so that the store need not wait for one.
const CALLERS: usize = 4;

pub(crate) async fn run(settings: &Settings, backend: Backend) -> Result<()> {
    let n_rounds = settings.few_or(3, 15);
    println!(
        "Appends by batch size on {}: requests of n events, next to one connection that commits the same rows into the same tables, indexes and triggers, n events in a transaction. One caller awaits each acknowledgement before its next request; {CALLERS} callers do so side by side. Events a second; medians of {n_rounds} rounds in turn, also of their ratios.\n",
        backend.name()
    );
    // Each with a raw engine of its own, on a log of the same size.
    let mut alone = Arena::new(backend, &settings.folder).await?;
    let mut crowded = Arena::new(backend, &settings.folder).await?;
    let mut table = Table::new(&[
        "events in a request",
        "the raw engine",
        "one caller",
        "one caller / raw",
        &format!("{CALLERS} callers"),
        &format!("{CALLERS} callers / raw"),
    ]);
    let (mut lone, mut bare) = (Vec::new(), Vec::new());
    for (n_events, n_writes) in SIZES {
        let n_writes = settings.few_or(n_writes / 4, n_writes);
        // Statements are prepared, caches are warm.
        alone.round(n_writes.div_ceil(4), n_events, 1).await?;
        crowded.round(n_writes.div_ceil(4), n_events, CALLERS).await?;
        let (mut raw, mut one, mut of_raw) = (Vec::new(), Vec::new(), Vec::new());
        let (mut crowd, mut crowd_of_raw) = (Vec::new(), Vec::new());
        for _ in 0..n_rounds {
            let round = alone.round(n_writes, n_events, 1).await?;
            raw.push(round.raw_rate);
            one.push(round.store_rate);
            of_raw.push(round.store_rate / round.raw_rate);
            if n_events == 1 {
                lone.extend(round.store);
                bare.extend(round.raw);
            }
            let round = crowded.round(n_writes, n_events, CALLERS).await?;
            raw.push(round.raw_rate);
            crowd.push(round.store_rate);
            crowd_of_raw.push(round.store_rate / round.raw_rate);
        }
        table.row(&[
            super::table::count(n_events as u64),
            rate(median(&raw)?),
            rate(median(&one)?),
            ratio(median(&of_raw)?, 1.0),
            rate(median(&crowd)?),
            ratio(median(&crowd_of_raw)?, 1.0),
        ]);
    }
    println!("{table}");
    print_lone(&lone, &bare)?;
    let (_, source) = alone.timed();
    println!("Mean payload: {:.1} bytes.\n", source.told().mean_payload());
    alone.close().await?;
    crowded.close().await
}

/// Of the same rounds, each write by itself.
fn print_lone(lone: &[Duration], bare: &[Duration]) -> Result<()> {
    println!("A lone append, in milliseconds; {} of each.\n", lone.len());
    let mut table = Table::new(&["what", "p50", "p99"]);
    for (what, times) in [
        ("one event through the store, until it is acknowledged", lone),
        ("one bare commit of the raw engine, with the same rows", bare),
    ] {
        table.row(&[what.to_owned(), time(times, 500)?, time(times, 990)?]);
    }
    let of = |thousandths| -> Result<String> {
        let (store, raw) = (quantile_of(lone, thousandths)?, quantile_of(bare, thousandths)?);
        Ok(ratio(store.as_secs_f64(), raw.as_secs_f64()))
    };
    table.row(&["store / raw".to_owned(), of(500)?, of(990)?]);
    println!("{table}");
    Ok(())
}
