//! How a server begins: it folds the log, makes what a first start needs, and
//! records what an earlier run of it left open.

use crate::auth::refusals::Refusals;
use crate::folder::{ADMIN_TOKEN, Folder, FolderError, Standing};
use crate::given;
use crate::hub::registry::Registry;
use crate::limits;
use crate::metrics::Metrics;
use crate::routes::activations::Remembered;
use crate::running::Config;
use crate::server::{Server, Shared};
use crate::signer::{SignError, Signer};
use api_wire::token::Secret;
use ledger_core::checkpoint::{Checkpoint, InvalidOrigin, NoteKey, Origin};
use ledger_core::event::{self, Reach};
use ledger_core::rights::TokenKind;
use ledger_core::{
    Command, EventId, NewEvent, NodeId, Rejection, RequestId, StreamId, Timestamp, TokenId,
    Version, WorkspaceName,
};
use ledger_store::{Change, Clock, Expectation, Log, OutputError, Write, WriteError};
use projections::image::Image;
use projections::{Runner, WaitError};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the first admin token is good: long enough to issue others with it.
const ADMIN_TOKEN_DAYS: i64 = 30;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error("the data folder cannot be used")]
    Folder(#[source] FolderError),
    /// The log cannot be folded.
    #[error("the log cannot be folded")]
    Fold(#[source] WaitError),
    /// The log cannot be one that a server began.
    #[error(
        "the log has workspaces, but not `default`, which every log begins with: it was damaged or changed; restore a backup"
    )]
    NoFirstWorkspace,
    /// The log was begun by another server meanwhile.
    #[error(
        "another server began this log at the same moment; copy token-key from its data folder into this one's, then start again"
    )]
    BegunByAnother,
    /// The log was named by another server meanwhile.
    #[error("another server named this log at the same moment; start this one again")]
    NamedByAnother,
    /// The log does not take what a start records.
    #[error("the start cannot be recorded")]
    Record(#[source] WriteError),
    /// The database does not tell of earlier runs.
    #[error("the database does not tell when this server last lived")]
    Look(#[source] OutputError),
    /// The log cannot be signed.
    #[error("the log cannot be signed")]
    Sign(#[source] SignError),
    /// The log cannot be named.
    #[error("the log cannot be named")]
    Origin(#[source] InvalidOrigin),
    /// Certificate or key cannot be used.
    #[error("TLS cannot be set up")]
    Tls(#[source] crate::tls::TlsError),
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A server that is ready to serve, but for its listener.
pub(crate) struct Booted {
    pub(crate) server: Server,
    pub(crate) runner: Runner<Image>,
    /// Where the first admin token lies, if this start made it.
    pub(crate) admin_token: Option<PathBuf>,
}

/// Begins a server on a log.
pub(crate) async fn boot(
    config: &Config,
    log: Log,
    clock: Arc<dyn Clock>,
) -> Result<Booted, StartError> {
    let folder = Folder::open(&config.data).map_err(StartError::Folder)?;
    let registry = Arc::new(Registry::default());
    let head = *log.head().borrow();
    let metrics = Arc::new(Metrics::new(head));
    let (counting, sessions) = (metrics.clone(), registry.clone());
    let runner = Runner::<Image>::start(log.clone(), move |_, records| {
        counting.outcomes.observe(&records);
        sessions.deliver(records);
    });
    let live = runner.live().clone();
    let folded = live.wait_for(head, limits::FIRST_FOLD_TIMEOUT).await;
    let image = folded.map_err(StartError::Fold)?;
    // The first start issues a token together with its workspace.
    let has_tokens = image.state.fleet.workspace(&WorkspaceName::initial()).is_some();
    let (key, standing) = folder.token_key(has_tokens).map_err(StartError::Folder)?;
    // A log that others share has their nodes, too.
    let known = image.state.fleet.node().filter(|_| !log.is_shared());
    let node = folder.node(known).map_err(StartError::Folder)?;
    // Before anything is recorded: a restored backup is left as it is.
    let (signer, forked) = begin_to_sign(config, folder.clone(), node, &log).await?;
    let server = Server::new(Shared {
        node,
        version: config.version.clone(),
        ping_interval: config.ping_interval.max(limits::PING_INTERVAL_MIN),
        clock,
        log,
        live,
        key,
        signer,
        refusals: Refusals::default(),
        registry,
        metrics,
        remembered: Remembered::default(),
        histories: Semaphore::new(limits::HISTORIES_AT_ONCE),
        large_bodies: Semaphore::new(limits::LARGE_BODIES_AT_ONCE),
        stopping: CancellationToken::new(),
        sessions: TaskTracker::new(),
    });
    if config.confirm_clock {
        confirm_clock(&server).await.map_err(StartError::Record)?;
    }
    let admin_token = first_start(&server, &folder, standing).await?;
    start_node(&server).await?;
    if let Some(signed) = forked {
        record(&server, Command::AcceptFork { node, signed }).await?;
    }
    let NoteKey { name: origin, key: public_key } = server.signer.name();
    let added = record(&server, Command::AddSigningKey { node, origin, public_key }).await;
    added.map_err(|error| match error {
        StartError::Record(WriteError::Rejected(Rejection::OriginMismatch { .. }))
            if config.origin.is_none() =>
        {
            StartError::NamedByAnother
        }
        error => error,
    })?;
    folder.show_signing_key(&server.signer.name()).map_err(StartError::Folder)?;
    Ok(Booted { server, runner, admin_token })
}

async fn confirm_clock(server: &Server) -> Result<(), WriteError> {
    let request_id = RequestId::new(uuid::Uuid::now_v7());
    let command = Command::ConfirmClock { node: server.node };
    let write = Write {
        request_id,
        given: given::of_node(server.node, request_id),
        actor: server.actor(),
        expect: Vec::new(),
        change: Change::Command(Box::new(command)),
    };
    server.log.confirm_clock(write).await.map(drop)
}

/// Records the start, and with it what a killed run of this node left open.
pub(crate) async fn start_node(server: &Server) -> Result<(), StartError> {
    let (node, version) = (server.node, server.version.clone());
    let alive_until = server.log.last_seen(node).await.map_err(StartError::Look)?;
    record(server, Command::StartNode { node, version, alive_until }).await
}

/// Records something of the start, and waits until the folds show it.
async fn record(server: &Server, command: Command) -> Result<(), StartError> {
    let request = RequestId::new(uuid::Uuid::now_v7());
    let given = given::of_node(server.node, request);
    let written = server.commit(request, given, server.actor(), command).await;
    reach(server, written.map_err(StartError::Record)?).await
}

/// Makes the signer, which refuses a log that does not continue what was signed.
async fn begin_to_sign(
    config: &Config,
    folder: Folder,
    node: NodeId,
    log: &Log,
) -> Result<(Signer, Option<Checkpoint>), StartError> {
    let known = log.state().await.and_then(|state| state.origin);
    let origin = config.origin.clone().or(known).map_or_else(|| own_origin(node), Ok)?;
    let keys = folder.signing_key(config.new_signing_key).map_err(StartError::Folder)?;
    let begun = Signer::begin(folder, keys, origin, config.accept_fork, log).await;
    begun.map_err(StartError::Sign)
}

/// The name of a log that nobody named.
fn own_origin(node: NodeId) -> Result<Origin, StartError> {
    format!("ledger/{node}").parse().map_err(StartError::Origin)
}

/// Makes the workspace `default` and the first admin token, if there is none yet.
///
/// The token's file and the key are whole and synced before the event is committed,
/// and the key gets its lasting name after. A crash in between is no harm: the next
/// start finds both, and asks by the same request whether the log has them.
async fn first_start(
    server: &Server,
    folder: &Folder,
    standing: Standing,
) -> Result<Option<PathBuf>, StartError> {
    let workspace = WorkspaceName::initial();
    let begun = server.image().state.fleet.workspace(&workspace).is_some();
    if begun && standing == Standing::Kept {
        return Ok(None);
    }
    if !begun && server.image().state.fleet.workspaces().next().is_some() {
        return Err(StartError::NoFirstWorkspace);
    }
    let (secret, path) = folder.admin_token().map_err(StartError::Folder)?;
    let request_id = first_request(server.node);
    let stream = StreamId::Workspace(workspace);
    let write = Write {
        request_id,
        given: given::of_node(server.node, request_id),
        actor: server.actor(),
        expect: vec![Expectation { stream: stream.clone(), version: Version::ZERO }],
        change: Change::Events(Arc::new(vec![
            NewEvent::new(stream.clone(), event::WorkspaceCreated {}),
            NewEvent::new(stream, admin_token(server, request_id, &secret)),
        ])),
    };
    let written = match server.log.write(write).await {
        Err(WriteError::Conflict { .. }) => return begun_by_another(server, folder, standing),
        written => written.map_err(StartError::Record)?,
    };
    reach(server, written).await?;
    if standing == Standing::First {
        folder.keep_token_key().map_err(StartError::Folder)?;
    }
    tracing::info!(file = ADMIN_TOKEN, "The workspace default and the first admin token are made.");
    Ok(Some(path))
}

/// The log was begun by another server. With a key that it was given this one goes
/// on; one of its own would know no token.
fn begun_by_another(
    server: &Server,
    folder: &Folder,
    standing: Standing,
) -> Result<Option<PathBuf>, StartError> {
    folder.forget_first_start().map_err(StartError::Folder)?;
    match standing {
        Standing::Kept => Ok(None),
        Standing::First if server.log.is_shared() => Err(StartError::BegunByAnother),
        Standing::First => Err(StartError::Folder(folder.token_key_missing())),
    }
}

fn admin_token(server: &Server, request: RequestId, secret: &Secret) -> event::TokenIssued {
    const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;
    let now: Timestamp = server.clock.now();
    event::TokenIssued {
        token: TokenId::new(EventId::derive(request, 1).uuid()),
        kind: TokenKind::Admin,
        reach: Reach::Ledger,
        agents: Vec::new(),
        expires_at: Some(now.plus_micros(ADMIN_TOKEN_DAYS * DAY_MICROS)),
        hash: server.key.hash(secret),
    }
}

/// The id of the one request that a node makes at its first start.
fn first_request(node: NodeId) -> RequestId {
    RequestId::new(EventId::derive(RequestId::from_bytes(node.bytes()), 0).uuid())
}

async fn reach(server: &Server, written: ledger_store::Written) -> Result<(), StartError> {
    if let Some((_, last)) = written.positions {
        server.live.wait_for(last, limits::FOLD_TIMEOUT).await.map_err(StartError::Fold)?;
    }
    Ok(())
}
