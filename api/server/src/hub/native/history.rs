//! What an agent is shown of the log's history.

use crate::server::Server;
use api_wire::agent::FromServer;
use ledger_core::checkpoint::{Note, NoteKey};
use ledger_core::merkle::{prove_consistency, tiles_for_consistency};
use ledger_store::ReadError;

/// Shows the newest checkpoint, and how the log of the size leads to it.
pub(super) async fn show(server: &Server, size: Option<u64>) -> Result<FromServer, ReadError> {
    let newest = server.log.newest_checkpoint().await?;
    let to = newest.as_deref().and_then(|note| note.parse::<Note>().ok());
    let to = to.map(|note| note.checkpoint().size);
    let proof = match (size, to) {
        (Some(from), Some(to)) if from <= to => {
            let tree = server.log.tree().await?;
            let tiles = server.log.tiles(&tree, &tiles_for_consistency(from, to)).await?;
            // A missing tile is as good as no proof: the agent notices.
            prove_consistency(&tiles, from, to).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let state = server.log.state().await.ok_or(ReadError::Closed)?;
    let name = |key| state.origin.clone().map(|name| NoteKey { name, key }.to_string());
    let keys = state.signing_keys.iter().filter_map(|key| name(*key)).collect();
    Ok(FromServer::History { checkpoint: newest, proof, keys })
}
