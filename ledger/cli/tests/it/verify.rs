//! `ledger verify`: beside a server and alone, and how a fault is told.

use crate::support::{Run, Server, ledger, run};
use std::path::Path;

fn verify(data: &Path, more: &[&str]) -> Run {
    run(ledger(&["verify", "--data"]).arg(data).args(more))
}

/// Changes bytes that stand in the file once or more, to others of the same length.
fn change(data: &Path, from: &str, to: &str) {
    let file = data.join("ledger.db");
    let mut bytes = std::fs::read(&file).expect("read");
    let places: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|at| bytes[*at..].starts_with(from.as_bytes()))
        .collect();
    assert!(!places.is_empty(), "{from} stands nowhere");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    std::fs::write(file, bytes).expect("written");
}

#[test]
fn a_log_is_verified_beside_its_server_and_a_changed_one_is_told_in_one_line() {
    let mut server = Server::start();
    assert_eq!(server.admin(&["workspace", "create", "team-1"]).code, 0);
    let data = server.data();
    let beside = verify(&data, &[]);
    assert_eq!((beside.code, &*beside.stderr), (0, ""), "{beside:?}");
    assert!(beside.stdout.contains(": nothing is wrong\n"), "{beside:?}");
    assert!(server.stop().success());
    let alone = verify(&data, &[]);
    assert_eq!(alone.code, 0, "{alone:?}");
    assert!(alone.stdout.contains("the newest over "), "a stop signs: {alone:?}");
    let files = || std::fs::read_dir(&data).expect("there").count();
    let before = files();
    change(&data, "workspace/team-1", "workspace/team-2");
    let changed = verify(&data, &[]);
    assert_eq!((changed.code, &*changed.stdout), (3, ""), "{changed:?}");
    assert!(changed.stderr.starts_with("Error: "), "{changed:?}");
    assert_eq!(changed.stderr.lines().count(), 1, "{changed:?}");
    assert_eq!(files(), before, "nothing is left beside the log");
}

#[test]
fn what_is_no_log_key_or_checkpoint_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = verify(&folder.path().join("nowhere"), &[]);
    assert_eq!(nowhere.code, 1, "{nowhere:?}");
    assert!(nowhere.stderr.contains("nowhere"), "{nowhere:?}");
    std::fs::write(folder.path().join("ledger.db"), "a letter to my aunt").expect("written");
    let letter = verify(folder.path(), &[]);
    assert_eq!(letter.code, 3, "{letter:?}");
    let file = folder.path().join("ledger.db");
    let file = file.to_str().expect("UTF-8");
    for (flag, says) in [("--key", "no verifier key"), ("--checkpoint", "no signed checkpoint")] {
        let refused = verify(folder.path(), &[flag, file]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(says), "{refused:?}");
    }
    let both = run(&mut ledger(&["verify", "--data", "/x", "--database", "postgres://x/y"]));
    assert_eq!(both.code, 2, "{both:?}");
}
