//! The runner on a real log.

use ledger_core::event::Digest;
use ledger_core::record::ActorKind;
use ledger_core::{Actor, Command, Position, RequestId, Timestamp, WorkspaceName};
use ledger_store::{Change, Clock, Log, Write};
use projections::Runner;
use projections::image::Image;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Longer than any machine needs; only a defect waits so long.
const DEADLINE: Duration = Duration::from_secs(20);

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000)
    }
    fn uptime(&self) -> Duration {
        Duration::ZERO
    }
}

async fn create(log: &Log, n: u8) -> Position {
    let workspace = WorkspaceName::new(format!("w{n}")).expect("valid");
    let write = Write {
        request_id: RequestId::from_bytes([n; 16]),
        given: Digest::of(&[n]),
        actor: Actor { kind: ActorKind::Node, id: "test".to_owned() },
        expect: Vec::new(),
        change: Change::Command(Box::new(Command::CreateWorkspace { workspace })),
    };
    log.write(write).await.expect("written").positions.expect("new").1
}

#[tokio::test]
async fn a_write_is_shown_and_then_handed_on() {
    let folder = tempfile::tempdir().expect("folder");
    let log = Log::open_sqlite(folder.path(), Arc::new(FixedClock)).await.expect("opened");
    create(&log, 1).await;
    let (sender, mut handed) = mpsc::unbounded_channel();
    let runner = Runner::<Image>::start(log.clone(), move |snapshot, records| {
        for record in records {
            // Shown before it is handed on.
            assert!(snapshot.position >= record.position);
            let _ = sender.send(record.position);
        }
    });
    for n in 2..20 {
        let position = create(&log, n).await;
        let snapshot = runner.live().wait_for(position, DEADLINE).await.expect("shown");
        assert_eq!(snapshot.state.fleet.workspaces().count(), usize::from(n));
    }
    for n in 1..20 {
        let next = tokio::time::timeout(DEADLINE, handed.recv()).await.expect("in time");
        assert_eq!(next, Some(Position(n)));
    }
    let live = runner.live().clone();
    assert!(live.fault().is_none());
    runner.stop().await;
    assert!(live.fault().is_some());
    assert!(live.wait_for(Position(1_000), DEADLINE).await.is_err());
    log.close().await;
}

#[tokio::test]
async fn what_does_not_come_is_not_waited_for_longer_than_asked() {
    let folder = tempfile::tempdir().expect("folder");
    let log = Log::open_sqlite(folder.path(), Arc::new(FixedClock)).await.expect("opened");
    let runner = Runner::<Image>::start(log.clone(), |_, _| {});
    let waited = runner.live().wait_for(Position(9), Duration::from_millis(1)).await;
    assert!(waited.is_err());
    runner.stop().await;
    log.close().await;
}
