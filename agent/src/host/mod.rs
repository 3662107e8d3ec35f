//! The machine: what the steps do to it.

pub mod closure;
pub mod nix;
pub mod process;
pub mod profile;

use crate::journal::record::Assignment;
use crate::plan::Outcome;
use ledger_core::event::ClosureKind;
use ledger_core::ids::DeploymentId;
use ledger_core::names::StorePath;
use process::Cancel;
use std::path::Path;

/// What a deployment's steps need of a machine. Every call blocks until the
/// step ended; None means that it was cancelled and is to be done again.
///
/// A step may be called again after a crash. What must not happen twice, an
/// activation, is the implementation's to find out.
pub trait Host: Send + Sync + 'static {
    /// Brings the closure here and roots it.
    fn fetch(&self, task: &Task<'_>) -> Option<Outcome>;

    /// Finds out what the closure is and what runs now, and roots the latter.
    fn remember(&self, task: &Task<'_>) -> Option<Outcome>;

    /// Activates the closure, or sees to the end of the activation that was begun.
    fn activate(
        &self,
        task: &Task<'_>,
        closure: ClosureKind,
        previous: Option<&StorePath>,
    ) -> Option<Outcome>;

    /// Lets go of everything kept for deployments, but for this one.
    fn tidy(&self, keep: Option<DeploymentId>);
}

/// What a step is about.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The deployment.
    pub assignment: &'a Assignment,
    /// Where its output goes.
    pub output: &'a Path,
    /// Whether the agent wants the step to end.
    pub cancel: &'a Cancel,
}
