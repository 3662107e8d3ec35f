//! Judging one request.

use super::batch::{self, Batch};
use super::folded::{Fold, is_remembered};
use crate::backend::{Append, Failure};
use crate::write::{Change, OutputError, OutputWrite, Write, WriteError, Written};
use ledger_core::{Context, Event, StreamId, Timestamp};
use std::sync::Arc;

/// Judges a write against the fold and the earlier ones of the batch.
///
/// The outer error is the database's, the inner one the verdict.
pub(super) async fn judge_write<A: Append>(
    fold: &mut Fold,
    batch: &mut Batch,
    appender: &mut A,
    write: &Write,
    now: Timestamp,
) -> Result<Result<Written, WriteError>, Failure> {
    if let Some(verdict) = batch.repeated(write) {
        return Ok(verdict);
    }
    for expectation in &write.expect {
        let stream = &expectation.stream;
        if is_unknown(batch, stream) {
            let version = appender.stream_version(stream).await?;
            batch.versions.insert(stream.clone(), version);
        }
        let actual = batch.version(fold, stream);
        if actual != expectation.version {
            let (stream, expected) = (stream.clone(), expectation.version);
            return Ok(Err(WriteError::Conflict { stream, expected, actual }));
        }
    }
    let events = match &write.change {
        Change::Events(events) => Arc::clone(events),
        Change::Command(command) => {
            let context = Context { now, request: write.request_id };
            batch.settle(fold);
            // The command is kept: a batch that fails is judged again.
            match fold.state.decide(command.as_ref().clone(), context) {
                Ok(events) => Arc::new(events),
                Err(rejection) => return Ok(Err(WriteError::Rejected(rejection))),
            }
        }
    };
    for event in events.iter() {
        if is_unknown(batch, &event.stream) {
            let version = appender.version_behind(&event.stream).await?;
            batch.versions.insert(event.stream.clone(), version);
        }
        if let Event::AnnexErased(erased) = &event.event {
            let position = erased.position;
            if batch.erases(position) || !appender.has_annex(position).await? {
                batch.forget_versions(&events);
                return Ok(Err(WriteError::NoAnnex { position }));
            }
        }
    }
    let verdict = batch.place(fold, appender, write, Arc::clone(&events))?;
    if verdict.is_err() {
        batch.forget_versions(&events);
    }
    Ok(verdict)
}

/// Returns whether only the database knows the version of a stream.
fn is_unknown(batch: &Batch, stream: &StreamId) -> bool {
    !is_remembered(stream) && !batch.versions.contains_key(stream)
}

/// Judges a piece of output against what is stored and what the batch has.
pub(super) async fn judge_output<A: Append>(
    batch: &mut Batch,
    appender: &mut A,
    output: &OutputWrite,
) -> Result<Result<(), OutputError>, Failure> {
    if let Err(error) = batch::check_output(output) {
        return Ok(Err(error));
    }
    let deployment = output.deployment;
    let end = match batch.output_ends.get(&deployment) {
        Some(end) => *end,
        None => appender.output_end(deployment).await?,
    };
    batch.output_ends.insert(deployment, end);
    if output.bytes.is_empty() && output.offset <= end {
        return Ok(Ok(()));
    }
    if output.offset == end {
        batch.place_output(output, end);
        return Ok(Ok(()));
    }
    let in_batch = batch
        .rows
        .outputs
        .iter()
        .find(|stored| stored.deployment == deployment && stored.offset == output.offset);
    let stored = match in_batch {
        Some(stored) => Some(stored.bytes.clone()),
        None => appender.output_at(deployment, output.offset).await?,
    };
    Ok(if stored.as_ref() == Some(&output.bytes) {
        Ok(())
    } else {
        Err(OutputError::OutOfOrder { deployment, stored: end, offset: output.offset })
    })
}
