//! A server that nobody came before asks nothing before it judges, and is held to what
//! it presumed.

use crate::attack_postgres::{append, number, run};
use crate::fencing::{expecting, open};
use crate::postgres::Database;
use crate::support::*;

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
