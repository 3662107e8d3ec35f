//! `ledger serve`: puts store and server together.

mod check;

use crate::config::Effective;
use crate::daemon::{Daemon, StopSignals};
use crate::database::DatabaseUrl;
use crate::failure::{Exit, Failure, Outcome};
use clap::Args;
use ledger_core::checkpoint::Origin;
use ledger_core::names::ProgramVersion;
use ledger_store::{Clock, Log};
use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  ledger serve
  ledger serve --data /srv/ledger --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem
  ledger serve --database postgres://ledger@db.example.org/ledger
  ledger serve --check-config

The first start creates the workspace `default` and an admin token in DIR/admin-token, which is good for 30 days. SIGTERM and SIGINT stop the server in good order.

Options with a variable may stand in ledger.toml under [serve], by their long name with _ for -. A flag beats the variable, which beats the file.

Requests are logged as ledger::request: without more being asked for, those that failed by the server's fault; all with --log info.";

/// Run the server
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", env = "LEDGER_LISTEN", hide_env_values = true)]
    #[arg(default_value = "127.0.0.1:7070", value_parser = an_address)]
    listen: SocketAddr,
    /// The data folder [default: /var/lib/ledger for root, else $XDG_STATE_HOME/ledger]
    #[arg(long, value_name = "DIR", env = "LEDGER_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// Keep the log in this PostgreSQL database, which other servers may share; its schema is
    /// made by `ledger migrate` [default: a file in the data folder]
    #[arg(long, value_name = "URL", env = "LEDGER_DATABASE", hide_env_values = true)]
    database: Option<DatabaseUrl>,
    /// Record another server on the same database as lost after so long without a sign of life
    #[arg(long, value_name = "TIME", env = "LEDGER_NODE_TIMEOUT", hide_env_values = true)]
    #[arg(default_value = "15s", value_parser = node_timeout)]
    node_timeout: Duration,
    /// Serve figures and health on this address too, without a token
    #[arg(long, value_name = "ADDRESS", env = "LEDGER_METRICS_LISTEN", hide_env_values = true)]
    #[arg(value_parser = an_address)]
    metrics_listen: Option<SocketAddr>,
    /// The certificate chain, as PEM; read again when it changes
    #[arg(long, value_name = "FILE", env = "LEDGER_TLS_CERT", hide_env_values = true)]
    #[arg(help_heading = "Encryption")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, as PEM
    #[arg(long, value_name = "FILE", env = "LEDGER_TLS_KEY", hide_env_values = true)]
    #[arg(help_heading = "Encryption")]
    tls_key: Option<PathBuf>,
    /// Vouch for the machine's clock after it jumped; recorded
    #[arg(long, help_heading = "Safety")]
    confirm_clock: bool,
    /// The name of the log, under which its checkpoints are signed; kept for ever once given
    #[arg(long, value_name = "NAME", env = "LEDGER_ORIGIN", hide_env_values = true)]
    #[arg(help_heading = "Proofs")]
    origin: Option<Origin>,
    /// Sign with a new key from now on; recorded
    #[arg(long, help_heading = "Proofs")]
    new_signing_key: bool,
    /// Sign a log that does not continue what was signed, as after a restored backup; recorded
    #[arg(long, help_heading = "Proofs")]
    accept_fork: bool,
    /// How often server and agents make sure of each other
    #[arg(long, value_name = "TIME", env = "LEDGER_PING_INTERVAL", hide_env_values = true)]
    #[arg(default_value = "20s", value_parser = ping_interval)]
    ping_interval: Duration,
    /// Read all settings, check what they name, print what is in force, and start nothing
    #[arg(long, help_heading = "Configuration")]
    check_config: bool,
    #[command(flatten)]
    daemon: Daemon,
    /// What is in force, and where each comes from.
    #[arg(skip)]
    settings: Vec<Effective>,
}

fn an_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "it must be an IP address and a port, like 127.0.0.1:7070 or [::]:443".to_owned()
    })
}

fn node_timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|e| e.to_string())?;
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(600));
    if (least..=most).contains(&timeout) {
        Ok(timeout)
    } else {
        Err("it must be between 1s and 10m".to_owned())
    }
}

/// Agents keep to what is asked of them within the same bounds.
fn ping_interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|e| e.to_string())?;
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(300));
    if (least..=most).contains(&interval) {
        Ok(interval)
    } else {
        Err("it must be between 100ms and 5m".to_owned())
    }
}

impl Serve {
    /// Takes what is in force.
    pub(crate) fn settle(&mut self, settings: Vec<Effective>) {
        self.settings = settings;
    }

    pub(crate) async fn run(self) -> Outcome {
        if self.check_config {
            return self.check();
        }
        self.daemon.log_to_stderr();
        let data = self.data_folder()?;
        let tls = self.tls()?;
        make_folder(&data)?;
        // As it is shown and handed on, whatever the working directory of others.
        let data = fs::canonicalize(&data)
            .map_err(|e| Failure::from(e).context("the data folder cannot be found"))?;
        for warning in self.warnings() {
            self.daemon.warn(warning);
        }
        let clock = Arc::new(ledger_store::SystemClock);
        let log = self.open_log(&data, clock.clone()).await?;
        let config = api_server::Config {
            listen: self.listen,
            metrics_listen: self.metrics_listen,
            data: data.clone(),
            tls,
            ping_interval: self.ping_interval,
            version: ProgramVersion::new(env!("CARGO_PKG_VERSION"))?,
            node_timeout: self.node_timeout,
            confirm_clock: self.confirm_clock,
            origin: self.origin.clone(),
            new_signing_key: self.new_signing_key,
            accept_fork: self.accept_fork,
        };
        let server = api_server::start(config, log, clock)
            .await
            .map_err(|e| Failure::from(e).context("the server cannot start"))?;
        // Before anybody knows that there is something to stop.
        let signals = StopSignals::new()?;
        self.greet(&server, &data);
        run_until_stopped(server, signals, &self.daemon).await
    }

    async fn open_log(&self, data: &Path, clock: Arc<dyn Clock>) -> Result<Log, Failure> {
        let (opened, place) = match &self.database {
            Some(url) => (Log::open_postgres(url.reveal()).await, url.to_string()),
            None => (Log::open_sqlite(data, clock).await, data.display().to_string()),
        };
        opened.map_err(|e| Failure::from(e).context(format!("the log in {place} cannot be opened")))
    }

    fn data_folder(&self) -> Result<PathBuf, Failure> {
        self.data.clone().or_else(default_data_folder).ok_or_else(|| {
            Failure::usage("there is no place for the data folder").hint("use --data DIR")
        })
    }

    fn tls(&self) -> Result<Option<api_server::Tls>, Failure> {
        let missing = |there: &str, missing: &str| {
            let flag = missing.replace('_', "-");
            let variable = format!("LEDGER_{}", missing.to_uppercase());
            Failure::usage(format!("{there} is given, and {missing} is not: encryption needs both"))
                .hint(format!(
                    "use --{flag} FILE, the variable {variable}, or {missing} in ledger.toml"
                ))
        };
        match (self.tls_cert.clone(), self.tls_key.clone()) {
            (Some(cert), Some(key)) => Ok(Some(api_server::Tls { cert, key })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(missing("tls_cert", "tls_key")),
            (None, Some(_)) => Err(missing("tls_key", "tls_cert")),
        }
    }

    /// What is allowed, and seldom wise.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.tls_cert.is_none() && !self.listen.ip().is_loopback() {
            warnings.push(format!(
                "{} is open to the network without encryption, and clients will refuse to send their token; use --tls-cert and --tls-key, or a proxy that encrypts in front of 127.0.0.1",
                self.listen
            ));
        }
        if let Some(address) = self.metrics_listen.filter(|address| !address.ip().is_loopback()) {
            warnings.push(format!(
                "{address} shows the figures to everybody who reaches it, with the names of workspaces; use a loopback address, or let Prometheus ask GET /metrics with a token"
            ));
        }
        warnings
    }

    /// Says calmly where everything is, and at the first start what to do next.
    fn greet(&self, server: &api_server::Running, data: &Path) {
        let address = server.address();
        let encrypted = self.tls_cert.is_some();
        let scheme = if encrypted { "https" } else { "http" };
        self.daemon.say(format!("listening on {scheme}://{address}"));
        if let Some(address) = server.metrics_address() {
            self.daemon.say(format!("figures on http://{address}/metrics"));
        }
        self.daemon.say(format!("data in {}", data.display()));
        if let Some(url) = &self.database {
            self.daemon.say(format!("log in {url}"));
        }
        let Some(admin_token) = server.admin_token() else { return };
        let file = admin_token.display();
        let url = if encrypted {
            format!("https://NAME-IN-THE-CERTIFICATE:{}", address.port())
        } else if address.ip().is_unspecified() {
            format!("http://127.0.0.1:{}", address.port())
        } else {
            format!("http://{address}")
        };
        self.daemon.say(format!(
            "the first admin token is in {file}; it is good for 30 days\nnext, in another terminal:\n  export LEDGER_URL={url}\n  ledger token create --kind agent --token-file {file} > agent-token\n  ledger agent NAME --token-file agent-token"
        ));
    }
}

/// Waits for a signal or for a failure that the server cannot live with.
async fn run_until_stopped(
    server: api_server::Running,
    mut signals: StopSignals,
    daemon: &Daemon,
) -> Outcome {
    let failed = tokio::select! {
        () = signals.next() => None,
        why = server.failed() => Some(why),
    };
    match failed {
        None => {
            daemon.say("stopping");
            server.stop().await;
            daemon.say("stopped");
            Ok(Exit::Done)
        }
        Some(why) => {
            server.stop().await;
            Err(Failure::from(why).context("the server cannot go on"))
        }
    }
}

/// Makes the data folder if it is not there. It holds the log and an admin
/// token, so nobody else may look into it.
fn make_folder(data: &Path) -> Result<(), Failure> {
    let shown = data.display();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|e| {
        Failure::from(e)
            .context(format!("the data folder {shown} cannot be made"))
            .hint("use --data DIR with a folder that you may write to")
    })?;
    let found = fs::metadata(data)
        .map_err(|e| Failure::from(e).context(format!("the data folder {shown} cannot be used")))?;
    must_be_closed(data, &found)
}

fn must_be_closed(data: &Path, found: &fs::Metadata) -> Result<(), Failure> {
    let shown = data.display();
    if found.permissions().mode() & 0o077 != 0 {
        let others = format!("others may look into {shown}, which holds the secrets of the server");
        return Err(Failure::failed(others).hint(format!(
            "`chmod 700 {shown}` keeps them out; if others need it, use --data DIR with a folder of its own"
        )));
    }
    Ok(())
}

/// Returns where the data lies if nobody says otherwise.
pub(crate) fn default_data_folder() -> Option<PathBuf> {
    data_folder(
        rustix::process::geteuid().is_root(),
        std::env::var_os("XDG_STATE_HOME").map(PathBuf::from),
        std::env::home_dir(),
    )
}

/// A relative XDG_STATE_HOME is to be ignored, says the XDG base directory specification.
fn data_folder(root: bool, state: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    if root {
        return Some(PathBuf::from("/var/lib/ledger"));
    }
    let state = state.filter(|state| state.is_absolute());
    let home = home.filter(|home| home.is_absolute());
    Some(state.or_else(|| Some(home?.join(".local/state")))?.join("ledger"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_folder_follows_the_custom_of_the_system() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(data_folder(true, path("/s"), path("/home/a")), path("/var/lib/ledger"));
        assert_eq!(data_folder(false, path("/s"), path("/home/a")), path("/s/ledger"));
        assert_eq!(
            data_folder(false, path("s"), path("/home/a")),
            path("/home/a/.local/state/ledger")
        );
        assert_eq!(data_folder(false, None, None), None);
    }

    #[test]
    fn a_new_data_folder_is_closed_to_others() {
        let temporary = tempfile::tempdir().expect("a folder");
        let data = temporary.path().join("a/b");
        make_folder(&data).expect("made");
        make_folder(&data).expect("there already");
        let mode = fs::metadata(&data).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_may_look_into_is_refused_and_left_as_it_is() {
        let temporary = tempfile::tempdir().expect("a folder");
        for mode in [0o755, 0o710, 0o701] {
            let open = fs::Permissions::from_mode(mode);
            fs::set_permissions(temporary.path(), open).expect("changed");
            let refused = make_folder(temporary.path()).expect_err("refused");
            let report = refused.report();
            assert!(
                report.contains("others may look into") && report.contains("chmod 700"),
                "{report}"
            );
            let after = fs::metadata(temporary.path()).expect("there").permissions().mode();
            assert_eq!(after & 0o777, mode);
        }
    }
}
