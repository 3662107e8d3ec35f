//! Appends by the number of events in a write, next to the raw engine.

use super::arena::{Arena, Round};
use super::producers::produce;
use super::store::{Backend, settle};
use super::table::{median, rate, ratio, time};
use crate::Settings;
use crate::common::{Table, quantile_of};
use anyhow::Result;

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
    let mut arena = Arena::new(backend, &settings.folder).await?;
    let mut table = Table::new(&[
        "events in a request",
        "the raw engine",
        "one caller",
        "one caller / raw",
        &format!("{CALLERS} callers"),
        &format!("{CALLERS} callers / raw"),
    ]);
    let mut lone = Round::default();
    for (n_events, n_writes) in SIZES {
        let n_writes = settings.few_or(n_writes / 4, n_writes);
        // Statements are prepared, caches are warm.
        arena.round(n_writes.div_ceil(4), n_events).await?;
        let mut rates = [const { Vec::new() }; 5];
        for _ in 0..n_rounds {
            let round = arena.round(n_writes, n_events).await?;
            let (store, raw) = round.rates(n_events);
            let crowd = crowd(&mut arena, n_writes, n_events).await?;
            for (all, one) in rates.iter_mut().zip([raw, store, store / raw, crowd, crowd / raw]) {
                all.push(one);
            }
            if n_events == 1 {
                lone.store.extend(round.store);
                lone.raw.extend(round.raw);
            }
        }
        let [raw, store, of_raw, crowd, crowd_of_raw] = rates;
        table.row(&[
            super::table::count(n_events as u64),
            rate(median(&raw)?),
            rate(median(&store)?),
            ratio(median(&of_raw)?, 1.0),
            rate(median(&crowd)?),
            ratio(median(&crowd_of_raw)?, 1.0),
        ]);
    }
    println!("{table}");
    print_lone(&lone)?;
    let (_, source) = arena.timed();
    println!("Mean payload: {:.1} bytes.\n", source.told().mean_payload());
    arena.close().await
}

/// Returns the events a second of several callers together.
async fn crowd(arena: &mut Arena, n_writes: usize, n_events: usize) -> Result<f64> {
    let (log, source) = arena.timed();
    let writes = source.writes(n_writes, n_events)?;
    settle();
    Ok(produce(log, writes, CALLERS).await?.rate * n_events as f64)
}

/// Of the same rounds, each write by itself.
fn print_lone(lone: &Round) -> Result<()> {
    println!("A lone append, in milliseconds; {} of each.\n", lone.store.len());
    let mut table = Table::new(&["what", "p50", "p99"]);
    for (what, times) in [
        ("one event through the store, until it is acknowledged", &lone.store),
        ("one bare commit of the raw engine, with the same rows", &lone.raw),
    ] {
        table.row(&[what.to_owned(), time(times, 500)?, time(times, 990)?]);
    }
    let of = |thousandths| -> Result<String> {
        let (store, raw) =
            (quantile_of(&lone.store, thousandths)?, quantile_of(&lone.raw, thousandths)?);
        Ok(ratio(store.as_secs_f64(), raw.as_secs_f64()))
    };
    table.row(&["store / raw".to_owned(), of(500)?, of(990)?]);
    println!("{table}");
    Ok(())
}
