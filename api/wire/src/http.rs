//! The HTTP API under `/v1`: bodies, queries and answers.
//!
//! Every request carries `Authorization: Bearer <token>`. Every writing request
//! carries a `request_id` (or an activation's id) that its client made as a
//! UUIDv7 and keeps through every retry. A token that reaches the whole ledger
//! names the workspace with `?workspace=`, `default` if it does not.
//!
//! | method and path | right | body → answer |
//! |---|---|---|
//! | `POST /v1/activations` | activate | [`ActivateRequest`] → [`ActivateAnswer`] |
//! | `GET /v1/activations/{id}` | follow | → [`ActivateAnswer`] |
//! | `GET /v1/log` | read, or follow with `activation` | [`LogQuery`] → [`LogPage`] |
//! | `GET /v1/output` | follow | [`OutputQuery`] → [`OutputPage`] |
//! | `GET /v1/agents` | read | → [`AgentList`] |
//! | `POST /v1/agents/{name}/rekey` | manage | [`RekeyRequest`] → [`Recorded`] |
//! | `POST /v1/agents/{name}/retire` | manage | [`RetireRequest`] → [`Recorded`] |
//! | `GET /v1/deployments` | follow | [`DeploymentsQuery`] → [`DeploymentList`] |
//! | `GET /v1/deployments/{id or agent#index}` | follow | → [`Deployment`] |
//! | `POST /v1/deployments/{id or agent#index}/cancel` | activate | [`CancelRequest`] → [`Recorded`] |
//! | `GET /v1/tokens` | manage | → [`TokenList`] |
//! | `POST /v1/tokens` | manage | [`IssueTokenRequest`] → [`IssuedToken`] |
//! | `POST /v1/tokens/{id}/revoke` | manage | [`RevokeTokenRequest`] → [`Recorded`] |
//! | `GET /v1/workspaces` | manage ledger | → [`WorkspaceList`] |
//! | `POST /v1/workspaces` | manage ledger | [`CreateWorkspaceRequest`] → [`Recorded`] |
//! | `GET /healthz`, `GET /readyz` | none | → [`Health`] |

use ledger_core::event::{CiRun, ClosureKind, FailureOutcome, FailureReason, OutputDigest, Reach};
use ledger_core::ids::{
    ActivationId, DeploymentId, EventId, Position, RequestId, SessionId, TokenId, Version,
};
use ledger_core::key::PublicKey;
use ledger_core::names::{
    AgentName, AgentPattern, ProgramVersion, StorePath, System, WorkspaceName,
};
use ledger_core::record::Actor;
use ledger_core::rights::TokenKind;
use ledger_core::stream::StreamId;
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest that a reading request may be asked to wait for news, in seconds.
pub const WAIT_SECONDS_MAX: u64 = 25;

/// `?workspace=`, on every route but those of the whole ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceQuery {
    /// Which workspace; a token bound to one may leave it out.
    pub workspace: Option<WorkspaceName>,
}

/// A write is in the log, and the server's answers show it from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The newest event of the write; none when everything was so already.
    pub position: Option<Position>,
}

/// Ask agents to deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivateRequest {
    /// The activation's id, which is the request id too.
    pub id: ActivationId,
    /// The text of deploy.json, to the letter.
    pub spec: String,
    /// Only these of its agents; none means all.
    #[serde(default)]
    pub agents: Vec<AgentName>,
    /// Check everything and record nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// The CI run that it came from.
    #[serde(default)]
    pub ci: Option<CiRun>,
    /// Free text. It can be erased later.
    #[serde(default)]
    pub description: Option<String>,
}

/// What an activation asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivateAnswer {
    /// Its id.
    pub id: ActivationId,
    /// Whose agents.
    pub workspace: WorkspaceName,
    /// Where its first event stands: follow the log from here. None on a dry run.
    pub position: Option<Position>,
    /// One for each agent, by name.
    pub deployments: Vec<RequestedDeployment>,
}

/// One agent's part of an activation, at the moment of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedDeployment {
    /// Whose.
    pub agent: AgentName,
    /// Its id. None on a dry run.
    pub id: Option<DeploymentId>,
    /// Its number among the agent's. None on a dry run.
    pub index: Option<u64>,
    /// What to deploy.
    pub store_path: StorePath,
    /// Whether the agent was connected.
    pub connected: bool,
    /// When the agent was last connected, if it is not.
    pub last_seen: Option<Timestamp>,
    /// The deployment that must end first.
    pub waits_for: Option<DeploymentId>,
}

/// Which part of the log. Filters are all to be met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Which workspace. With a token for the whole ledger, none means all of it.
    pub workspace: Option<WorkspaceName>,
    /// The first position wanted, 1 if not given.
    pub from: Option<Position>,
    /// At most so many events; the server may give fewer.
    pub limit: Option<usize>,
    /// Only this stream.
    pub stream: Option<StreamId>,
    /// Only what is about this agent: its stream, and its comings and goings.
    pub agent: Option<AgentName>,
    /// Only this type.
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    /// Only what belongs to this activation.
    pub activation: Option<ActivationId>,
    /// With no event to give, wait so many seconds for one.
    pub wait: Option<u64>,
}

/// A part of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogPage {
    /// The events that the filters let through.
    pub events: Vec<LogEvent>,
    /// Ask on from here. It moves past what the filters left out.
    pub next: Position,
    /// The newest position of the log.
    pub head: Position,
}

/// One event, with the keys of `ledger log --format jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEvent {
    /// Its place in the log.
    pub position: Position,
    /// What it is about.
    pub stream: StreamId,
    /// Its place in the stream.
    pub version: Version,
    /// Its id.
    pub event_id: EventId,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// When it happened, as its producer claims.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// What it belongs to.
    pub correlation_id: Option<EventId>,
    /// What led to it.
    pub causation_id: Option<EventId>,
    /// The payload, an object.
    pub payload: ledger_core::record::Json,
    /// The annex, where there is one and the token may read the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annex: Option<ledger_core::Annex>,
}

/// Which output. Exactly one of activation and deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputQuery {
    /// Which workspace.
    pub workspace: Option<WorkspaceName>,
    /// That of every deployment of this activation.
    pub activation: Option<ActivationId>,
    /// That of this deployment.
    pub deployment: Option<DeploymentId>,
    /// Only what was stored after this cursor; 0 or none is from the start.
    pub after: Option<u64>,
    /// With nothing to give, wait so many seconds for something.
    pub wait: Option<u64>,
}

/// Some output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputPage {
    /// Chunks, in order for each deployment.
    pub chunks: Vec<OutputChunk>,
    /// Ask on with this cursor.
    pub next: u64,
}

/// A piece of a deployment's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputChunk {
    /// Whose.
    pub deployment: DeploymentId,
    /// How many bytes came before.
    pub offset: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// The bytes, in base 64.
    pub bytes: String,
}

/// The agents of a workspace, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentList {
    /// The answer shows the log up to here.
    pub position: Position,
    /// The agents.
    pub agents: Vec<Agent>,
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its name.
    pub name: AgentName,
    /// Its open session.
    pub session: Option<SessionId>,
    /// When it connected, or when its last session ended.
    pub since: Option<Timestamp>,
    /// Whether it is out of service.
    pub retired: bool,
    /// The key that its name is pinned to.
    pub public_key: Option<PublicKey>,
    /// Its machine's system.
    pub system: Option<System>,
    /// Its program's version.
    pub version: Option<ProgramVersion>,
    /// The closure that was last deployed well.
    pub current: Option<StorePath>,
    /// What waits for it.
    pub pending: Option<DeploymentId>,
    /// What it runs.
    pub running: Option<DeploymentId>,
    /// The newest deployment that ended.
    pub last: Option<EndedDeployment>,
}

/// How a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedDeployment {
    /// Which.
    pub id: DeploymentId,
    /// Its number among the agent's.
    pub index: u64,
    /// How.
    pub status: DeploymentStatus,
    /// When that was recorded.
    pub at: Timestamp,
}

/// Let a name take another key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RekeyRequest {
    /// Made by the client.
    pub request_id: RequestId,
    /// The key to come. None takes the next agent to show itself.
    #[serde(default)]
    pub public_key: Option<PublicKey>,
    /// Free text.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Take an agent out of service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetireRequest {
    /// Made by the client.
    pub request_id: RequestId,
    /// Free text.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Which deployments, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentsQuery {
    /// Which workspace.
    pub workspace: Option<WorkspaceName>,
    /// Only this agent's.
    pub agent: Option<AgentName>,
    /// Only those requested before this position: the cursor of the page before.
    pub before: Option<Position>,
    /// At most so many; 50 if not given.
    pub limit: Option<usize>,
}

/// Deployments, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentList {
    /// The deployments.
    pub deployments: Vec<Deployment>,
    /// Where the next page begins, if there is one.
    pub next: Option<Position>,
}

/// A deployment, with everything that the log says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Whose.
    pub agent: AgentName,
    /// Its number among the agent's.
    pub index: u64,
    /// The activation that asked for it.
    pub activation: ActivationId,
    /// What to deploy.
    pub store_path: StorePath,
    /// How it stands.
    pub status: DeploymentStatus,
    /// Where its request stands in the log.
    pub position: Position,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The closure's size in bytes.
    pub closure_bytes: Option<u64>,
    /// How many store paths the closure has.
    pub closure_paths: Option<u64>,
    /// What the closure is.
    pub kind: Option<ClosureKind>,
    /// Nix's number of the profile link.
    pub generation: Option<u64>,
    /// Where the profile pointed before.
    pub previous: Option<StorePath>,
    /// The newer deployment that took its place.
    pub superseded_by: Option<DeploymentId>,
    /// Why it failed.
    pub reason: Option<FailureReason>,
    /// What the machine runs after the failure.
    pub outcome: Option<FailureOutcome>,
    /// What the failing program said, unless it was erased.
    pub error: Option<String>,
    /// The evidence for its output.
    pub output: Option<OutputDigest>,
}

/// How a deployment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentStatus {
    /// It waits for its agent.
    Pending,
    /// It runs.
    Running,
    /// It went well.
    Succeeded,
    /// It went badly.
    Failed,
    /// A newer one took its place before it started.
    Superseded,
    /// It was called off before it started.
    Cancelled,
}

impl DeploymentStatus {
    /// Returns the word in the JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether nothing more will happen to it.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// Call off what has not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Made by the client.
    pub request_id: RequestId,
    /// Free text.
    #[serde(default)]
    pub reason: Option<String>,
}

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

/// Whether the server lives, and whether it can write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or what is wrong.
    pub status: String,
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
