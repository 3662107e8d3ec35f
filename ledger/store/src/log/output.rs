//! Output of deployments: its own append-only table beside the events.

use super::Log;
use crate::limits;
use crate::read::{ReadError, StoredOutput};
use crate::write::{OutputError, OutputWrite};
use crate::writer::Task;
use ledger_core::{DeploymentId, Timestamp};
use std::collections::HashSet;
use tokio::sync::{oneshot, watch};

impl Log {
    /// Stores a piece of output. The same piece again is stored already.
    pub async fn write_output(&self, output: OutputWrite) -> Result<(), OutputError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Task::Output { output, reply }, answer).await
    }

    /// Reads stored output after the cursor, of the given deployments, at most `limit` pieces.
    ///
    /// Returns the pieces and the cursor to go on from, which also moves past
    /// the output of others. Whoever goes on from it has seen everything once it
    /// has reached [`Log::output_head`].
    pub async fn read_output(
        &self,
        deployments: &[DeploymentId],
        after: u64,
        limit: usize,
    ) -> Result<(Vec<StoredOutput>, u64), ReadError> {
        let limit = limit.min(limits::OUTPUT_PAGE_MAX);
        if deployments.len() <= limits::OUTPUT_DEPLOYMENTS_INDEXED_MAX {
            // Nothing beyond this head is read, so that what is committed
            // meanwhile for one of the deployments hides nothing of another.
            let head = self.reader.output_head().await?;
            let cursors = after.saturating_add(1)..=head;
            let pieces = self.reader.outputs_of(deployments, cursors, limit).await?;
            let last = pieces.last().filter(|_| pieces.len() >= limit);
            let cursor = last.map_or(head, |piece| piece.cursor);
            return Ok((pieces, cursor.max(after)));
        }
        self.scan_output(&deployments.iter().copied().collect(), after, limit).await
    }

    /// Reads one deployment's stored output from the byte on, in its order, at most
    /// `limit` pieces. An empty answer is the end.
    pub async fn read_output_from(
        &self,
        deployment: DeploymentId,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>, ReadError> {
        self.reader.output_from(deployment, offset, limit.min(limits::OUTPUT_PAGE_MAX)).await
    }

    /// Goes through the output of all, for the many of a large activation; only
    /// so far in one call that it ends soon.
    async fn scan_output(
        &self,
        deployments: &HashSet<DeploymentId>,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<StoredOutput>, u64), ReadError> {
        let mut pieces = Vec::new();
        let mut cursor = after;
        let rows = self.reader.output_owners(cursor, limits::OUTPUT_ROWS_SCANNED_MAX).await?;
        for (place, deployment) in rows {
            if pieces.len() >= limit {
                break;
            }
            if deployments.contains(&deployment) {
                pieces.extend(self.reader.output(place).await?);
            }
            cursor = place;
        }
        Ok((pieces, cursor))
    }

    /// Returns a cursor before which all output was stored before the moment.
    ///
    /// Whoever wants only what came later need not go through the whole table.
    pub async fn output_cursor_at(&self, moment: Timestamp) -> Result<u64, ReadError> {
        // Found by halving. What is stored after an event is stored no earlier
        // than the event's moment; so a piece from before that moment was stored
        // before the event, whatever the clock did in between.
        let (mut before, mut beyond) = (0_u64, self.reader.output_head().await?.saturating_add(1));
        while before.saturating_add(1) < beyond {
            let middle = before.midpoint(beyond);
            match self.reader.output(middle).await? {
                Some(piece) if piece.stored_at < moment => before = middle,
                _ => beyond = middle,
            }
        }
        Ok(before)
    }

    /// Returns the newest committed output cursor, and wakes whoever waits for a newer one.
    pub fn output_head(&self) -> watch::Receiver<u64> {
        self.output_head.clone()
    }
}
