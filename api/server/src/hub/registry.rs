//! Which agent has which session here: one each, the newest.

use crate::hub::session::{Ending, Identity};
use crate::limits;
use ledger_core::key::PublicKey;
use ledger_core::names::{AgentName, WorkspaceName};
use ledger_core::{Event, Position, Record, SessionId, StreamId, TokenId};
use prometheus_client::metrics::counter::Counter;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};

/// The open sessions of this node.
#[derive(Default)]
pub(crate) struct Registry {
    table: Mutex<Table>,
    overflows: Counter,
}

#[derive(Default)]
struct Table {
    workspaces: HashMap<WorkspaceName, HashMap<AgentName, Entry>>,
    stopped: bool,
}

struct Entry {
    session: SessionId,
    /// Where the session's opening stands in the log: the order of sessions.
    opened: Position,
    token: TokenId,
    key: PublicKey,
    queue: mpsc::Sender<Arc<Record>>,
    behind: Arc<Notify>,
    end: oneshot::Sender<Ending>,
}

/// A session's own ends of what the registry holds of it.
pub(crate) struct Registered {
    /// The events of its agent's stream, as they come.
    pub(crate) queue: mpsc::Receiver<Arc<Record>>,
    /// Woken when the queue was full: what did not fit is to be read from the log.
    pub(crate) behind: Arc<Notify>,
    /// Why somebody else ends the session.
    pub(crate) ended: oneshot::Receiver<Ending>,
}

impl Registry {
    /// Takes in a session, and ends the older one of the same agent.
    pub(crate) fn register(
        &self,
        identity: &Identity,
        key: PublicKey,
        opened: Position,
    ) -> Result<Registered, Ending> {
        let mut table = self.table();
        if table.stopped {
            return Err(Ending::Stopping);
        }
        let agents = table.workspaces.entry(identity.workspace.clone()).or_default();
        if agents.get(&identity.agent).is_some_and(|current| current.opened > opened) {
            return Err(Ending::Replaced);
        }
        let (sender, queue) = mpsc::channel(limits::SESSION_QUEUE_MAX);
        let (end, ended) = oneshot::channel();
        let behind = Arc::new(Notify::new());
        let entry = Entry {
            session: identity.session,
            opened,
            token: identity.token,
            key,
            queue: sender,
            behind: behind.clone(),
            end,
        };
        if let Some(older) = agents.insert(identity.agent.clone(), entry) {
            older.end(Ending::Replaced);
        }
        Ok(Registered { queue, behind, ended })
    }

    /// Forgets a session, if it is still the agent's.
    pub(crate) fn remove(&self, identity: &Identity) {
        let mut table = self.table();
        let Some(agents) = table.workspaces.get_mut(&identity.workspace) else { return };
        if agents.get(&identity.agent).is_some_and(|entry| entry.session == identity.session) {
            agents.remove(&identity.agent);
        }
    }

    /// Hands each record to whom it is for. Never waits: a full queue makes its
    /// session read from the log.
    pub(crate) fn deliver(&self, records: Vec<Record>) {
        let mut table = self.table();
        for record in records {
            match &record.stream {
                StreamId::Agent(workspace, agent) => {
                    let Some(agents) = table.workspaces.get_mut(workspace) else { continue };
                    let Some(entry) = agents.get(agent) else { continue };
                    let ends = entry.is_ended_by(&record);
                    let agent = agent.clone();
                    if entry.hand(record) {
                        self.overflows.inc();
                    }
                    if ends && let Some(entry) = agents.remove(&agent) {
                        entry.end(Ending::Retired);
                    }
                }
                StreamId::Sessions(workspace) => {
                    if let Some(agents) = table.workspaces.get_mut(workspace) {
                        end_elsewhere(agents, &record);
                    }
                }
                StreamId::Workspace(workspace) => {
                    if let Ok(Event::TokenRevoked(revoked)) = record.event()
                        && let Some(agents) = table.workspaces.get_mut(workspace)
                    {
                        let of_token =
                            |_: &AgentName, entry: &mut Entry| entry.token == revoked.token;
                        for (_, entry) in agents.extract_if(|a, e| of_token(a, e)) {
                            entry.end(Ending::TokenRefused("the token was revoked".to_owned()));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Ends every session, and takes in no more.
    pub(crate) fn stop(&self) {
        let mut table = self.table();
        table.stopped = true;
        for (_, agents) in table.workspaces.drain() {
            for (_, entry) in agents {
                entry.end(Ending::Stopping);
            }
        }
    }

    /// Returns how many events wait for the session that has most to read.
    pub(crate) fn deepest_queue(&self) -> usize {
        let table = self.table();
        let entries = table.workspaces.values().flat_map(HashMap::values);
        let waiting = entries.map(|e| e.queue.max_capacity() - e.queue.capacity());
        waiting.max().unwrap_or(0)
    }

    /// Returns the count of events that found a queue full.
    pub(crate) fn overflows(&self) -> Counter {
        self.overflows.clone()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each change is whole before anything could panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends sessions of which the log says that they are over: another server took
/// the agent in, or took this server for dead.
fn end_elsewhere(agents: &mut HashMap<AgentName, Entry>, record: &Record) {
    match record.event() {
        Ok(Event::AgentConnected(event)) => {
            let is_older =
                |entry: &Entry| entry.session != event.session && entry.opened < record.position;
            if agents.get(&event.agent).is_some_and(is_older)
                && let Some(entry) = agents.remove(&event.agent)
            {
                entry.end(Ending::Replaced);
            }
        }
        Ok(Event::SessionsLost(event)) => {
            for lost in &event.sessions {
                if agents.get(&lost.agent).is_some_and(|entry| entry.session == lost.session)
                    && let Some(entry) = agents.remove(&lost.agent)
                {
                    entry.end(Ending::Unavailable("this server was taken for dead".to_owned()));
                }
            }
        }
        _ => {}
    }
}

impl Entry {
    /// Hands over the record, and returns whether there was no room for it.
    fn hand(&self, record: Record) -> bool {
        match self.queue.try_send(Arc::new(record)) {
            // A closed queue is a session that is ending.
            Ok(()) | Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(_)) => {
                self.behind.notify_one();
                true
            }
        }
    }

    /// An operator took the name away from the key that the session proved.
    fn is_ended_by(&self, record: &Record) -> bool {
        match record.event() {
            Ok(Event::AgentRetired(_)) => true,
            Ok(Event::AgentRekeyed(event)) => event.public_key != Some(self.key),
            _ => false,
        }
    }

    fn end(self, ending: Ending) {
        // A session that does not listen any more has ended by itself.
        let _ = self.end.send(ending);
    }
}
