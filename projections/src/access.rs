//! Who may do what: the tokens that were issued and not revoked.

use crate::projection::Projection;
use ledger_core::event::{Reach, SecretHash, TokenIssued};
use ledger_core::names::{AgentName, AgentPattern, WorkspaceName};
use ledger_core::rights::TokenKind;
use ledger_core::{Event, Position, Record, StreamId, Timestamp, TokenId};
use std::sync::Arc;

/// The tokens of the whole ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    tokens: imbl::OrdMap<TokenId, Arc<Token>>,
    by_hash: imbl::OrdMap<SecretHash, TokenId>,
}

/// A token that was issued and not revoked. Its time may be over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// The workspace that it was issued in.
    pub workspace: WorkspaceName,
    /// What it may do.
    pub kind: TokenKind,
    /// What it may see.
    pub reach: Reach,
    /// The agent names that it is limited to; none means every name.
    pub agents: Vec<AgentPattern>,
    /// When it stops being accepted.
    pub expires_at: Option<Timestamp>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Where that stands in the log, with its description in the annex.
    pub position: Position,
    /// The keyed hash of its secret.
    pub hash: SecretHash,
}

impl Token {
    /// Returns whether the token is accepted at the moment.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Returns whether the token covers the agent's name.
    pub fn covers(&self, agent: &AgentName) -> bool {
        self.agents.is_empty() || self.agents.iter().any(|pattern| pattern.matches(agent))
    }
}

impl Access {
    /// Returns the token with the keyed hash.
    pub fn by_hash(&self, hash: &SecretHash) -> Option<&Arc<Token>> {
        self.tokens.get(self.by_hash.get(hash)?)
    }

    /// Returns the token with the id.
    pub fn token(&self, id: TokenId) -> Option<&Arc<Token>> {
        self.tokens.get(&id)
    }

    /// Returns the tokens that were issued in the workspace, by id.
    pub fn tokens_of(&self, workspace: &WorkspaceName) -> impl Iterator<Item = &Arc<Token>> {
        self.tokens.values().filter(move |token| token.workspace == *workspace)
    }

    fn issue(&mut self, record: &Record, workspace: &WorkspaceName, event: &TokenIssued) {
        let token = Token {
            id: event.token,
            workspace: workspace.clone(),
            kind: event.kind,
            reach: event.reach,
            agents: event.agents.clone(),
            expires_at: event.expires_at,
            issued_at: record.recorded_at,
            position: record.position,
            hash: event.hash,
        };
        self.revoke(event.token);
        self.by_hash.insert(token.hash, token.id);
        self.tokens.insert(token.id, Arc::new(token));
    }

    fn revoke(&mut self, id: TokenId) {
        let Some(token) = self.tokens.remove(&id) else { return };
        // A secret issued twice belongs to the newer token, and stays its.
        if self.by_hash.get(&token.hash) == Some(&id) {
            self.by_hash.remove(&token.hash);
        }
    }
}

impl Projection for Access {
    const NAME: &'static str = "access";
    const VERSION: u32 = 1;
    type State = Self;

    fn apply(state: &mut Self, record: &Record, event: &Event) {
        let StreamId::Workspace(workspace) = &record.stream else { return };
        match event {
            Event::TokenIssued(event) => state.issue(record, workspace, event),
            Event::TokenRevoked(event) => {
                // A workspace's stream speaks of its own tokens only.
                let known = state.tokens.get(&event.token);
                if known.is_some_and(|token| token.workspace == *workspace) {
                    state.revoke(event.token);
                }
            }
            _ => {}
        }
    }
}
