//! Signs of life of servers that share a log.

use crate::support::*;
use ledger_core::NodeId;
use uuid::Uuid;

#[tokio::test]
async fn servers_hear_of_each_other() {
    let place = Place::postgres().await;
    let (one, two) = (place.open().await, place.open().await);
    assert!(one.is_shared());
    let [first, second] = [1, 2].map(|n| NodeId::new(Uuid::from_u128(n)));
    assert_eq!(one.last_seen(first).await.unwrap(), None);
    assert_eq!(one.beat(first).await.unwrap(), []);
    let seen = two.beat(second).await.unwrap();
    let [sign] = seen[..] else { panic!("{seen:?}") };
    assert_eq!((sign.node, Some(sign.seen_at)), (first, two.last_seen(first).await.unwrap()));
    // By the database's clock, one is silent while only the other beats.
    let again = two.beat(second).await.unwrap();
    assert!(again[0].silent > sign.silent && again[0].seen_at == sign.seen_at);
    one.beat(first).await.unwrap();
    assert!(two.last_seen(first).await.unwrap() > Some(sign.seen_at));
}

#[tokio::test]
async fn a_log_in_a_file_is_one_servers_alone() {
    let log = Place::sqlite().open().await;
    assert!(!log.is_shared());
    assert_eq!(log.beat(node()).await.unwrap(), []);
    assert_eq!(log.last_seen(node()).await.unwrap(), None);
}
