//! Hearing of what other servers commit, and telling them of what this one does.
//!
//! A notification is only a hint to look, and may be missed; the poll finds what
//! no hint told of. Both only raise what the log says about its end.

use super::PostgresReader;
use crate::writer::raise;
use ledger_core::Position;
use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// What the servers on one database call each other by.
const CHANNEL: &str = "ledger_committed";
const NOTIFY: &str = "NOTIFY ledger_committed";
/// How often the database is asked whether the log grew, whatever is heard.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How long after a notification the next one may follow: what many commits in
/// between did, one tells.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(10);
/// How long until a lost connection is made anew, at most twice that.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(500);

/// The connection that listens, beside those that read and write.
pub(crate) struct Listener {
    options: PgConnectOptions,
    committed: Arc<Notify>,
}

impl Listener {
    pub(super) fn new(options: PgConnectOptions, committed: Arc<Notify>) -> Self {
        Self { options, committed }
    }

    /// Listens and notifies until the connection is lost.
    async fn run(&self, look: &Notify) -> Result<(), sqlx::Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(self.options.clone())
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        // Whatever was told while nobody listened.
        look.notify_one();
        loop {
            tokio::select! {
                heard = listener.try_recv() => {
                    look.notify_one();
                    if heard?.is_none() {
                        return Ok(());
                    }
                }
                () = self.committed.notified() => {
                    listener.execute(NOTIFY).await?;
                    tokio::time::sleep(NOTIFY_INTERVAL).await;
                }
            }
        }
    }
}

/// Follows the end of the log until the log is closed.
pub(crate) async fn follow(
    listener: Listener,
    reader: Arc<PostgresReader>,
    head: Arc<watch::Sender<Position>>,
    output_head: Arc<watch::Sender<u64>>,
    mut done: watch::Receiver<()>,
) {
    let look = Notify::new();
    let listen = async {
        loop {
            if let Err(error) = listener.run(&look).await {
                tracing::debug!(%error, "the connection that listens is lost; the poll goes on");
            }
            tokio::time::sleep(RECONNECT_INTERVAL + jitter()).await;
        }
    };
    let poll = async {
        loop {
            // What fails here fails for whoever reads or writes, who says so.
            if let Ok(end) = reader.ends().await {
                raise(&head, end.0);
                raise(&output_head, end.1);
            }
            let _ = tokio::time::timeout(POLL_INTERVAL, look.notified()).await;
        }
    };
    tokio::select! {
        () = listen => {}
        () = poll => {}
        // Nobody sends there: it ends when the log is closed.
        _ = done.changed() => {}
    }
}

/// A random part of the interval, so that servers do not all come back at once.
fn jitter() -> Duration {
    let mut byte = [0];
    // Without random bytes there is no jitter, which harms nobody.
    let _ = getrandom::fill(&mut byte);
    RECONNECT_INTERVAL * u32::from(byte[0]) / 256
}
