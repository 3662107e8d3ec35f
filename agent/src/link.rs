//! The link to the server: one session after another, for as long as the agent
//! lives. Each session hands its messages to the driver over channels of its
//! own, so that nothing of an old session is taken for the new one's.

use crate::backoff::Backoff;
use crate::history::{History, HistoryError, Shown};
use crate::limits::{
    GOODBYE_DEADLINE, HANDSHAKE_DEADLINE, HISTORY_INTERVAL, INBOX_MESSAGES, PING_INTERVAL,
    PINGS_MISSED_MAX, RETRY_AFTER_MAX, SESSION_GOOD_AFTER,
};
use api_client::endpoint::Endpoint;
use api_client::socket::{Received, Socket, SocketError};
use api_wire::agent::{FromAgent, FromServer, GoodbyeReason, Pending};
use data_encoding::BASE64;
use ed25519_dalek::{Signer, SigningKey};
use ledger_core::ids::{DeploymentId, NodeId, SessionId, Version};
use ledger_core::key::{PublicKey, session_proof};
use ledger_core::names::{AgentName, ProgramVersion, System, WorkspaceName};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Who the agent is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub name: AgentName,
    /// Its key.
    pub key: SigningKey,
    /// This program's version.
    pub version: ProgramVersion,
    /// The machine's Nix system.
    pub system: System,
}

/// An open session.
#[derive(Debug)]
pub struct Opened {
    /// The session's id.
    pub session: SessionId,
    /// The newest version of the agent's stream.
    pub head: Version,
    /// The cursor that the agent said.
    pub cursor: Option<Version>,
    /// What waits, by the log.
    pub pending: Option<Pending>,
    /// What runs, by the log.
    pub running: Option<DeploymentId>,
    /// What the server says. It ends with the session.
    pub inbox: mpsc::Receiver<FromServer>,
    /// What the agent says. Unbounded, for the planner sends only so much at once.
    pub outbox: mpsc::UnboundedSender<FromAgent>,
}

/// The server does not want this agent any more until a person acted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: GoodbyeReason,
    /// The server's words.
    pub detail: String,
}

/// How a session ended.
enum End {
    /// For good.
    Refused(Refusal),
    /// Come again, not before the given time.
    Again { why: String, after: Option<Duration> },
    /// For good: the server's history is another one than it was.
    Rewritten(HistoryError),
    /// The agent stops.
    Stopped,
}

/// Why the link ends for good.
#[derive(Debug)]
pub enum Parting {
    /// The server does not want this agent.
    Refused(Refusal),
    /// The agent does not believe this server.
    Rewritten(HistoryError),
}

impl From<HistoryError> for End {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Unreadable(_) => Self::again(error.to_string()),
            error => Self::Rewritten(error),
        }
    }
}

impl From<SocketError> for End {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::Refused { detail, .. } if error.is_token_refused() => {
                Self::Refused(Refusal { reason: GoodbyeReason::TokenRefused, detail })
            }
            error => Self::again(causes(&error)),
        }
    }
}

impl End {
    fn again(why: impl Into<String>) -> Self {
        Self::Again { why: why.into(), after: None }
    }

    fn goodbye(reason: GoodbyeReason, detail: String, retry_after_ms: Option<u64>) -> Self {
        if reason.is_final() {
            return Self::Refused(Refusal { reason, detail });
        }
        let after = retry_after_ms.map(|ms| Duration::from_millis(ms).min(RETRY_AFTER_MAX));
        Self::Again { why: format!("the server ended the session: {detail}"), after }
    }
}

/// Joins an error and what led to it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors of others say their cause themselves.
        if !text.ends_with(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        source = cause.source();
    }
    text
}

/// Keeps a session open until the agent stops or the server refuses it.
pub async fn keep(
    endpoint: Endpoint,
    identity: Identity,
    mut history: History,
    cursor: watch::Receiver<Option<Version>>,
    sessions: mpsc::Sender<Opened>,
    shutdown: CancellationToken,
) -> Option<Parting> {
    let mut backoff = Backoff::default();
    let mut said = String::new();
    loop {
        let began = Instant::now();
        let end = session(&endpoint, &identity, &mut history, &cursor, &sessions, &shutdown).await;
        let (why, after) = match end {
            End::Stopped => return None,
            End::Refused(refusal) => return Some(Parting::Refused(refusal)),
            End::Rewritten(error) => return Some(Parting::Rewritten(error)),
            End::Again { why, after } => (why, after),
        };
        if began.elapsed() >= SESSION_GOOD_AFTER {
            backoff = Backoff::default();
            said.clear();
        }
        let wait = backoff.next_wait().saturating_add(after.unwrap_or_default());
        // An outage of hours is one line, not one for every try.
        if why == said {
            tracing::debug!("still not connected to {}: {why}", endpoint.address());
        } else {
            tracing::warn!("not connected to {}: {why}; trying again", endpoint.address());
        }
        said = why;
        tokio::select! {
            () = sleep(wait) => {}
            () = shutdown.cancelled() => return None,
        }
    }
}

async fn session(
    endpoint: &Endpoint,
    identity: &Identity,
    history: &mut History,
    cursor: &watch::Receiver<Option<Version>>,
    sessions: &mpsc::Sender<Opened>,
    shutdown: &CancellationToken,
) -> End {
    let opening = open(endpoint, identity, history, cursor);
    let opened = tokio::select! {
        opened = opening => opened,
        () = shutdown.cancelled() => return End::Stopped,
    };
    let (socket, welcome, early) = match opened {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    let (to_driver, inbox) = mpsc::channel(INBOX_MESSAGES);
    let (outbox, from_driver) = mpsc::unbounded_channel();
    let Welcome { session, workspace, head, cursor, pending, running, ping_interval } = welcome;
    tracing::info!(
        "connected to {} as {} in the workspace {workspace}",
        endpoint.address(),
        identity.name
    );
    let opened = Opened { session, head, cursor, pending, running, inbox, outbox };
    if sessions.send(opened).await.is_err() {
        return End::Stopped;
    }
    for message in early {
        if to_driver.send(message).await.is_err() {
            return End::again("the agent gave the session up");
        }
    }
    let line = Line { socket, history, to_driver, from_driver };
    line.hold(ping_interval, shutdown).await
}

/// What the server said when it opened a session.
struct Welcome {
    session: SessionId,
    workspace: WorkspaceName,
    head: Version,
    cursor: Option<Version>,
    pending: Option<Pending>,
    running: Option<DeploymentId>,
    ping_interval: Duration,
}

async fn open(
    endpoint: &Endpoint,
    identity: &Identity,
    history: &mut History,
    cursor: &watch::Receiver<Option<Version>>,
) -> Result<(Socket, Welcome, Vec<FromServer>), End> {
    let mut socket = Socket::connect(endpoint).await?;
    let (node, workspace, nonce) = match hear(&mut socket).await? {
        FromServer::Challenge { node, workspace, nonce } => (node, workspace, nonce),
        other => return Err(unexpected(other)),
    };
    let cursor = *cursor.borrow();
    socket.send(&hello(identity, node, &workspace, &nonce, cursor)?).await?;
    match hear(&mut socket).await? {
        FromServer::Welcome { session, head, pending, running, ping_interval_ms } => {
            let (least, most) = PING_INTERVAL;
            let ping_interval = Duration::from_millis(ping_interval_ms).clamp(least, most);
            let welcome =
                Welcome { session, workspace, head, cursor, pending, running, ping_interval };
            // Before anything is begun that the server asks for.
            let early = look_back(&mut socket, history).await?;
            Ok((socket, welcome, early))
        }
        other => Err(unexpected(other)),
    }
}

/// Lets the server show that its history continues what the agent has seen.
/// Returns what it said meanwhile.
async fn look_back(socket: &mut Socket, history: &mut History) -> Result<Vec<FromServer>, End> {
    let mut early = Vec::new();
    socket.send(&FromAgent::History { size: history.size() }).await?;
    loop {
        match hear(socket).await? {
            FromServer::History { checkpoint, proof, keys } => {
                let checkpoint = checkpoint.as_deref();
                history.check(&Shown { checkpoint, proof: &proof, keys: &keys })?;
                return Ok(early);
            }
            goodbye @ FromServer::Goodbye { .. } => return Err(unexpected(goodbye)),
            // A session's first events, which are few messages.
            message if early.len() < INBOX_MESSAGES => early.push(message),
            _ => return Err(End::again("the server does not show its history")),
        }
    }
}

fn hello(
    identity: &Identity,
    node: NodeId,
    workspace: &WorkspaceName,
    nonce: &str,
    cursor: Option<Version>,
) -> Result<FromAgent, End> {
    let nonce = BASE64.decode(nonce.as_bytes()).ok();
    let nonce: [u8; 32] = nonce
        .and_then(|nonce| nonce.try_into().ok())
        .ok_or_else(|| End::again("the server's challenge is not 32 bytes"))?;
    let proof = session_proof(node, &nonce, workspace, &identity.name);
    Ok(FromAgent::Hello {
        agent: identity.name.clone(),
        version: identity.version.clone(),
        system: identity.system.clone(),
        public_key: PublicKey::from_bytes(identity.key.verifying_key().to_bytes()),
        signature: BASE64.encode(&identity.key.sign(&proof).to_bytes()),
        cursor,
    })
}

/// Waits for the server's next message while a session opens.
async fn hear(socket: &mut Socket) -> Result<FromServer, End> {
    let hearing = async {
        loop {
            if let Received::Message(message) = socket.receive().await? {
                return Ok(message);
            }
        }
    };
    let late = |_| End::again("the server did not answer in time");
    timeout(HANDSHAKE_DEADLINE, hearing).await.map_err(late)?
}

fn unexpected(message: FromServer) -> End {
    match message {
        FromServer::Goodbye { reason, detail, retry_after_ms } => {
            End::goodbye(reason, detail, retry_after_ms)
        }
        _ => End::again("the server spoke out of turn"),
    }
}

/// An open connection between server and driver.
struct Line<'h> {
    socket: Socket,
    history: &'h mut History,
    to_driver: mpsc::Sender<FromServer>,
    from_driver: mpsc::UnboundedReceiver<FromAgent>,
}

impl Line<'_> {
    /// Carries messages until the connection or the agent ends.
    async fn hold(mut self, ping_interval: Duration, shutdown: &CancellationToken) -> End {
        let end = self.carry(ping_interval, shutdown).await.unwrap_or_else(End::from);
        // A driver that stops first lets go of the session, which is the same end.
        if matches!(end, End::Stopped) || shutdown.is_cancelled() {
            // Whether the server hears it changes nothing for us.
            let _ = timeout(GOODBYE_DEADLINE, self.part()).await;
        }
        end
    }

    async fn part(&mut self) -> Result<(), SocketError> {
        self.socket.send(&FromAgent::Goodbye {}).await?;
        self.socket.close().await;
        Ok(())
    }

    async fn carry(
        &mut self,
        ping_interval: Duration,
        shutdown: &CancellationToken,
    ) -> Result<End, SocketError> {
        let mut pings = interval_at(Instant::now() + ping_interval, ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks_back = interval_at(Instant::now() + HISTORY_INTERVAL, HISTORY_INTERVAL);
        looks_back.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let patience = ping_interval.saturating_mul(PINGS_MISSED_MAX);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(End::Stopped),
                received = self.socket.receive() => {
                    let received = received?;
                    heard = Instant::now();
                    match received {
                        Received::SignOfLife => {}
                        Received::Message(FromServer::Goodbye { reason, detail, retry_after_ms }) => {
                            return Ok(End::goodbye(reason, detail, retry_after_ms));
                        }
                        Received::Message(FromServer::History { checkpoint, proof, keys }) => {
                            let checkpoint = checkpoint.as_deref();
                            let shown = Shown { checkpoint, proof: &proof, keys: &keys };
                            if let Err(error) = self.history.check(&shown) {
                                return Ok(error.into());
                            }
                        }
                        Received::Message(message) => {
                            if self.to_driver.send(message).await.is_err() {
                                return Ok(End::again("the agent gave the session up"));
                            }
                        }
                    }
                }
                message = self.from_driver.recv() => match message {
                    Some(message) => self.socket.send(&message).await?,
                    // Stopping is the token's to say.
                    None => return Ok(End::again("the agent gave the session up")),
                },
                _ = pings.tick() => self.socket.ping().await?,
                _ = looks_back.tick() => {
                    self.socket.send(&FromAgent::History { size: self.history.size() }).await?;
                }
                () = sleep_until(heard + patience) => {
                    let seconds = patience.as_secs_f32();
                    return Ok(End::again(format!("nothing was heard for {seconds:.1} s")));
                }
            }
        }
    }
}
