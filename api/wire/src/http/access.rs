//! Tokens and workspaces.

use super::exact;
use ledger_core::event::Reach;
use ledger_core::ids::{NodeId, Position, RequestId, TokenId};
use ledger_core::names::{AgentPattern, ProgramVersion, WorkspaceName};
use ledger_core::rights::{Right, TokenKind};
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which tokens, by age.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct TokensQuery {
    /// Which workspace; a token bound to one may leave it out.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::WorkspaceName, required = false))]
    pub workspace: Option<WorkspaceName>,
    /// Only those issued after this position: the cursor of the page before.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Position, required = false))]
    pub after: Option<Position>,
    /// At most so many; the server gives no more than 1000.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Integer, required = false))]
    pub limit: Option<usize>,
}

/// Tokens of a workspace that were not revoked, by age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenList {
    /// The tokens.
    pub tokens: Vec<Token>,
    /// Ask on after this position, if there are more.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Position>, required = true))]
    pub next: Option<Position>,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Token {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::TokenId))]
    pub id: TokenId,
    /// What it may do.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::TokenKind))]
    pub kind: TokenKind,
    /// What it may see.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Reach))]
    pub reach: Reach,
    /// The names it is limited to.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::schema::AgentPattern>))]
    pub agents: Vec<AgentPattern>,
    /// When it was issued.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Timestamp))]
    pub issued_at: Timestamp,
    /// When it stops being accepted.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Timestamp>, required = true))]
    pub expires_at: Option<Timestamp>,
    /// Whether it is accepted no longer, by its time.
    pub expired: bool,
    /// What it is for, unless that was erased.
    #[cfg_attr(feature = "schema", schema(required = true))]
    pub description: Option<String>,
}

/// Issue a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct IssueTokenRequest {
    /// Made by the client.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::RequestId))]
    pub request_id: RequestId,
    /// The secret, made by the client, so that a retry cannot lose it.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Secret))]
    pub secret: String,
    /// What it may do; the secret's prefix says the same.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::TokenKind))]
    pub kind: TokenKind,
    /// What it may see.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Reach))]
    pub reach: Reach,
    /// The names it is limited to.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::schema::AgentPattern>))]
    pub agents: Vec<AgentPattern>,
    /// How long it lives, in seconds. None lives until it is revoked.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Integer>))]
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
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct IssuedToken {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::TokenId))]
    pub id: TokenId,
    /// When it stops being accepted.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Timestamp>, required = true))]
    pub expires_at: Option<Timestamp>,
}

/// Revoke a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RevokeTokenRequest {
    /// Made by the client.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::RequestId))]
    pub request_id: RequestId,
}

/// What the token of a request is, and which server answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WhoAmI {
    /// The token's id.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::TokenId))]
    pub token: TokenId,
    /// What it is for.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::TokenKind))]
    pub kind: TokenKind,
    /// What it may see.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Reach))]
    pub reach: Reach,
    /// The workspace that a request with this token and this `?workspace=` is about.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::WorkspaceName))]
    pub workspace: WorkspaceName,
    /// The agent names that it is limited to; none means every name.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::schema::AgentPattern>))]
    pub agents: Vec<AgentPattern>,
    /// What it may do.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::schema::Right>))]
    pub rights: Vec<Right>,
    /// When it was issued.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Timestamp))]
    pub issued_at: Timestamp,
    /// When it stops being accepted. None: when it is revoked.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Timestamp>, required = true))]
    pub expires_at: Option<Timestamp>,
    /// The server's version.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::ProgramVersion))]
    pub version: ProgramVersion,
    /// The server's node.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::NodeId))]
    pub node: NodeId,
    /// The server's time.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Timestamp))]
    pub now: Timestamp,
    /// Its answers show the log up to here.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Position))]
    pub position: Position,
    /// Whether it can serve now; `GET /readyz` says why not.
    pub ready: bool,
}

/// Which workspaces, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct WorkspacesQuery {
    /// Only those after this name: the cursor of the page before.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::WorkspaceName, required = false))]
    pub after: Option<WorkspaceName>,
    /// At most so many; the server gives no more than 1000.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Integer, required = false))]
    pub limit: Option<usize>,
}

/// Workspaces, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WorkspaceList {
    /// The workspaces.
    pub workspaces: Vec<Workspace>,
    /// Ask on after this name, if there are more.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::WorkspaceName>, required = true))]
    pub next: Option<WorkspaceName>,
}

/// A workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Workspace {
    /// Its name.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::WorkspaceName))]
    pub name: WorkspaceName,
    /// How many agents it has that are in service.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Integer))]
    pub agents: u64,
    /// How many of them are connected.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Integer))]
    pub connected: u64,
}

/// Create a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateWorkspaceRequest {
    /// Made by the client.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::RequestId))]
    pub request_id: RequestId,
    /// Its name.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::WorkspaceName))]
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
