//! One method for every route of [`api_wire::http`].

use super::{Client, Request, RequestError};
use api_wire::http::{
    ActivateAnswer, ActivateRequest, AgentList, AgentsQuery, CancelRequest, ConsistencyProof,
    ConsistencyQuery, CreateWorkspaceRequest, Deployment, DeploymentList, DeploymentsQuery,
    EraseRequest, Health, IssueTokenRequest, IssuedToken, LogPage, LogQuery, OutputPage,
    OutputQuery, Recorded, RekeyRequest, RetireRequest, RevokeTokenRequest, SigningKeys, TokenList,
    TokensQuery, WhoAmI, WorkspaceList, WorkspaceQuery, WorkspacesQuery,
};
use ledger_core::ids::{ActivationId, DeploymentId, TokenId};
use ledger_core::names::AgentName;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A deployment as people name it: by its id, or as `AGENT#INDEX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeploymentRef {
    /// By its id.
    Id(DeploymentId),
    /// By its agent and its number among the agent's.
    Index(AgentName, u64),
}

impl DeploymentRef {
    /// Returns the agent, if it is named by one.
    pub fn agent(&self) -> &[AgentName] {
        match self {
            Self::Id(_) => &[],
            Self::Index(agent, _) => std::slice::from_ref(agent),
        }
    }
}

/// Text that names no deployment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no deployment: it must be an id (a UUID) or AGENT#INDEX, like web-1#7")]
pub struct InvalidDeploymentRef(String);

impl FromStr for DeploymentRef {
    type Err = InvalidDeploymentRef;
    fn from_str(text: &str) -> Result<Self, InvalidDeploymentRef> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let index = |(agent, index): (&str, &str)| {
            Some(Self::Index(agent.parse().ok()?, index.parse().ok().filter(|index| *index > 0)?))
        };
        let error = || InvalidDeploymentRef(text.chars().take(200).collect());
        text.rsplit_once('#').and_then(index).ok_or_else(error)
    }
}

impl fmt::Display for DeploymentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Index(agent, index) => write!(f, "{agent}#{index}"),
        }
    }
}

impl Client {
    async fn get<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        query: &Q,
        wait: Option<u64>,
    ) -> Result<A, RequestError> {
        let wait = Duration::from_secs(wait.unwrap_or_default());
        let request =
            Request { method: Method::GET, path, query: Some(query), body: None::<&()>, wait };
        self.send(request).await
    }

    async fn post<B: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<A, RequestError> {
        let query = self.workspace();
        let wait = Duration::ZERO;
        let request =
            Request { method: Method::POST, path, query: Some(&query), body: Some(body), wait };
        self.send(request).await
    }

    fn workspace(&self) -> WorkspaceQuery {
        WorkspaceQuery { workspace: self.workspace.clone() }
    }

    /// Asks agents to deploy.
    pub async fn activate(&self, body: &ActivateRequest) -> Result<ActivateAnswer, RequestError> {
        self.post("/v1/activations", body).await
    }

    /// Tells what an activation asked for.
    pub async fn activation(&self, id: ActivationId) -> Result<ActivateAnswer, RequestError> {
        self.get(&format!("/v1/activations/{id}"), &self.workspace(), None).await
    }

    /// Reads a part of the log.
    pub async fn log(&self, query: &LogQuery) -> Result<LogPage, RequestError> {
        let workspace = query.workspace.clone().or_else(|| self.workspace.clone());
        let query = LogQuery { workspace, ..query.clone() };
        self.get("/v1/log", &query, query.wait).await
    }

    /// Reads output of deployments.
    pub async fn output(&self, query: &OutputQuery) -> Result<OutputPage, RequestError> {
        let workspace = query.workspace.clone().or_else(|| self.workspace.clone());
        let query = OutputQuery { workspace, ..query.clone() };
        self.get("/v1/output", &query, query.wait).await
    }

    /// Lists all agents, page by page. Each page shows the log up to the answer's
    /// position, or further.
    pub async fn agents(&self) -> Result<AgentList, RequestError> {
        let workspace = self.workspace.clone();
        let mut query = AgentsQuery { workspace, ..AgentsQuery::default() };
        let mut list: AgentList = self.get("/v1/agents", &query, None).await?;
        while let Some(next) = list.next.take() {
            query.after = Some(next);
            let page: AgentList = self.get("/v1/agents", &query, None).await?;
            list.agents.extend(page.agents);
            list.next = page.next;
        }
        Ok(list)
    }

    /// Lets a name take another key.
    pub async fn rekey_agent(
        &self,
        agent: &AgentName,
        body: &RekeyRequest,
    ) -> Result<Recorded, RequestError> {
        self.post(&format!("/v1/agents/{agent}/rekey"), body).await
    }

    /// Takes an agent out of service.
    pub async fn retire_agent(
        &self,
        agent: &AgentName,
        body: &RetireRequest,
    ) -> Result<Recorded, RequestError> {
        self.post(&format!("/v1/agents/{agent}/retire"), body).await
    }

    /// Lists deployments, the newest first.
    pub async fn deployments(
        &self,
        query: &DeploymentsQuery,
    ) -> Result<DeploymentList, RequestError> {
        let workspace = query.workspace.clone().or_else(|| self.workspace.clone());
        let query = DeploymentsQuery { workspace, ..query.clone() };
        self.get("/v1/deployments", &query, None).await
    }

    /// Tells everything about one deployment.
    pub async fn deployment(&self, which: &DeploymentRef) -> Result<Deployment, RequestError> {
        self.get(&deployment_path(which, ""), &self.workspace(), None).await
    }

    /// Calls off a deployment that has not started.
    pub async fn cancel_deployment(
        &self,
        which: &DeploymentRef,
        body: &CancelRequest,
    ) -> Result<Recorded, RequestError> {
        self.post(&deployment_path(which, "/cancel"), body).await
    }

    /// Lists all tokens, page by page.
    pub async fn tokens(&self) -> Result<TokenList, RequestError> {
        let workspace = self.workspace.clone();
        let mut query = TokensQuery { workspace, ..TokensQuery::default() };
        let mut list: TokenList = self.get("/v1/tokens", &query, None).await?;
        while let Some(next) = list.next.take() {
            query.after = Some(next);
            let page: TokenList = self.get("/v1/tokens", &query, None).await?;
            list.tokens.extend(page.tokens);
            list.next = page.next;
        }
        Ok(list)
    }

    /// Issues a token.
    pub async fn issue_token(&self, body: &IssueTokenRequest) -> Result<IssuedToken, RequestError> {
        self.post("/v1/tokens", body).await
    }

    /// Revokes a token.
    pub async fn revoke_token(
        &self,
        id: TokenId,
        body: &RevokeTokenRequest,
    ) -> Result<Recorded, RequestError> {
        self.post(&format!("/v1/tokens/{id}/revoke"), body).await
    }

    /// Tells what the token is, and which server answers.
    pub async fn whoami(&self) -> Result<WhoAmI, RequestError> {
        self.get("/v1/whoami", &self.workspace(), None).await
    }

    /// Lists all workspaces, page by page.
    pub async fn workspaces(&self) -> Result<WorkspaceList, RequestError> {
        let mut query = WorkspacesQuery::default();
        let mut list: WorkspaceList = self.get("/v1/workspaces", &query, None).await?;
        while let Some(next) = list.next.take() {
            query.after = Some(next);
            let page: WorkspaceList = self.get("/v1/workspaces", &query, None).await?;
            list.workspaces.extend(page.workspaces);
            list.next = page.next;
        }
        Ok(list)
    }

    /// Creates a workspace.
    pub async fn create_workspace(
        &self,
        body: &CreateWorkspaceRequest,
    ) -> Result<Recorded, RequestError> {
        // A route of the whole ledger: it takes no `?workspace=`.
        let request = Request {
            method: Method::POST,
            path: "/v1/workspaces",
            query: None::<&()>,
            body: Some(body),
            wait: Duration::ZERO,
        };
        self.send(request).await
    }

    /// Erases the annex of an event.
    pub async fn erase(&self, body: &EraseRequest) -> Result<Recorded, RequestError> {
        let request = Request {
            method: Method::POST,
            path: "/v1/erasures",
            query: None::<&()>,
            body: Some(body),
            wait: Duration::ZERO,
        };
        self.send(request).await
    }

    /// Proves that the log of one size begins with that of another one.
    pub async fn prove_growth(
        &self,
        query: &ConsistencyQuery,
    ) -> Result<ConsistencyProof, RequestError> {
        self.get("/v1/proofs/consistency", query, None).await
    }

    /// Lists the keys that sign checkpoints.
    pub async fn signing_keys(&self) -> Result<SigningKeys, RequestError> {
        self.get("/v1/signing-keys", &(), None).await
    }

    /// Tells whether the server can write.
    pub async fn ready(&self) -> Result<Health, RequestError> {
        self.get("/readyz", &(), None).await
    }
}

/// The `#` of `web-1#7` would begin a fragment, so it is escaped.
fn deployment_path(which: &DeploymentRef, rest: &str) -> String {
    format!("/v1/deployments/{}{rest}", which.to_string().replace('#', "%23"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_named_by_id_or_by_agent_and_index() {
        let index: DeploymentRef = "web-1#7".parse().expect("valid");
        assert_eq!(index, DeploymentRef::Index("web-1".parse().expect("valid"), 7));
        assert_eq!(deployment_path(&index, "/cancel"), "/v1/deployments/web-1%237/cancel");
        let id = "0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90";
        assert_eq!(id.parse::<DeploymentRef>().map(|d| d.to_string()), Ok(id.to_owned()));
        for text in ["", "web-1", "web-1#", "web-1#0", "web-1#x", "#7", "a b#7"] {
            assert!(text.parse::<DeploymentRef>().is_err(), "{text} was accepted");
        }
    }
}
