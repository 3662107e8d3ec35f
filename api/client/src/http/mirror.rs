//! Reads the tree that a server shows (C2SP tlog-tiles), with a token or without.

use super::{ClientError, Problem, RequestError, beginning, builder};
use crate::endpoint::{EndpointError, join, parse, shown};
use crate::limits;
use api_wire::token::Secret;
use futures_util::future::join_all;
use reqwest::{StatusCode, Url};

/// A reader of files that a server, or a mirror of it, shows.
#[derive(Clone, Debug)]
pub struct Mirror {
    http: reqwest::Client,
    url: Url,
    secret: Option<Secret>,
}

/// Why there is no reader.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The address is none.
    #[error(transparent)]
    Address(EndpointError),
    /// This program cannot make connections.
    #[error(transparent)]
    Client(ClientError),
}

impl Mirror {
    /// Makes a reader of what the server at the address shows.
    pub fn new(text: &str, user_agent: &str, secret: Option<Secret>) -> Result<Self, MirrorError> {
        let url = parse(text).map_err(MirrorError::Address)?;
        let http = builder(user_agent, url.scheme() == "https")
            .timeout(limits::ANSWER_TIMEOUT)
            .build()
            .map_err(|error| MirrorError::Client(ClientError::Tls(error)))?;
        Ok(Self { http, url, secret })
    }

    /// Returns the address as it is shown to people.
    pub fn address(&self) -> &str {
        shown(&self.url)
    }

    /// Reads files at once, in their order; `None` for one that is not there.
    pub async fn files(&self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, RequestError> {
        join_all(paths.iter().map(|path| self.file(path))).await.into_iter().collect()
    }

    /// Reads a file; `None` if it is not there.
    pub async fn file(&self, path: &str) -> Result<Option<Vec<u8>>, RequestError> {
        let address = self.address();
        let failed = |error| RequestError::from_transport(address, limits::ANSWER_TIMEOUT, error);
        let mut request = self.http.get(join(&self.url, path));
        if let Some(secret) = &self.secret {
            request = request.bearer_auth(secret.reveal());
        }
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > limits::ANSWER_BYTES_MAX {
                let max = limits::ANSWER_BYTES_MAX;
                return Err(RequestError::TooLarge { address: address.to_owned(), max });
            }
        }
        if status.is_success() {
            return Ok(Some(bytes));
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(_) if status == StatusCode::NOT_FOUND => Ok(None),
            Ok(problem) if problem.code.status() == status.as_u16() => {
                Err(RequestError::from_problem(problem))
            }
            _ => Err(RequestError::Foreign {
                address: address.to_owned(),
                status: status.as_u16(),
                said: beginning(&bytes),
            }),
        }
    }
}
