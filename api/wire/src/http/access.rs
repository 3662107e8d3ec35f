//! Tokens and workspaces.

use ledger_core::event::Reach;
use ledger_core::ids::{NodeId, Position, RequestId, TokenId};
use ledger_core::names::{AgentPattern, ProgramVersion, WorkspaceName};
use ledger_core::rights::{Right, TokenKind};
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The tokens of a workspace that were not revoked, by age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenList {
    /// The tokens.
    pub tokens: Vec<Token>,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// What it may do.
    pub kind: TokenKind,
    /// What it may see.
    pub reach: Reach,
    /// The names it is limited to.
    pub agents: Vec<AgentPattern>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it stops being accepted.
    pub expires_at: Option<Timestamp>,
    /// Whether it is accepted no longer, by its time.
    pub expired: bool,
    /// What it is for, unless that was erased.
    pub description: Option<String>,
}

/// Issue a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueTokenRequest {
    /// Made by the client.
    pub request_id: RequestId,
    /// The secret, made by the client, so that a retry cannot lose it.
    pub secret: String,
    /// What it may do; the secret's prefix says the same.
    pub kind: TokenKind,
    /// What it may see.
    pub reach: Reach,
    /// The names it is limited to.
    #[serde(default)]
    pub agents: Vec<AgentPattern>,
    /// How long it lives, in seconds. None lives until it is revoked.
    #[serde(default)]
    pub expires_in_seconds: Option<u64>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
}

/// Shows everything but the secret.
impl fmt::Debug for IssueTokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request_id, secret: _, kind, reach, agents, expires_in_seconds, description } =
            self;
        f.debug_struct("IssueTokenRequest")
            .field("request_id", request_id)
            .field("kind", kind)
            .field("reach", reach)
            .field("agents", agents)
            .field("expires_in_seconds", expires_in_seconds)
            .field("description", description)
            .finish_non_exhaustive()
    }
}

/// A token was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedToken {
    /// Its id.
    pub id: TokenId,
    /// When it stops being accepted.
    pub expires_at: Option<Timestamp>,
}

/// Revoke a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeTokenRequest {
    /// Made by the client.
    pub request_id: RequestId,
}

/// What the token of a request is, and which server answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoAmI {
    /// The token's id.
    pub token: TokenId,
    /// What it is for.
    pub kind: TokenKind,
    /// What it may see.
    pub reach: Reach,
    /// The workspace that a request with this token and this `?workspace=` is about.
    pub workspace: WorkspaceName,
    /// The agent names that it is limited to; none means every name.
    pub agents: Vec<AgentPattern>,
    /// What it may do.
    pub rights: Vec<Right>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it stops being accepted. None: when it is revoked.
    pub expires_at: Option<Timestamp>,
    /// The server's version.
    pub version: ProgramVersion,
    /// The server's node.
    pub node: NodeId,
    /// The server's time.
    pub now: Timestamp,
    /// Its answers show the log up to here.
    pub position: Position,
    /// Whether it can serve now; `GET /readyz` says why not.
    pub ready: bool,
}

/// The workspaces, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceList {
    /// The workspaces.
    pub workspaces: Vec<Workspace>,
}

/// A workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Its name.
    pub name: WorkspaceName,
    /// How many agents it has that are in service.
    pub agents: u64,
    /// How many of them are connected.
    pub connected: u64,
}

/// Create a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateWorkspaceRequest {
    /// Made by the client.
    pub request_id: RequestId,
    /// Its name.
    pub name: WorkspaceName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_a_token_shows_no_secret() {
        let request = IssueTokenRequest {
            request_id: RequestId::from_bytes([1; 16]),
            secret: "ldg_admin_secret".to_owned(),
            kind: TokenKind::Admin,
            reach: Reach::Workspace,
            agents: Vec::new(),
            expires_in_seconds: Some(60),
            description: Some("for ci".to_owned()),
        };
        let shown = format!("{request:?}{request:#?}");
        assert!(!shown.contains("ldg_") && shown.contains("for ci"), "{shown}");
    }
}
