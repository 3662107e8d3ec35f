//! A server that nobody came before asks nothing before it judges, and is held to what
//! it presumed.

use crate::attack_postgres::{append, number, run};
use crate::fencing::{expecting, open};
use crate::postgres::Database;
use crate::support::*;
use ledger_core::{ActivationId, NewEvent, StreamId, Version};
use ledger_store::{Write, Written};

/// A server that has just written asks nothing before it judges. So it must find out
/// behind what its refusals were judged, which append nothing.
#[tokio::test]
async fn a_refusal_is_judged_again_when_another_server_came_before() {
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
         AND datname = current_database() AND application_name = 'ledger writing'";
    let database = Database::new().await;
    let log = open(&database).await;
    let (mut other, mut watching) = (database.connect().await, database.connect().await);
    write(&log, one_event()).await;
    // Another server appends, and this one hears nothing of it before it has judged.
    let appended = append(1, "2", "recorded_at", "gen_random_uuid()");
    for sql in ["BEGIN; LOCK TABLE ledger.head IN ACCESS EXCLUSIVE MODE", &appended] {
        run(&mut other, sql).await.unwrap();
    }
    let asks = soon("the writer that asks", async {
        while number(&mut watching, WAITING).await == 0 {
            tokio::task::yield_now().await;
        }
        run(&mut other, "COMMIT").await.unwrap();
    });
    // As the log was known, this would be a conflict.
    let (written, ()) = tokio::join!(log.write(expecting(2)), asks);
    assert_eq!(positions(written), (3, 3));
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
    let (new, again) = tokio::join!(
        log.write(one_event()),
        log.write(Write { request_id: refused_now, ..expecting(1) }),
    );
    assert_eq!(positions(new), (4, 4));
    assert_eq!(again.unwrap(), Written { repeated: true, ..first[0] });
    // For a while, it looks first.
    for _ in 0..20 {
        write(&log, one_event()).await;
    }
    let (again, new) = tokio::join!(
        log.write(Write { request_id: plain, ..one_event() }),
        log.write(one_event()),
    );
    assert_eq!(again.unwrap(), Written { repeated: true, ..first[1] });
    assert_eq!(positions(new), (25, 25));
    for _ in 0..20 {
        write(&log, one_event()).await;
    }
    // Alone, it appends nothing, and is known likewise.
    let alone = write(&log, Write { request_id: refused_now, ..expecting(1) }).await;
    assert!(alone.repeated);
    assert_eq!(read_all(&log).await.len(), 45);
}

/// The stream of an activation is presumed to be new, which by its own commands it is.
#[tokio::test]
async fn a_stream_that_is_not_new_goes_on_where_it_ended() {
    let database = Database::new().await;
    let log = open(&database).await;
    let stream = StreamId::Activation(ActivationId::new(fresh_request().uuid()));
    let to_it = || NewEvent { stream: stream.clone(), ..one() };
    write(&log, one_event()).await;
    write(&log, events(vec![to_it(), to_it()])).await;
    // Beside others, whose verdicts stay as they are.
    let (other, again) =
        tokio::join!(log.write(one_event()), log.write(events(vec![one(), to_it()])));
    assert_eq!(positions(other), (4, 4));
    assert_eq!(positions(again), (5, 6));
    let versions: Vec<u64> = log
        .read_stream(&stream, Version(1), 10)
        .await
        .unwrap()
        .iter()
        .map(|record| record.version.0)
        .collect();
    assert_eq!(versions, [1, 2, 3]);
    assert_eq!(log.tree().await.unwrap(), open(&database).await.tree().await.unwrap());
}
