//! What every part of a running server shares.

use crate::auth::key::TokenKey;
use crate::auth::refusals::Refusals;
use crate::hub::registry::Registry;
use crate::limits;
use crate::metrics::Metrics;
use crate::problem::Refusal;
use crate::routes::activations::Remembered;
use crate::signer::Signer;
use ledger_core::event::Digest;
use ledger_core::names::ProgramVersion;
use ledger_core::record::ActorKind;
use ledger_core::{Actor, Command, NodeId, RequestId};
use ledger_store::{Change, Clock, Log, Readiness, Write, WriteError, Written};
use projections::image::Image;
use projections::{Live, Snapshot};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A handle on a running server. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct Server(Arc<Shared>);

/// The parts of a running server.
pub(crate) struct Shared {
    pub(crate) node: NodeId,
    pub(crate) version: ProgramVersion,
    pub(crate) ping_interval: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: Log,
    pub(crate) live: Live<Image>,
    pub(crate) key: TokenKey,
    pub(crate) signer: Signer,
    pub(crate) refusals: Refusals,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) remembered: Remembered,
    pub(crate) histories: Semaphore,
    pub(crate) large_bodies: Semaphore,
    /// Cancelled when the server begins to stop: long polls end, sockets say goodbye.
    pub(crate) stopping: CancellationToken,
    /// The open sessions.
    pub(crate) sessions: TaskTracker,
}

impl Deref for Server {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Server {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor { kind: ActorKind::Node, id: self.node.to_string() }
    }

    /// Returns the newest state of the folds.
    pub(crate) fn image(&self) -> Arc<Snapshot<Image>> {
        self.live.snapshot()
    }

    /// Writes what a command makes happen. Answers after the commit.
    pub(crate) async fn commit(
        &self,
        request_id: RequestId,
        given: Digest,
        actor: Actor,
        command: Command,
    ) -> Result<Written, WriteError> {
        let change = Change::Command(Box::new(command));
        let write = Write { request_id, given, actor, expect: Vec::new(), change };
        let begun = Instant::now();
        let written = tokio::time::timeout(limits::WRITE_TIMEOUT, self.log.write(write)).await;
        let late = || format!("no answer within {} s", limits::WRITE_TIMEOUT.as_secs());
        let written = written.unwrap_or_else(|_| Err(WriteError::Database(late().into())));
        self.metrics.append(&written, begun.elapsed());
        written
    }

    /// Writes, and waits until the folds show it.
    pub(crate) async fn write(
        &self,
        request_id: RequestId,
        given: Digest,
        actor: Actor,
        command: Command,
    ) -> Result<(Written, Arc<Snapshot<Image>>), Refusal> {
        let written = self.commit(request_id, given, actor, command).await?;
        let snapshot = match written.positions {
            Some((_, last)) => self.live.wait_for(last, limits::FOLD_TIMEOUT).await?,
            None => self.image(),
        };
        Ok((written, snapshot))
    }

    /// Says why the server cannot serve writes, if it cannot.
    pub(crate) fn not_ready(&self) -> Option<String> {
        if self.stopping.is_cancelled() {
            return Some("the server is stopping".to_owned());
        }
        if let Some(fault) = self.live.fault() {
            return Some(crate::problem::chain(&fault));
        }
        match self.log.readiness() {
            Readiness::Ready => self.signer.fault(),
            Readiness::NotReady(why) => Some(why),
        }
    }
}
