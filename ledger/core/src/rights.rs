//! What each kind of token may do: the one table, which the manual repeats.

use crate::event::words;
use serde::{Deserialize, Serialize};

words! {
    /// What a token is for.
    TokenKind {
        /// Held by a machine's agent.
        Agent = "agent",
        /// Held by CI, to activate.
        Activate = "activate",
        /// Held by whoever looks.
        Read = "read",
        /// Held by an operator.
        Admin = "admin",
    }
    /// Something that a request may need.
    Right {
        /// Open a session as an agent.
        Connect = "connect",
        /// Request an activation, cancel what has not started.
        Activate = "activate",
        /// Follow activations and deployments, with their output.
        Follow = "follow",
        /// Read agents, deployments and the log of the workspace.
        Read = "read",
        /// Rekey and retire agents; issue, list and revoke tokens of the workspace.
        Manage = "manage",
        /// Create and list workspaces. Needs a token for the whole ledger, too.
        ManageLedger = "manage_ledger",
    }
}

/// Returns whether a token of the kind holds the right.
///
/// | | connect | activate | follow | read | manage | manage ledger |
/// |---|---|---|---|---|---|---|
/// | agent | yes | | | | | |
/// | activate | | yes | yes | | | |
/// | read | | | yes | yes | | |
/// | admin | | yes | yes | yes | yes | yes |
pub const fn holds(kind: TokenKind, right: Right) -> bool {
    match kind {
        TokenKind::Agent => matches!(right, Right::Connect),
        TokenKind::Activate => matches!(right, Right::Activate | Right::Follow),
        TokenKind::Read => matches!(right, Right::Follow | Right::Read),
        TokenKind::Admin => !matches!(right, Right::Connect),
    }
}

impl TokenKind {
    /// Returns what the text of such a token begins with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Agent => "ldg_agent_",
            Self::Activate => "ldg_activate_",
            Self::Read => "ldg_read_",
            Self::Admin => "ldg_admin_",
        }
    }
}
