//! What a person finds in the machine's own log: one line for each event of a
//! deployment.

use crate::journal::fold::State;
use crate::journal::record::Record;
use ledger_core::agent::Report;
use ledger_core::ids::DeploymentId;

/// Says the events of a deployment, one line each, by the state before the record.
pub(crate) fn tell(state: &State, record: &Record) {
    match record {
        Record::Admitted { assignment, .. } => {
            tracing::info!(
                deployment.id = %assignment.deployment,
                "deployment {assignment} of {} waits", assignment.store_path
            );
        }
        Record::Dropped { deployment } => {
            let name = name(state, *deployment);
            tracing::info!(deployment.id = %deployment, "deployment {name} is no longer wanted");
        }
        Record::Started { deployment } => {
            let name = name(state, *deployment);
            tracing::info!(deployment.id = %deployment, "deployment {name} started");
        }
        Record::Ended { report } => {
            let (deployment, name) = (report.deployment, name(state, report.deployment));
            match &report.report {
                Report::Failed { reason, error, .. } => {
                    let last = error.lines().next_back().unwrap_or_default();
                    tracing::warn!(
                        deployment.id = %deployment, "deployment {name} failed ({reason}): {last}"
                    );
                }
                _ => tracing::info!(deployment.id = %deployment, "deployment {name} succeeded"),
            }
        }
        Record::Lost { report } => tracing::warn!(
            deployment.id = %report.deployment,
            "deployment {} runs by the log and is not known here; it is reported as lost", report.deployment
        ),
        _ => {}
    }
}

/// Returns `#7` for a deployment whose number is known here, or else its id.
fn name(state: &State, deployment: DeploymentId) -> String {
    let waiting = state.waiting.as_ref().map(|waiting| &waiting.assignment);
    let running = state.run.as_ref().map(|run| &run.assignment);
    let found = [waiting, running].into_iter().flatten().find(|a| a.deployment == deployment);
    found.map_or_else(|| deployment.to_string(), ToString::to_string)
}
