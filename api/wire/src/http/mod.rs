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
//! | `GET /v1/events` | the same | [`EventsQuery`] → a stream of [`LogEvent`] |
//! | `GET /v1/output` | follow | [`OutputQuery`] → [`OutputPage`] |
//! | `GET /v1/agents` | read | [`AgentsQuery`] → [`AgentList`] |
//! | `POST /v1/agents/{name}/rekey` | manage | [`RekeyRequest`] → [`Recorded`] |
//! | `POST /v1/agents/{name}/retire` | manage | [`RetireRequest`] → [`Recorded`] |
//! | `GET /v1/deployments` | follow | [`DeploymentsQuery`] → [`DeploymentList`] |
//! | `GET /v1/deployments/{id or agent#index}` | follow | → [`Deployment`] |
//! | `POST /v1/deployments/{id or agent#index}/cancel` | activate | [`CancelRequest`] → [`Recorded`] |
//! | `GET /v1/tokens` | manage | [`TokensQuery`] → [`TokenList`] |
//! | `POST /v1/tokens` | manage | [`IssueTokenRequest`] → [`IssuedToken`] |
//! | `POST /v1/tokens/{id}/revoke` | manage | [`RevokeTokenRequest`] → [`Recorded`] |
//! | `GET /v1/whoami` | any | → [`WhoAmI`] |
//! | `GET /v1/workspaces` | manage ledger | [`WorkspacesQuery`] → [`WorkspaceList`] |
//! | `POST /v1/workspaces` | manage ledger | [`CreateWorkspaceRequest`] → [`Recorded`] |
//! | `GET /v1/proofs/inclusion` | read | [`InclusionQuery`] → [`InclusionProof`] |
//! | `GET /v1/proofs/consistency` | any | [`ConsistencyQuery`] → [`ConsistencyProof`] |
//! | `GET /v1/signing-keys` | any | → [`SigningKeys`] |
//! | `POST /v1/erasures` | manage ledger | [`EraseRequest`] → [`Recorded`] |
//! | `GET /checkpoint` | none | → the newest signed checkpoint (C2SP tlog-checkpoint) |
//! | `GET /tile/{level}/{index}` | none | → hashes of the tree (C2SP tlog-tiles) |
//! | `GET /tile/entries/{index}` | read, the whole ledger | → envelopes of events (C2SP tlog-tiles) |
//! | `GET /healthz`, `GET /readyz` | none | → [`Health`] |
//! | `GET /v1/openapi.json` | none | → this, for programs |
//! | `GET /v1/docs` | none | → this, to read in a browser |
//!
//! Lists come page by page: ask on with the cursor in `next` until there is none.

mod access;
mod activations;
mod agents;
mod deployments;
mod events;
mod exact;
mod log;
mod proofs;

pub use access::{
    CreateWorkspaceRequest, IssueTokenRequest, IssuedToken, RevokeTokenRequest, Token, TokenList,
    TokensQuery, WhoAmI, Workspace, WorkspaceList, WorkspacesQuery,
};
pub use activations::{ActivateAnswer, ActivateRequest, RequestedDeployment};
pub use agents::{Agent, AgentList, AgentsQuery, EndedDeployment, RekeyRequest, RetireRequest};
pub use deployments::{
    CancelRequest, Deployment, DeploymentList, DeploymentStatus, DeploymentsQuery,
};
pub use events::{
    EVENT_STREAM, EventsFormat, EventsQuery, HEARTBEAT_SECONDS, JSON_LINES, StreamCursor,
    StreamProblem,
};
pub use log::{LogEvent, LogPage, LogQuery, OutputChunk, OutputPage, OutputQuery};
pub use proofs::{
    ConsistencyProof, ConsistencyQuery, EraseRequest, InclusionProof, InclusionQuery, SigningKeys,
};

use exact::exact;
use ledger_core::ids::Position;
use ledger_core::names::WorkspaceName;
use serde::{Deserialize, Serialize};

/// The longest that a reading request may be asked to wait for news, in seconds.
pub const WAIT_SECONDS_MAX: u64 = 25;

/// `?workspace=`, on every route but those of the whole ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
pub struct WorkspaceQuery {
    /// Which workspace; a token bound to one may leave it out.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::WorkspaceName, required = false))]
    pub workspace: Option<WorkspaceName>,
}

/// A write is in the log, and the server's answers show it from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Recorded {
    /// The newest event of the write; none when everything was so already.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Position>, required = true))]
    pub position: Option<Position>,
}

/// Whether the server lives, and whether it can write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`, or what is wrong.
    pub status: String,
}
