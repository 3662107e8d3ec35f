//! Appends by the number of events in a write, next to the raw engine.

use super::arena::{Arena, Round};
use super::store::Backend;
use super::table::{median, rate, ratio, time};
use crate::Settings;
use crate::common::{Table, quantile_of};
use anyhow::Result;

/// Events of a write, and how many writes a round has.
const SIZES: [(usize, usize); 4] = [(1, 400), (10, 200), (100, 100), (1_000, 40)];

pub(crate) async fn run(settings: &Settings, backend: Backend) -> Result<()> {
    let n_rounds = settings.few_or(3, 7);
    println!(
        "Appends by batch size on {}: one request of n events after the other, each awaited, next to one connection that commits the same rows into the same tables, indexes and triggers, n events in a transaction. Median of {n_rounds} rounds in turn.\n",
        backend.name()
    );
    let mut arena = Arena::new(backend, &settings.folder).await?;
    let mut table = Table::new(&[
        "events in a request",
        "events/s through the store",
        "events/s of the raw engine",
        "store / raw",
    ]);
    let mut lone = Round::default();
    for (n_events, n_writes) in SIZES {
        let n_writes = settings.few_or(n_writes / 4, n_writes);
        // Statements are prepared, caches are warm.
        arena.round(n_writes.div_ceil(4), n_events).await?;
        let (mut stores, mut raws) = (Vec::new(), Vec::new());
        for _ in 0..n_rounds {
            let round = arena.round(n_writes, n_events).await?;
            let (store, raw) = round.rates(n_events);
            stores.push(store);
            raws.push(raw);
            if n_events == 1 {
                lone.store.extend(round.store);
                lone.raw.extend(round.raw);
            }
        }
        let (store, raw) = (median(&stores)?, median(&raws)?);
        let n_events = super::table::count(n_events as u64);
        table.row(&[n_events, rate(store), rate(raw), ratio(store, raw)]);
    }
    println!("{table}");
    print_lone(&lone)?;
    let (_, source) = arena.timed();
    println!("Mean payload: {:.1} bytes.\n", source.told().mean_payload());
    arena.close().await
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
