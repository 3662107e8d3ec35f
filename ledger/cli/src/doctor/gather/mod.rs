//! Looks: at the server, at its database, at Nix and its caches, at folders. Everything that takes
//! its time is asked at once, and given up after a few seconds.

mod caches;
mod database;
mod files;
mod nix;
mod server;

use super::facts::{Facts, Machine};
use crate::connection::Connection;
use crate::database::DatabaseUrl;
use agent::host::profile;
use ledger_core::Timestamp;
use ledger_core::names::AgentName;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// No question may take longer. At most three come one after the other (both names
/// of Nix's command, then the caches), and all that is within ten seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// What to look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub(crate) agent: Option<AgentName>,
    pub(crate) profile: Option<String>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) database: Option<DatabaseUrl>,
    pub(crate) substituters: Vec<String>,
    pub(crate) trusted_public_keys: Vec<String>,
}

impl Subject {
    /// Whether an agent is to run here, as far as the options tell.
    fn runs_agent(&self) -> bool {
        self.agent.is_some()
            || self.profile.is_some()
            || self.state.is_some()
            || !self.substituters.is_empty()
    }
}

/// Looks at everything.
pub(crate) async fn gather(connection: &Connection, subject: &Subject) -> Facts {
    let state = files::state_path(subject);
    let own_key = state.as_deref().and_then(agent::folder::public_key);
    let (asked, database, machine) = tokio::join!(
        server::ask(connection, subject, own_key),
        database::ask(subject.database.as_ref()),
        this_machine(subject, state)
    );
    let server::Asked { chosen, probe, told, ahead, first_token, session } = asked;
    Facts {
        now: now(),
        version: env!("CARGO_PKG_VERSION"),
        chosen,
        probe,
        told,
        ahead,
        database,
        agent: subject.agent.clone(),
        first_token,
        machine: Machine { session, ..machine },
    }
}

async fn this_machine(subject: &Subject, state: Option<PathBuf>) -> Machine {
    let profile = subject.profile.as_deref().unwrap_or("system");
    let profile = profile::locate(profile);
    let asks_profile = subject.runs_agent() || profile::is_root();
    let (version, store, config) = tokio::join!(nix::version(), nix::store(), nix::config());
    let known = config.as_ref().ok().cloned().unwrap_or_default();
    let own = |own: &[String], machine: Vec<String>| {
        if own.is_empty() { machine } else { own.to_vec() }
    };
    let trusted_keys = own(&subject.trusted_public_keys, known.trusted_public_keys);
    let urls = own(&subject.substituters, known.substituters);
    let caches = caches::ask_all(&urls, &files::own_paths(&profile)).await;
    let has_nix = version.is_ok();
    Machine {
        runs_agent: subject.runs_agent(),
        nix: Some(version),
        // Without Nix, all the rest is the same trouble.
        store: has_nix.then_some(store),
        config: has_nix.then_some(config),
        caches,
        trusted_keys,
        profile: (asks_profile && has_nix).then(|| files::profile(&profile)),
        state: state.clone().filter(|_| subject.runs_agent()).map(files::state),
        session: None,
        disks: files::disks(state.as_deref(), subject.data.as_deref()),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
