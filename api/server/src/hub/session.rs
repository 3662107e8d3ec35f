//! A session from its opening to its end, whatever the protocol.

use crate::auth::Caller;
use crate::given;
use crate::hub::feed::Feed;
use crate::limits;
use crate::server::Server;
use ledger_core::agent::Agent;
use ledger_core::command::Connection;
use ledger_core::event::DisconnectReason;
use ledger_core::key::PublicKey;
use ledger_core::names::{AgentName, ProgramVersion, System, WorkspaceName};
use ledger_core::record::ActorKind;
use ledger_core::{Actor, Command, EventId, Position, Rejection, RequestId, SessionId, StreamId};
use ledger_core::{TokenId, Version};
use ledger_store::WriteError;
use projections::Snapshot;
use projections::image::Image;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::{info, warn};

/// Whose session it is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) workspace: WorkspaceName,
    pub(crate) agent: AgentName,
    pub(crate) session: SessionId,
    pub(crate) token: TokenId,
}

/// What an agent says of itself to open a session.
pub(crate) struct Introduction {
    pub(crate) agent: AgentName,
    pub(crate) key: PublicKey,
    pub(crate) version: ProgramVersion,
    pub(crate) system: System,
    pub(crate) cursor: Option<Version>,
}

/// A session that is open.
pub(crate) struct Open {
    pub(crate) identity: Identity,
    /// The stream's newest version at the opening.
    pub(crate) head: Version,
    /// How the agent stood at the opening.
    pub(crate) agent: Agent,
    pub(crate) feed: Feed,
    pub(crate) ended: oneshot::Receiver<Ending>,
}

/// Why a session ends, or is not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The agent said goodbye.
    Stopped,
    /// The connection broke.
    Lost,
    /// Nothing was heard for too long.
    Silent,
    /// The agent broke the protocol, and how.
    Broke(String),
    /// A newer session took its place.
    Replaced,
    /// The name belongs to another key.
    KeyMismatch(String),
    /// The agent is retired, or was rekeyed.
    Retired,
    /// The token ended or does not cover the name, and which.
    TokenRefused(String),
    /// The server stops.
    Stopping,
    /// The server cannot serve it now, or made a mistake, and why. The log has no
    /// word of its own for it, and says that the connection was lost.
    Unavailable(String),
}

/// A session that was not opened.
pub(crate) struct NotOpened {
    pub(crate) ending: Ending,
    /// Whether the log has its opening, or may have it, so that its end is to be
    /// recorded.
    pub(crate) recorded: bool,
}

impl From<Ending> for NotOpened {
    fn from(ending: Ending) -> Self {
        Self { ending, recorded: false }
    }
}

impl Ending {
    /// Returns what the log says of it. A replaced session ended with the newer's opening.
    const fn recorded(&self) -> Option<DisconnectReason> {
        Some(match self {
            Self::Stopped => DisconnectReason::AgentStopped,
            Self::Lost | Self::Unavailable(_) => DisconnectReason::ConnectionLost,
            Self::Silent => DisconnectReason::TimedOut,
            Self::Broke(_) => DisconnectReason::ProtocolError,
            Self::Replaced => return None,
            Self::KeyMismatch(_) | Self::Retired | Self::TokenRefused(_) => {
                DisconnectReason::Revoked
            }
            Self::Stopping => DisconnectReason::NodeStopped,
        })
    }
}

impl Identity {
    /// The identity of a session that is about to be opened.
    pub(crate) fn of_new(caller: &Caller, agent: &AgentName) -> Self {
        Self {
            workspace: caller.token.workspace.clone(),
            agent: agent.clone(),
            session: SessionId::new(uuid::Uuid::now_v7()),
            token: caller.token.id,
        }
    }

    pub(crate) fn stream(&self) -> StreamId {
        StreamId::Agent(self.workspace.clone(), self.agent.clone())
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor { kind: ActorKind::Agent, id: self.agent.as_str().to_owned() }
    }
}

/// Opens a session for an agent that proved its key.
///
/// No event is lost or given twice between the log and the live queue:
/// 1. the opening is committed, which decides whose turn it is;
/// 2. the session is registered, so that what comes from now on is queued;
/// 3. the folds are read, at the opening or later: their head is how far the log
///    is read, and what the queue holds up to there is passed over.
///
/// Whoever calls it closes what was not opened but is recorded.
pub(crate) async fn open(
    server: &Server,
    caller: &Caller,
    identity: &Identity,
    introduction: Introduction,
) -> Result<Open, NotOpened> {
    if !caller.covers(&identity.agent) {
        let detail = format!("the token does not cover the agent name {}", identity.agent);
        return Err(Ending::TokenRefused(detail).into());
    }
    let opened = connect(server, caller, identity, &introduction).await?;
    let recorded = |ending| NotOpened { ending, recorded: true };
    let registered = server.registry.register(identity, introduction.key, opened);
    let registered = registered.map_err(recorded)?;
    let snapshot = server.live.wait_for(opened, limits::FOLD_TIMEOUT).await;
    let snapshot = snapshot.map_err(|error| recorded(Ending::Unavailable(error.to_string())))?;
    let checked = check(server, &snapshot, identity, introduction.key);
    let (agent, head) = checked.map_err(recorded)?;
    // Without a cursor, an agent wants what is pending and what comes.
    let cursor = introduction.cursor.unwrap_or(head);
    let feed = Feed::new(
        server.log.clone(),
        identity.stream(),
        cursor,
        head,
        registered.queue,
        registered.behind,
    );
    info!(
        workspace = %identity.workspace, agent = %identity.agent, session = %identity.session,
        "An agent connected."
    );
    Ok(Open { identity: identity.clone(), head, agent, feed, ended: registered.ended })
}

async fn connect(
    server: &Server,
    caller: &Caller,
    identity: &Identity,
    introduction: &Introduction,
) -> Result<Position, NotOpened> {
    let Introduction { agent, key, version, system, .. } = introduction;
    let connection = Connection {
        agent: agent.clone(),
        key: *key,
        session: identity.session,
        node: server.node,
        version: version.clone(),
        system: system.clone(),
        annex: caller.annex(None),
    };
    let request = RequestId::new(identity.session.uuid());
    let given = given::of_message(
        "connect",
        &identity.workspace,
        identity.agent.as_str(),
        &identity.session,
    );
    let command = Command::Connect { workspace: identity.workspace.clone(), connection };
    match server.commit(request, given, identity.actor(), command).await {
        Ok(written) => {
            let nothing = || Ending::Unavailable("the session was not recorded".to_owned());
            written.positions.map(|(_, last)| last).ok_or_else(|| nothing().into())
        }
        Err(WriteError::Rejected(rejection)) => Err(refused(rejection).into()),
        Err(error) => {
            // What may have come through after all must not stay open. What did not
            // has no end to record: while the log takes no writes, every agent
            // comes back again and again, and nothing may be left of each try.
            let recorded = matches!(error, WriteError::Database(_));
            Err(NotOpened { ending: Ending::Unavailable(error.to_string()), recorded })
        }
    }
}

fn refused(rejection: Rejection) -> Ending {
    match rejection {
        Rejection::AgentRetired { .. } => Ending::Retired,
        Rejection::KeyMismatch { .. } => Ending::KeyMismatch(rejection.to_string()),
        // It starts again by itself, and the agent may come back.
        Rejection::NodeLost { .. } => Ending::Unavailable(rejection.to_string()),
        other => Ending::TokenRefused(other.to_string()),
    }
}

/// Looks again at what may have changed before the session was registered.
fn check(
    server: &Server,
    snapshot: &Arc<Snapshot<Image>>,
    identity: &Identity,
    key: PublicKey,
) -> Result<(Agent, Version), Ending> {
    let image = &snapshot.state;
    let token = image.access.token(identity.token);
    if !token.is_some_and(|token| token.is_valid_at(server.clock.now())) {
        return Err(Ending::TokenRefused("the token has expired or was revoked".to_owned()));
    }
    match image.fleet.agent(&identity.workspace, &identity.agent) {
        Some(agent) if !agent.decided.retired && agent.decided.key == Some(key) => {
            Ok((agent.decided.clone(), agent.head))
        }
        _ => Err(Ending::Retired),
    }
}

/// Ends a session: forgets it, and records its end once.
pub(crate) async fn close(server: &Server, identity: &Identity, ending: &Ending) {
    server.registry.remove(identity);
    info!(
        workspace = %identity.workspace, agent = %identity.agent, session = %identity.session,
        ?ending, "A session ended."
    );
    let Some(reason) = ending.recorded() else { return };
    let command = || Command::Disconnect {
        workspace: identity.workspace.clone(),
        agent: identity.agent.clone(),
        session: identity.session,
        reason,
    };
    // The opening's id is the session's; its end is another request.
    let opening = RequestId::new(identity.session.uuid());
    let request = RequestId::new(EventId::derive(opening, u32::MAX).uuid());
    let name = identity.agent.as_str();
    let given = given::of_message("disconnect", &identity.workspace, name, &identity.session);
    let mut pause = Duration::from_millis(100);
    loop {
        match server.commit(request, given, server.actor(), command()).await {
            // A session that another replaced is over already, and decides nothing.
            Ok(_) | Err(WriteError::Rejected(_)) => return,
            Err(error) if server.stopping.is_cancelled() => {
                // The next start finds the session open and records it as lost.
                warn!(session = %identity.session, %error, "The end of a session is not recorded.");
                return;
            }
            Err(error) => {
                warn!(session = %identity.session, %error, "Recording a session's end again soon.");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(limits::DISCONNECT_RETRY_MAX),
            () = server.stopping.cancelled() => {}
        }
    }
}
