//! What the journal holds: one record per line.
//!
//! The words are the format of a file on many machines. A field is added with
//! `#[serde(default)]`, never renamed or removed while the format's number stays.

use super::fold::State;
use api_wire::agent::Pending;
use ledger_core::agent::Report;
use ledger_core::event::{ClosureKind, FailureOutcome, FailureReason};
use ledger_core::ids::{ActivationId, DeploymentId, RequestId, Version};
use ledger_core::names::{AgentName, StorePath};
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The number of this format.
pub const FORMAT: u32 = 1;

/// A line: the record, and how much of the stream the agent had seen by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The newest version seen. It stands in the same line as the deployment
    /// that it admits, so that neither is there without the other.
    pub cursor: Option<Version>,
    /// What is so from now on.
    pub record: Record,
}

/// Something that is so from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The journal's first line: everything before it.
    Snapshot {
        /// [`FORMAT`].
        format: u32,
        /// Whose journal.
        agent: AgentName,
        /// What was so.
        state: Box<State>,
    },
    /// Nothing but the line's cursor.
    Cursor,
    /// A deployment waits, in place of any that waited before.
    Admitted {
        /// Which.
        assignment: Assignment,
        /// The id of the claim that will be sent for it.
        claim: RequestId,
    },
    /// What waited is no longer wanted.
    Dropped {
        /// Which.
        deployment: DeploymentId,
    },
    /// The claim was granted: the deployment runs.
    Started {
        /// Which.
        deployment: DeploymentId,
    },
    /// The closure is here, and that will be reported.
    Fetched {
        /// The report.
        report: Outgoing,
    },
    /// The activation begins, at most once.
    Activating {
        /// What the closure is.
        closure: ClosureKind,
        /// Where the profile pointed before.
        previous: Option<StorePath>,
        /// What ran before, on NixOS.
        previous_system: Option<StorePath>,
    },
    /// The activation went well, and that will be reported.
    Activated {
        /// The report.
        report: Outgoing,
    },
    /// The deployment fails; what is left to do is to report it.
    Failing {
        /// At which point and why.
        reason: FailureReason,
        /// What the machine runs now.
        outcome: FailureOutcome,
        /// What the failing program said.
        error: String,
        /// The report of the step that failed, where it has one.
        report: Option<Outgoing>,
    },
    /// Some output was cut into a chunk, which keeps its borders and its id.
    Chunk {
        /// The chunk.
        chunk: Chunk,
        /// How many bytes were acknowledged by then.
        acknowledged: u64,
    },
    /// The output is whole and the end will be reported.
    Ended {
        /// The last report.
        report: Outgoing,
    },
    /// A deployment that this journal does not know is reported as lost.
    Lost {
        /// The report.
        report: Outgoing,
    },
    /// A report was answered and need not be sent again.
    Answered {
        /// The report's id.
        request_id: RequestId,
    },
}

/// What to deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its number among the agent's, where the server told it.
    pub index: Option<u64>,
    /// The activation that asked.
    pub activation: ActivationId,
    /// The closure.
    pub store_path: StorePath,
}

impl From<Pending> for Assignment {
    fn from(pending: Pending) -> Self {
        Self {
            deployment: pending.deployment,
            index: Some(pending.index),
            activation: pending.activation,
            store_path: pending.store_path,
        }
    }
}

impl std::fmt::Display for Assignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index {
            Some(index) => write!(f, "#{index}"),
            None => self.deployment.fmt(f),
        }
    }
}

/// A report on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Its id, the same however often it is sent.
    pub request_id: RequestId,
    /// About what.
    pub deployment: DeploymentId,
    /// What.
    pub report: Report,
    /// When, by this machine's clock.
    pub occurred_at: Timestamp,
}

/// A piece of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Its id, the same however often it is sent.
    pub request_id: RequestId,
    /// How many bytes came before.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

impl Chunk {
    /// Returns how many bytes of the output there are up to its end.
    pub const fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}
