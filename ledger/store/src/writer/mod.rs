//! The writer: one task that judges every write and commits them in batches.
//!
//! A batch goes like this: take the append lock; read what others appended
//! meanwhile; judge each request by itself, against the state and the earlier
//! requests of the batch; insert; commit; answer all. No answer, not even a
//! refusal, leaves before the commit returned: it was judged from a state that
//! could still have been taken back.

mod attempt;
mod batch;
mod clock_rule;
mod folded;
mod judge;
mod settle;
mod task;

use folded::Fold;
pub(crate) use folded::Folded;
pub(crate) use task::Task;
use task::Verdict;

use crate::backend::{Append, Failure, Read};
use crate::clock::Clock;
use crate::limits;
use crate::open::{OpenError, Readiness};
use crate::read::ReadError;
use crate::write::{OutputError, WriteError};
use attempt::Failed;
use clock_rule::ClockRule;
use ledger_core::Position;
use ledger_core::limits::BATCH_EVENTS_MAX;
use ledger_core::merkle::Tree;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What the writer tells the rest of the server.
pub(crate) struct Signals {
    pub(crate) head: Arc<watch::Sender<Position>>,
    pub(crate) output_head: Arc<watch::Sender<u64>>,
    pub(crate) readiness: watch::Sender<Readiness>,
    /// Dropped, and so closed, when the database is let go of.
    pub(crate) done: watch::Sender<()>,
}

/// The writer's own state.
pub(crate) struct Writer<A> {
    appender: A,
    reader: Arc<dyn Read>,
    clock: Arc<dyn Clock>,
    rule: ClockRule,
    fold: Fold,
    inbox: mpsc::Receiver<Task>,
    /// Taken from the inbox and not yet judged.
    waiting: VecDeque<Task>,
    /// Why the database fails, while it does.
    failing: Option<String>,
    signals: Signals,
}

impl<A: Append> Writer<A> {
    /// Folds the log and makes a writer that goes on from there.
    pub(crate) async fn open(
        mut appender: A,
        reader: Arc<dyn Read>,
        clock: Arc<dyn Clock>,
        inbox: mpsc::Receiver<Task>,
        signals: Signals,
    ) -> Result<Self, OpenError> {
        let locked = appender.lock(&[]).await;
        appender.abandon().await;
        let head = locked
            .map_err(|failure| OpenError::Database { what: failure.why, source: failure.source })?
            .head;
        let folded = Folded::open(&*reader, head.position).await.map_err(OpenError::Read)?;
        let rule = ClockRule::new(&*clock);
        let mut writer = Self {
            appender,
            reader,
            clock,
            rule,
            fold: Fold::new(folded),
            inbox,
            waiting: VecDeque::new(),
            failing: None,
            signals,
        };
        writer.publish(head.position, head.output);
        // So that readiness is right before the first write.
        let _ = writer.rule.check(&*writer.clock, writer.fold.proven());
        writer.publish_readiness();
        Ok(writer)
    }

    /// Writes until every handle is gone or one of them closes the log.
    pub(crate) async fn run(mut self) {
        while self.gather().await {
            self.write().await;
        }
        // Whoever closes last moves the write-ahead log into the database, and
        // readers cannot.
        self.reader.close().await;
        self.appender.close().await;
        drop(self.signals.done);
    }

    /// Waits until something is to be written. False when nothing will come.
    async fn gather(&mut self) -> bool {
        // However often somebody asks for something else meanwhile.
        let mut probe_at = Instant::now() + limits::RETRY_INTERVAL;
        while self.waiting.is_empty() {
            let mut arrived = Vec::new();
            let next = self.inbox.recv_many(&mut arrived, limits::WAITING_WRITES_MAX);
            let n_arrived = if self.failing.is_some() {
                match tokio::time::timeout_at(probe_at, next).await {
                    Ok(n_arrived) => n_arrived,
                    Err(_) => {
                        self.probe().await;
                        probe_at = Instant::now() + limits::RETRY_INTERVAL;
                        continue;
                    }
                }
            } else {
                next.await
            };
            if n_arrived == 0 {
                return false;
            }
            for task in arrived {
                self.take(task).await;
            }
        }
        // What came in while the last batch was committed joins this one.
        while self.waiting.len() < BATCH_EVENTS_MAX
            && let Ok(task) = self.inbox.try_recv()
        {
            self.take(task).await;
        }
        true
    }

    async fn take(&mut self, task: Task) {
        match task {
            // What is in the inbox is still written; nothing more gets in.
            Task::Close => self.inbox.close(),
            Task::State { reply } => {
                // Nobody waits for it any longer: then it is not needed.
                let _ = reply.send(self.fold.state.clone());
            }
            Task::Tree { reply } => drop(reply.send(self.tree().await)),
            Task::Beat { node, reply } => {
                let beaten = self.appender.beat(node).await;
                if let Err(failure) = &beaten {
                    // Otherwise a server to which nobody writes would seem ready.
                    self.failing = Some(failure.why.clone());
                    self.publish_readiness();
                }
                let _ = reply.send(beaten.map_err(unavailable));
            }
            Task::LastSeen { node, reply } => {
                let seen = self.appender.last_seen(node).await.map_err(unavailable);
                let _ = reply.send(seen);
            }
            task => self.waiting.push_back(task),
        }
    }

    /// Returns the tree over everything that is committed, by whichever server.
    async fn tree(&mut self) -> Result<Tree, ReadError> {
        let head = self.reader.head().await?;
        self.fold.committed().catch_up(&*self.reader, head).await?;
        raise(&self.signals.head, head);
        Ok(self.fold.tree.clone())
    }

    /// Writes one batch off the front of what waits.
    async fn write(&mut self) {
        if let Err(failed) = self.attempt(BATCH_EVENTS_MAX).await {
            self.handle(failed).await;
        }
    }

    /// Answers after a failed batch, or tries its requests one by one, so that
    /// one that the database refuses fails alone.
    async fn handle(&mut self, failed: Failed) {
        if failed.failure.surroundings || failed.n_tasks <= 1 {
            return self.refuse(failed);
        }
        for _ in 0..failed.n_tasks {
            if self.waiting.is_empty() {
                return;
            }
            if let Err(failed) = self.attempt(1).await {
                self.refuse(failed);
            }
        }
    }

    /// Answers the tasks of a failed batch.
    fn refuse(&mut self, failed: Failed) {
        let Failed { n_tasks, failure, in_doubt } = failed;
        let Failure { surroundings, why, source, .. } = failure;
        let source = match source.downcast::<WriteError>() {
            // No failure of the database, but a verdict that came when a part of it was placed.
            Ok(verdict) => {
                if let Some(task) = self.waiting.pop_front() {
                    task.answer(Verdict::Write(Err(*verdict)));
                }
                return;
            }
            Err(source) => source,
        };
        tracing::error!(n_tasks, in_doubt, error = %source, "the database failed while writing: {why}");
        // First, so that who hears the refusal finds the log not ready.
        if surroundings {
            self.failing = Some(why.clone());
            self.publish_readiness();
        }
        let source: Arc<dyn std::error::Error + Send + Sync> = source.into();
        for task in self.waiting.drain(..n_tasks.min(self.waiting.len())) {
            task.fail(in_doubt || !surroundings, &why, &source);
        }
    }

    /// Looks whether a database that failed is back.
    async fn probe(&mut self) {
        match self.appender.probe().await {
            Ok(head) if head.position >= self.fold.position => {
                if self.fold.stands(&*self.reader).await.is_ok_and(|stands| stands) {
                    self.recovered();
                }
            }
            // It answers, but its end was cut off: the reason stays as it was, as where
            // the log is another one.
            Ok(_) => {}
            Err(failure) => {
                self.failing = Some(failure.why);
                self.publish_readiness();
            }
        }
    }

    /// Notes that the database works.
    fn recovered(&mut self) {
        if self.failing.take().is_some() {
            tracing::info!("the database takes writes again");
            self.publish_readiness();
        }
    }

    fn publish(&self, position: Position, output: u64) {
        raise(&self.signals.head, position);
        raise(&self.signals.output_head, output);
    }

    fn publish_readiness(&self) {
        let readiness = match self.rule.stopped().or(self.failing.as_deref()) {
            Some(why) => Readiness::NotReady(why.to_owned()),
            None => Readiness::Ready,
        };
        self.signals.readiness.send_if_modified(|known| replace(known, readiness));
    }
}

fn unavailable(failure: Failure) -> OutputError {
    OutputError::Unavailable { why: failure.why }
}

/// Tells a newer value. Whoever else follows the log may have told a newer one before.
pub(crate) fn raise<T: PartialOrd>(known: &watch::Sender<T>, new: T) {
    known.send_if_modified(|known| {
        let newer = new > *known;
        if newer {
            *known = new;
        }
        newer
    });
}

/// Sets a value and tells whether it is another one.
fn replace<T: PartialEq>(known: &mut T, new: T) -> bool {
    let changed = *known != new;
    *known = new;
    changed
}
