//! Where the server is and the token for it: from options, environment and logins.

mod choice;

pub(crate) use choice::{Choice, Source, unknown};

use crate::failure::Failure;
use crate::screen;
use crate::servers::{self, Place, ServerName, Servers};
use crate::terminal::note;
use crate::verbs::serve;
use api_client::endpoint::{Endpoint, is_this_machine};
use api_client::http::Client;
use api_wire::token::Secret;
use choice::{Given, choose};
use clap::Args;
use ledger_core::names::WorkspaceName;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes of a token's file: a token has under 60 characters.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// How the client names itself.
pub(crate) const USER_AGENT: &str = concat!("ledger/", env!("CARGO_PKG_VERSION"));

/// The options of every verb that talks to a server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The server's address.
    // The variables are read by hand, for an option beats another thing's variable.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        conflicts_with = "server",
        help = "The server, like https://ledger.example.com or http://127.0.0.1:7070 [env: LEDGER_URL]"
    )]
    url: Option<String>,
    /// The server of this login; without it, the current one of `ledger login --list` [env: LEDGER_SERVER]
    #[arg(long, global = true, value_name = "NAME")]
    server: Option<ServerName>,
    /// Read the token from this file instead of the variable LEDGER_TOKEN
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The workspace, where the token reaches more than one [default: the login's, else default]
    #[arg(
        long,
        short,
        global = true,
        value_name = "NAME",
        env = "LEDGER_WORKSPACE",
        hide_env_values = true
    )]
    workspace: Option<WorkspaceName>,
    /// How long a request is sent again when no answer comes; it counts once
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    retry_for: Duration,
    /// Refused, with the way to do it: every user of a machine can read its command lines.
    #[arg(long, global = true, hide = true, num_args = 0..=1)]
    token: Option<Option<String>>,
}

impl Connection {
    /// Makes the client, which tells on stderr when a request has to be repeated.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let choice = self.choice()?;
        let Some((url, _)) = &choice.url else { return Err(no_server(&choice.known)) };
        let secret = secret(&choice)?.ok_or_else(|| no_token(url))?;
        self.client_for(url, secret, choice.workspace.clone())
    }

    /// Makes the client for what was chosen.
    pub(crate) fn client_for(
        &self,
        url: &str,
        secret: Secret,
        workspace: Option<WorkspaceName>,
    ) -> Result<Client, Failure> {
        let endpoint = Endpoint::new(url, secret).map_err(|e| Failure::usage(e.to_string()))?;
        let client = Client::new(endpoint, USER_AGENT)?
            .in_workspace(workspace)
            .with_patience(self.retry_for);
        let said = AtomicBool::new(false);
        Ok(client.on_retry(Arc::new(move |error, _| {
            if !said.swap(true, Ordering::Relaxed) {
                screen::doing(format!("{error}; trying again"));
                note(format!("{error}; trying again for a while"));
            }
        })))
    }

    /// Decides which server and which token are meant.
    pub(crate) fn choice(&self) -> Result<Choice, Failure> {
        if self.token.is_some() {
            return Err(Failure::usage("a token cannot be given on the command line, which every user of this machine can read")
                .hint("set the variable LEDGER_TOKEN, or put the token into a file and use --token-file FILE"));
        }
        let server = variable("LEDGER_SERVER").map(|text| {
            let invalid = |e| Failure::usage(format!("LEDGER_SERVER names no login: {e}"));
            text.parse().map_err(invalid)
        });
        let given = Given {
            url: self.url.clone(),
            server: self.server.clone(),
            token_file: self.token_file.clone(),
            workspace: self.workspace.clone(),
            url_variable: variable("LEDGER_URL"),
            server_variable: server.transpose()?,
            has_token_variable: variable("LEDGER_TOKEN").is_some(),
        };
        choose(&given, || match Place::find() {
            Ok(place) => servers::load(&place),
            // Without a home there are no logins, and nobody misses them.
            Err(_) => Ok(Servers::default()),
        })
    }
}

/// Returns what a variable of the environment holds, if that is something.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.trim().is_empty())
}

/// Reads the token that was chosen.
pub(crate) fn secret(choice: &Choice) -> Result<Option<Secret>, Failure> {
    match &choice.token {
        None => Ok(None),
        Some(Source::TokenFile(file)) => read_token(file).map(Some),
        Some(Source::Login(_)) => Ok(choice.login.as_ref().map(|login| login.secret.clone())),
        Some(Source::Option(name) | Source::Variable(name)) => {
            let text = variable(name).unwrap_or_default();
            let secret = Secret::parse(&text);
            secret.map(Some).map_err(|e| Failure::usage(format!("{name}: {e}")))
        }
    }
}

/// What to do where no server is named.
pub(crate) fn no_server(known: &[ServerName]) -> Failure {
    let failure = Failure::usage("no server is named");
    if known.is_empty() {
        return failure.hint("`ledger login URL` keeps a server with a token; or use --url URL, or set LEDGER_URL: `export LEDGER_URL=http://127.0.0.1:7070` for a server on this machine");
    }
    let names: Vec<&str> = known.iter().map(ServerName::as_str).collect();
    failure.hint(format!(
        "no login is the current one: `ledger login --use NAME` makes it so, or use --server NAME; there are {}",
        names.join(", ")
    ))
}

/// What to do where there is no token for the server.
pub(crate) fn no_token(url: &str) -> Failure {
    Failure::usage("there is no token").hint(format!(
        "`ledger login {url}` asks for one and keeps it; or set LEDGER_TOKEN, or use --token-file FILE{}",
        admin_token_hint(url)
    ))
}

pub(crate) fn read_token(file: &Path) -> Result<Secret, Failure> {
    let shown = file.display();
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|e| Failure::from(e).context(format!("the token file {shown} cannot be read")))
        .map_err(|failure| failure.exit_as(crate::failure::Exit::Usage))?;
    Secret::parse(&text).map_err(|e| Failure::usage(format!("{shown}: {e}")))
}

/// On the server's own machine, the first admin token is likely what is wanted.
fn admin_token_hint(url: &str) -> String {
    if !is_this_machine(url) {
        return String::new();
    }
    let file = serve::default_data_folder()
        .map_or_else(|| PathBuf::from("DIR/admin-token"), |folder| folder.join("admin-token"));
    format!(
        "; a server's first start leaves an admin token in its data folder: --token-file {}",
        file.display()
    )
}
