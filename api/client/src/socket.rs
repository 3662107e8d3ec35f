//! An agent's socket: typed messages over one WebSocket, each await bounded.

use crate::endpoint::Endpoint;
use api_wire::agent::{FromAgent, FromServer, PATH};
use api_wire::problem::Problem;
use futures_util::{SinkExt, StreamExt};
use ledger_core::limits::MESSAGE_BYTES_MAX;
use reqwest::Url;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Until name lookup, TCP, TLS and the upgrade are through. Three lost packets
/// of a TCP handshake cost 7 s.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(15);
/// Until the kernel took a message. It holds a few hundred KiB, so that only a
/// peer that does not read for long can make it late.
pub const SEND_DEADLINE: Duration = Duration::from_secs(15);
/// Until the peer answered a close; nothing depends on it.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// Bytes of buffer for each direction; the library's own default is 128 KiB.
const BUFFER_BYTES: usize = 8 * 1024;
/// Characters of a server's refusal that are shown.
const DETAIL_CHARS_MAX: usize = 1_000;

/// Why a socket does not open, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The server answered, but not with a socket.
    #[error("the server refused the connection ({status}): {detail}")]
    Refused {
        /// Its HTTP status.
        status: u16,
        /// Its words.
        detail: String,
    },
    /// No connection came about.
    #[error("could not connect to {address}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something took longer than its deadline.
    #[error("{what} took longer than {} s", deadline.as_secs())]
    Late {
        /// What.
        what: &'static str,
        /// How long it may take.
        deadline: Duration,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server said what this program does not understand.
    #[error("the server sent a message that this version does not understand")]
    NotUnderstood(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A message is larger than the protocol allows; it was not sent.
    #[error("a message of {bytes} bytes is larger than the protocol allows")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl SocketError {
    /// Returns whether the server refuses the token, so that trying again is of
    /// no use until a person acted.
    pub const fn is_token_refused(&self) -> bool {
        matches!(self, Self::Refused { status: 401 | 403, .. })
    }

    fn broken(source: Error) -> Self {
        match source {
            Error::ConnectionClosed | Error::AlreadyClosed => Self::Closed,
            source => Self::Broken(Box::new(source)),
        }
    }
}

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message.
    Message(FromServer),
    /// A ping or pong: the server is there.
    SignOfLife,
}

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// Connects to the server's socket for agents.
    ///
    /// TLS trusts what the machine trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR`
    /// replace that.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, SocketError> {
        let connecting = open(endpoint);
        timeout(CONNECT_DEADLINE, connecting)
            .await
            .map_err(|_| SocketError::Late { what: "connecting", deadline: CONNECT_DEADLINE })?
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &FromAgent) -> Result<(), SocketError> {
        let text = serde_json::to_string(message)
            .map_err(|source| SocketError::NotUnderstood(Box::new(source)))?;
        if text.len() > MESSAGE_BYTES_MAX {
            return Err(SocketError::TooLarge { bytes: text.len() });
        }
        self.deliver(Message::text(text)).await
    }

    /// Asks the server for a sign of life.
    pub async fn ping(&mut self) -> Result<(), SocketError> {
        self.deliver(Message::Ping(Bytes::new())).await
    }

    /// Waits for the next thing to come in. May be dropped without loss.
    ///
    /// Pings are answered while this is awaited.
    pub async fn receive(&mut self) -> Result<Received, SocketError> {
        match self.stream.next().await {
            None | Some(Ok(Message::Close(_))) => Err(SocketError::Closed),
            Some(Err(source)) => Err(SocketError::broken(source)),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                Ok(Received::SignOfLife)
            }
            Some(Ok(Message::Binary(_))) => {
                Err(SocketError::NotUnderstood("it is binary, not text".into()))
            }
            Some(Ok(Message::Text(text))) => serde_json::from_str(text.as_str())
                .map(Received::Message)
                .map_err(|source| SocketError::NotUnderstood(Box::new(source))),
        }
    }

    /// Closes the connection. A peer that does not answer is left alone.
    pub async fn close(&mut self) {
        let parting = async {
            self.stream.close(None).await?;
            // A connection that ends with something unread is reset, and the peer
            // may then never read what was said last.
            while self.stream.next().await.transpose()?.is_some() {}
            Ok::<(), Error>(())
        };
        // Whether the peer hears it changes nothing for us.
        let _ = timeout(CLOSE_DEADLINE, parting).await;
    }

    async fn deliver(&mut self, message: Message) -> Result<(), SocketError> {
        timeout(SEND_DEADLINE, self.stream.send(message))
            .await
            .map_err(|_| SocketError::Late { what: "sending", deadline: SEND_DEADLINE })?
            .map_err(SocketError::broken)
    }
}

async fn open(endpoint: &Endpoint) -> Result<Socket, SocketError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| SocketError::Connect {
        address: endpoint.address().to_owned(),
        source,
    };
    let url = endpoint.socket_url(PATH);
    let mut request = url.as_str().into_client_request().map_err(|e| failed(Box::new(e)))?;
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", endpoint.secret().reveal()))
        .map_err(|e| failed(Box::new(e)))?;
    bearer.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MESSAGE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let tcp = dial(&url).await.map_err(|e| failed(Box::new(e)))?;
    match tokio_tungstenite::client_async_tls_with_config(request, tcp, Some(config), None).await {
        Ok((stream, _)) => Ok(Socket { stream }),
        Err(Error::Http(response)) => Err(refused(&response)),
        Err(source) => Err(failed(Box::new(source))),
    }
}

async fn dial(url: &Url) -> std::io::Result<TcpStream> {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(std::io::Error::other("the address names no host"));
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // Looks the name up and tries every address of it.
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

fn refused(response: &Response<Option<Vec<u8>>>) -> SocketError {
    let body = response.body().as_deref().unwrap_or_default();
    let detail = match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.detail,
        Err(_) => match response.status() {
            StatusCode::NOT_FOUND => "there is no Ledger server at this address".to_owned(),
            status => status.canonical_reason().unwrap_or("no reason given").to_owned(),
        },
    };
    SocketError::Refused {
        status: response.status().as_u16(),
        detail: detail.chars().take(DETAIL_CHARS_MAX).collect(),
    }
}
