//! Looks at a server without a token: whether it is there and ready, and how it
//! proves who it is.

use super::{ClientError, RequestError, beginning, builder};
use crate::endpoint::{EndpointError, join, parse, shown};
use api_wire::http::Health;
use ledger_core::Timestamp;
use reqwest::Url;
use reqwest::tls::TlsInfo;
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a look at a server found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Why it cannot serve now, if it says that it cannot.
    pub not_ready: Option<String>,
    /// When its certificate ends. None without encryption, or when that cannot be read.
    pub certificate_ends: Option<Timestamp>,
}

/// Why a server could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Its address is none.
    #[error(transparent)]
    Address(EndpointError),
    /// This program cannot make connections.
    #[error(transparent)]
    Client(ClientError),
    /// It does not answer, or not as Ledger does.
    #[error(transparent)]
    Request(RequestError),
}

/// Asks the server at the address whether it is ready, once and for at most so long.
pub async fn probe(text: &str, user_agent: &str, within: Duration) -> Result<Probe, ProbeError> {
    let url = parse(text).map_err(ProbeError::Address)?;
    let builder = builder(user_agent, url.scheme() == "https").tls_info(true).timeout(within);
    let client = builder.build().map_err(|error| ProbeError::Client(ClientError::Tls(error)))?;
    look(&client, &url, within).await.map_err(ProbeError::Request)
}

async fn look(
    client: &reqwest::Client,
    url: &Url,
    within: Duration,
) -> Result<Probe, RequestError> {
    let address = shown(url);
    let transport = |error| RequestError::from_transport(address, within, error);
    let response = client.get(join(url, "/readyz")).send().await.map_err(transport)?;
    let status = response.status();
    let certificate = response.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
    let certificate_ends = certificate.and_then(end_of);
    let body = response.bytes().await.map_err(transport)?;
    // A proxy without a server behind it answers 503 too, but not with a status of ours.
    match serde_json::from_slice::<Health>(&body) {
        Ok(_) if status.is_success() => Ok(Probe { not_ready: None, certificate_ends }),
        Ok(health) if status.as_u16() == 503 => {
            Ok(Probe { not_ready: Some(health.status), certificate_ends })
        }
        _ => Err(RequestError::Foreign {
            address: address.to_owned(),
            status: status.as_u16(),
            said: beginning(&body),
        }),
    }
}

/// Reads from a certificate, in DER, when it ends.
fn end_of(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Some(Timestamp::from_micros(seconds.checked_mul(1_000_000)?))
}

/// Bytes of a text that is asked for: what describes a cache or a path of it has a few hundred.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Gets a small text from a server that is none of ours, as a binary cache is, and
/// without a token. Returns the HTTP status with it.
pub async fn text_at(
    url: &str,
    user_agent: &str,
    within: Duration,
) -> Result<(u16, String), TextError> {
    let builder = reqwest::Client::builder().user_agent(user_agent).timeout(within);
    let failed = |error: reqwest::Error| TextError(error.without_url());
    let client = builder.build().map_err(failed)?;
    let mut response = client.get(url).send().await.map_err(failed)?;
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        text.extend_from_slice(&chunk);
        if text.len() > TEXT_BYTES_MAX {
            break;
        }
    }
    Ok((response.status().as_u16(), String::from_utf8_lossy(&text).into_owned()))
}

/// Why there is no text. The address is left out: it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("it does not answer")]
pub struct TextError(#[source] reqwest::Error);
