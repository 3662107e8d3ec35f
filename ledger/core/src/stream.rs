//! Streams: what an event is about, and in which order.

use crate::ids::{ActivationId, NodeId};
use crate::names::{AgentName, WorkspaceName};
use crate::text::as_text;
use std::fmt;
use std::str::FromStr;

/// One stream of the log, written like `agent/default/web-1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// `workspace/<ws>`: settings, tokens and pins.
    Workspace(WorkspaceName),
    /// `sessions/<ws>`: agents coming and going.
    Sessions(WorkspaceName),
    /// `agent/<ws>/<name>`: what an agent consumes, and what it reports.
    Agent(WorkspaceName, AgentName),
    /// `health/<ws>`: packed results of health checks.
    Health(WorkspaceName),
    /// `activation/<id>`: one activation as it was asked for.
    Activation(ActivationId),
    /// `node/<id>`: one server's starts and stops.
    Node(NodeId),
}

as_text!(StreamId);

/// Text that names no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no stream: it must be workspace/W, sessions/W, agent/W/NAME, health/W, activation/ID or node/ID"
)]
pub struct InvalidStreamId(String);

impl StreamId {
    /// Returns the workspace that the name tells, if it tells one.
    ///
    /// An activation's workspace stands in its first event.
    pub fn workspace(&self) -> Option<&WorkspaceName> {
        match self {
            Self::Workspace(ws) | Self::Sessions(ws) | Self::Health(ws) | Self::Agent(ws, _) => {
                Some(ws)
            }
            Self::Activation(_) | Self::Node(_) => None,
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace(ws) => write!(f, "workspace/{ws}"),
            Self::Sessions(ws) => write!(f, "sessions/{ws}"),
            Self::Agent(ws, name) => write!(f, "agent/{ws}/{name}"),
            Self::Health(ws) => write!(f, "health/{ws}"),
            Self::Activation(id) => write!(f, "activation/{id}"),
            Self::Node(id) => write!(f, "node/{id}"),
        }
    }
}

impl FromStr for StreamId {
    type Err = InvalidStreamId;
    fn from_str(text: &str) -> Result<Self, InvalidStreamId> {
        parse(text).ok_or_else(|| InvalidStreamId(text.chars().take(200).collect()))
    }
}

fn parse(text: &str) -> Option<StreamId> {
    let (kind, rest) = text.split_once('/')?;
    Some(match kind {
        "workspace" => StreamId::Workspace(rest.parse().ok()?),
        "sessions" => StreamId::Sessions(rest.parse().ok()?),
        "health" => StreamId::Health(rest.parse().ok()?),
        "agent" => {
            let (ws, name) = rest.split_once('/')?;
            StreamId::Agent(ws.parse().ok()?, name.parse().ok()?)
        }
        // One stream has one name: other spellings of a UUID are refused.
        "activation" => StreamId::Activation(
            rest.parse().ok().filter(|id: &ActivationId| id.to_string() == rest)?,
        ),
        "node" => StreamId::Node(rest.parse().ok().filter(|id: &NodeId| id.to_string() == rest)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_reads_back_and_nothing_else_is_one() {
        for text in [
            "workspace/default",
            "sessions/team-1",
            "agent/default/web-1",
            "health/default",
            "activation/0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90",
            "node/0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90",
        ] {
            assert_eq!(text.parse::<StreamId>().map(|s| s.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["", "agent/default", "agent/a/b/c", "node/0190B1F27C1E7D3A9F005C2D6E1A4B90", "x/y"]
        {
            assert!(text.parse::<StreamId>().is_err(), "{text} was accepted");
        }
    }
}
