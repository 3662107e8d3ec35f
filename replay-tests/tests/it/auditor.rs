//! What an auditor does: keeps checkpoints, and holds the log to them, from outside
//! and with the log in hand. The real programs.

use crate::rig::process::Output;
use crate::rig::wait_for;
use crate::rig::world::World;
use ledger_core::checkpoint::Note;
use std::fs;
use std::path::{Path, PathBuf};

/// A world with some hundred events.
fn world() -> World {
    let world = World::new();
    for n in 0..3 {
        world.ledger(&["workspace", "create", &format!("w{n}")]).expect_success();
    }
    world
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}

/// Waits until everything is signed, and keeps the checkpoint as an auditor does.
fn keep(world: &World, name: &str) -> PathBuf {
    let head = world.log().last().expect("there are events").position.0;
    let note = wait_for("a checkpoint over everything", || {
        let file = world.server.data().join("checkpoint");
        let note: Note = fs::read_to_string(file).ok()?.parse().ok()?;
        (note.checkpoint().size >= head).then_some(note)
    });
    let kept = world.folder().join(name);
    fs::write(&kept, note.to_string()).expect("it can be kept");
    kept
}

fn verify(world: &World, args: &[&str]) -> Output {
    let key = world.folder().join("key");
    if !key.exists() {
        fs::copy(world.server.data().join("signing-key.pub"), &key).expect("the key is there");
    }
    world.ledger(&[&["verify", "--key", text(&key)], args].concat())
}

/// Verifies from outside, with no token at all.
fn from_outside(world: &World, args: &[&str]) -> Output {
    verify(world, &[&["--server", world.server.url()], args].concat())
}

#[track_caller]
fn finds(output: &Output, words: &str) {
    assert_eq!(output.code(), Some(3), "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains(words), "{}", output.stderr);
    assert_eq!(output.stderr.trim_end().lines().count(), 1, "{}", output.stderr);
}

#[test]
fn a_whole_log_is_verified_from_outside_and_inside_beside_its_server() {
    let world = world();
    let kept = keep(&world, "kept");
    world.ledger(&["workspace", "create", "more"]).expect_success();
    keep(&world, "newest");
    let said = from_outside(&world, &["--checkpoint", text(&kept)]).expect_success();
    assert!(
        said.contains("nothing is wrong") && said.contains("checkpoints that hold: 2"),
        "{said}"
    );
    // With a token that reads everything, the events' envelopes as well.
    let token = world.server.data().join("admin-token");
    let said = from_outside(&world, &["--token-file", text(&token)]).expect_success();
    assert!(said.contains("envelopes"), "{said}");
    let data = world.server.data();
    let said = verify(&world, &["--data", text(&data), "--checkpoint", text(&kept)]);
    assert!(said.expect_success().contains("nothing is wrong"));
}

#[test]
fn a_checkpoint_of_another_key_is_found_from_outside() {
    let world = world();
    keep(&world, "kept");
    let key = fs::read_to_string(world.server.data().join("signing-key.pub")).expect("a key");
    let other = World::new();
    let file = other.server.data().join("signing-key.pub");
    wait_for("the other key", || file.exists().then_some(()));
    let other = fs::read_to_string(file).expect("a key");
    assert_ne!(key, other);
    fs::write(world.folder().join("key"), other).expect("written");
    finds(&from_outside(&world, &[]), "signed by none of the keys");
}

/// Somebody with the database and the key begins history anew.
#[test]
fn a_history_that_was_rewritten_with_the_key_is_found_by_a_kept_checkpoint_alone() {
    let mut world = world();
    let kept = keep(&world, "kept");
    assert!(world.server.terminate().success());
    let data = world.server.data();
    for file in ["ledger.db", "checkpoint"] {
        fs::remove_file(data.join(file)).expect("removed");
    }
    let origin = fs::read_to_string(data.join("signing-key.pub")).expect("a key");
    world.server.restart();
    // As long as before, and signed with the same key under the same name.
    for n in 0..12 {
        world.ledger(&["workspace", "create", &format!("other{n}")]).expect_success();
    }
    keep(&world, "forged");
    assert_eq!(fs::read_to_string(data.join("signing-key.pub")).expect("a key"), origin);
    from_outside(&world, &[]).expect_success();
    verify(&world, &["--data", text(&data)]).expect_success();
    let with = ["--checkpoint", text(&kept)];
    finds(&from_outside(&world, &with), "history was rewritten");
    let inside = verify(&world, &[&["--data", text(&data)][..], &with].concat());
    assert_eq!(inside.code(), Some(3), "{}", inside.stderr);
}
