//! A server from its start to its stop.

use crate::boot::{Booted, StartError, boot};
use crate::given;
use crate::limits;
use crate::listener::{Ended, Listener};
use crate::nodes;
use crate::routes::{monitoring_router, router};
use crate::server::Server;
use crate::signer::{SignError, Signer};
use crate::tls::Certificate;
use ledger_core::checkpoint::Origin;
use ledger_core::names::ProgramVersion;
use ledger_core::{Command, NodeId, RequestId};
use ledger_store::{Clock, Log};
use projections::image::Image;
use projections::{Runner, WaitError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes any.
    pub listen: SocketAddr,
    /// Where to serve the figures without a token, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// The data folder.
    pub data: PathBuf,
    /// Certificate and key. None serves in the clear, for a proxy or this machine.
    pub tls: Option<Tls>,
    /// How often agents are pinged; [`limits::PING_INTERVAL`] unless there is a reason.
    pub ping_interval: Duration,
    /// How long a server that shares the log may give no sign of life until the
    /// others record it as lost.
    pub node_timeout: Duration,
    /// The program's version.
    pub version: ProgramVersion,
    /// Whether the operator vouches for a clock that had jumped.
    pub confirm_clock: bool,
    /// The name of the log, under which checkpoints are signed. Without it, the name
    /// that the log has, or one made from the first server's id.
    pub origin: Option<Origin>,
    /// Whether another key is to sign from now on.
    pub new_signing_key: bool,
    /// Whether to sign a log that does not continue what was signed.
    pub accept_fork: bool,
}

/// The files of certificate and key, in PEM. They are read again when they change.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, followed by those that vouch for it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A server that serves.
pub struct Running {
    server: Server,
    runner: Runner<Image>,
    listener: Listener,
    monitoring: Option<Listener>,
    reloads: Option<JoinHandle<()>>,
    signing: JoinHandle<()>,
    watching: JoinHandle<()>,
    admin_token: Option<PathBuf>,
}

/// Why a server no longer serves.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The listener ended.
    #[error("the listener ended")]
    Listener(#[source] Option<Arc<std::io::Error>>),
    /// The log's writer ended, so that nothing can be recorded.
    #[error("the log takes no writes any more; the server's own log says why")]
    Log,
    /// The folds ended, so that no answer would be right.
    #[error("the log cannot be followed any further")]
    Fold(#[source] WaitError),
}

/// Starts a server on a log that is open.
///
/// The log belongs to the server from here on: it is closed with [`Running::stop`].
pub async fn start(config: Config, log: Log, clock: Arc<dyn Clock>) -> Result<Running, StartError> {
    // Before anything is recorded: what a typing error breaks leaves no trace.
    let tls = match &config.tls {
        Some(files) => Some(Certificate::load(files.clone()).map_err(StartError::Tls)?),
        None => None,
    };
    let booted = match boot(&config, log.clone(), clock).await {
        Ok(booted) => booted,
        Err(error) => {
            log.close().await;
            return Err(error);
        }
    };
    let Booted { server, runner, admin_token } = booted;
    let (listener, monitoring) = match listen(&config, &server, tls.as_ref()).await {
        Ok(listeners) => listeners,
        Err(error) => {
            stop_node(&server).await;
            runner.stop().await;
            server.log.close().await;
            return Err(error);
        }
    };
    let reloads = tls.map(|tls| tokio::spawn(tls.follow()));
    let signing = tokio::spawn(Signer::follow(server.clone()));
    let watching = tokio::spawn(nodes::watch(server.clone(), config.node_timeout));
    tracing::info!(address = %listener.address, node = %server.node, "The server listens.");
    Ok(Running { server, runner, listener, monitoring, reloads, signing, watching, admin_token })
}

async fn listen(
    config: &Config,
    server: &Server,
    tls: Option<&Certificate>,
) -> Result<(Listener, Option<Listener>), StartError> {
    let failed = |address| move |source| StartError::Listen { address, source };
    // First, so that nobody is served by a server that does not start after all.
    let monitoring = match config.metrics_listen {
        Some(address) => {
            let router = monitoring_router(server);
            Some(Listener::start_small(address, router).await.map_err(failed(address))?)
        }
        None => None,
    };
    let listening =
        Listener::start(config.listen, tls.map(Certificate::config), router(server)).await;
    Ok((listening.map_err(failed(config.listen))?, monitoring))
}

impl Running {
    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.listener.address
    }

    /// Returns the address that serves the figures without a token, if one does.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.monitoring.as_ref().map(|listener| listener.address)
    }

    /// Returns where the first admin token lies, if this start made it.
    pub fn admin_token(&self) -> Option<&Path> {
        self.admin_token.as_deref()
    }

    /// Returns the node's id.
    pub fn node(&self) -> NodeId {
        self.server.node
    }

    /// Returns when the server serves no longer by itself, and why. It is to be
    /// stopped then all the same.
    pub async fn failed(&self) -> Failed {
        let live = self.runner.live().clone();
        tokio::select! {
            ended = self.listener.ended() => Failed::Listener(ended.err()),
            ended = ended(self.monitoring.as_ref()) => Failed::Listener(ended.err()),
            () = self.server.log.closed() => Failed::Log,
            halted = live.stopped() => Failed::Fold(halted),
        }
    }

    /// Stops in good order: agents are told, requests under way end, the stop is
    /// recorded, and the log is closed.
    pub async fn stop(self) {
        let Self { server, runner, listener, monitoring, reloads, signing, watching, .. } = self;
        server.stopping.cancel();
        server.registry.stop();
        server.sessions.close();
        if let Some(reloads) = reloads {
            reloads.abort();
        }
        let (_, sessions) = tokio::join!(
            listener.stop(),
            tokio::time::timeout(
                limits::STOP_TIMEOUT + limits::LINGER_TIMEOUT,
                server.sessions.wait()
            ),
        );
        if sessions.is_err() {
            tracing::warn!(open = server.sessions.len(), "Some sessions did not end in time.");
        }
        if let Some(monitoring) = monitoring {
            monitoring.stop().await;
        }
        // It ends with the stop, so that it records no start after it.
        let _ = watching.await;
        stop_node(&server).await;
        // The last act: what this run wrote is signed, its own stop included.
        signing.abort();
        let _ = signing.await;
        if let Err(error) = server.signer.sign(&server.log).await {
            let error: SignError = error;
            tracing::warn!(error = crate::problem::chain(&error), "The stop is not signed.");
        }
        runner.stop().await;
        server.log.close().await;
    }
}

/// Returns when serving has ended, which it never does where nothing is served.
async fn ended(listener: Option<&Listener>) -> Ended {
    match listener {
        Some(listener) => listener.ended().await,
        None => std::future::pending().await,
    }
}

async fn stop_node(server: &Server) {
    let request = RequestId::new(uuid::Uuid::now_v7());
    let given = given::of_node(server.node, request);
    let command = Command::StopNode { node: server.node };
    if let Err(error) = server.commit(request, given, server.actor(), command).await {
        tracing::warn!(error = crate::problem::chain(&error), "The stop is not recorded.");
    }
}
