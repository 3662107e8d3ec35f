//! The runner: one loop that reads what follows, folds it and shows it.

use crate::projection::{Halt, Projection, Snapshot, advance};
use futures_util::future::BoxFuture;
use ledger_core::{Position, Record, limits};
use ledger_store::{Log, ReadError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, warn};

/// How long the runner waits for a wake-up before it looks by itself. A wake-up
/// is only a hint, so that a lost one costs a quarter of a second, no event.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A projection that follows the log.
pub struct Runner<P: Projection> {
    live: Live<P>,
    task: JoinHandle<()>,
}

/// What a running projection shows. Cloning it is cheap.
pub struct Live<P: Projection> {
    shown: watch::Receiver<Shown<P::State>>,
}

struct Shown<S> {
    snapshot: Arc<Snapshot<S>>,
    halted: Option<Halt>,
}

/// Why a position is not shown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WaitError {
    /// It did not come in time.
    #[error("the projection is at position {at} and did not reach {wanted} in time")]
    TooLate {
        /// Where it is.
        at: Position,
        /// Where it should be.
        wanted: Position,
    },
    /// It never will.
    #[error("the projection has halted")]
    Halted(#[source] Halt),
    /// The runner was stopped.
    #[error("the projection is stopped")]
    Stopped,
}

impl<P: Projection> Clone for Live<P> {
    fn clone(&self) -> Self {
        Self { shown: self.shown.clone() }
    }
}

impl<P: Projection> Runner<P> {
    /// Starts to fold the log from its first event.
    ///
    /// The sink is called with each page of records after the state that holds
    /// them is shown, in the order of the log, and must not block.
    pub fn start<F>(log: Log, sink: F) -> Self
    where
        F: FnMut(&Snapshot<P::State>, Vec<Record>) + Send + 'static,
    {
        let (sender, shown) = watch::channel(Shown { snapshot: Arc::default(), halted: None });
        Self { live: Live { shown }, task: tokio::spawn(run::<P, F>(log, sender, sink)) }
    }

    /// Returns what the projection shows.
    pub fn live(&self) -> &Live<P> {
        &self.live
    }

    /// Stops following. The log is not touched.
    pub async fn stop(self) {
        self.task.abort();
        // It was cancelled, which is what was asked for.
        let _ = self.task.await;
    }
}

impl<P: Projection> Live<P> {
    /// Returns the newest state.
    pub fn snapshot(&self) -> Arc<Snapshot<P::State>> {
        self.shown.borrow().snapshot.clone()
    }

    /// Returns why the projection follows the log no longer, if it does not.
    pub fn fault(&self) -> Option<WaitError> {
        if let Some(halt) = &self.shown.borrow().halted {
            return Some(WaitError::Halted(halt.clone()));
        }
        // Without its sender nothing will ever be shown again.
        self.shown.has_changed().is_err().then_some(WaitError::Stopped)
    }

    /// Waits until the log up to the position is shown, at most for so long.
    pub async fn wait_for(
        &self,
        wanted: Position,
        at_most: Duration,
    ) -> Result<Arc<Snapshot<P::State>>, WaitError> {
        let mut shown = self.shown.clone();
        let reached = shown.wait_for(|s| s.snapshot.position >= wanted || s.halted.is_some());
        match tokio::time::timeout(at_most, reached).await {
            Ok(Ok(shown)) if shown.snapshot.position >= wanted => Ok(shown.snapshot.clone()),
            Ok(Ok(shown)) => {
                Err(shown.halted.clone().map_or(WaitError::Stopped, WaitError::Halted))
            }
            Ok(Err(_)) => Err(WaitError::Stopped),
            Err(_) => Err(WaitError::TooLate { at: self.snapshot().position, wanted }),
        }
    }

    /// Waits until the projection stops for good, or is stopped.
    pub async fn stopped(&self) -> WaitError {
        let mut shown = self.shown.clone();
        let halted = shown.wait_for(|shown| shown.halted.is_some()).await;
        let halt = halted.ok().and_then(|shown| shown.halted.clone());
        halt.map_or(WaitError::Stopped, WaitError::Halted)
    }
}

async fn run<P, F>(log: Log, sender: watch::Sender<Shown<P::State>>, mut sink: F)
where
    P: Projection,
    F: FnMut(&Snapshot<P::State>, Vec<Record>),
{
    let mut head = log.head();
    let mut snapshot: Arc<Snapshot<P::State>> = Arc::default();
    // The next page, where it is being read already.
    let mut ahead = None;
    loop {
        let page = match ahead.take() {
            Some(page) => page,
            None => begin(&log, snapshot.position).await,
        };
        let (mut records, halted) = match page.await {
            Ok(records) if records.is_empty() => {
                wait(&mut head, snapshot.position).await;
                continue;
            }
            Ok(records) => {
                if let Some(last) = records.last() {
                    ahead = Some(begin(&log, last.position).await);
                }
                let (next, halted) = advance::<P>(&snapshot, &records);
                snapshot = Arc::new(next);
                (records, halted)
            }
            Err(ReadError::Closed) => return,
            Err(ReadError::Database(source)) => {
                warn!(projection = P::NAME, error = %source, "The log cannot be read now; trying again.");
                tokio::time::sleep(POLL_INTERVAL).await;
                continue;
            }
            Err(
                source @ (ReadError::Gap { .. }
                | ReadError::Corrupt { .. }
                | ReadError::Tile { .. }),
            ) => {
                let position = snapshot.position;
                (Vec::new(), Some(Halt::Damaged { position, source: Arc::new(source) }))
            }
        };
        if let Some(halt) = &halted {
            let cause = std::error::Error::source(halt).map(ToString::to_string);
            error!(
                projection = P::NAME,
                position = snapshot.position.0,
                cause,
                "The projection halts: {halt}."
            );
            records.retain(|record| record.position <= snapshot.position);
        }
        let halts = halted.is_some();
        sender.send_replace(Shown { snapshot: snapshot.clone(), halted });
        sink(&snapshot, records);
        if halts {
            return;
        }
    }
}

/// Begins to read what follows a position, so that it goes on while the page before
/// it is folded.
async fn begin(log: &Log, after: Position) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
    log.begin_read_bare(after.next(), limits::PAGE_RECORDS_MAX).await
}

/// Waits for a position beyond the one folded, or for the poll.
async fn wait(head: &mut watch::Receiver<Position>, folded: Position) {
    // Whether woken or not, and even if the log was closed, the loop looks again.
    let woken = async {
        if head.wait_for(|head| *head > folded).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let _ = tokio::time::timeout(POLL_INTERVAL, woken).await;
}
