//! What a person finds in the machine's own log: one line for each event of a
//! deployment.

use crate::journal::record::Record;
use ledger_core::agent::Report;

/// Says the events of a deployment, one line each.
pub(crate) fn tell(record: &Record) {
    match record {
        Record::Admitted { assignment, .. } => {
            tracing::info!(
                deployment.id = %assignment.deployment,
                "deployment {assignment} of {} waits", assignment.store_path
            );
        }
        Record::Dropped { deployment } => {
            tracing::info!(deployment.id = %deployment, "deployment {deployment} is no longer wanted");
        }
        Record::Started { deployment } => {
            tracing::info!(deployment.id = %deployment, "deployment {deployment} started");
        }
        Record::Ended { report } => match &report.report {
            Report::Failed { reason, error, .. } => {
                let first = error.lines().next_back().unwrap_or_default();
                tracing::warn!(
                    deployment.id = %report.deployment,
                    "deployment {} failed ({reason}): {first}", report.deployment
                );
            }
            _ => tracing::info!(
                deployment.id = %report.deployment,
                "deployment {} succeeded", report.deployment
            ),
        },
        Record::Lost { report } => tracing::warn!(
            deployment.id = %report.deployment,
            "deployment {} runs by the log and is not known here; it is reported as lost", report.deployment
        ),
        _ => {}
    }
}
