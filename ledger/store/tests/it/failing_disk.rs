//! A disk that takes no more, and does again later.

use crate::child::{Acknowledged, Server, check_has};
use crate::support::Place;
use rustix::process::{Pid, Resource, Rlimit};
use std::time::{Duration, Instant};

/// Bounds the size of the files that the server may write.
fn limit_files(server: &Server, bytes: Option<u64>) {
    let process = Pid::from_child(&server.process);
    let limit = Rlimit { current: bytes, maximum: None };
    rustix::process::prlimit(Some(process), Resource::Fsize, limit).unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let place = Place::sqlite();
    // Without the signal, a write beyond the bound fails as on a full disk.
    let ignoring = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    let mut server = Server::start(place.folder(), &ignoring, true);
    let mut acknowledged = Vec::new();
    let mut write = |server: &mut Server, n: u64| -> Result<Acknowledged, String> {
        let answer = server.ask(&format!("write {n}"));
        Acknowledged::parse(&answer).inspect(|written| acknowledged.push(*written)).ok_or(answer)
    };
    write(&mut server, 1).unwrap();
    assert_eq!(server.ask("ready?"), "ready");

    let log_size = std::fs::metadata(place.folder().join("ledger.db-wal")).unwrap().len();
    limit_files(&server, Some(log_size + 20_000));
    let refusal = (2..1_000).find_map(|n| write(&mut server, n).err()).unwrap();
    assert!(refusal.contains("the disk of the data folder"), "{refusal}");
    // Not even the page that the writer tries by itself fits now.
    limit_files(&server, Some(1));
    assert!(write(&mut server, 2_000).is_err());
    let readiness = server.ask("ready?");
    assert!(readiness.starts_with("not ready: the disk of the data folder"), "{readiness}");

    limit_files(&server, None);
    // It finds out by itself, without a write.
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.ask("ready?") != "ready" {
        assert!(Instant::now() < deadline, "the server did not recover");
    }
    write(&mut server, 3_000).unwrap();
    server.stop();
    check_has(place.folder(), &acknowledged).await;
}
