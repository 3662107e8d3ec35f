//! The tree over HTTP: what is served is what verifiers read, and proofs hold.

use super::harness::{Harness, request_id};
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use data_encoding::BASE64;
use ledger_core::checkpoint::{Note, NoteKey};
use ledger_core::merkle::*;
use ledger_core::rights::TokenKind;
use ledger_core::{Position, Record};
use serde_json::{Value, json};

async fn bytes(harness: &Harness, path: &str, token: &str) -> (StatusCode, Vec<u8>) {
    let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    let response = harness.open(request.body(Body::empty()).expect("a request")).await;
    let status = response.status();
    (status, to_bytes(response.into_body(), usize::MAX).await.expect("a body").to_vec())
}

async fn checkpoint(harness: &Harness) -> Note {
    harness.server.signer.sign(&harness.server.log).await.expect("signed");
    let (_, note) = bytes(harness, "/checkpoint", "").await;
    String::from_utf8(note).expect("text").parse().expect("a note")
}

async fn records(harness: &Harness) -> Vec<Record> {
    harness.server.log.read(Position(1), 5_000).await.expect("read")
}

fn hashes(value: &Value) -> Vec<NodeHash> {
    let all = value.as_array().expect("a list").iter();
    all.map(|hash| hash.as_str().expect("text").parse().expect("a hash")).collect()
}

#[tokio::test]
async fn a_verifier_reads_checkpoint_tiles_and_entries() {
    let harness = Harness::new().await;
    assert_eq!(bytes(&harness, "/checkpoint", "").await.0, StatusCode::NOT_FOUND);
    for n in 0..300 {
        harness.connect("default", &format!("agent-{n}")).await;
    }
    let note = checkpoint(&harness).await;
    let keys = harness.get("/v1/signing-keys", &harness.admin).await.ok();
    let [key] = &keys["keys"].as_array().expect("a list")[..] else { panic!("{keys}") };
    let key: NoteKey = key.as_str().expect("text").parse().expect("a key");
    assert!(note.is_signed_by(&key));
    assert_eq!(Some(note.checkpoint().origin.as_str()), keys["origin"].as_str());
    let size = note.checkpoint().size;
    assert_eq!(size, records(&harness).await.len() as u64);
    let mut tiles = TileSource::new();
    for id in tiles_for_root(size) {
        let path = TilePath { index: id.index, width: id.width_at(size) };
        let (status, bytes) = bytes(&harness, &format!("/tile/{}/{path}", id.level), "").await;
        assert_eq!(status, StatusCode::OK, "{path}");
        tiles.insert(id, Tile::from_bytes(id, &bytes).expect("a tile"));
    }
    assert_eq!(root_at(&tiles, size), Ok(note.checkpoint().root));
    // A part of a full tile is what it was before the tile was full.
    let (_, first) = bytes(&harness, "/tile/0/000", "").await;
    let first = Tile::from_bytes(TileId { level: 0, index: 0 }, &first).expect("a tile");
    let (_, part) = bytes(&harness, "/tile/0/000.p/7", "").await;
    assert_eq!(part, first.bytes()[..7 * 32]);
    let (_, bundle) = bytes(&harness, "/tile/entries/000", &harness.admin).await;
    let mut rest = &bundle[..];
    let mut leaves = Vec::new();
    while let Some((length, more)) = rest.split_first_chunk::<2>() {
        let (entry, more) = more.split_at(usize::from(u16::from_be_bytes(*length)));
        leaves.push(NodeHash::leaf(entry));
        rest = more;
    }
    assert_eq!(leaves, first.hashes);
}

#[tokio::test]
async fn what_is_no_tile_or_not_yet_one_is_refused() {
    let harness = Harness::new().await;
    for (path, status) in [
        ("/tile/0/000", 404),
        ("/tile/0/000.p/200", 404),
        ("/tile/1/000", 404),
        ("/tile/63/000", 404),
        ("/tile/0/x999/999", 404),
        ("/tile/0/0", 400),
        ("/tile/00/000", 400),
        ("/tile/x/000", 400),
        ("/tile/300/000", 404),
        ("/tile/0/000.p/256", 400),
        ("/tile/entries/000", 404),
        ("/tile/entries/x018/x446/x744/x073/x709/x551/615", 404),
    ] {
        assert_eq!(bytes(&harness, path, &harness.admin).await.0.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn proofs_lead_to_the_signed_root() {
    let harness = Harness::new().await;
    let old = checkpoint(&harness).await;
    harness.connect("default", "web").await;
    let new = checkpoint(&harness).await;
    let (size, root) = (new.checkpoint().size, new.checkpoint().root);
    for record in records(&harness).await {
        let path = format!("/v1/proofs/inclusion?position={}", record.position);
        let answer = harness.get(&path, &harness.admin).await.ok();
        assert_eq!(answer["size"], size);
        assert_eq!(answer["checkpoint"], new.to_string());
        let entry = BASE64.decode(answer["entry"].as_str().expect("text").as_bytes());
        let entry = entry.expect("base 64");
        assert_eq!(entry, record.envelope());
        let index = record.position.0 - 1;
        let proof = hashes(&answer["proof"]);
        assert_eq!(verify_inclusion(NodeHash::leaf(&entry), index, size, root, &proof), Ok(()));
    }
    let from = old.checkpoint();
    let path = format!("/v1/proofs/consistency?from={}", from.size);
    let answer = harness.get(&path, &harness.admin).await.ok();
    assert_eq!((&answer["to"], &answer["checkpoint"]), (&json!(size), &json!(new.to_string())));
    let proof = hashes(&answer["proof"]);
    assert_eq!(verify_consistency(from.size, from.root, size, root, &proof), Ok(()));
    for query in ["inclusion?position=2&size=1", "inclusion?position=1&size=999", "inclusion"] {
        let answer = harness.get(&format!("/v1/proofs/{query}"), &harness.admin).await;
        assert_eq!(answer.code(), "bad_request", "{query}");
    }
    for query in ["from=5&to=4", "from=1&to=999", "from=999"] {
        let path = format!("/v1/proofs/consistency?{query}");
        assert_eq!(harness.get(&path, &harness.admin).await.code(), "bad_request", "{query}");
    }
}

#[tokio::test]
async fn a_token_of_a_workspace_gets_proofs_of_its_own_events_only() {
    let harness = Harness::new().await;
    harness.create_workspace("mine").await;
    harness.create_workspace("theirs").await;
    for workspace in ["mine", "theirs"] {
        harness.connect(workspace, "web").await;
        harness.activate(workspace, &harness.admin, &["web"]).await;
    }
    let token = harness.token(TokenKind::Read, "mine", &[]).await;
    let mut n_own = 0;
    let all = records(&harness).await;
    for record in &all {
        let path = format!("/v1/proofs/inclusion?position={}", record.position);
        let answer = harness.get(&path, &token).await;
        let own = record.workspace().is_some_and(|ws| ws.as_str() == "mine");
        n_own += u32::from(own);
        assert_eq!(answer.status.as_u16(), if own { 200 } else { 404 }, "{record:?}");
    }
    assert!(n_own >= 4 && (n_own as usize) < all.len());
    let nowhere = harness.get("/v1/proofs/inclusion?position=999", &token).await;
    assert_eq!(nowhere.code(), "not_found");
}

#[tokio::test]
async fn an_annex_is_erased_once_and_every_proof_still_holds() {
    let harness = Harness::new().await;
    harness.connect("default", "web").await;
    harness.activate("default", &harness.admin, &["web"]).await;
    let before = checkpoint(&harness).await;
    let all = records(&harness).await;
    let with = all.iter().rfind(|record| record.annex.is_some()).expect("an annex");
    let position = with.position;
    let order = || json!({ "request_id": request_id(), "position": position, "reason": "asked" });
    let body = order();
    let done = harness.post("/v1/erasures", &harness.admin, body.clone()).await.ok();
    assert_eq!(harness.post("/v1/erasures", &harness.admin, body).await.ok(), done);
    let again = harness.post("/v1/erasures", &harness.admin, order()).await;
    assert_eq!(again.code(), "annex_not_found");
    let after = records(&harness).await;
    let erased = &after[position.0 as usize - 1];
    assert_eq!((&erased.annex, erased.annex_digest), (&None, with.annex_digest));
    let order = after.last().expect("an order");
    assert_eq!(order.type_name, "AnnexErased");
    let words = order.annex.as_ref().and_then(|annex| annex.open()).expect("an annex");
    assert_eq!(words.description.as_deref(), Some("asked"));
    let path =
        format!("/v1/proofs/inclusion?position={position}&size={}", before.checkpoint().size);
    let answer = harness.get(&path, &harness.admin).await.ok();
    let (size, root) = (before.checkpoint().size, before.checkpoint().root);
    let proof = hashes(&answer["proof"]);
    let held = verify_inclusion(erased.leaf_hash(), position.0 - 1, size, root, &proof);
    assert_eq!(held, Ok(()));
}
