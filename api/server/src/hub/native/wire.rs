//! The socket: messages in and out, each with a deadline.

use crate::hub::session::Ending;
use crate::limits;
use api_wire::agent::{FromAgent, FromServer, GoodbyeReason};
use axum::extract::ws::{Message, WebSocket};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::error::ProtocolError;

/// One end of a socket.
pub(crate) struct Wire {
    socket: WebSocket,
    ping_interval: Duration,
    heard_at: Instant,
}

impl Wire {
    pub(crate) fn new(socket: WebSocket, ping_interval: Duration) -> Self {
        Self { socket, ping_interval, heard_at: Instant::now() }
    }

    pub(crate) fn ping_interval(&self) -> Duration {
        self.ping_interval
    }

    /// After so long without a sign of life the agent is gone.
    fn liveness(&self) -> Duration {
        self.ping_interval * limits::PINGS_MISSED_MAX
    }

    /// Returns whether nothing was heard for too long.
    pub(crate) fn is_silent(&self) -> bool {
        self.heard_at.elapsed() >= self.liveness()
    }

    /// Says that the silence was ours: we were busy and did not listen.
    pub(crate) fn was_busy(&mut self) {
        self.heard_at = Instant::now();
    }

    /// Returns the agent's next message. May be dropped and called again without loss.
    pub(crate) async fn hear(&mut self) -> Result<FromAgent, Ending> {
        loop {
            let message = match self.socket.recv().await {
                None | Some(Ok(Message::Close(_))) => return Err(Ending::Lost),
                Some(Err(error)) => return Err(broken(error)),
                Some(Ok(message)) => message,
            };
            self.heard_at = Instant::now();
            match message {
                Message::Text(text) => {
                    return serde_json::from_str(text.as_str()).map_err(|error| {
                        Ending::Broke(format!("a message cannot be read: {error}"))
                    });
                }
                Message::Binary(_) => {
                    return Err(Ending::Broke("messages are text, not bytes".to_owned()));
                }
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
            }
        }
    }

    pub(crate) async fn say(&mut self, message: &FromServer) -> Result<(), Ending> {
        let text = serde_json::to_string(message).map_err(|error| {
            tracing::error!(%error, "A message cannot be encoded.");
            Ending::Unavailable("the server made a mistake".to_owned())
        })?;
        self.send(Message::Text(text.into())).await
    }

    pub(crate) async fn ping(&mut self) -> Result<(), Ending> {
        self.send(Message::Ping(Vec::new().into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Ending> {
        let deadline = limits::SEND_TIMEOUT.min(self.liveness());
        match timeout(deadline, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ending::Lost),
            // Whoever does not read is as good as silent.
            Err(_) => Err(Ending::Silent),
        }
    }

    /// Says why the session ends, and closes the connection.
    pub(crate) async fn goodbye(mut self, ending: &Ending) {
        if let Some(message) = last_word(ending)
            && self.say(&message).await.is_err()
        {
            return;
        }
        if self.send(Message::Close(None)).await.is_err() {
            return;
        }
        // Closing with words of the agent unread could make the machine drop ours.
        let read_out = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        let _ = timeout(limits::LINGER_TIMEOUT, read_out).await;
    }
}

/// Tells a connection that broke from an agent that breaks the protocol.
fn broken(error: axum::Error) -> Ending {
    match error.into_inner().downcast::<SocketError>().map(|error| *error) {
        Ok(SocketError::Capacity(error)) => Ending::Broke(error.to_string()),
        Ok(SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Ending::Lost,
        Ok(SocketError::Protocol(error)) => Ending::Broke(error.to_string()),
        Ok(SocketError::Utf8(error)) => Ending::Broke(error.to_string()),
        Ok(_) | Err(_) => Ending::Lost,
    }
}

/// Returns the last message for an ending, if there is somebody to hear it.
fn last_word(ending: &Ending) -> Option<FromServer> {
    let retry = Some(limits::RETRY_AFTER);
    let (reason, detail, retry_after) = match ending {
        Ending::Stopped | Ending::Lost => return None,
        Ending::Silent => (GoodbyeReason::TimedOut, "nothing was heard for too long".to_owned(), None),
        Ending::Broke(how) => (GoodbyeReason::ProtocolError, how.clone(), retry),
        Ending::Replaced => (
            GoodbyeReason::Replaced,
            "the same key connected again; if that was another machine, its agent's state was copied".to_owned(),
            None,
        ),
        Ending::KeyMismatch(detail) => (GoodbyeReason::KeyMismatch, detail.clone(), None),
        Ending::Retired => (
            GoodbyeReason::Retired,
            "an operator took the name out of service or gave it to another key; `ledger agents rekey` brings it back".to_owned(),
            None,
        ),
        Ending::TokenRefused(detail) => (
            GoodbyeReason::TokenRefused,
            format!("{detail}; give the agent another token"),
            None,
        ),
        Ending::Stopping => (GoodbyeReason::Unavailable, "the server is stopping".to_owned(), retry),
        Ending::Unavailable(why) => (GoodbyeReason::Unavailable, why.clone(), retry),
    };
    let retry_after_ms = retry_after.map(|wait| wait.as_millis() as u64);
    Some(FromServer::Goodbye { reason, detail, retry_after_ms })
}
