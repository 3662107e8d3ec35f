//! One attempt at a batch: from the lock to the commit.

use super::batch::{self, Batch};
use super::task::{Task, Verdict};
use super::{Folded, Writer};
use crate::backend::{Append, Failure, Head, Read};
use crate::read::ReadError;
use crate::write::{Change, OutputError, OutputWrite, Write, WriteError, Written};
use ledger_core::limits::PAGE_RECORDS_MAX;
use ledger_core::{Context, Position, RequestId, StreamId, Timestamp};
use std::collections::HashMap;

/// A batch that was not committed, as far as is known.
pub(crate) struct Failed {
    /// How many tasks, from the front of what waits, it had.
    pub(crate) n_tasks: usize,
    pub(crate) failure: Failure,
    /// Whether it may be committed all the same.
    pub(crate) in_doubt: bool,
}

impl<A: Append> Writer<A> {
    /// Judges and commits at most `n_tasks_max` tasks off the front, and answers them.
    pub(super) async fn attempt(&mut self, n_tasks_max: usize) -> Result<(), Failed> {
        let confirms = matches!(self.waiting.front(), Some(Task::ConfirmClock { .. }));
        let Some(now) = self.moment(confirms) else { return Ok(()) };
        let n_tasks_max = if confirms { 1 } else { n_tasks_max };
        let before = self.folded.clone();
        let mut verdicts = Vec::new();
        let result = self.append(now, n_tasks_max, &mut verdicts).await;
        if let Err(mut failed) = result {
            self.folded = before;
            self.appender.abandon().await;
            // A batch that failed before its first verdict takes its first task along.
            failed.n_tasks = failed.n_tasks.max(1);
            return Err(failed);
        }
        self.recovered();
        if confirms {
            self.confirm(now, verdicts.first());
        }
        for (task, verdict) in self.waiting.drain(..verdicts.len()).zip(verdicts) {
            task.answer(verdict);
        }
        Ok(())
    }

    /// Returns the clock's moment. When it cannot be trusted, everything that
    /// waits is refused, up to the first confirmation.
    fn moment(&mut self, confirms: bool) -> Option<Timestamp> {
        if confirms {
            return Some(self.clock.now());
        }
        match self.rule.check(&*self.clock, self.folded.proven()) {
            Ok(now) => Some(now),
            Err(why) => {
                self.publish_readiness();
                while let Some(task) =
                    self.waiting.pop_front_if(|task| !matches!(task, Task::ConfirmClock { .. }))
                {
                    task.unavailable(&why);
                }
                None
            }
        }
    }

    fn confirm(&mut self, now: Timestamp, verdict: Option<&Verdict>) {
        if matches!(verdict, Some(Verdict::Write(Ok(_)))) {
            self.folded.vouch(now);
            self.rule.confirm(&*self.clock);
            self.publish_readiness();
        }
    }

    async fn append(
        &mut self,
        now: Timestamp,
        n_tasks_max: usize,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<(), Failed> {
        let mut batch = match self.begin(now, n_tasks_max).await {
            Ok(batch) => batch,
            Err(failure) => {
                let n_tasks = if failure.surroundings { self.waiting.len() } else { 1 };
                return Err(Failed { n_tasks, failure, in_doubt: false });
            }
        };
        let failed = |n_tasks, in_doubt| move |failure| Failed { n_tasks, failure, in_doubt };
        let judged = self.judge(&mut batch, n_tasks_max, verdicts).await;
        judged.map_err(failed(verdicts.len() + 1, false))?;
        if batch.is_empty() {
            self.appender.abandon().await;
            return Ok(());
        }
        let inserted = self.appender.insert(&batch.rows).await;
        inserted.map_err(failed(verdicts.len(), false))?;
        let committed = self.appender.commit().await;
        committed.map_err(failed(verdicts.len(), true))?;
        self.publish(Head { position: self.folded.position, output: batch.output_head });
        Ok(())
    }

    /// Takes the lock and brings in what the verdicts need.
    async fn begin(&mut self, now: Timestamp, n_tasks_max: usize) -> Result<Batch, Failure> {
        let head = self.appender.lock().await?;
        // Several servers may share a database, and a commit that seemed to fail
        // may have come through.
        self.folded.catch_up(&*self.reader, head.position).await.map_err(|error| Failure {
            surroundings: true,
            why: format!("the log does not continue what this server has read: {error}"),
            source: Box::new(error),
        })?;
        let ids: Vec<RequestId> = self
            .waiting
            .iter()
            .take(n_tasks_max)
            .filter_map(|task| task.write().map(|write| write.request_id))
            .collect();
        let requests = match ids.is_empty() {
            true => HashMap::new(),
            false => self.appender.find_requests(&ids).await?,
        };
        Ok(Batch::new(head, now, &self.folded, requests))
    }

    /// Judges tasks off the front until the batch is full.
    async fn judge(
        &mut self,
        batch: &mut Batch,
        n_tasks_max: usize,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<(), Failure> {
        for (idx, task) in self.waiting.iter().take(n_tasks_max).enumerate() {
            let alone = task.is_large() || matches!(task, Task::ConfirmClock { .. });
            if batch.is_full() || (alone && idx > 0) {
                break;
            }
            let (folded, appender) = (&mut self.folded, &mut self.appender);
            verdicts.push(match task {
                Task::Output { output, .. } => {
                    Verdict::Output(judge_output(batch, appender, output).await?)
                }
                task => match task.write() {
                    Some(write) => {
                        // Who vouches for a clock records what it says, not when.
                        let confirms = matches!(task, Task::ConfirmClock { .. });
                        let now = if confirms { batch.clock } else { batch.now };
                        Verdict::Write(judge_write(folded, batch, appender, write, now).await?)
                    }
                    None => break,
                },
            });
        }
        Ok(())
    }
}

async fn judge_write<A: Append>(
    folded: &mut Folded,
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
        look_up(folded, batch, appender, stream).await?;
        let actual = batch.version(folded, stream);
        if actual != expectation.version {
            let (stream, expected) = (stream.clone(), expectation.version);
            return Ok(Err(WriteError::Conflict { stream, expected, actual }));
        }
    }
    let decided;
    let events = match &write.change {
        Change::Events(events) => events,
        Change::Command(command) => {
            let context = Context { now, request: write.request_id };
            // The command is kept: a batch that fails is judged again.
            match folded.state.decide(command.as_ref().clone(), context) {
                Ok(events) => decided = events,
                Err(rejection) => return Ok(Err(WriteError::Rejected(rejection))),
            }
            &decided
        }
    };
    for event in events {
        look_up(folded, batch, appender, &event.stream).await?;
    }
    Ok(batch.place(folded, write, events))
}

/// Makes sure that the version of a stream is known.
async fn look_up<A: Append>(
    folded: &Folded,
    batch: &mut Batch,
    appender: &mut A,
    stream: &StreamId,
) -> Result<(), Failure> {
    if folded.version(stream).is_none() && !batch.versions.contains_key(stream) {
        let version = appender.stream_version(stream).await?;
        batch.versions.insert(stream.clone(), version);
    }
    Ok(())
}

async fn judge_output<A: Append>(
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

impl Folded {
    /// Reads and applies what is in the log and not in the fold.
    pub(crate) async fn catch_up(
        &mut self,
        reader: &dyn Read,
        head: Position,
    ) -> Result<(), ReadError> {
        while self.position < head {
            let expected = self.position.next();
            let records = reader.records(expected, PAGE_RECORDS_MAX, false).await?;
            if records.is_empty() {
                return Err(ReadError::Gap { expected, found: head });
            }
            for record in &records {
                self.apply(record).map_err(|error| ReadError::Corrupt {
                    position: record.position,
                    column: "payload",
                    what: error_chain(&error),
                })?;
            }
        }
        if self.position > head {
            return Err(ReadError::Gap { expected: self.position, found: head });
        }
        Ok(())
    }
}

/// Joins an error and its sources, for a message that keeps no source.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
