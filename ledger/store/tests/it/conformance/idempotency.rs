use crate::fencing::expecting;
use crate::support::*;
use futures_util::future::join_all;
use ledger_core::event::Digest;
use ledger_core::limits;
use ledger_core::{ActivationId, Annex, EventId, NewEvent, Position, StreamId, Version};
use ledger_store::{Write, WriteError, Written};

/// The same request, as a client would send it again.
fn numbered(n: u128) -> Write {
    Write { request_id: request(n), ..one_event() }
}

fn repeated(first: u64, last: u64) -> Written {
    Written { positions: Some((Position(first), Position(last))), repeated: true }
}

pub(super) async fn the_same_request_again_is_answered_as_before(place: &Place) {
    let log = place.open().await;
    write(&log, one_event()).await;
    assert!(!write(&log, numbered(1)).await.repeated);
    write(&log, one_event()).await;
    assert_eq!(write(&log, numbered(1)).await, repeated(2, 2));
    let many = Write { request_id: request(2), ..events(vec![created("a"), created("b")]) };
    let again = Write { request_id: request(2), ..events(vec![created("a"), created("b")]) };
    assert_eq!(positions(log.write(many).await), (4, 5));
    assert_eq!(write(&log, again).await, repeated(4, 5));
    assert_eq!(*log.head().borrow(), Position(5));
}

pub(super) async fn the_same_request_again_is_answered_as_before_after_a_restart(place: &Place) {
    let log = place.open().await;
    write(&log, one_event()).await;
    write(&log, numbered(1)).await;
    log.close().await;
    let log = place.open().await;
    assert_eq!(write(&log, numbered(1)).await, repeated(2, 2));
    assert_eq!(positions(log.write(numbered(2)).await), (3, 3));
}

pub(super) async fn another_request_under_the_same_id_is_refused(place: &Place) {
    let log = place.open().await;
    write(&log, numbered(1)).await;
    let other = || Write { given: Digest::of(b"another"), ..numbered(1) };
    let mismatch = |result| matches!(result, Err(WriteError::IdempotencyMismatch { request_id }) if request_id == request(1));
    assert!(mismatch(log.write(other()).await));
    log.close().await;
    let log = place.open().await;
    assert!(mismatch(log.write(other()).await));
    assert_eq!(*log.head().borrow(), Position(1));
}

pub(super) async fn two_deliveries_in_one_batch_count_once(place: &Place) {
    let log = place.open_at(ManualClock::ticking()).await;
    let other = Write { given: Digest::of(b"another"), ..numbered(1) };
    let verdicts = join_all([
        log.write(numbered(1)),
        log.write(numbered(1)),
        log.write(other),
        log.write(numbered(2)),
    ])
    .await;
    assert!(matches!(verdicts[0], Ok(Written { repeated: false, .. })));
    assert_eq!(*verdicts[1].as_ref().unwrap(), repeated(1, 1));
    assert!(matches!(verdicts[2], Err(WriteError::IdempotencyMismatch { .. })));
    let records = read_all(&log).await;
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].recorded_at, records[1].recorded_at, "they were not one batch");
}

pub(super) async fn a_refused_request_may_be_sent_again(place: &Place) {
    let log = place.open().await;
    let connect = |id| Write { request_id: request(id), ..connect(1) };
    // Without the workspace it is refused, and nothing remembers it.
    assert!(matches!(log.write(connect(5)).await, Err(WriteError::Rejected(_))));
    write(&log, create_workspace()).await;
    let written = write(&log, connect(5)).await;
    assert!(!written.repeated);
}

pub(super) async fn event_ids_are_derived_from_the_request(place: &Place) {
    let log = place.open().await;
    write(&log, Write { request_id: request(3), ..events(vec![created("a"), created("b")]) }).await;
    for ordinal in 0..2 {
        let id = EventId::derive(request(3), ordinal);
        let record = log.find(id).await.unwrap().unwrap();
        assert_eq!((record.event_id, record.position.0), (id, u64::from(ordinal) + 1));
    }
    assert_eq!(log.find(EventId::derive(request(3), 2)).await.unwrap(), None);
}

/// Nothing was asked, and the requests seem new: one that would append, and one that
/// would be refused by now.
pub(super) async fn a_request_sent_again_is_known_beside_new_ones(place: &Place) {
    let log = place.open().await;
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
pub(super) async fn a_stream_that_is_not_new_goes_on_where_it_ended(place: &Place) {
    let log = place.open().await;
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
    let tree = log.tree().await.unwrap();
    log.close().await;
    assert_eq!(tree, place.open().await.tree().await.unwrap());
}

/// Of a large request, events are inserted while later ones are judged.
pub(super) async fn a_large_request_sent_again_is_known_beside_new_ones(place: &Place) {
    let log = place.open().await;
    write(&log, one_event()).await;
    let id = fresh_request();
    let large = || Write { request_id: id, ..events((0..300).map(|_| one()).collect()) };
    assert_eq!(positions(log.write(large()).await), (2, 301));
    write(&log, one_event()).await;
    let (before, again, behind) =
        tokio::join!(log.write(one_event()), log.write(large()), log.write(one_event()));
    assert_eq!(again.unwrap(), repeated(2, 301));
    assert_eq!((positions(before), positions(behind)), ((303, 303), (304, 304)));
    // Alone, and when it is asked for again.
    for _ in 0..20 {
        write(&log, one_event()).await;
    }
    for _ in 0..2 {
        assert_eq!(write(&log, large()).await, repeated(2, 301));
    }
    assert_eq!(read_all(&log).await.len(), 324);
}

/// A refusal that comes when the front of a request is placed already is no verdict before
/// it is known that the request wrote nothing.
pub(super) async fn a_request_that_fails_in_the_middle_is_known_if_it_was_written_before(
    place: &Place,
) {
    let log = place.open().await;
    let long = "\u{1}".repeat(limits::TEXT_CHARS_MAX);
    let annex = Annex { description: Some(long.clone()), error: Some(long), ..Annex::default() };
    let too_large = one().with_annex(annex);
    for n_events in [100, 300] {
        let id = fresh_request();
        write(&log, Write { request_id: id, ..one_event() }).await;
        let other = || {
            let mut all = vec![one(); n_events];
            all.push(too_large.clone());
            Write { request_id: id, given: Digest::of(b"another"), ..events(all) }
        };
        let known = |answer| {
            assert!(matches!(answer, Err(WriteError::IdempotencyMismatch { .. })), "{answer:?}");
        };
        for _ in 0..20 {
            write(&log, one_event()).await;
        }
        known(log.write(other()).await);
        for _ in 0..20 {
            write(&log, one_event()).await;
        }
        let (new, again) = tokio::join!(log.write(one_event()), log.write(other()));
        assert!(new.is_ok());
        known(again);
    }
    assert_eq!(read_all(&log).await.len(), 2 * 42);
}
