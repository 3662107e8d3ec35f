//! An agent's stream as its session gets it: gapless and in order, first from the
//! log, then live, and from the log again when the session was too slow.

use crate::limits;
use ledger_core::{Record, StreamId, Version};
use ledger_store::{Log, ReadError};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

type Reading = Pin<Box<dyn Future<Output = Result<Vec<Record>, ReadError>> + Send>>;

/// Reads one agent's stream from a cursor on.
pub(crate) struct Feed {
    log: Log,
    stream: StreamId,
    /// The newest version handed out.
    cursor: Version,
    queue: mpsc::Receiver<Arc<Record>>,
    behind: Arc<Notify>,
    catches_up: bool,
    /// Kept between calls, so that a reader with other things to do starves nothing.
    reading: Option<Reading>,
}

impl Feed {
    /// Begins after the cursor, with the stream's head as it was seen after the
    /// session was registered: what comes later comes through the queue.
    pub(crate) fn new(
        log: Log,
        stream: StreamId,
        cursor: Version,
        head: Version,
        queue: mpsc::Receiver<Arc<Record>>,
        behind: Arc<Notify>,
    ) -> Self {
        let cursor = cursor.min(head);
        Self { log, stream, cursor, queue, behind, catches_up: cursor < head, reading: None }
    }

    /// Returns what follows. May be dropped and called again without loss.
    pub(crate) async fn next(&mut self) -> Result<Vec<Arc<Record>>, ReadError> {
        loop {
            if self.catches_up {
                let records = self.read().await?;
                if !records.is_empty() {
                    return Ok(records);
                }
                continue;
            }
            tokio::select! {
                biased;
                () = self.behind.notified() => self.catches_up = true,
                record = self.queue.recv() => {
                    let Some(record) = record else {
                        // The registry let go of the session, which is told why.
                        return std::future::pending().await;
                    };
                    let records = self.take(record);
                    if !records.is_empty() {
                        return Ok(records);
                    }
                }
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<Arc<Record>>, ReadError> {
        let (log, stream, from) = (&self.log, &self.stream, self.cursor.next());
        let reading = self.reading.get_or_insert_with(|| {
            let (log, stream) = (log.clone(), stream.clone());
            Box::pin(
                async move { log.read_stream_bare(&stream, from, limits::CATCH_UP_EVENTS).await },
            )
        });
        let read = reading.await;
        self.reading = None;
        let records = read?;
        // A page of few but large events is short, too: only an empty one is the end.
        self.catches_up = !records.is_empty();
        if let Some(last) = records.last() {
            self.cursor = last.version;
        }
        Ok(records.into_iter().map(Arc::new).collect())
    }

    /// Takes what follows the cursor out of the queue, and nothing else.
    fn take(&mut self, first: Arc<Record>) -> Vec<Arc<Record>> {
        let mut records = Vec::new();
        let mut next = Some(first);
        while let Some(record) = next {
            if record.version == self.cursor.next() {
                self.cursor = record.version;
                records.push(record);
            } else if record.version > self.cursor {
                // What is between did not fit into the queue.
                self.catches_up = true;
                break;
            }
            next = self.queue.try_recv().ok();
        }
        records
    }
}
