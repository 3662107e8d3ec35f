//! The caller of a request: a token, and where it came from.

use crate::limits;
use crate::problem::Refusal;
use crate::server::Server;
use api_wire::problem::Code;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use ledger_core::event::{Digest, Reach};
use ledger_core::record::ActorKind;
use ledger_core::rights::{self, Right};
use ledger_core::{Actor, AgentName, Annex, Position, Rejection, WorkspaceName};
use projections::access::Token;
use projections::image::Image;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;

/// Whoever holds the token that a request carried.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) token: Arc<Token>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) client: Option<String>,
    pub(crate) method: String,
    pub(crate) path: String,
}

impl Caller {
    /// Returns whether the token holds the right.
    pub(crate) fn may(&self, right: Right) -> bool {
        let whole = right != Right::ManageLedger || self.token.reach == Reach::Ledger;
        whole && rights::holds(self.token.kind, right)
    }

    /// Returns the workspace that the request is about.
    ///
    /// To a token of one workspace every other is as if it did not exist.
    pub(crate) fn workspace(
        &self,
        image: &Image,
        asked: Option<WorkspaceName>,
    ) -> Result<WorkspaceName, Refusal> {
        let own = self.token.workspace.clone();
        let workspace = match self.token.reach {
            Reach::Ledger => asked.unwrap_or_else(WorkspaceName::initial),
            Reach::Workspace => asked.unwrap_or_else(|| own.clone()),
        };
        let visible = self.token.reach == Reach::Ledger || workspace == own;
        if visible && image.fleet.workspace(&workspace).is_some() {
            Ok(workspace)
        } else {
            Err(Rejection::WorkspaceNotFound { workspace }.into())
        }
    }

    /// Returns whether the token covers the agent.
    pub(crate) fn covers(&self, agent: &AgentName) -> bool {
        self.token.covers(agent)
    }

    /// Refuses agents that the token does not cover.
    pub(crate) fn must_cover<'a>(
        &self,
        agents: impl IntoIterator<Item = &'a AgentName>,
    ) -> Result<(), Refusal> {
        let uncovered: Vec<&str> = agents
            .into_iter()
            .filter(|agent| !self.covers(agent))
            .take(10)
            .map(AgentName::as_str)
            .collect();
        if uncovered.is_empty() {
            return Ok(());
        }
        let names = uncovered.join(", ");
        Err(Refusal::new(
            Code::Forbidden,
            format!("the token is limited to other agents than {names}"),
        ))
    }

    /// Refuses a token that was revoked or expired while its request waited, by
    /// the log up to the position.
    pub(crate) async fn must_still_hold(
        &self,
        server: &Server,
        position: Position,
    ) -> Result<(), Refusal> {
        let snapshot = server.live.wait_for(position, limits::FOLD_TIMEOUT).await?;
        let token = snapshot.state.access.token(self.token.id);
        if token.is_some_and(|token| token.is_valid_at(server.clock.now())) {
            return Ok(());
        }
        let detail = "the token was revoked or has expired while the request waited";
        Err(Refusal::new(Code::Unauthorized, detail))
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor { kind: ActorKind::Token, id: self.token.id.to_string() }
    }

    /// What may be erased of a write: where it came from, and what was said.
    pub(crate) fn annex(&self, description: Option<String>) -> Annex {
        let address = self.address.map(|address| address.to_string());
        Annex { address, client: self.client.clone(), description, error: None }
    }

    /// Digests what the caller gave.
    pub(crate) fn given(&self, workspace: Option<&WorkspaceName>, body: &impl Serialize) -> Digest {
        crate::given::of_request(&self.method, &self.path, workspace, body)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // The guard of the route put it there; a route without one is our defect.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            tracing::error!(
                path = parts.uri.path(),
                "A route asks for its caller without a guard."
            );
            Refusal::internal()
        })
    }
}
