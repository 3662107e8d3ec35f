//! What was erased leaves the files of SQLite, too.

use crate::attack::{execute, raw};
use crate::support::*;
use ledger_core::Annex;
use std::fs;

#[tokio::test]
async fn what_was_erased_leaves_the_write_ahead_log_once_nobody_reads() {
    const WORDS: &str = "words of a person";
    let place = Place::sqlite();
    let log = place.open().await;
    let annex = Annex { description: Some(WORDS.to_owned()), ..Annex::default() };
    write(&log, events(vec![created("w").with_annex(annex)])).await;
    let holds = |file: &str| {
        let bytes = fs::read(place.folder().join(file)).unwrap();
        bytes.windows(WORDS.len()).any(|window| window == WORDS.as_bytes())
    };
    let mut reader = raw(&place).await;
    execute(&mut reader, "BEGIN; SELECT count(*) FROM events").await.unwrap();
    // Who reads what was before keeps it there, and holds up nobody.
    write(&log, erase(1)).await;
    assert!(holds("ledger.db-wal"));
    execute(&mut reader, "COMMIT").await.unwrap();
    write(&log, one_event()).await;
    assert!(!holds("ledger.db-wal") && !holds("ledger.db"));
}
