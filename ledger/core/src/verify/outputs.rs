//! The output of deployments, against the events that end them.

use super::fault::Fault;
use crate::event::OutputDigest;
use crate::ids::{DeploymentId, EventId};
use std::collections::{HashMap, HashSet};

/// A piece of output.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Its place in the order of all pieces, from 1.
    pub cursor: u64,
    /// Whose.
    pub deployment: DeploymentId,
    /// How many bytes came before.
    pub offset: u64,
    /// The bytes; at least one.
    pub bytes: &'a [u8],
}

/// The output of deployments that are under way.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    cursor: u64,
    hashing: HashMap<DeploymentId, blake3::Hasher>,
    /// Deployments that ended, and some of whose output is still to come.
    ended: HashMap<DeploymentId, OutputDigest>,
    /// Deployments that were asked for and did not end, or whose output nobody
    /// vouches for.
    under_way: HashSet<DeploymentId>,
    pub(super) whole: u64,
}

fn fault(deployment: DeploymentId, what: impl Into<String>) -> Fault {
    Fault::Output { deployment, what: what.into() }
}

impl Outputs {
    pub(super) fn piece(&mut self, piece: &Piece<'_>) -> Result<(), Fault> {
        let deployment = piece.deployment;
        let expected = self.cursor.saturating_add(1);
        if piece.cursor != expected {
            let what = format!("the cursor {} stands where {expected} should", piece.cursor);
            return Err(fault(deployment, what));
        }
        self.cursor = expected;
        let hasher = self.hashing.entry(deployment).or_default();
        let end = hasher.count();
        if piece.offset != end || piece.bytes.is_empty() {
            let what = format!(
                "a piece of {} bytes begins at byte {} where byte {end} should follow",
                piece.bytes.len(),
                piece.offset
            );
            return Err(fault(deployment, what));
        }
        hasher.update(piece.bytes);
        match self.ended.get(&deployment) {
            Some(digest) if hasher.count() >= digest.bytes => {
                let digest = digest.clone();
                self.ended.remove(&deployment);
                self.compare(deployment, &digest)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn requested(&mut self, event: EventId) {
        self.under_way.insert(event.into());
    }

    pub(super) fn never_began(&mut self, deployment: DeploymentId) {
        self.under_way.remove(&deployment);
    }

    pub(super) fn ended(
        &mut self,
        deployment: DeploymentId,
        output: Option<OutputDigest>,
    ) -> Result<(), Fault> {
        // Where nobody vouches for the output, more of it may come.
        let Some(digest) = output else { return Ok(()) };
        self.under_way.remove(&deployment);
        let stored = self.hashing.get(&deployment).map_or(0, blake3::Hasher::count);
        if stored < digest.bytes {
            self.ended.insert(deployment, digest);
            return Ok(());
        }
        self.compare(deployment, &digest)
    }

    fn compare(&mut self, deployment: DeploymentId, digest: &OutputDigest) -> Result<(), Fault> {
        let hasher = self.hashing.remove(&deployment).unwrap_or_default();
        if hasher.count() != digest.bytes {
            let (stored, bytes) = (hasher.count(), digest.bytes);
            let what = format!("{stored} bytes are stored; the event that ends it says {bytes}");
            return Err(fault(deployment, what));
        }
        if *hasher.finalize().as_bytes() != digest.blake3.0 {
            let what = "it was changed: it does not have the digest of the event that ends it";
            return Err(fault(deployment, what));
        }
        self.whole += 1;
        Ok(())
    }

    /// Looks at what is left when the log ended. `whole` is false where output is
    /// not looked at, or not to its end.
    pub(super) fn finish(&self, whole: bool) -> Result<(), Fault> {
        if !whole {
            return Ok(());
        }
        if let Some((deployment, digest)) = self.ended.iter().min_by_key(|(id, _)| **id) {
            let stored = self.hashing.get(deployment).map_or(0, blake3::Hasher::count);
            let what =
                format!("{stored} bytes are stored; the event that ends it says {}", digest.bytes);
            return Err(fault(*deployment, what));
        }
        let stray = self.hashing.keys().filter(|id| !self.under_way.contains(id)).min();
        match stray {
            Some(deployment) => {
                let what = "there is some, and the log knows of no such deployment that runs";
                Err(fault(*deployment, what))
            }
            None => Ok(()),
        }
    }
}
