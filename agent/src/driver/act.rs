//! What the driver does: steps on threads of their own, and messages.

use super::{Driver, DriverError, Work};
use crate::host::process::Cancel;
use crate::host::{Host, Task};
use crate::journal::record::{Assignment, Chunk};
use crate::output::{self, Looks};
use crate::plan::{self, Action, Conclusion, Input, Outcome, Step};
use api_wire::agent::FromAgent;
use data_encoding::BASE64;
use ledger_core::ids::{DeploymentId, RequestId};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::oneshot;

impl<H: Host> Driver<H> {
    /// Does all there is to do, until nothing more is.
    pub(super) fn act(&mut self) -> Result<(), DriverError> {
        loop {
            let mut acted = false;
            for action in plan::next(self.journal.state(), &self.flight) {
                acted |= self.perform(action)?;
            }
            if !acted {
                return Ok(());
            }
        }
    }

    /// Performs an action, and says whether it changed anything.
    fn perform(&mut self, action: Action) -> Result<bool, DriverError> {
        match action {
            Action::Work(assignment, step) => self.begin(assignment, step),
            Action::Claim { request_id, deployment } => {
                self.send(request_id, FromAgent::Claim { request_id, deployment });
            }
            Action::Report(outgoing) => {
                let request_id = outgoing.request_id;
                let message = FromAgent::Report {
                    request_id,
                    deployment: outgoing.deployment,
                    report: outgoing.report,
                    occurred_at: outgoing.occurred_at,
                };
                self.send(request_id, message);
            }
            Action::Output(deployment, chunk) => self.send_output(deployment, chunk)?,
            Action::Seal(deployment, sealed) => return self.seal(deployment, sealed),
        }
        Ok(true)
    }

    fn begin(&mut self, assignment: Assignment, step: Step) {
        let (sender, outcome) = oneshot::channel();
        let (cancel, host) = (Cancel::default(), Arc::clone(&self.host));
        let output = self.folder.output(assignment.deployment);
        self.work = Some(Work { outcome, cancel: cancel.clone() });
        self.flight.working = true;
        self.looks = Looks::default();
        std::thread::spawn(move || {
            let task = Task { assignment: &assignment, output: &output, cancel: &cancel };
            let outcome = match step {
                Step::Fetch => Ok(host.fetch(&task)),
                Step::Remember => Ok(host.remember(&task)),
                Step::Activate { closure, previous } => {
                    Ok(host.activate(&task, closure, previous.as_ref()))
                }
                Step::Conclude(conclusion) => conclude(&output, conclusion).map(Some),
            };
            // Nobody listens when the agent stops meanwhile.
            let _ = sender.send(outcome);
        });
    }

    fn seal(&mut self, deployment: DeploymentId, sealed: u64) -> Result<bool, DriverError> {
        let path = self.folder.output(deployment);
        let bytes =
            output::seal(&path, sealed).map_err(|source| DriverError::Output { path, source })?;
        self.note(Input::Output { bytes })?;
        Ok(bytes > 0)
    }

    fn send_output(&mut self, deployment: DeploymentId, chunk: Chunk) -> Result<(), DriverError> {
        let path = self.folder.output(deployment);
        let bytes = output::read(&path, chunk.offset, chunk.bytes)
            .map_err(|source| DriverError::Output { path, source })?;
        let Chunk { request_id, offset, .. } = chunk;
        let bytes = BASE64.encode(&bytes);
        self.send(request_id, FromAgent::Output { request_id, deployment, offset, bytes });
        Ok(())
    }

    fn send(&mut self, request_id: RequestId, message: FromAgent) {
        self.flight.sent.insert(request_id);
        if let Some(session) = &self.session {
            // A session that just ended is heard of soon; then it is sent again.
            let _ = session.outbox.send(message);
        }
    }
}

/// Closes the output, which is read to its end for that.
fn conclude(output: &Path, conclusion: Conclusion) -> Result<Outcome, DriverError> {
    let digest = output::digest(output);
    let output = digest.map_err(|source| DriverError::Output { path: output.into(), source })?;
    Ok(Outcome::Concluded { conclusion, output })
}
