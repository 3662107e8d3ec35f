use crate::support::*;
use ledger_core::{Position, StreamId, Version};
use ledger_store::{Expectation, WriteError};

#[tokio::test]
async fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    let written = write(&log, create_workspace()).await;
    assert_eq!(written.positions, Some((Position(1), Position(1))));
    let connected = write(&log, connect(1)).await;
    assert_eq!(connected.positions, Some((Position(2), Position(3))));
    let records = read_all(&log).await;
    println!("{records:#?}");
    assert_eq!(*log.head().borrow(), Position(3));
    let state = log.state().await.unwrap();
    log.close().await;
    let log = open(folder.path()).await;
    assert_eq!(read_all(&log).await, records);
    assert_eq!(log.state().await.unwrap(), state);
}
