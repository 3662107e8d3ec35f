//! The driver: carries out what the planner says, and tells it what came of it.

mod act;

use crate::folder::Folder;
use crate::history::HistoryError;
use crate::host::Host;
use crate::host::process::Cancel;
use crate::journal::record::{Chunk, Record};
use crate::journal::{Journal, JournalError};
use crate::link::{Opened, Parting, Refusal};
use crate::output::Looks;
use crate::plan::{self, Context, Flight, Input, Outcome};
use crate::told;
use api_wire::agent::FromServer;
use ledger_core::event::FailureOutcome;
use ledger_core::ids::{RequestId, Version};
use ledger_core::time::Timestamp;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Why the driver ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The journal failed; without it nothing may be done.
    #[error("the agent cannot go on without its journal")]
    Journal(#[source] JournalError),
    /// The output failed.
    #[error("could not read the output {}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server's history is shorter than what this agent has seen.
    #[error(
        "the server's history was rolled back: this agent has seen version {cursor} of its stream, and the server has only {head}. The agent stops deploying. If the server was restored from a backup on purpose, check what this machine runs, then move the agent's state folder away and start it again"
    )]
    RolledBack {
        /// What the agent has seen.
        cursor: Version,
        /// What the server has.
        head: Version,
    },
    /// The server's history is another one than the agent has seen.
    #[error(transparent)]
    Rewritten(HistoryError),
    /// The server wants this agent no more.
    #[error("the server refused this agent: {}", .0.detail)]
    Refused(Refusal),
}

/// The channels between driver and link.
#[derive(Debug)]
pub struct Channels {
    /// Sessions as they open.
    pub sessions: mpsc::Receiver<Opened>,
    /// The cursor, for the next session.
    pub cursor: watch::Sender<Option<Version>>,
    /// Why the link ended for good, if it does.
    pub parting: oneshot::Receiver<Parting>,
}

/// The agent at work.
#[derive(Debug)]
pub struct Driver<H> {
    journal: Journal,
    folder: Folder,
    host: Arc<H>,
    flight: Flight,
    session: Option<Opened>,
    work: Option<Work>,
    looks: Looks,
}

/// A step under way on a thread of its own. The thread is not waited for when
/// the agent stops: it may wait for a supervisor that takes its time.
#[derive(Debug)]
struct Work {
    outcome: oneshot::Receiver<Result<Option<Outcome>, DriverError>>,
    cancel: Cancel,
}

/// What woke the driver.
enum Wake {
    Session(Opened),
    Parted(Parting),
    Said(Option<FromServer>),
    Done(Result<Option<Outcome>, DriverError>),
    Look,
    Stop,
}

impl<H: Host> Driver<H> {
    /// Takes up where the journal ends.
    pub fn new(journal: Journal, folder: Folder, host: H) -> Self {
        let driver = Self {
            journal,
            folder,
            host: Arc::new(host),
            flight: Flight::default(),
            session: None,
            work: None,
            looks: Looks::default(),
        };
        driver.tidy();
        driver
    }

    /// Returns the newest version of its stream that the agent has seen.
    pub fn cursor(&self) -> Option<Version> {
        self.journal.state().cursor
    }

    /// Works until the agent is stopped or cannot go on.
    pub async fn run(
        mut self,
        mut channels: Channels,
        shutdown: &CancellationToken,
    ) -> Result<(), DriverError> {
        let ended = self.work_on(&mut channels, shutdown).await;
        if let Some(work) = self.work.take() {
            work.cancel.cancel();
        }
        // So that the next start asks for no more events than it needs.
        let noted = match &ended {
            Ok(()) => self.journal.append(Record::Cursor).map_err(DriverError::Journal),
            Err(_) => Ok(()),
        };
        ended.and(noted)
    }

    async fn work_on(
        &mut self,
        channels: &mut Channels,
        shutdown: &CancellationToken,
    ) -> Result<(), DriverError> {
        loop {
            self.act()?;
            channels.cursor.send_replace(self.cursor());
            match self.wake(channels, shutdown).await {
                Wake::Stop => return Ok(()),
                Wake::Parted(Parting::Refused(refusal)) => {
                    return Err(DriverError::Refused(refusal));
                }
                Wake::Parted(Parting::Rewritten(error)) => {
                    return Err(DriverError::Rewritten(error));
                }
                Wake::Session(opened) => self.open(opened)?,
                Wake::Said(None) => self.close(),
                Wake::Said(Some(message)) => self.hear(message)?,
                Wake::Done(outcome) => self.done(outcome?)?,
                Wake::Look => self.looks.looked(),
            }
        }
    }

    async fn wake(&mut self, channels: &mut Channels, shutdown: &CancellationToken) -> Wake {
        let inbox = self.session.as_mut().map(|session| &mut session.inbox);
        let said = async {
            match inbox {
                Some(inbox) => inbox.recv().await,
                None => std::future::pending().await,
            }
        };
        let work = self.work.as_mut().map(|work| &mut work.outcome);
        let done = async {
            match work {
                Some(outcome) => outcome.await,
                None => std::future::pending().await,
            }
        };
        let look = async {
            match &self.journal.state().run {
                Some(run) => tokio::time::sleep(self.looks.wait(run.sealed)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Wake::Stop,
            // Ahead of the next session, so that the old one is heard to its end.
            said = said => Wake::Said(said),
            done = done => Wake::Done(done.unwrap_or_else(|_| Ok(Some(died())))),
            Some(opened) = channels.sessions.recv() => Wake::Session(opened),
            Ok(parting) = &mut channels.parting => Wake::Parted(parting),
            () = look => Wake::Look,
        }
    }

    fn open(&mut self, opened: Opened) -> Result<(), DriverError> {
        let (head, cursor) = (opened.head, opened.cursor);
        if let Some(cursor) = cursor.filter(|cursor| *cursor > head) {
            return Err(DriverError::RolledBack { cursor, head });
        }
        let (pending, running) = (opened.pending.clone(), opened.running);
        self.flight = Flight { working: self.flight.working, connected: true, ..Flight::default() };
        self.session = Some(opened);
        if cursor.is_none() {
            // Nothing before this is of interest to an agent without state.
            self.journal.see(Some(head));
        }
        self.note(Input::Welcome { pending, running })
    }

    fn close(&mut self) {
        self.session = None;
        self.flight = Flight { working: self.flight.working, ..Flight::default() };
    }

    fn hear(&mut self, message: FromServer) -> Result<(), DriverError> {
        match message {
            FromServer::Events { events } => {
                let fresh: Vec<_> = events
                    .into_iter()
                    .filter(|event| Some(event.version) > self.cursor())
                    .collect();
                let due = self.cursor().unwrap_or_default().next();
                if fresh.first().is_some_and(|event| event.version != due) {
                    tracing::warn!("the server left out events after {due}; asking again");
                    self.close();
                    return Ok(());
                }
                let Some(session) = self.session.as_ref().map(|opened| opened.session) else {
                    return Ok(());
                };
                self.journal.see(fresh.last().map(|event| event.version));
                self.note(Input::Events { session, events: &fresh })
            }
            // The link's.
            FromServer::History { .. } => Ok(()),
            FromServer::Claimed { deployment, .. } => self.note(Input::Claimed { deployment }),
            FromServer::Acknowledged { request_id } => self.acknowledged(request_id),
            FromServer::Refused { request_id, code, detail } => {
                tracing::warn!(code = code.as_str(), "refused by the server: {detail}");
                self.acknowledged_output(request_id);
                if plan::is_at_odds(self.journal.state(), request_id, code) {
                    tracing::warn!("the log says that something else runs here; asking what");
                    self.close();
                    return Ok(());
                }
                self.note(Input::Refused { request_id, code })
            }
            // The link keeps these to itself.
            FromServer::Challenge { .. }
            | FromServer::Welcome { .. }
            | FromServer::Goodbye { .. } => Ok(()),
        }
    }

    fn acknowledged(&mut self, request_id: RequestId) -> Result<(), DriverError> {
        self.acknowledged_output(request_id);
        self.note(Input::Acknowledged { request_id })
    }

    /// Output that is refused for good is as little to be sent again as output
    /// that is there.
    fn acknowledged_output(&mut self, request_id: RequestId) {
        let run = self.journal.state().run.as_ref();
        let chunk = run.and_then(|run| run.chunks.iter().find(|c| c.request_id == request_id));
        if let Some(end) = chunk.map(Chunk::end) {
            self.journal.acknowledge_output(end);
        }
    }

    fn done(&mut self, outcome: Option<Outcome>) -> Result<(), DriverError> {
        self.work = None;
        self.flight.working = false;
        match outcome {
            Some(outcome) => self.note(Input::Done(outcome)),
            None => Ok(()),
        }
    }

    /// Lets the planner decide on an input, and puts down what it decides.
    fn note(&mut self, input: Input<'_>) -> Result<(), DriverError> {
        let context = Context { now: now(), claim: fresh_id(), request: fresh_id() };
        for record in plan::decide(self.journal.state(), input, &context) {
            told::tell(self.journal.state(), &record);
            let before = self.journal.state().run.is_some();
            self.journal.append(record).map_err(DriverError::Journal)?;
            if before && self.journal.state().run.is_none() {
                self.flight.sent.clear();
                self.tidy();
            }
        }
        Ok(())
    }

    fn tidy(&self) {
        let keep = self.journal.state().run.as_ref().map(|run| run.assignment.deployment);
        self.host.tidy(keep);
    }
}

/// A step whose thread ended without a word: a defect, which must not be repeated.
fn died() -> Outcome {
    let error = "the agent made a mistake in this step; its own log says more".to_owned();
    Outcome::Hindered { outcome: FailureOutcome::Unknown, error }
}

fn fresh_id() -> RequestId {
    RequestId::new(uuid::Uuid::now_v7())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
