//! `ledger login` and `ledger logout`

use crate::connection::{self, USER_AGENT, read_token, unknown, variable};
use crate::failure::{Exit, Failure, Outcome};
use crate::prompt;
use crate::screen::watched;
use crate::servers::{self, Login as Kept, Place, ServerName, Servers};
use crate::terminal::{Format, dash, note, or_dash, print_json, print_table, seconds};
use api_client::endpoint::{Endpoint, host, normal_address};
use api_client::http::{Client, RequestError};
use api_wire::http::WhoAmI;
use api_wire::problem::Code;
use api_wire::token::Secret;
use clap::Args;
use ledger_core::Timestamp;
use ledger_core::event::Reach;
use ledger_core::ids::TokenId;
use ledger_core::names::WorkspaceName;
use ledger_core::rights::TokenKind;
use serde::Serialize;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  ledger login https://ledger.example.com
  ledger login https://ledger.example.com --name prod --workspace team-1
  ledger login http://127.0.0.1:7070 --token-file /var/lib/ledger/admin-token
  pass show ledger | ledger login https://ledger.example.com
  ledger login --list
  ledger login --use prod

The token is asked for without being shown, or read from stdin where that is no terminal. The server must accept it; then address and token are kept in $XDG_CONFIG_HOME/ledger/servers.toml, else ~/.config/ledger/servers.toml, which only you may read. The newest login is the current one, which every verb uses; --server NAME (or LEDGER_SERVER) names another.

--url or LEDGER_URL with LEDGER_TOKEN or --token-file beat a login. A kept token is never sent to another address than the one that it was kept for.";

const LOGOUT_EXAMPLES: &str = "\
Examples:
  ledger logout
  ledger logout prod

It forgets the token on this machine. The server goes on to accept it, until it is revoked or expires.";

/// Bytes read from stdin: a token has under 60 characters.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Keep a server's address and a token for it, so that no verb needs to be told
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Login {
    /// The server's address; without it LEDGER_URL, or that of the login to renew
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// How to call it [default: the host's name]
    #[arg(long, value_name = "NAME")]
    name: Option<ServerName>,
    /// The workspace that is meant where none is named
    #[arg(long, short, value_name = "NAME")]
    workspace: Option<WorkspaceName>,
    /// Read the token from this file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// List the logins; never their tokens
    #[arg(long, conflicts_with_all = ["url", "name", "workspace", "token_file", "switch"])]
    list: bool,
    /// Make this login the current one
    #[arg(long = "use", id = "switch", value_name = "NAME", conflicts_with_all = ["url", "name", "workspace", "token_file"])]
    switch: Option<ServerName>,
    /// The form of --list: for people, or as JSON for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    /// Refused, with the way to do it: every user of a machine can read its command lines.
    #[arg(long, hide = true, num_args = 0..=1)]
    token: Option<Option<String>>,
}

/// Forget a login on this machine
#[derive(Args, Debug)]
#[command(after_help = LOGOUT_EXAMPLES)]
pub(crate) struct Logout {
    /// Which one; without it, the current one
    #[arg(value_name = "NAME")]
    name: Option<ServerName>,
}

impl Login {
    pub(crate) async fn run(self) -> Outcome {
        if self.token.is_some() {
            return Err(Failure::usage("a token cannot be given on the command line, which every user of this machine can read")
                .hint("let it be asked for, or give it on stdin or with --token-file FILE"));
        }
        let place = Place::find()?;
        if self.list {
            return list(&place, self.format);
        }
        if let Some(name) = &self.switch {
            return switch(&place, name);
        }
        let target = target(&servers::load(&place)?, self.url, self.name, variable("LEDGER_URL"))?;
        let workspace = self.workspace.or(target.workspace);
        let secret = read_secret(self.token_file.as_deref(), &target.url).await?;
        let told = check(&target.url, secret.clone(), workspace.clone()).await?;
        let login = Kept {
            url: target.url.clone(),
            workspace: workspace.clone(),
            secret,
            token: told.token,
            kind: told.kind,
            expires_at: told.expires_at,
        };
        servers::update(&place, |servers| {
            servers.log_in(target.name.clone(), login);
            Ok(())
        })?;
        note(welcome(&target.name, &target.url, &told));
        if let Some(before) = target.replaces {
            note(format!("the name {} stood for {before} before", target.name));
        }
        note(format!("kept in {}, which only you may read", place.path().display()));
        Ok(Exit::Done)
    }
}

/// What a login is to be for.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    url: String,
    name: ServerName,
    /// The workspace that a login that is renewed has.
    workspace: Option<WorkspaceName>,
    /// The other address that the name stood for.
    replaces: Option<String>,
}

/// Decides about address and name, before a token is asked for.
fn target(
    servers: &Servers,
    url: Option<String>,
    name: Option<ServerName>,
    variable: Option<String>,
) -> Result<Target, Failure> {
    let renewed = match (&url, &name) {
        (None, Some(name)) => servers.servers.get_key_value(name),
        (None, None) if variable.is_none() => {
            servers.current.as_ref().and_then(|name| servers.servers.get_key_value(name))
        }
        _ => None,
    };
    if let Some((name, login)) = renewed {
        let (url, workspace) = (login.url.clone(), login.workspace.clone());
        return Ok(Target { url, name: name.clone(), workspace, replaces: None });
    }
    let Some(url) = url.or(variable) else {
        return Err(Failure::usage("no server is named").hint(
            "`ledger login https://ledger.example.com`, or `ledger login http://127.0.0.1:7070` for a server on this machine",
        ));
    };
    let usage = |e: api_client::endpoint::EndpointError| Failure::usage(e.to_string());
    let (url, host) = (normal_address(&url).map_err(usage)?, host(&url).map_err(usage)?);
    let chosen = name.is_some();
    let name = match name {
        Some(name) => name,
        None => host.parse().map_err(|_| {
            Failure::usage(format!("{host} cannot be the login's name")).hint("use --name NAME")
        })?,
    };
    let before = servers.servers.get(&name);
    let replaces = before.filter(|login| login.url != url).map(|login| login.url.clone());
    match replaces {
        Some(other) if !chosen => {
            Err(Failure::usage(format!("the login {name} is for {other} already"))
                .hint("use --name NAME to keep this one beside it"))
        }
        replaces => {
            let workspace =
                before.filter(|login| login.url == url).and_then(|login| login.workspace.clone());
            Ok(Target { url, name, workspace, replaces })
        }
    }
}

/// Reads the token: from the file, else asks on a terminal, else from stdin.
async fn read_secret(file: Option<&Path>, url: &str) -> Result<Secret, Failure> {
    if let Some(file) = file {
        return read_token(file);
    }
    if io::stdin().is_terminal() {
        let text = prompt::hidden(&format!("Token for {url}: ")).await?;
        if text.trim().is_empty() {
            return Err(Failure::usage("no token was given").hint(
                "an admin makes one with `ledger token create`; a server's first start leaves one in its data folder: --token-file DIR/admin-token",
            ));
        }
        return Secret::parse(&text).map_err(|e| Failure::usage(e.to_string()));
    }
    let mut text = String::new();
    let read = io::stdin().lock().take(TOKEN_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|e| {
        Failure::from(e).context("the token cannot be read from stdin").exit_as(Exit::Usage)
    })?;
    Secret::parse(&text).map_err(|e| Failure::usage(format!("stdin: {e}")))
}

/// Asks the server what the token is. Nothing is kept that it does not accept.
async fn check(
    url: &str,
    secret: Secret,
    workspace: Option<WorkspaceName>,
) -> Result<WhoAmI, Failure> {
    let endpoint = Endpoint::new(url, secret).map_err(|e| Failure::usage(e.to_string()))?;
    let client =
        Client::new(endpoint, USER_AGENT)?.in_workspace(workspace).with_patience(Duration::ZERO);
    watched("asking the server", client.whoami()).await.map_err(|error| {
        let is_older = error.code() == Some(Code::NotFound);
        let hint = address_hint(&error);
        let failure = Failure::from(error).context("nothing was kept");
        if is_older {
            return failure.hint(format!("the server at {url} is older than this program, which asks for GET /v1/whoami; update it, or use LEDGER_URL and LEDGER_TOKEN"));
        }
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// Where the address was typed a moment ago, no variable is to blame.
fn address_hint(error: &RequestError) -> Option<&'static str> {
    match error {
        RequestError::Unreachable { .. } | RequestError::TimedOut { .. } => {
            Some("check the address, and that `ledger serve` runs there")
        }
        RequestError::Foreign { .. } => {
            Some("check that the address is that of a Ledger server, with its path if it has one")
        }
        _ => None,
    }
}

fn welcome(name: &ServerName, url: &str, told: &WhoAmI) -> String {
    let reach = match told.reach {
        Reach::Ledger => "the whole ledger".to_owned(),
        Reach::Workspace => format!("the workspace {}", told.workspace),
    };
    let until = match told.expires_at {
        Some(at) => format!("until {}", seconds(at)),
        None => "until it is revoked".to_owned(),
    };
    format!("logged in to {url} as {name}: a token of kind {} for {reach}, {until}", told.kind)
}

/// A login as `--list --format json` shows it.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a ServerName,
    url: &'a str,
    workspace: Option<&'a WorkspaceName>,
    kind: TokenKind,
    token_id: TokenId,
    expires_at: Option<Timestamp>,
    current: bool,
}

#[derive(Serialize)]
struct List<'a> {
    servers: Vec<Listed<'a>>,
}

fn list(place: &Place, format: Format) -> Outcome {
    let servers = servers::load(place)?;
    let listed = servers.servers.iter().map(|(name, login)| Listed {
        name,
        url: &login.url,
        workspace: login.workspace.as_ref(),
        kind: login.kind,
        token_id: login.token,
        expires_at: login.expires_at,
        current: servers.current.as_ref() == Some(name),
    });
    if format == Format::Json {
        print_json(&List { servers: listed.collect() })?;
        return Ok(Exit::Done);
    }
    if servers.servers.is_empty() {
        note("there are no logins; `ledger login URL` makes one");
        return Ok(Exit::Done);
    }
    let row = |login: Listed<'_>| {
        vec![
            login.name.to_string(),
            login.url.to_owned(),
            or_dash(login.workspace),
            login.kind.to_string(),
            login.expires_at.map_or_else(dash, seconds),
            if login.current { "current".to_owned() } else { String::new() },
        ]
    };
    let header = ["NAME", "URL", "WORKSPACE", "KIND", "EXPIRES", ""];
    print_table(&header, listed.map(row).collect())?;
    Ok(Exit::Done)
}

fn switch(place: &Place, name: &ServerName) -> Outcome {
    let url = servers::update(place, |servers| {
        let login = servers.servers.get(name).ok_or_else(|| unknown(servers, name))?;
        let url = login.url.clone();
        servers.current = Some(name.clone());
        Ok(url)
    })?;
    note(format!("{name} is the current login: {url}"));
    Ok(Exit::Done)
}

impl Logout {
    pub(crate) fn run(self) -> Outcome {
        let place = Place::find()?;
        let (name, login) = servers::update(&place, |servers| {
            let name =
                self.name.or_else(|| servers.current.clone()).ok_or_else(|| {
                    match servers.servers.is_empty() {
                        true => Failure::usage("there is no login to forget"),
                        false => connection::no_server(
                            &servers.servers.keys().cloned().collect::<Vec<_>>(),
                        )
                        .context("no login is named"),
                    }
                })?;
            let login = servers.log_out(&name).ok_or_else(|| unknown(servers, &name))?;
            Ok((name, login))
        })?;
        note(format!("the login {name} is forgotten on this machine"));
        note(format!(
            "its token stays valid at {} until it is revoked: `ledger token revoke {}`",
            login.url, login.token
        ));
        Ok(Exit::Done)
    }
}
