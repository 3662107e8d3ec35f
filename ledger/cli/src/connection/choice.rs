//! Which server and which token are meant: a decision over what is given.
//!
//! A kept token goes to the address that it was kept for, and to no other.

use crate::failure::Failure;
use crate::servers::{Login, ServerName, Servers};
use api_client::endpoint::normal_address;
use ledger_core::names::WorkspaceName;
use std::fmt;
use std::path::PathBuf;

/// What command line and environment say. Empty text is nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// `--url`
    pub(crate) url: Option<String>,
    /// `--server`
    pub(crate) server: Option<ServerName>,
    /// `--token-file`
    pub(crate) token_file: Option<PathBuf>,
    /// `--workspace` or `LEDGER_WORKSPACE`
    pub(crate) workspace: Option<WorkspaceName>,
    /// `LEDGER_URL`
    pub(crate) url_variable: Option<String>,
    /// `LEDGER_SERVER`
    pub(crate) server_variable: Option<ServerName>,
    /// Whether `LEDGER_TOKEN` holds something.
    pub(crate) has_token_variable: bool,
}

/// Where something comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Option(&'static str),
    Variable(&'static str),
    TokenFile(PathBuf),
    Login(ServerName),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) | Self::Variable(name) => f.write_str(name),
            Self::TokenFile(path) => write!(f, "--token-file {}", path.display()),
            Self::Login(name) => write!(f, "the login {name}"),
        }
    }
}

/// What is meant. Either part may be missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    pub(crate) url: Option<(String, Source)>,
    pub(crate) token: Option<Source>,
    pub(crate) workspace: Option<WorkspaceName>,
    /// The login that the token comes from.
    pub(crate) login: Option<Login>,
    /// The logins that could have been meant, if the file was looked at.
    pub(crate) known: Vec<ServerName>,
}

/// Decides. The logins are read only if something is missing without them.
pub(crate) fn choose(
    given: &Given,
    load: impl FnOnce() -> Result<Servers, Failure>,
) -> Result<Choice, Failure> {
    let explicit = explicit_url(given);
    let token = explicit_token(given);
    if let (Some((url, source)), Some(token)) = (&explicit, &token) {
        return Ok(Choice {
            url: Some((url.clone(), source.clone())),
            token: Some(token.clone()),
            workspace: given.workspace.clone(),
            ..Choice::default()
        });
    }
    let servers = load()?;
    let (url, login) = match explicit {
        Some((url, source)) => {
            let login = login_for(&servers, &url, given.server_variable.as_ref())?;
            (Some((url, source)), login)
        }
        None => {
            let named = given.server.as_ref().or(given.server_variable.as_ref());
            let login = named_login(&servers, named)?;
            let url = login.map(|(name, login)| (login.url.clone(), Source::Login(name.clone())));
            (url, login)
        }
    };
    let token = token.filter(|token| is_for(given, token, url.as_ref()));
    let workspace = login.and_then(|(_, login)| login.workspace.clone());
    let kept = login.filter(|_| token.is_none());
    Ok(Choice {
        url,
        token: token.or_else(|| kept.map(|(name, _)| Source::Login(name.clone()))),
        workspace: given.workspace.clone().or(workspace),
        login: kept.map(|(_, login)| login.clone()),
        known: servers.servers.into_keys().collect(),
    })
}

/// An option is nearer than a variable, and an address than a login's name.
fn explicit_url(given: &Given) -> Option<(String, Source)> {
    match (&given.url, &given.server, &given.url_variable) {
        (Some(url), _, _) => Some((url.clone(), Source::Option("--url"))),
        (None, None, Some(url)) => Some((url.clone(), Source::Variable("LEDGER_URL"))),
        _ => None,
    }
}

fn explicit_token(given: &Given) -> Option<Source> {
    let variable = given.has_token_variable.then_some(Source::Variable("LEDGER_TOKEN"));
    given.token_file.clone().map(Source::TokenFile).or(variable)
}

/// A variable's token beside a variable's address belongs to that address: it
/// is not sent to the login that `--server` names instead.
fn is_for(given: &Given, token: &Source, url: Option<&(String, Source)>) -> bool {
    let (Source::Variable(_), Some((url, Source::Login(_))), Some(variable)) =
        (token, url, &given.url_variable)
    else {
        return true;
    };
    normal_address(variable).as_deref() == Ok(url)
}

fn named_login<'a>(
    servers: &'a Servers,
    named: Option<&ServerName>,
) -> Result<Option<(&'a ServerName, &'a Login)>, Failure> {
    let Some(name) = named else {
        return Ok(servers.current.as_ref().and_then(|name| servers.servers.get_key_value(name)));
    };
    servers.servers.get_key_value(name).map(Some).ok_or_else(|| unknown(servers, name))
}

/// There is no login of the name.
pub(crate) fn unknown(servers: &Servers, name: &ServerName) -> Failure {
    let failure = Failure::usage(format!("there is no login {name}"));
    if servers.servers.is_empty() {
        return failure.hint(format!("`ledger login URL --name {name}` makes it"));
    }
    let known = servers.servers.keys().map(ServerName::as_str);
    let close = crate::suggest::closest(name.as_str(), known);
    failure.hint(match crate::suggest::question(&close) {
        Some(question) => question,
        None => format!("the logins are {}", servers.names()),
    })
}

/// Finds the login whose token is for the address.
fn login_for<'a>(
    servers: &'a Servers,
    url: &str,
    preferred: Option<&ServerName>,
) -> Result<Option<(&'a ServerName, &'a Login)>, Failure> {
    // What is no address is told where it is used.
    let Ok(url) = normal_address(url) else { return Ok(None) };
    let fits = |login: &Login| login.url == url;
    let first = preferred.into_iter().chain(servers.current.as_ref());
    let mut first = first.filter_map(|name| servers.servers.get_key_value(name));
    if let Some(found) = first.find(|(_, login)| fits(login)) {
        return Ok(Some(found));
    }
    let mut all = servers.servers.iter().filter(|(_, login)| fits(login));
    match (all.next(), all.next()) {
        (Some((one, _)), Some((other, _))) => {
            Err(Failure::usage(format!("there are several logins for {url}"))
                .hint(format!("name one of them: --server {one}, or --server {other}")))
        }
        (found, _) => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_wire::token::Secret;
    use ledger_core::rights::TokenKind;

    fn name(text: &str) -> ServerName {
        text.parse().expect("valid")
    }

    fn login(url: &str, workspace: Option<&str>) -> Login {
        Login {
            url: url.to_owned(),
            workspace: workspace.map(|w| w.parse().expect("valid")),
            secret: Secret::new(TokenKind::Read, &"a".repeat(43)),
            token: "0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90".parse().expect("an id"),
            kind: TokenKind::Read,
            expires_at: None,
        }
    }

    /// `prod` is the current one; two are for one address.
    fn servers() -> Servers {
        let logins = [
            ("prod", "https://prod.example", Some("team-1")),
            ("test", "https://test.example", None),
            ("one", "https://two.example", None),
            ("two", "https://two.example", None),
        ];
        let logins = logins.map(|(n, url, workspace)| (name(n), login(url, workspace)));
        Servers { current: Some(name("prod")), servers: logins.into() }
    }

    /// Reads `url=… server=… file token URL=… SERVER=… w=…`: small words are
    /// options, large ones variables.
    fn given(words: &str) -> Given {
        let mut given = Given::default();
        for word in words.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "url" => given.url = Some(value.to_owned()),
                "server" => given.server = Some(name(value)),
                "file" => given.token_file = Some("f".into()),
                "w" => given.workspace = Some(value.parse().expect("valid")),
                "URL" => given.url_variable = Some(value.to_owned()),
                "SERVER" => given.server_variable = Some(name(value)),
                "TOKEN" => given.has_token_variable = true,
                other => panic!("{other} is no word of the table"),
            }
        }
        given
    }

    fn chosen(words: &str) -> String {
        let choice = match choose(&given(words), || Ok(servers())) {
            Ok(choice) => choice,
            Err(failure) => return failure.report(),
        };
        // The one rule that must never break.
        if let (Some(login), Some((url, _))) = (&choice.login, &choice.url) {
            assert_eq!(normal_address(url).as_deref(), Ok(&*login.url), "{words}");
        }
        let url = choice.url.map_or("-".to_owned(), |(url, from)| format!("{url} ({from})"));
        let token = choice.token.map_or("-".to_owned(), |token| token.to_string());
        let workspace = choice.workspace.map_or("-".to_owned(), |w| w.to_string());
        format!("{url} with {token} in {workspace}")
    }

    #[test]
    fn what_is_nearer_wins_and_a_kept_token_stays_with_its_address() {
        for (words, expected) in [
            ("", "https://prod.example (the login prod) with the login prod in team-1"),
            ("w=team-2", "https://prod.example (the login prod) with the login prod in team-2"),
            ("server=test", "https://test.example (the login test) with the login test in -"),
            ("SERVER=test", "https://test.example (the login test) with the login test in -"),
            (
                "server=one SERVER=test",
                "https://two.example (the login one) with the login one in -",
            ),
            // Both parts are given: the logins do not matter.
            ("url=https://a.example file", "https://a.example (--url) with --token-file f in -"),
            (
                "URL=https://prod.example TOKEN",
                "https://prod.example (LEDGER_URL) with LEDGER_TOKEN in -",
            ),
            (
                "url=https://a.example URL=https://b.example TOKEN file",
                "https://a.example (--url) with --token-file f in -",
            ),
            (
                "SERVER=test URL=https://a.example TOKEN",
                "https://a.example (LEDGER_URL) with LEDGER_TOKEN in -",
            ),
            // Only an address: a token that was kept for it, or none.
            ("url=https://other.example", "https://other.example (--url) with - in -"),
            ("URL=https://other.example", "https://other.example (LEDGER_URL) with - in -"),
            ("URL=https://prod.example.evil", "https://prod.example.evil (LEDGER_URL) with - in -"),
            (
                "url=https://TEST.example:443/",
                "https://TEST.example:443/ (--url) with the login test in -",
            ),
            (
                "url=https://prod.example",
                "https://prod.example (--url) with the login prod in team-1",
            ),
            (
                "url=https://two.example SERVER=two",
                "https://two.example (--url) with the login two in -",
            ),
            (
                "url=https://two.example",
                "Error: there are several logins for https://two.example\nHint: name one of them: --server one, or --server two\n",
            ),
            ("url=nonsense", "nonsense (--url) with - in -"),
            // Only a token: the login says where to.
            ("TOKEN", "https://prod.example (the login prod) with LEDGER_TOKEN in team-1"),
            ("file server=test", "https://test.example (the login test) with --token-file f in -"),
            ("TOKEN server=test", "https://test.example (the login test) with LEDGER_TOKEN in -"),
            // A pair of variables stays a pair.
            (
                "TOKEN URL=https://a.example server=test",
                "https://test.example (the login test) with the login test in -",
            ),
            (
                "TOKEN URL=https://test.example/ server=test",
                "https://test.example (the login test) with LEDGER_TOKEN in -",
            ),
            ("server=tset", "Error: there is no login tset\nHint: did you mean test?\n"),
            (
                "SERVER=nowhere",
                "Error: there is no login nowhere\nHint: the logins are one, prod, test, two\n",
            ),
        ] {
            assert_eq!(chosen(words), expected, "{words}");
        }
    }

    #[test]
    fn without_logins_what_is_missing_stays_missing() {
        let none = |words: &str| choose(&given(words), || Ok(Servers::default()));
        let nothing = none("").expect("nothing");
        assert!(nothing.url.is_none() && nothing.token.is_none() && nothing.known.is_empty());
        let report = none("server=prod").expect_err("none").report();
        assert!(report.contains("`ledger login URL --name prod` makes it"), "{report}");
    }

    #[test]
    fn a_file_that_is_not_needed_is_not_read() {
        let broken = || -> Result<Servers, Failure> { Err(Failure::usage("broken")) };
        assert!(choose(&given("url=https://a.example TOKEN"), broken).is_ok());
        assert!(choose(&given("url=https://a.example"), broken).is_err());
    }
}
