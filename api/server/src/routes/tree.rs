//! The tree as C2SP's verifiers and witnesses read it: checkpoint, tiles, entries.

use crate::auth::Caller;
use crate::caching;
use crate::extract::Path;
use crate::problem::Refusal;
use crate::server::Server;
use api_wire::problem::Code;
use axum::extract::{RawPathParams, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ledger_core::Position;
use ledger_core::event::Reach;
use ledger_core::merkle::{TILE_WIDTH, Tile, TileId, TilePath};
use std::collections::BTreeSet;

pub(crate) async fn show_checkpoint(State(server): State<Server>) -> Result<Response, Refusal> {
    let none = || {
        let detail =
            "no checkpoint is signed yet; the first follows the first event within a second";
        Refusal::new(Code::NotFound, detail)
    };
    let note = server.log.newest_checkpoint().await?.ok_or_else(none)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response())
}

pub(crate) async fn show_tile(
    State(server): State<Server>,
    params: RawPathParams,
) -> Result<Response, Refusal> {
    let part = |name| params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
    let bad = |what: String| Refusal::new(Code::BadRequest, format!("the path: {what}"));
    let level: u64 = part("level")
        .parse()
        .ok()
        .filter(|level: &u64| level.to_string() == part("level"))
        .ok_or_else(|| bad("the level must be a number".to_owned()))?;
    // No tree is so high.
    let level = u8::try_from(level).unwrap_or(u8::MAX);
    let path: TilePath = part("index").parse().map_err(|e| bad(format!("{e}")))?;
    let id = TileId { level, index: path.index };
    let tile = tile(&server, id, path.width).await?;
    Ok(kept(tile.bytes()))
}

/// Reads the first hashes of a tile, if the tree has so many.
async fn tile(server: &Server, id: TileId, width: usize) -> Result<Tile, Refusal> {
    let tree = server.log.tree().await?;
    if id.level > TileId::LEVEL_MAX || id.width_at(tree.size()) < width {
        return Err(beyond(tree.size()));
    }
    let mut tiles = server.log.tiles(&tree, &BTreeSet::from([id])).await?;
    let mut tile = tiles.remove(&id).ok_or_else(Refusal::internal)?;
    tile.hashes.truncate(width);
    Ok(tile)
}

fn beyond(size: u64) -> Refusal {
    let detail = format!("the tree has {size} leaves, and not so many hashes there");
    Refusal::new(Code::NotFound, detail)
}

/// Entries are the envelopes of events, so they need what reading the log needs.
pub(crate) async fn show_entries(
    State(server): State<Server>,
    caller: Caller,
    Path(path): Path<TilePath>,
) -> Result<Response, Refusal> {
    if caller.token.reach != Reach::Ledger {
        let detail = "entries are of every workspace, and the token is bound to one; ask for the proofs of its own events at /v1/proofs/inclusion";
        return Err(Refusal::new(Code::Forbidden, detail));
    }
    let size = server.log.head().borrow().0;
    let first = path.index.checked_mul(TILE_WIDTH as u64);
    let end = first.and_then(|first| first.checked_add(path.width as u64));
    let (Some(first), Some(end)) = (first, end.filter(|end| *end <= size)) else {
        return Err(beyond(size));
    };
    let mut bundle = Vec::new();
    let mut next = Position(first).next();
    while next.0 <= end {
        let wanted = usize::try_from(end - next.0 + 1).unwrap_or(TILE_WIDTH);
        let records = server.log.read_bare(next, wanted).await?;
        let last = records.last().ok_or_else(|| beyond(size))?;
        next = last.position.next();
        for record in &records {
            let entry = record.envelope();
            // An envelope has some hundred bytes; its parts are bounded far below.
            let length = u16::try_from(entry.len()).map_err(|_| Refusal::internal())?;
            bundle.extend_from_slice(&length.to_be_bytes());
            bundle.extend_from_slice(&entry);
        }
    }
    Ok(kept(bundle))
}

/// What is there stays as it is, for ever.
fn kept(bytes: Vec<u8>) -> Response {
    let media_type = HeaderValue::from_static("application/octet-stream");
    let headers = [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, caching::FOREVER)];
    (headers, bytes).into_response()
}
