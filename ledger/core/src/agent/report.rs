//! What an agent reports, and the event that becomes of it.

use crate::event::{self, ClosureKind, Event, FailureOutcome, FailureReason, OutputDigest};
use crate::ids::DeploymentId;
use crate::limits;
use crate::names::StorePath;
use serde::{Deserialize, Serialize};

/// What an agent tells about the deployment that it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Report {
    /// The closure is on the machine.
    ClosureFetched {
        /// The sum of the NAR sizes of its paths, in bytes.
        closure_bytes: u64,
        /// How many store paths it has.
        closure_paths: u64,
    },
    /// The closure was activated.
    ActivationSucceeded {
        /// What kind of closure it is.
        closure: ClosureKind,
        /// Nix's own number of the profile link.
        generation: Option<u64>,
        /// Where the profile pointed before.
        previous: Option<StorePath>,
    },
    /// The closure could not be activated.
    ActivationFailed {
        /// What kind of closure it is.
        closure: ClosureKind,
        /// What the failing program returned.
        exit_status: Option<i32>,
        /// Where the profile pointed before.
        previous: Option<StorePath>,
        /// What it said.
        error: String,
    },
    /// The deployment ended well.
    Succeeded {
        /// Its output.
        output: OutputDigest,
    },
    /// The deployment ended badly.
    Failed {
        /// At which point and why.
        reason: FailureReason,
        /// What the machine runs now.
        outcome: FailureOutcome,
        /// Its output.
        output: OutputDigest,
        /// What the failing program said.
        error: String,
    },
}

impl Report {
    /// Returns whether the deployment is over with this report.
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed { .. })
    }

    /// Returns the first number that is too large for an event, with its name.
    pub(super) fn beyond_bounds(&self) -> Option<(&'static str, u64)> {
        let numbers = match self {
            Self::ClosureFetched { closure_bytes, closure_paths } => {
                [Some(("closure_bytes", *closure_bytes)), Some(("closure_paths", *closure_paths))]
            }
            Self::ActivationSucceeded { generation, .. } => {
                [generation.map(|generation| ("generation", generation)), None]
            }
            Self::ActivationFailed { .. } => [None, None],
            Self::Succeeded { output } | Self::Failed { output, .. } => {
                [Some(("output.bytes", output.bytes)), None]
            }
        };
        numbers.into_iter().flatten().find(|(_, value)| *value > limits::EVENT_INTEGER_MAX)
    }

    /// Turns the report into its event, and the words that belong in the annex.
    pub(super) fn into_event(self, deployment: DeploymentId) -> (Event, Option<String>) {
        match self {
            Self::ClosureFetched { closure_bytes, closure_paths } => {
                (event::ClosureFetched { deployment, closure_bytes, closure_paths }.into(), None)
            }
            Self::ActivationSucceeded { closure: kind, generation, previous } => {
                (event::ActivationSucceeded { deployment, kind, generation, previous }.into(), None)
            }
            Self::ActivationFailed { closure: kind, exit_status, previous, error } => (
                event::ActivationFailed { deployment, kind, exit_status, previous }.into(),
                Some(error),
            ),
            Self::Succeeded { output } => {
                (event::DeploymentSucceeded { deployment, output }.into(), None)
            }
            Self::Failed { reason, outcome, output, error } => {
                let output = Some(output);
                (
                    event::DeploymentFailed { deployment, reason, outcome, output }.into(),
                    Some(error),
                )
            }
        }
    }
}
