use crate::support::*;
use ledger_core::limits::{OUTPUT_BYTES_MAX, OUTPUT_CHUNK_BYTES_MAX};
use ledger_store::{Clock, Log, OutputError};

async fn store(log: &Log, n: u128, offset: u64, bytes: &[u8]) {
    log.write_output(output(n, offset, bytes)).await.unwrap();
}

pub(super) async fn output_is_stored_once_and_in_order(place: &Place) {
    let log = place.open().await;
    store(&log, 1, 0, b"building\n").await;
    store(&log, 1, 9, b"activating\n").await;
    // The same pieces again are stored already, also after a restart.
    store(&log, 1, 0, b"building\n").await;
    log.close().await;
    let log = place.open().await;
    store(&log, 1, 9, b"activating\n").await;
    let out_of_order = [
        (21, b"gap".as_slice()),
        (9, b"activated!\n"),
        (9, b"activating\nand more"),
        (3, b"ding"),
        (0, b"overlaps"),
    ];
    for (offset, bytes) in out_of_order {
        let result = log.write_output(output(1, offset, bytes)).await;
        assert!(
            matches!(result, Err(OutputError::OutOfOrder { stored: 20, .. })),
            "{offset}: {result:?}"
        );
    }
    let (pieces, cursor) = log.read_output(&[deployment(1)], 0, 10).await.unwrap();
    let bytes: Vec<&[u8]> = pieces.iter().map(|piece| piece.bytes.as_slice()).collect();
    assert_eq!(bytes, [b"building\n".as_slice(), b"activating\n"]);
    assert_eq!((cursor, *log.output_head().borrow()), (2, 2));
    // Two deliveries in one batch, too.
    let again = || log.write_output(output(1, 20, b"done\n"));
    let (first, second) = tokio::join!(again(), again());
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(*log.output_head().borrow(), 3);
}

pub(super) async fn output_is_read_by_deployment_behind_the_cursor(place: &Place) {
    let log = place.open().await;
    for n in 0..10_u8 {
        store(&log, u128::from(n % 3), u64::from(n / 3), &[n]).await;
    }
    let read = async |deployments: &[u128], after, limit| {
        let deployments: Vec<_> = deployments.iter().copied().map(deployment).collect();
        let (pieces, cursor) = log.read_output(&deployments, after, limit).await.unwrap();
        (pieces.iter().map(|piece| piece.bytes[0]).collect::<Vec<_>>(), cursor)
    };
    assert_eq!(read(&[0], 0, 100).await, (vec![0, 3, 6, 9], 10));
    // The cursor goes past the output of others only when there is no more of one's own.
    assert_eq!(read(&[0], 0, 2).await, (vec![0, 3], 4));
    assert_eq!(read(&[0], 4, 2).await, (vec![6, 9], 10));
    assert_eq!(read(&[1, 2], 3, 3).await, (vec![4, 5, 7], 8));
    assert_eq!(read(&[7], 0, 5).await, (vec![], 10));
    assert_eq!(read(&[], 0, 5).await, (vec![], 10));
    assert_eq!(read(&[0], 10, 5).await, (vec![], 10));
}

pub(super) async fn output_of_very_many_deployments_is_read(place: &Place) {
    let log = place.open().await;
    let wanted: Vec<_> = (0..200).map(deployment).collect();
    for n in 0..300_u16 {
        store(&log, u128::from(n), 0, &n.to_be_bytes()).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), 0);
    while cursor < *log.output_head().borrow() {
        let (pieces, next) = log.read_output(&wanted, cursor, 70).await.unwrap();
        assert!(pieces.len() <= 70 && next > cursor);
        seen.extend(pieces.iter().map(|piece| piece.deployment));
        cursor = next;
    }
    assert_eq!(seen, wanted);
}

pub(super) async fn output_beyond_its_bounds_is_refused(place: &Place) {
    let log = place.open().await;
    let large = vec![b'x'; OUTPUT_CHUNK_BYTES_MAX + 1];
    assert!(matches!(log.write_output(output(1, 0, &large)).await, Err(OutputError::TooLarge)));
    let far = output(1, OUTPUT_BYTES_MAX, b"x");
    assert!(matches!(log.write_output(far).await, Err(OutputError::TooLarge)));
    let overflow = output(1, u64::MAX, b"x");
    assert!(matches!(log.write_output(overflow).await, Err(OutputError::TooLarge)));
    store(&log, 1, 0, &large[1..]).await;
    assert_eq!(*log.output_head().borrow(), 1);
}

/// Pieces of two deployments that are committed together while somebody follows
/// both: neither hides the other's.
pub(super) async fn output_of_two_is_followed_without_a_gap_while_it_is_written(place: &Place) {
    const PIECES: u64 = 400;
    let log = place.open().await;
    let writer = tokio::spawn({
        let log = log.clone();
        async move {
            for offset in 0..PIECES {
                let piece = |n| log.write_output(output(n, offset, b"."));
                let (first, second) = tokio::join!(piece(1), piece(2));
                first.and(second).unwrap();
            }
        }
    });
    let (wanted, mut cursor, mut lengths) = ([deployment(1), deployment(2)], 0, [0_u64; 2]);
    let mut head = log.output_head();
    while lengths != [PIECES; 2] {
        let (pieces, next) = log.read_output(&wanted, cursor, 7).await.unwrap();
        for piece in &pieces {
            let length = &mut lengths[usize::from(piece.deployment == wanted[1])];
            assert_eq!(piece.offset, *length, "of {}", piece.deployment);
            *length += 1;
        }
        cursor = next;
        if pieces.is_empty() {
            head.wait_for(|head| *head > cursor).await.unwrap();
        }
    }
    writer.await.unwrap();
}

pub(super) async fn output_from_a_moment_on_is_found(place: &Place) {
    let clock = ManualClock::new();
    let log = place.open_at(clock.clone()).await;
    assert_eq!(log.output_cursor_at(clock.now()).await.unwrap(), 0);
    let mut moments = Vec::new();
    for offset in 0..20 {
        clock.pass(1_000_000);
        moments.push(clock.now());
        store(&log, 1, offset, b".").await;
    }
    for (before, moment) in moments.iter().enumerate() {
        assert_eq!(log.output_cursor_at(*moment).await.unwrap(), before as u64);
    }
    clock.pass(1_000_000);
    assert_eq!(log.output_cursor_at(clock.now()).await.unwrap(), 20);
}
