//! Where a server is, and the token to show it.

use api_wire::token::Secret;
use reqwest::Url;

/// A server's address and a token for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    url: Url,
    secret: Secret,
}

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is no URL of a server.
    #[error("{text:?} is no server address; it must be like https://ledger.example.com")]
    Invalid {
        /// What was given.
        text: String,
    },
    /// It would send the token in the clear over a network.
    #[error(
        "{text} is not encrypted, and the token would be readable on the way; use https://, or http:// to this machine itself (localhost, 127.0.0.0/8, [::1])"
    )]
    InTheClear {
        /// What was given.
        text: String,
    },
}

impl Endpoint {
    /// Takes `https://HOST[:PORT][/PATH]`, or `http://` to a loopback host.
    pub fn new(text: &str, secret: Secret) -> Result<Self, EndpointError> {
        Ok(Self { url: parse(text)?, secret })
    }

    /// Returns the URL of a path such as `/v1/agents`.
    pub fn url(&self, path: &str) -> Url {
        join(&self.url, path)
    }

    /// Returns the URL of a path for a WebSocket: `ws` or `wss`.
    pub fn socket_url(&self, path: &str) -> Url {
        let mut url = self.url(path);
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        // Both are special schemes, between which a URL may change.
        let _ = url.set_scheme(scheme);
        url
    }

    /// Returns the address as it is shown to people.
    pub fn address(&self) -> &str {
        shown(&self.url)
    }

    /// Returns the token.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }
}

pub(crate) fn parse(text: &str) -> Result<Url, EndpointError> {
    let invalid = || EndpointError::Invalid { text: text.chars().take(200).collect() };
    let mut url = Url::parse(text.trim()).map_err(|_| invalid())?;
    let bare = url.username().is_empty() && url.password().is_none();
    if !bare || url.query().is_some() || url.fragment().is_some() || url.host().is_none() {
        return Err(invalid());
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(EndpointError::InTheClear { text: text.to_owned() }),
        _ => return Err(invalid()),
    }
    // So that joining a path keeps the whole of a prefix.
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// Returns an address in the one form in which two of the same server are equal,
/// as [`Endpoint::address`] shows it.
pub fn normal_address(text: &str) -> Result<String, EndpointError> {
    Ok(shown(&parse(text)?).to_owned())
}

/// Returns the host of an address, as it stands in it.
pub fn host(text: &str) -> Result<String, EndpointError> {
    Ok(parse(text)?.host_str().unwrap_or_default().to_owned())
}

/// Returns whether the address is this machine's own.
pub fn is_this_machine(text: &str) -> bool {
    parse(text).is_ok_and(|url| is_loopback(&url))
}

/// Returns the URL of a path below an address.
pub(crate) fn join(address: &Url, path: &str) -> Url {
    let mut url = address.clone();
    url.set_path(&format!("{}{}", address.path(), path.trim_start_matches('/')));
    url
}

pub(crate) fn shown(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Result<Endpoint, EndpointError> {
        let secret = Secret::new(ledger_core::rights::TokenKind::Read, &"a".repeat(43));
        Endpoint::new(text, secret)
    }

    #[test]
    fn a_token_is_never_sent_in_the_clear_but_to_this_machine() {
        for text in
            ["http://127.0.0.1:7070", "http://localhost", "http://[::1]:7070", "https://a.example"]
        {
            assert!(endpoint(text).is_ok(), "{text}");
        }
        for text in ["http://ledger.example", "http://10.0.0.1", "http://localhost.example"] {
            assert!(matches!(endpoint(text), Err(EndpointError::InTheClear { .. })), "{text}");
        }
        for text in
            ["", "ledger", "ftp://a.example", "https://u:p@a.example", "https://a.example?x"]
        {
            assert!(matches!(endpoint(text), Err(EndpointError::Invalid { .. })), "{text}");
        }
    }

    #[test]
    fn one_server_has_one_address_however_it_is_written() {
        for text in ["https://A.example", " https://a.example/ ", "https://a.example:443"] {
            assert_eq!(normal_address(text).as_deref(), Ok("https://a.example"), "{text}");
        }
        assert_eq!(host("http://[::1]:7070/x").as_deref(), Ok("[::1]"));
        assert!(is_this_machine("http://localhost:1") && !is_this_machine("https://a.example"));
    }

    #[test]
    fn a_path_in_front_is_kept() {
        let endpoint = endpoint("https://a.example/ledger").expect("valid");
        assert_eq!(endpoint.url("/v1/agents").as_str(), "https://a.example/ledger/v1/agents");
        assert_eq!(
            endpoint.socket_url("/v1/agent/socket").as_str(),
            "wss://a.example/ledger/v1/agent/socket"
        );
    }
}
