//! Asks the server: without a token, with it, and for lists where it may.

use super::files;
use super::{PATIENCE, Subject, now};
use crate::connection::{self, Choice, Connection, USER_AGENT};
use crate::doctor::facts::{Chosen, FirstToken, Session, Trouble};
use crate::failure::Failure;
use api_client::endpoint::is_this_machine;
use api_client::http::{Client, Probe, ProbeError, RequestError, probe};
use api_wire::http::{TokenList, WhoAmI};
use api_wire::token::Secret;
use ledger_core::event::Reach;
use ledger_core::key::PublicKey;
use ledger_core::names::AgentName;
use ledger_core::rights::{Right, TokenKind};
use std::time::Duration;
use tokio::time::timeout;

/// What was asked, and what came of it.
pub(super) struct Asked {
    pub(super) chosen: Result<Option<Chosen>, Trouble>,
    pub(super) probe: Option<Result<Probe, Trouble>>,
    pub(super) told: Option<Result<WhoAmI, Trouble>>,
    pub(super) ahead: Option<i64>,
    pub(super) first_token: Option<FirstToken>,
    pub(super) session: Option<Result<Session, String>>,
}

pub(super) async fn ask(
    connection: &Connection,
    subject: &Subject,
    own_key: Option<PublicKey>,
) -> Asked {
    let first = files::first_token(subject.data.as_deref());
    let nothing = |chosen| Asked {
        chosen,
        probe: None,
        told: None,
        ahead: None,
        first_token: first.as_ref().map(|first| first.facts(None)),
        session: None,
    };
    let chosen = connection.choice().and_then(|choice| {
        let secret = connection::secret(&choice)?;
        Ok((choice, secret))
    });
    let (choice, secret) = match chosen {
        Ok(chosen) => chosen,
        Err(failure) => return nothing(Err(failure.into())),
    };
    let Some((url, from)) = choice.url.clone() else { return nothing(Ok(None)) };
    let chosen = Chosen {
        is_this_machine: is_this_machine(&url),
        url_from: from.to_string(),
        token_from: choice.token.as_ref().map(ToString::to_string),
        url,
    };
    let with_token = with_token(connection, &choice, secret.clone());
    let (probe, (client, told, ahead)) =
        tokio::join!(probe(&chosen.url, USER_AGENT, PATIENCE), with_token);
    let may = told.as_ref().and_then(|told| told.as_ref().ok());
    let (tokens, session) = tokio::join!(
        tokens(client.as_ref(), may),
        session(client.as_ref(), may, subject.agent.as_ref(), own_key)
    );
    let another = |first: &files::First| another(first, secret.as_ref(), may, tokens.as_ref());
    Asked {
        first_token: first.as_ref().map(|first| first.facts(another(first))),
        chosen: Ok(Some(chosen)),
        probe: Some(probe.map_err(trouble_of_probe)),
        told,
        ahead,
        session,
    }
}

/// Asks what the token is, and compares the clocks.
async fn with_token(
    connection: &Connection,
    choice: &Choice,
    secret: Option<Secret>,
) -> (Option<Client>, Option<Result<WhoAmI, Trouble>>, Option<i64>) {
    let (Some((url, _)), Some(secret)) = (&choice.url, secret) else { return (None, None, None) };
    let client = match connection.client_for(url, secret, choice.workspace.clone()) {
        Ok(client) => client.with_patience(Duration::ZERO),
        // The probe says the same of the address.
        Err(_) => return (None, None, None),
    };
    let before = now();
    let told = timeout(PATIENCE, client.whoami()).await;
    let after = now();
    let told = match told {
        Ok(Ok(told)) => Ok(told),
        // What is about the way to the server is said once, by the probe.
        Ok(Err(error)) if error.code().is_none() => return (None, None, None),
        Ok(Err(error)) => Err(Failure::from(error).into()),
        Err(_) => return (None, None, None),
    };
    let ahead = told.as_ref().ok().map(|told: &WhoAmI| {
        // In the middle of the question, as far as anybody knows.
        let middle = before.micros() / 2 + after.micros() / 2;
        told.now.micros().saturating_sub(middle)
    });
    (Some(client), Some(told), ahead)
}

fn trouble_of_probe(error: ProbeError) -> Trouble {
    let is_certificate = matches!(&error, ProbeError::Request(RequestError::Certificate { .. }));
    let failure = match error {
        ProbeError::Address(error) => Failure::from(error)
            .hint("an address is like https://ledger.example.com, or http://127.0.0.1:7070"),
        ProbeError::Client(error) => error.into(),
        ProbeError::Request(error) => error.into(),
    };
    let mut trouble = Trouble::from(failure);
    trouble.is_certificate = is_certificate;
    if is_certificate {
        trouble.fix = Some("let the server show a certificate of its name, or name its authority's file in SSL_CERT_FILE".to_owned());
    }
    trouble
}

async fn tokens(client: Option<&Client>, told: Option<&WhoAmI>) -> Option<TokenList> {
    // The first one is in the list of who reaches the whole ledger only.
    let may = told?.rights.contains(&Right::Manage) && told?.reach == Reach::Ledger;
    let client = client.filter(|_| may)?.clone().in_workspace(None);
    timeout(PATIENCE, client.tokens()).await.ok()?.ok()
}

/// Returns whether another admin token than the first one exists, where the first
/// one is of the server that answered.
fn another(
    first: &files::First,
    secret: Option<&Secret>,
    told: Option<&WhoAmI>,
    tokens: Option<&TokenList>,
) -> Option<bool> {
    let told = told.filter(|told| first.node == Some(told.node))?;
    let is_in_use = secret.is_some_and(|secret| first.secret.as_ref() == Some(secret));
    if !is_in_use && told.kind == TokenKind::Admin && told.reach == Reach::Ledger {
        return Some(true);
    }
    let admins = tokens?.tokens.iter().filter(|token| {
        token.kind == TokenKind::Admin && token.reach == Reach::Ledger && !token.expired
    });
    Some(admins.filter(|token| token.id != told.token).count() > 0)
}

async fn session(
    client: Option<&Client>,
    told: Option<&WhoAmI>,
    agent: Option<&AgentName>,
    own: Option<PublicKey>,
) -> Option<Result<Session, String>> {
    let (client, told, name) = (client?, told?, agent?);
    if !told.rights.contains(&Right::Read) {
        return Some(Err(format!("a token of kind {} may not list agents", told.kind)));
    }
    let list = match timeout(PATIENCE, client.agents()).await {
        Ok(Ok(list)) => list,
        Ok(Err(error)) => return Some(Err(Failure::from(error).sentence())),
        Err(_) => return Some(Err("the list of agents does not come".to_owned())),
    };
    let found = list.agents.iter().find(|agent| agent.name == *name);
    Some(Ok(Session {
        name: name.clone(),
        is_known: found.is_some(),
        is_connected: found.is_some_and(|agent| agent.session.is_some()),
        is_retired: found.is_some_and(|agent| agent.retired),
        pinned: found.and_then(|agent| agent.public_key),
        own,
    }))
}
