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

/// Runs a verb of the maintenance of a log.
fn maintain(args: &[&str], paths: &[(&str, &Path)]) -> Run {
    let mut command = ledger(args);
    for (flag, path) in paths {
        command.arg(flag).arg(path);
    }
    run(&mut command)
}

#[test]
fn a_log_is_exported_imported_backed_up_and_migrated() {
    let mut server = Server::start();
    assert_eq!(server.admin(&["workspace", "create", "team-1"]).code, 0);
    let (data, folder) = (server.data(), tempfile::tempdir().expect("a folder"));
    let path = |name: &str| folder.path().join(name);
    // Both beside the running server.
    let (archive, copy) = (path("archive"), path("restored/ledger.db"));
    std::fs::create_dir(path("restored")).expect("made");
    let exported = maintain(&["export"], &[("--data", &data), ("--to", &archive)]);
    assert_eq!(exported.code, 0, "{exported:?}");
    let backed_up = maintain(&["backup"], &[("--data", &data), ("--to", &copy)]);
    assert_eq!((backed_up.code, &*backed_up.stdout), (0, ""), "{backed_up:?}");
    for (verb, to) in [("export", &archive), ("backup", &copy)] {
        let over = maintain(&[verb], &[("--data", &data), ("--to", to)]);
        assert_eq!(over.code, 2, "{over:?}");
        assert!(over.stderr.contains("is there already"), "{over:?}");
    }
    let migrating = maintain(&["migrate"], &[("--data", &data)]);
    assert_eq!(migrating.code, 1, "{migrating:?}");
    assert!(migrating.stderr.contains("in use by another process"), "{migrating:?}");
    assert!(server.stop().success());
    assert_eq!(maintain(&["migrate"], &[("--data", &data)]).code, 0);
    assert_eq!(verify(&path("restored"), &[]).code, 0);
    // What was exported is what is verified and imported: one size, one root.
    let verified = maintain(&["verify"], &[("--archive", &archive)]);
    assert_eq!((verified.code, &verified.stdout), (0, &exported.stdout), "{verified:?}");
    let target = path("target");
    let imported = maintain(&["import"], &[("--archive", &archive), ("--data", &target)]);
    assert_eq!((imported.code, &imported.stdout), (0, &exported.stdout), "{imported:?}");
    assert!(imported.stderr.contains("token-key"), "{imported:?}");
    assert_eq!(verify(&target, &[]).stdout, exported.stdout);
    let again = maintain(&["import"], &[("--archive", &archive), ("--data", &target)]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("only into one that is empty"), "{again:?}");
    let mut bytes = std::fs::read(&archive).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&archive, bytes).expect("written");
    for verb in ["verify", "import"] {
        let mut command = ledger(&[verb, "--archive"]);
        command.arg(&archive);
        if verb == "import" {
            command.arg("--data").arg(path("other"));
        }
        let damaged = run(&mut command);
        assert_eq!((damaged.code, damaged.stderr.lines().count()), (3, 1), "{damaged:?}");
    }
    assert!(!path("other/ledger.db").exists());
}
