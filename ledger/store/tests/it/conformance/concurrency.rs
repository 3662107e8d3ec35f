use crate::support::*;
use ledger_core::Position;
use ledger_store::{Readiness, WriteError};
use std::collections::BTreeSet;

pub(super) async fn many_producers_each_get_their_own_acknowledgement(place: &Place) {
    const N_PRODUCERS: usize = 32;
    const N_WRITES: usize = 50;
    let log = place.open().await;
    let mut producers = tokio::task::JoinSet::new();
    for _ in 0..N_PRODUCERS {
        let log = log.clone();
        producers.spawn(async move {
            let mut mine = Vec::new();
            for _ in 0..N_WRITES {
                let write = one_event();
                let request = write.request_id;
                let (position, _) = positions(log.write(write).await);
                // What is acknowledged is there.
                let record = log.read(Position(position), 1).await.unwrap().remove(0);
                assert_eq!(record.event_id, ledger_core::EventId::derive(request, 0));
                mine.push(position);
            }
            assert!(mine.is_sorted(), "a producer's own writes are in its order");
            mine
        });
    }
    let all: Vec<u64> = producers.join_all().await.concat();
    let distinct: BTreeSet<u64> = all.iter().copied().collect();
    assert!(distinct.into_iter().eq(1..=(N_PRODUCERS * N_WRITES) as u64));
    assert_eq!(read_all(&log).await.len(), N_PRODUCERS * N_WRITES);
}

pub(super) async fn a_reader_follows_the_head(place: &Place) {
    const N_WRITES: u64 = 200;
    let log = place.open().await;
    let tail = tokio::spawn({
        let log = log.clone();
        async move {
            let (mut head, mut next) = (log.head(), Position(1));
            while next.0 <= N_WRITES {
                let changed = head.wait_for(|head| *head >= next);
                soon("a newer event", changed).await.unwrap();
                for record in log.read(next, 7).await.unwrap() {
                    assert_eq!(record.position, next);
                    next = next.next();
                }
            }
        }
    });
    for _ in 0..N_WRITES {
        write(&log, one_event()).await;
    }
    tail.await.unwrap();
}

pub(super) async fn a_write_whose_caller_went_away_stands(place: &Place) {
    let log = place.open().await;
    let mut head = log.head();
    {
        let mut write = std::pin::pin!(log.write(one_event()));
        // Polled once, it is with the writer.
        std::future::poll_fn(|cx| {
            assert!(write.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }
    soon("the write", head.wait_for(|head| *head == Position(1))).await.unwrap();
}

pub(super) async fn closing_commits_what_waits(place: &Place) {
    let log = place.open().await;
    let (written, ()) = tokio::join!(log.write(one_event()), log.close());
    assert_eq!(positions(written), (1, 1));
    assert!(matches!(log.write(one_event()).await, Err(WriteError::Unavailable { .. })));
    assert!(matches!(log.readiness(), Readiness::NotReady(_)));
    // Again, and at once.
    log.close().await;
    let log = place.open().await;
    assert_eq!(read_all(&log).await.len(), 1);
}
