use crate::support::*;
use ledger_core::event::{self, Digest};
use ledger_core::record::ActorKind;
use ledger_core::{Actor, Annex, EventId, NewEvent, Position, StreamId, Timestamp, Version};
use ledger_store::{Change, Write};
use std::sync::Arc;
use uuid::Uuid;

pub(super) async fn everything_is_read_back_as_it_was_written(place: &Place) {
    let log = place.open().await;
    let annex = Annex { description: Some("é, \"quoted\"\n".to_owned()), ..Annex::default() };
    let correlation = EventId::new(Uuid::from_u128(u128::MAX));
    let new = NewEvent {
        occurred_at: Some(Timestamp::from_micros(-5)),
        correlation_id: Some(correlation),
        causation_id: Some(EventId::new(Uuid::nil())),
        annex: annex.clone(),
        ..NewEvent::new(
            StreamId::Agent(workspace(), agent(3)),
            event::DeploymentStarted { deployment: deployment(1), session: connection(1).session },
        )
    };
    let by = Actor { kind: ActorKind::Agent, id: "web-1".to_owned() };
    let write_it = Write {
        request_id: request(9),
        given: Digest::of(b"given"),
        actor: by.clone(),
        expect: Vec::new(),
        change: Change::Events(Arc::new(vec![new.clone(), created("plain")])),
    };
    write(&log, write_it).await;
    let [record, plain] = <[_; 2]>::try_from(read_all(&log).await).unwrap();
    assert_eq!(record.position, Position(1));
    assert_eq!(record.stream, new.stream);
    assert_eq!(record.version, Version(1));
    assert_eq!(record.event_id, EventId::derive(request(9), 0));
    assert_eq!(record.type_name, "DeploymentStarted");
    assert_eq!(record.occurred_at, Timestamp::from_micros(-5));
    assert_eq!(record.recorded_at, Timestamp::from_micros(NOON));
    assert_eq!(record.actor, by);
    assert_eq!(record.correlation_id, Some(correlation));
    assert_eq!(record.causation_id, Some(EventId::new(Uuid::nil())));
    assert_eq!(record.event().unwrap(), new.event);
    assert_eq!(record.payload, new.event.encode());
    let sealed = record.annex.clone().unwrap();
    assert_eq!(sealed.open().unwrap(), annex);
    assert_eq!(Some(sealed.digest()), record.annex_digest);
    // An empty annex is none.
    assert_eq!((plain.annex_digest, plain.annex), (None, None));
    // However it is read, it is the same, to the last byte of its envelope.
    let in_stream = log.read_stream(&record.stream, Version(1), 1).await.unwrap().remove(0);
    assert_eq!(in_stream, record);
    assert_eq!(log.find(record.event_id).await.unwrap().unwrap().envelope(), record.envelope());
}

pub(super) async fn a_restart_keeps_everything(place: &Place) {
    let log = place.open().await;
    write(&log, create_workspace()).await;
    for n in 0..20 {
        write(&log, connect(n)).await;
    }
    write(&log, activation(0..20).0).await;
    let (records, state) = (read_all(&log).await, log.state().await.unwrap());
    log.close().await;
    let log = place.open().await;
    assert_eq!(read_all(&log).await, records);
    assert_eq!(log.state().await.unwrap(), state);
    assert_eq!(log.head().borrow().0, records.len() as u64);
    assert_eq!(positions(log.write(one_event()).await).0, records.len() as u64 + 1);
    // What the writer folded is what a reader folds.
    let mut folded = ledger_core::State::default();
    read_all(&log).await.iter().for_each(|record| folded.apply(record));
    assert_eq!(log.state().await.unwrap(), folded);
}

pub(super) async fn pages_meet(place: &Place) {
    let log = place.open().await;
    write(&log, register(0..25)).await;
    let mut seen = Vec::new();
    let mut from = Position(1);
    loop {
        let page = log.read(from, 10).await.unwrap();
        seen.extend(page.iter().map(|record| record.position.0));
        if page.len() < 10 {
            break;
        }
        from = Position(seen.len() as u64 + 1);
    }
    assert!(seen.into_iter().eq(1..=25));
    assert!(log.read(Position(26), 10).await.unwrap().is_empty());
    assert!(log.read(Position(1_000), 10).await.unwrap().is_empty());
    assert_eq!(log.read(Position(0), 1).await.unwrap()[0].position, Position(1));
    assert!(log.read(Position(1), 0).await.unwrap().is_empty());
}

/// 300 events that carry 32 KiB each are more than one page may hold.
pub(super) async fn pages_are_bounded_by_their_bytes(place: &Place) {
    const EVENTS: u64 = 300;
    let log = place.open().await;
    let stream = StreamId::Node(node());
    for _ in 0..EVENTS / 10 {
        let annex = Annex { error: Some("😀".repeat(8 * 1024)), ..Annex::default() };
        let new = || NewEvent {
            annex: annex.clone(),
            ..NewEvent::new(stream.clone(), event::NodeStopped {})
        };
        write(&log, events((0..10).map(|_| new()).collect())).await;
    }
    let mut pages = Vec::new();
    let mut from = Position(1);
    loop {
        let page = log.read(from, 1_000).await.unwrap();
        let Some(last) = page.last() else { break };
        assert_eq!(page[0].position, from);
        from = last.position.next();
        pages.push(page.len());
    }
    assert_eq!(from, Position(EVENTS + 1), "nothing is left out");
    assert!(pages.len() > 1, "one page of {pages:?}");
    let in_stream = log.read_stream(&stream, Version(1), 1_000).await.unwrap().len();
    assert_eq!(in_stream, pages[0]);
    // Without annexes they are small.
    assert_eq!(log.read_bare(Position(1), 1_000).await.unwrap().len() as u64, EVENTS);
    let bare = log.read_stream_bare(&stream, Version(1), 1_000).await.unwrap();
    assert_eq!(bare.len() as u64, EVENTS);
}

pub(super) async fn one_deployments_output_is_read_by_its_bytes(place: &Place) {
    let log = place.open().await;
    for n in 0..10_u64 {
        log.write_output(output(1, n, &[b'a' + n as u8])).await.unwrap();
        log.write_output(output(2, n, b"x")).await.unwrap();
    }
    let pieces = log.read_output_from(deployment(1), 4, 3).await.unwrap();
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.clone()).collect();
    assert_eq!((pieces[0].offset, bytes.as_slice()), (4, &b"efg"[..]));
    assert_eq!(log.read_output_from(deployment(1), 9, 3).await.unwrap().len(), 1);
    assert!(log.read_output_from(deployment(1), 10, 3).await.unwrap().is_empty());
    assert!(log.read_output_from(deployment(3), 0, 3).await.unwrap().is_empty());
}

pub(super) async fn a_stream_is_read_by_version(place: &Place) {
    let log = place.open().await;
    for n in 0..12_u64 {
        write(&log, one_event()).await;
        write(&log, events(vec![created(&format!("ws-{n}"))])).await;
    }
    let stream = StreamId::Node(node());
    let page = log.read_stream(&stream, Version(5), 4).await.unwrap();
    let places: Vec<_> = page.iter().map(|r| (r.version.0, r.position.0)).collect();
    assert_eq!(places, [(5, 9), (6, 11), (7, 13), (8, 15)]);
    assert!(log.read_stream(&stream, Version(13), 4).await.unwrap().is_empty());
    let nowhere = StreamId::Agent(workspace(), agent(99));
    assert!(log.read_stream(&nowhere, Version(1), 4).await.unwrap().is_empty());
}
