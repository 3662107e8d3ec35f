//! What one event changes about a deployment.

use super::item::Detail;
use api_wire::http::{DeploymentStatus, LogEvent};
use ledger_core::DeploymentId;
use ledger_core::event::{Event, OutputDigest};

/// What an event changes about which deployment.
pub(super) struct Change {
    pub(super) deployment: DeploymentId,
    pub(super) status: DeploymentStatus,
    pub(super) detail: Detail,
    /// The length of the output that comes before it.
    pub(super) output: Option<OutputDigest>,
}

impl Change {
    /// Returns nothing for an event that is about no deployment's way.
    pub(super) fn of(decoded: Event, event: &LogEvent) -> Option<Self> {
        use DeploymentStatus::{Cancelled, Failed, Running, Succeeded, Superseded};
        let (deployment, status, detail, output) = match decoded {
            Event::DeploymentSuperseded(e) => {
                (e.deployment, Superseded, Detail::Superseded { superseded_by: e.by }, None)
            }
            Event::DeploymentCancelled(e) => (e.deployment, Cancelled, Detail::None {}, None),
            Event::DeploymentStarted(e) => (e.deployment, Running, Detail::None {}, None),
            Event::ClosureFetched(e) => {
                let (closure_bytes, closure_paths) = (e.closure_bytes, e.closure_paths);
                (e.deployment, Running, Detail::Fetched { closure_bytes, closure_paths }, None)
            }
            Event::ActivationSucceeded(e) => {
                let detail = Detail::Activated { kind: e.kind, generation: e.generation };
                (e.deployment, Running, detail, None)
            }
            Event::ActivationFailed(e) => {
                let detail = Detail::NotActivated { kind: e.kind, exit_status: e.exit_status };
                (e.deployment, Running, detail, None)
            }
            Event::DeploymentSucceeded(e) => {
                (e.deployment, Succeeded, Detail::None {}, Some(e.output))
            }
            Event::DeploymentFailed(e) => {
                let error = event.annex.as_ref().and_then(|annex| annex.error.clone());
                let detail = Detail::Failed { reason: e.reason, outcome: e.outcome, error };
                (e.deployment, Failed, detail, e.output)
            }
            _ => return None,
        };
        Some(Self { deployment, status, detail, output })
    }
}
