//! The servers that this user logged in to: a name for each, its address, and a
//! token for it, in one file that nobody else may read.
//!
//! The file is read only when something of it is needed, so that what the
//! command line and the environment say whole works whatever it holds.

mod file;

pub(crate) use file::{Place, load, update};

use api_wire::token::Secret;
use ledger_core::Timestamp;
use ledger_core::ids::TokenId;
use ledger_core::names::WorkspaceName;
use ledger_core::rights::TokenKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Characters of a server's name: as long as a host's name.
const NAME_CHARS_MAX: usize = 253;

/// How a user calls a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ServerName(String);

impl ServerName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-:[]".contains(c);
        if !text.is_empty()
            && text.len() <= NAME_CHARS_MAX
            && !text.starts_with('-')
            && text.chars().all(allowed)
        {
            return Ok(Self(text.to_owned()));
        }
        Err("it must be 1 to 253 letters, digits or ._-:[] and not begin with -".to_owned())
    }
}

impl TryFrom<String> for ServerName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Everything that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Servers {
    /// The one that is meant where none is named.
    pub(crate) current: Option<ServerName>,
    pub(crate) servers: BTreeMap<ServerName, Login>,
}

/// A login: where a server is, and the token for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    /// In the form of [`api_client::endpoint::normal_address`].
    pub(crate) url: String,
    pub(crate) workspace: Option<WorkspaceName>,
    pub(crate) secret: Secret,
    /// What the server said of the token.
    pub(crate) token: TokenId,
    pub(crate) kind: TokenKind,
    pub(crate) expires_at: Option<Timestamp>,
}

impl Servers {
    /// Keeps a login, which becomes the current one.
    pub(crate) fn log_in(&mut self, name: ServerName, login: Login) {
        self.servers.insert(name.clone(), login);
        self.current = Some(name);
    }

    /// Forgets a login. If it was the current one there is none, for another
    /// server is not to be met by surprise.
    pub(crate) fn log_out(&mut self, name: &ServerName) -> Option<Login> {
        if self.current.as_ref() == Some(name) {
            self.current = None;
        }
        self.servers.remove(name)
    }

    /// Returns the names, as a sentence ends with them.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.servers.keys().map(ServerName::as_str).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_that_no_shell_or_option_takes_for_another() {
        for text in ["prod", "ledger.example.com", "127.0.0.1:7070", "[::1]", "a_b-C"] {
            assert_eq!(text.parse::<ServerName>().map(|n| n.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "-a", "a b", "a/b", "é", "a\n", &"a".repeat(254)] {
            assert!(text.parse::<ServerName>().is_err(), "{text:?}");
        }
    }
}
