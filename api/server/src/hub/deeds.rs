//! What an agent does through its session, whatever the protocol: it claims,
//! reports and tells its output. Each answer is given after the commit.

use crate::given;
use crate::hub::session::Identity;
use crate::limits;
use crate::server::Server;
use api_wire::problem::Code;
use ledger_core::agent::Report;
use ledger_core::event::{Digest, FailureReason, OutputDigest};
use ledger_core::limits::{OUTPUT_BYTES_MAX, OUTPUT_CHUNK_BYTES_MAX};
use ledger_core::{Command, DeploymentId, RequestId, Timestamp};
use ledger_store::{OutputError, OutputWrite, ReadError, WriteError};

/// Why a deed is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// For good: trying again changes nothing.
    Refused(Code, String),
    /// For now: the agent keeps it and tries again.
    Unavailable(String),
}

impl From<WriteError> for NotDone {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Rejected(rejection) => {
                Self::Refused(Code::of_rejection(&rejection), rejection.to_string())
            }
            WriteError::IdempotencyMismatch { .. } => {
                Self::Refused(Code::IdempotencyMismatch, error.to_string())
            }
            WriteError::TooLarge { .. } => Self::Refused(Code::TooLarge, error.to_string()),
            WriteError::Conflict { .. }
            | WriteError::NoAnnex { .. }
            | WriteError::Unavailable { .. }
            | WriteError::Database(_) => Self::Unavailable(crate::problem::chain(&error)),
        }
    }
}

impl From<ReadError> for NotDone {
    fn from(error: ReadError) -> Self {
        Self::Unavailable(crate::problem::chain(&error))
    }
}

/// Begins a deployment. Done means: committed, and shown by the folds, so that
/// the output that follows finds it running.
pub(crate) async fn claim(
    server: &Server,
    identity: &Identity,
    request: RequestId,
    deployment: DeploymentId,
) -> Result<(), NotDone> {
    let (workspace, agent) = (identity.workspace.clone(), identity.agent.clone());
    // Not the session: a claim sent again on a later one is the same claim.
    let given = given::of_message("claim", &workspace, agent.as_str(), &deployment);
    let command = Command::Start { workspace, agent, deployment, session: identity.session };
    let written = server.commit(request, given, identity.actor(), command).await?;
    if let Some((_, last)) = written.positions {
        let shown = server.live.wait_for(last, limits::FOLD_TIMEOUT).await;
        shown.map_err(|error| NotDone::Unavailable(error.to_string()))?;
    }
    Ok(())
}

/// Records what an agent reports of the deployment that it runs.
pub(crate) async fn report(
    server: &Server,
    identity: &Identity,
    request: RequestId,
    deployment: DeploymentId,
    report: Report,
    occurred_at: Timestamp,
) -> Result<(), NotDone> {
    let (workspace, agent) = (identity.workspace.clone(), identity.agent.clone());
    let message = (deployment, &report, occurred_at);
    let given = given::of_message("report", &workspace, agent.as_str(), &message);
    let report = with_output(server, identity, deployment, report).await?;
    let command = Command::Report { workspace, agent, deployment, report, occurred_at };
    server.commit(request, given, identity.actor(), command).await?;
    Ok(())
}

/// Makes sure that a report which ends a deployment vouches for the stored output.
///
/// An agent that lost its state cannot know what it sent before: for it the
/// server vouches, so that what is stored is evidence all the same.
async fn with_output(
    server: &Server,
    identity: &Identity,
    deployment: DeploymentId,
    mut report: Report,
) -> Result<Report, NotDone> {
    let lost = matches!(&report, Report::Failed { reason: FailureReason::StateLost, .. });
    let claimed = match &mut report {
        Report::Succeeded { output } | Report::Failed { output, .. } => output,
        _ => return Ok(report),
    };
    if !runs(server, identity, deployment) {
        // Whether it is said again or said wrongly, the log decides.
        return Ok(report);
    }
    let stored = digest_of_output(server, deployment).await?;
    if lost {
        *claimed = stored;
    } else if *claimed != stored {
        let detail = format!(
            "{} bytes of output are stored, with another digest than the report gives for its {} bytes; send what is missing first",
            stored.bytes, claimed.bytes
        );
        return Err(NotDone::Refused(Code::ReportOutOfOrder, detail));
    }
    Ok(report)
}

fn runs(server: &Server, identity: &Identity, deployment: DeploymentId) -> bool {
    let snapshot = server.image();
    let agent = snapshot.state.fleet.agent(&identity.workspace, &identity.agent);
    let running = agent.and_then(|agent| agent.decided.running.as_ref());
    running.is_some_and(|running| running.deployment.id == deployment)
}

async fn digest_of_output(
    server: &Server,
    deployment: DeploymentId,
) -> Result<OutputDigest, ReadError> {
    let mut hasher = blake3::Hasher::new();
    loop {
        // In the order of its bytes, so that each piece is read once, however small.
        let from = hasher.count();
        let pieces = server.log.read_output_from(deployment, from, limits::DIGEST_CHUNKS).await?;
        if pieces.is_empty() {
            let blake3 = Digest(*hasher.finalize().as_bytes());
            return Ok(OutputDigest { blake3, bytes: hasher.count() });
        }
        for piece in pieces {
            hasher.update(&piece.bytes);
        }
    }
}

/// Stores a piece of output of the deployment that runs.
pub(crate) async fn output(
    server: &Server,
    identity: &Identity,
    deployment: DeploymentId,
    offset: u64,
    bytes: Vec<u8>,
) -> Result<(), NotDone> {
    if bytes.is_empty() || bytes.len() > OUTPUT_CHUNK_BYTES_MAX {
        let detail = format!("a piece of output has 1 to {OUTPUT_CHUNK_BYTES_MAX} bytes");
        return Err(NotDone::Refused(Code::BadRequest, detail));
    }
    let end = offset.saturating_add(bytes.len() as u64);
    if end > OUTPUT_BYTES_MAX {
        let detail = format!("the output of a deployment has at most {OUTPUT_BYTES_MAX} bytes");
        return Err(NotDone::Refused(Code::TooLarge, detail));
    }
    if !runs(server, identity, deployment) {
        return repeated(server, identity, deployment, offset, &bytes).await;
    }
    match server.log.write_output(OutputWrite { deployment, offset, bytes }).await {
        Ok(()) => Ok(()),
        Err(error @ OutputError::OutOfOrder { .. }) => {
            Err(NotDone::Refused(Code::ReportOutOfOrder, error.to_string()))
        }
        Err(error @ OutputError::TooLarge) => {
            Err(NotDone::Refused(Code::TooLarge, error.to_string()))
        }
        Err(error @ (OutputError::Unavailable { .. } | OutputError::Database(_))) => {
            Err(NotDone::Unavailable(crate::problem::chain(&error)))
        }
    }
}

/// Judges output of what does not run: a piece that is stored already is sent
/// again by an agent that did not hear the answer. Anything else comes too late.
async fn repeated(
    server: &Server,
    identity: &Identity,
    deployment: DeploymentId,
    offset: u64,
    bytes: &[u8],
) -> Result<(), NotDone> {
    let requested = server.log.find(deployment.into()).await?;
    if requested.is_none_or(|record| record.stream != identity.stream()) {
        let detail = format!("there is no deployment {deployment} of this agent");
        return Err(NotDone::Refused(Code::DeploymentNotFound, detail));
    }
    let stored = server.log.read_output_from(deployment, offset, 1).await?;
    if stored.iter().any(|piece| piece.offset == offset && piece.bytes == bytes) {
        return Ok(());
    }
    let detail = format!("deployment {deployment} does not run, so its output is closed");
    Err(NotDone::Refused(Code::ReportOutOfOrder, detail))
}
