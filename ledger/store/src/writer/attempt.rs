//! One attempt at a batch: from the lock to the commit.

use super::Writer;
use super::batch::Batch;
use super::judge::{judge_output, judge_write};
use super::task::{Task, Verdict};
use crate::backend::{Append, Failure, Locked};
use crate::read::ReadError;
use crate::write::WriteError;
use futures_util::future::join;
use ledger_core::limits::BATCH_EVENTS_MAX;
use ledger_core::{RequestId, Timestamp};

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
        let n_tasks_max = if confirms { 1 } else { self.portion(n_tasks_max) };
        self.catch_up_unlocked().await?;
        let mut verdicts = Vec::new();
        let mut result = self.append(now, n_tasks_max, &mut verdicts).await;
        if let Err(Failed { failure: Failure { overtaken: true, source, .. }, .. }) = &result {
            // Judged again, from what was there, and now nothing is presumed.
            tracing::debug!(error = %source, "a batch is judged again");
            self.fold.take_back();
            verdicts.clear();
            self.appender.abandon().await;
            result = self.append(now, n_tasks_max, &mut verdicts).await;
        }
        let mut batch = match result {
            Ok(batch) => batch,
            Err(mut failed) => {
                self.fold.take_back();
                self.appender.abandon().await;
                // A batch that failed before its first verdict takes its first task along.
                failed.n_tasks = failed.n_tasks.max(1);
                return Err(failed);
            }
        };
        self.recovered();
        if confirms {
            self.confirm(now, verdicts.first());
        }
        for (task, verdict) in self.waiting.drain(..verdicts.len()).zip(verdicts) {
            task.answer(verdict);
        }
        batch.settle_committed(&mut self.fold);
        Ok(())
    }

    /// Returns how many tasks off the front fill a batch, as far as they tell.
    fn portion(&self, n_tasks_max: usize) -> usize {
        let mut n_events = 0;
        let joins = |(idx, task): &(usize, &Task)| {
            let full = n_events >= BATCH_EVENTS_MAX;
            n_events += task.n_events();
            !full && (*idx == 0 || !task.is_alone())
        };
        self.waiting.iter().take(n_tasks_max).enumerate().take_while(joins).count()
    }

    /// Returns the clock's moment. When it cannot be trusted, everything that
    /// waits is refused, up to the first confirmation.
    fn moment(&mut self, confirms: bool) -> Option<Timestamp> {
        if confirms {
            return Some(self.clock.now());
        }
        match self.rule.check(&*self.clock, self.fold.proven()) {
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

    /// Reads what other servers are known to have appended, while nobody waits for
    /// the lock: after a long time without a write it may be much.
    async fn catch_up_unlocked(&mut self) -> Result<(), Failed> {
        let known = *self.signals.head.borrow();
        if known <= self.fold.position {
            return Ok(());
        }
        let read = self.fold.committed().catch_up(&*self.reader, known).await;
        let n_tasks = self.waiting.len();
        read.map_err(|error| Failed { n_tasks, failure: unreadable(error), in_doubt: false })
    }

    fn confirm(&mut self, now: Timestamp, verdict: Option<&Verdict>) {
        if matches!(verdict, Some(Verdict::Write(Ok(_)))) {
            self.fold.committed().vouch(now);
            self.rule.confirm(&*self.clock);
            self.publish_readiness();
        }
    }

    async fn append(
        &mut self,
        now: Timestamp,
        n_tasks_max: usize,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<Batch, Failed> {
        let mut batch = match self.begin(now, n_tasks_max).await {
            Ok(batch) => batch,
            Err(failure) => {
                let n_tasks = if failure.surroundings { self.waiting.len() } else { 1 };
                return Err(Failed { n_tasks, failure, in_doubt: false });
            }
        };
        let failed = |n_tasks, commits: bool| {
            move |failure: Failure| {
                let in_doubt = commits && !failure.refused;
                Failed { n_tasks, failure, in_doubt }
            }
        };
        if let Err(failure) = self.judge(&mut batch, n_tasks_max, verdicts).await {
            let failed = failed(verdicts.len() + 1, false);
            // A verdict that came when a part was placed is one only if what was presumed holds.
            if failure.source.is::<WriteError>() {
                self.appender.confirm().await.map_err(&failed)?;
            }
            return Err(failed(failure));
        }
        if batch.is_empty() {
            let confirmed = self.appender.confirm().await;
            confirmed.map_err(failed(verdicts.len(), false))?;
            self.appender.abandon().await;
            return Ok(batch);
        }
        batch.fill_tiles(&mut self.fold);
        let inserted = self.appender.insert(&batch.rows).await;
        inserted.map_err(failed(verdicts.len(), false))?;
        let committed = if A::THREAD {
            self.appender.commit().await
        } else {
            let settled = batch.settle_meanwhile(&mut self.fold);
            join(self.appender.commit(), settled).await.0
        };
        committed.map_err(failed(verdicts.len(), true))?;
        self.publish(batch.position, batch.output_head);
        Ok(batch)
    }

    /// Takes the lock and brings in what the verdicts need.
    async fn begin(&mut self, now: Timestamp, n_tasks_max: usize) -> Result<Batch, Failure> {
        let ids: Vec<RequestId> = self
            .waiting
            .iter()
            .take(n_tasks_max)
            .filter_map(|task| task.write().map(|write| write.request_id))
            .collect();
        let Locked { head, requests } = self.appender.lock(&ids).await?;
        // Several servers may share a database, and a commit that seemed to fail
        // may have come through.
        self.fold.committed().catch_up(&*self.reader, head.position).await.map_err(unreadable)?;
        self.publish(head.position, head.output);
        Ok(Batch::new(head, now, &self.fold, requests))
    }

    /// Judges tasks off the front until the batch is full.
    async fn judge(
        &mut self,
        batch: &mut Batch,
        n_tasks_max: usize,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<(), Failure> {
        for task in self.waiting.iter().take(n_tasks_max) {
            if batch.is_full() {
                break;
            }
            let (fold, appender) = (&mut self.fold, &mut self.appender);
            verdicts.push(match task {
                Task::Output { output, .. } => {
                    Verdict::Output(judge_output(batch, appender, output).await?)
                }
                Task::Checkpoint { signed, .. } => {
                    batch.place_checkpoint(signed);
                    Verdict::Checkpoint
                }
                task => match task.write() {
                    Some(write) => {
                        // Who vouches for a clock records what it says, not when.
                        let confirms = matches!(task, Task::ConfirmClock { .. });
                        let now = if confirms { batch.clock } else { batch.now };
                        Verdict::Write(judge_write(fold, batch, appender, write, now).await?)
                    }
                    None => break,
                },
            });
        }
        Ok(())
    }
}

fn unreadable(error: ReadError) -> Failure {
    Failure {
        surroundings: true,
        refused: false,
        overtaken: false,
        why: format!("the log does not continue what this server has read: {error}"),
        source: Box::new(error),
    }
}
