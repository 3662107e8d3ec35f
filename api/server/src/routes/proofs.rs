//! Proofs for whoever does not compute them from tiles, and the keys that sign.

use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::problem::Refusal;
use crate::server::Server;
use api_wire::http::{
    ConsistencyProof, ConsistencyQuery, EraseRequest, InclusionProof, InclusionQuery, Recorded,
    SigningKeys,
};
use api_wire::problem::Code;
use axum::extract::State;
use data_encoding::BASE64;
use ledger_core::checkpoint::{Note, NoteKey};
use ledger_core::event::Reach;
use ledger_core::merkle::{
    Missing, NodeHash, TileId, TileSource, Tree, prove_consistency, prove_inclusion, root_at,
    tiles_for_consistency, tiles_for_inclusion, tiles_for_root,
};
use ledger_core::{Command, Position, Record};
use std::collections::BTreeSet;

/// The tree of the log and its newest checkpoint.
struct Seen {
    tree: Tree,
    newest: Option<Note>,
}

impl Seen {
    async fn of(server: &Server) -> Result<Self, Refusal> {
        // The checkpoint first, so that the tree has its size.
        let newest = server.log.newest_checkpoint().await?;
        let newest = newest.and_then(|note| note.parse().ok());
        Ok(Self { newest, tree: server.log.tree().await? })
    }

    fn signed_size(&self) -> Option<u64> {
        self.newest.as_ref().map(|note| note.checkpoint().size)
    }

    /// Returns the newest checkpoint, if it is of that size.
    fn checkpoint(&self, size: u64) -> Option<String> {
        let note = self.newest.as_ref().filter(|note| note.checkpoint().size == size);
        note.map(ToString::to_string)
    }

    /// Reads what an answer needs, with what the root of the size needs.
    async fn tiles(
        &self,
        server: &Server,
        mut ids: BTreeSet<TileId>,
        size: u64,
    ) -> Result<(TileSource, NodeHash), Refusal> {
        ids.extend(tiles_for_root(size));
        let tiles = server.log.tiles(&self.tree, &ids).await?;
        let root = root_at(&tiles, size).map_err(damaged)?;
        Ok((tiles, root))
    }
}

fn damaged(missing: Missing) -> Refusal {
    tracing::error!(error = %missing, "The tree is damaged.");
    Refusal::internal()
}

fn out_of_range(detail: String) -> Refusal {
    Refusal::new(Code::BadRequest, format!("the query: {detail}"))
}

pub(crate) async fn prove_event(
    State(server): State<Server>,
    caller: Caller,
    Query(query): Query<InclusionQuery>,
) -> Result<Json<InclusionProof>, Refusal> {
    let position = query.position;
    let record = own_event(&server, &caller, position).await?;
    let seen = Seen::of(&server).await?;
    let whole = seen.tree.size();
    let signed = seen.signed_size().filter(|size| *size >= position.0);
    let size = query.size.or(signed).unwrap_or(whole);
    if !(position.0..=whole).contains(&size) {
        let what = format!("a tree with the event {position} has {position} to {whole} leaves");
        return Err(out_of_range(what));
    }
    let index = position.0 - 1;
    let (tiles, root) = seen.tiles(&server, tiles_for_inclusion(index, size), size).await?;
    let proof = prove_inclusion(&tiles, index, size).map_err(damaged)?;
    let (entry, checkpoint) = (BASE64.encode(&record.envelope()), seen.checkpoint(size));
    Ok(Json(InclusionProof { position, entry, size, root, proof, checkpoint }))
}

/// Reads an event that the caller may see. Any other is as if it did not exist.
async fn own_event(
    server: &Server,
    caller: &Caller,
    position: Position,
) -> Result<Record, Refusal> {
    let read = match position {
        Position::ZERO => Vec::new(),
        position => server.log.read_bare(position, 1).await?,
    };
    let record = read.into_iter().next().filter(|record| {
        let own = || record.workspace().is_some_and(|ws| ws == caller.token.workspace);
        caller.token.reach == Reach::Ledger || own()
    });
    let detail = || format!("there is no event at position {position} that the token may see");
    record.ok_or_else(|| Refusal::new(Code::NotFound, detail()))
}

pub(crate) async fn prove_growth(
    State(server): State<Server>,
    Query(query): Query<ConsistencyQuery>,
) -> Result<Json<ConsistencyProof>, Refusal> {
    let seen = Seen::of(&server).await?;
    let whole = seen.tree.size();
    let (from, to) = (query.from, query.to.or(seen.signed_size()).unwrap_or(whole));
    if from > to || to > whole {
        let what = format!("no tree of {to} leaves begins with one of {from}; the log has {whole}");
        return Err(out_of_range(what));
    }
    let (tiles, root) = seen.tiles(&server, tiles_for_consistency(from, to), to).await?;
    let proof = prove_consistency(&tiles, from, to).map_err(damaged)?;
    Ok(Json(ConsistencyProof { from, to, root, proof, checkpoint: seen.checkpoint(to) }))
}

pub(crate) async fn list_signing_keys(
    State(server): State<Server>,
) -> Result<Json<SigningKeys>, Refusal> {
    let closed = || Refusal::unavailable("this server is stopping; try again");
    let state = server.log.state().await.ok_or_else(closed)?;
    let origin = state.origin.clone();
    let name = |key| origin.clone().map(|name| NoteKey { name, key }.to_string());
    let keys = state.signing_keys.iter().filter_map(|key| name(*key)).collect();
    Ok(Json(SigningKeys { origin, keys }))
}

pub(crate) async fn erase_annex(
    State(server): State<Server>,
    caller: Caller,
    Json(request): Json<EraseRequest>,
) -> Result<Json<Recorded>, Refusal> {
    let given = caller.given(None, &request);
    let annex = caller.annex(Some(request.reason));
    let command = Command::EraseAnnex { node: server.node, position: request.position, annex };
    let (written, _) = server.write(request.request_id, given, caller.actor(), command).await?;
    Ok(Json(Recorded { position: written.positions.map(|(_, last)| last) }))
}
