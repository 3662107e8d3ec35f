//! Where the server is and the token for it, from options and environment.

use crate::failure::Failure;
use crate::terminal::note;
use crate::verbs::serve;
use api_client::endpoint::Endpoint;
use api_client::http::Client;
use api_wire::token::Secret;
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
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "LEDGER_URL",
        hide_env_values = true,
        help = "The server, like https://ledger.example.com or http://127.0.0.1:7070"
    )]
    url: Option<String>,
    /// Read the token from this file instead of the variable LEDGER_TOKEN
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The workspace, where the token reaches more than one [default: default]
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
    /// Returns the workspace that was named.
    pub(crate) fn workspace(&self) -> Option<&WorkspaceName> {
        self.workspace.as_ref()
    }

    /// Makes the client, which tells on stderr when a request has to be repeated.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        if self.token.is_some() {
            return Err(Failure::usage("a token cannot be given on the command line, which every user of this machine can read")
                .hint("set the variable LEDGER_TOKEN, or put the token into a file and use --token-file FILE"));
        }
        let url = self.url.as_deref().filter(|url| !url.trim().is_empty()).ok_or_else(|| {
            Failure::usage("no server is named").hint(
                "use --url URL, or set LEDGER_URL: `export LEDGER_URL=http://127.0.0.1:7070` for a server on this machine",
            )
        })?;
        let secret = match &self.token_file {
            Some(file) => read_token(file)?,
            None => token_from_environment(url)?,
        };
        let endpoint = Endpoint::new(url, secret).map_err(|e| Failure::usage(e.to_string()))?;
        let client = Client::new(endpoint, USER_AGENT)?
            .in_workspace(self.workspace.clone())
            .with_patience(self.retry_for);
        let said = AtomicBool::new(false);
        Ok(client.on_retry(Arc::new(move |error, _| {
            if !said.swap(true, Ordering::Relaxed) {
                note(format!("{error}; trying again for a while"));
            }
        })))
    }
}

fn read_token(file: &Path) -> Result<Secret, Failure> {
    let shown = file.display();
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|e| Failure::from(e).context(format!("the token file {shown} cannot be read")))
        .map_err(|failure| failure.exit_as(crate::failure::Exit::Usage))?;
    Secret::parse(&text).map_err(|e| Failure::usage(format!("{shown}: {e}")))
}

fn token_from_environment(url: &str) -> Result<Secret, Failure> {
    match std::env::var("LEDGER_TOKEN") {
        Ok(text) if !text.trim().is_empty() => {
            Secret::parse(&text).map_err(|e| Failure::usage(format!("LEDGER_TOKEN: {e}")))
        }
        _ => Err(Failure::usage("there is no token")
            .hint(format!("set LEDGER_TOKEN, or use --token-file FILE{}", admin_token_hint(url)))),
    }
}

/// On the server's own machine, the first admin token is likely what is wanted.
fn admin_token_hint(url: &str) -> String {
    let here = ["http://127.", "http://localhost", "http://[::1]"];
    if !here.iter().any(|start| url.starts_with(start)) {
        return String::new();
    }
    let file = serve::default_data_folder()
        .map_or_else(|| PathBuf::from("DIR/admin-token"), |folder| folder.join("admin-token"));
    format!(
        "; a server's first start leaves an admin token in its data folder: --token-file {}",
        file.display()
    )
}
