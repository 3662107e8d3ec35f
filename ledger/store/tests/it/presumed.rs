//! A server that nobody came before asks nothing before it judges, and is held to what
//! it presumed.

use crate::attack_postgres::{append, run};
use crate::fencing::{expecting, open};
use crate::postgres::Database;
use crate::support::*;
use ledger_store::{Write, WriteError, Written};
use sqlx::{Connection, PgConnection};

/// A server that has just written asks nothing before it judges. So it must find out
/// behind what its refusals were judged, which append nothing.
#[tokio::test]
async fn a_refusal_is_judged_again_when_another_server_came_before() {
    let database = Database::new().await;
    let log = open(&database).await;
    let mut other = PgConnection::connect(&database.service()).await.unwrap();
    write(&log, one_event()).await;
    for version in [2, 4, 6, 8] {
        // Another server appends, and no notification tells of it.
        let latest = "(SELECT max(recorded_at) FROM ledger.events)";
        let appended = append(version - 1, &version.to_string(), latest, "gen_random_uuid()");
        run(&mut other, &appended).await.unwrap();
        let version = version.unsigned_abs();
        let (stale, right) =
            tokio::join!(log.write(expecting(version - 1)), log.write(expecting(version)));
        assert!(matches!(stale, Err(WriteError::Conflict { .. })), "{stale:?}");
        assert_eq!(positions(right), (version + 1, version + 1));
    }
    assert_eq!(log.tree().await.unwrap(), open(&database).await.tree().await.unwrap());
}

/// Nothing was asked, and the requests seem new: one that would append, and one that
/// would be refused by now.
#[tokio::test]
async fn a_request_sent_again_is_known_beside_new_ones() {
    let database = Database::new().await;
    let log = open(&database).await;
    write(&log, one_event()).await;
    let (refused_now, plain) = (fresh_request(), fresh_request());
    let first = [
        write(&log, Write { request_id: refused_now, ..expecting(1) }).await,
        write(&log, Write { request_id: plain, ..one_event() }).await,
    ];
    let again = tokio::join!(
        log.write(one_event()),
        log.write(Write { request_id: refused_now, ..expecting(1) }),
        log.write(Write { request_id: plain, ..one_event() }),
        log.write(one_event()),
    );
    assert_eq!((positions(again.0), positions(again.3)), ((4, 4), (5, 5)));
    for (first, again) in first.into_iter().zip([again.1, again.2]) {
        assert_eq!(again.unwrap(), Written { repeated: true, ..first });
    }
    // Alone, it appends nothing, and is known likewise.
    let alone = write(&log, Write { request_id: refused_now, ..expecting(1) }).await;
    assert!(alone.repeated);
    assert_eq!(read_all(&log).await.len(), 5);
}
