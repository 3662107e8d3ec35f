//! The log and the raw engine side by side, from the same beginning and with the
//! same rows.

use super::events::Source;
use super::producers::produce;
use super::raw::{Engine, Tap, fill};
use super::store::{Backend, Place, append, per_second, settle};
use anyhow::{Result, ensure};
use ledger_store::Log;
use std::path::Path;
use std::time::Duration;

/// Producers who write what is copied, so that it does not take long.
const COPYISTS: usize = 64;

/// Three places: a log that is timed; one that is written alike, only to copy
/// its rows; and the raw engine that gets these rows.
pub(crate) struct Arena {
    timed: Written,
    copied: Written,
    tap: Box<dyn Tap>,
    raw: Box<dyn Engine>,
    raw_place: Place,
    /// Whether the raw engine is timed first, which it is every other time.
    raw_first: bool,
}

/// An open log and what is written to it.
struct Written {
    place: Place,
    log: Log,
    source: Source,
}

/// What one turn of both took.
pub(crate) struct Round {
    /// Each write, until it was acknowledged.
    pub(crate) store: Vec<Duration>,
    /// Events a second of the store, of all callers together.
    pub(crate) store_rate: f64,
    /// Each transaction of the raw engine.
    pub(crate) raw: Vec<Duration>,
    /// Events a second of the raw engine.
    pub(crate) raw_rate: f64,
}

impl Arena {
    /// Begins with a fleet and no history.
    pub(crate) async fn new(backend: Backend, under: &Path) -> Result<Self> {
        let mut places = Vec::new();
        for hasty in [false, true] {
            let (place, mut source) = (Place::new(backend, under).await?, Source::new()?);
            let log = if hasty { place.open_hasty().await? } else { place.open().await? };
            append(&log, vec![source.opening()?]).await?;
            places.push(Written { place, log, source });
        }
        let [timed, copied] = <[Written; 2]>::try_from(places)
            .map_err(|_| anyhow::anyhow!("two places were made"))?;
        let mut tap = copied.place.tap(true).await?;
        let raw_place = Place::new(backend, under).await?;
        let mut raw = raw_place.engine().await?;
        fill(&mut *raw, &[tap.take().await?])?;
        Ok(Self { timed, copied, tap, raw, raw_place, raw_first: false })
    }

    /// Goes on from a closed log.
    pub(crate) async fn of(base: &Place, source: &Source) -> Result<Self> {
        let timed = base.copy().await?;
        let copied = base.copy().await?;
        let raw_place = base.copy().await?;
        let raw = raw_place.engine().await?;
        // Before the log is opened, which may write.
        let tap = copied.tap(false).await?;
        let log = copied.open_hasty().await?;
        let copied = Written { place: copied, log, source: source.clone() };
        let log = timed.open().await?;
        let timed = Written { place: timed, log, source: source.clone() };
        Ok(Self { timed, copied, tap, raw, raw_place, raw_first: false })
    }

    /// Times so many writes of so many events by so many callers, and as many
    /// transactions of the raw engine with the rows of such writes. So both logs keep
    /// the same size: what a row costs depends on it.
    pub(crate) async fn round(
        &mut self,
        n_writes: usize,
        n_events: usize,
        n_callers: usize,
    ) -> Result<Round> {
        let transactions = self.transactions(n_writes, 1, n_events).await?;
        let writes = self.timed.source.writes(n_writes, n_events)?;
        self.raw_first = !self.raw_first;
        let mut raw = Vec::new();
        if self.raw_first {
            settle();
            raw = fill(&mut *self.raw, &transactions)?;
        }
        settle();
        // By tasks, as those of a server are.
        let store = produce(&self.timed.log, writes, n_callers).await?;
        if !self.raw_first {
            settle();
            raw = fill(&mut *self.raw, &transactions)?;
        }
        Ok(Round {
            store: store.latencies,
            store_rate: store.rate * n_events as f64,
            raw_rate: per_second(n_writes * n_events, &raw),
            raw,
        })
    }

    /// Times the raw engine alone, with the rows of so many writes of one event
    /// in each transaction.
    pub(crate) async fn raw(&mut self, n_transactions: usize, n_writes: usize) -> Result<f64> {
        let transactions = self.transactions(n_transactions, n_writes, 1).await?;
        settle();
        let times = fill(&mut *self.raw, &transactions)?;
        Ok(per_second(n_transactions * n_writes, &times))
    }

    /// Makes rows for the raw engine.
    async fn transactions(
        &mut self,
        n_transactions: usize,
        n_writes: usize,
        n_events: usize,
    ) -> Result<Vec<super::raw::Rows>> {
        let mut transactions = Vec::with_capacity(n_transactions);
        for _ in 0..n_transactions {
            let writes = self.copied.source.writes(n_writes, n_events)?;
            produce(&self.copied.log, writes, n_writes.min(COPYISTS)).await?;
            transactions.push(self.tap.take().await?);
        }
        Ok(transactions)
    }

    /// The log that is timed, and the source of its events.
    pub(crate) fn timed(&mut self) -> (&Log, &mut Source) {
        (&self.timed.log, &mut self.timed.source)
    }

    /// Ends it, after a look at whether the raw engine has the same tables,
    /// indexes and triggers with the same rows.
    pub(crate) async fn close(self) -> Result<()> {
        let Self { timed, copied, mut tap, mut raw, raw_place, .. } = self;
        timed.log.close().await;
        // A log may write when it ends.
        copied.log.close().await;
        fill(&mut *raw, &[tap.take().await?])?;
        drop((tap, raw));
        let (filled, written) = (raw_place.contents().await?, copied.place.contents().await?);
        ensure!(filled == written, "the raw engine has {filled:?} where the log has {written:?}");
        Ok(())
    }
}
