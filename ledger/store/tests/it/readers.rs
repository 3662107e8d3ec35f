//! The connections that read a log on SQLite: few, shared by all who ask.

use crate::attack::raw;
use crate::support::*;
use ledger_core::{NewEvent, Position, StreamId, Version};
use ledger_store::{Log, ReadError};
use sqlx::AssertSqlSafe;
use std::future::poll_fn;
use std::task::Poll;
use tokio::task::JoinSet;

/// Events in the log of these tests.
const EVENTS: u64 = 3_000;

async fn filled(place: &Place) -> Log {
    let log = place.open().await;
    for _ in 0..3 {
        let some: Vec<NewEvent> = (0..EVENTS / 3).map(|_| one()).collect();
        write(&log, events(some)).await;
    }
    log
}

/// Asks for the whole log as often, all at once. Nothing was asked before the first
/// of them is waited for.
fn ask(log: &Log, times: usize) -> JoinSet<Result<u64, ReadError>> {
    let mut asked = JoinSet::new();
    for n in 0..times {
        let log = log.clone();
        asked.spawn(async move {
            let records = if n % 2 == 0 {
                log.read(Position(1), 5_000).await?
            } else {
                log.read_stream(&StreamId::Node(node()), Version(1), 5_000).await?
            };
            Ok(records.len() as u64)
        });
    }
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_more_questions_than_connections_are_all_answered() {
    let place = Place::sqlite();
    let log = filled(&place).await;
    let answers = soon("every question", ask(&log, 100).join_all()).await;
    assert_eq!(answers.len(), 100);
    assert!(answers.into_iter().all(|answer| answer.unwrap() == EVENTS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_every_question_and_leaves_one_file() {
    let place = Place::sqlite();
    let log = filled(&place).await;
    // Four of them are being answered when it closes, the others wait.
    let asked = ask(&log, 50);
    soon("closing", log.close()).await;
    for file in ["ledger.db-wal", "ledger.db-shm"] {
        assert!(!place.folder().join(file).exists(), "{file} was left behind");
    }
    for answer in soon("every question", asked.join_all()).await {
        match answer {
            Ok(n_records) => assert_eq!(n_records, EVENTS),
            Err(error) => assert!(matches!(error, ReadError::Closed), "{error:?}"),
        }
    }
    assert!(matches!(log.read(Position(1), 1).await, Err(ReadError::Closed)));
}

#[tokio::test]
async fn a_question_whose_asker_went_away_gives_its_connection_back() {
    let place = Place::sqlite();
    let log = filled(&place).await;
    for _ in 0..20 {
        let mut read = Box::pin(log.read(Position(1), 5_000));
        // It is begun, and then nobody wants the answer.
        let begun = poll_fn(|context| Poll::Ready(read.as_mut().poll(context))).await;
        assert!(begun.is_pending());
    }
    assert_eq!(soon("an answer", log.read(Position(1), 5_000)).await.unwrap().len(), 3_000);
    soon("closing", log.close()).await;
    assert!(!place.folder().join("ledger.db-wal").exists());
}

#[tokio::test]
async fn names_are_known_by_number_however_they_came() {
    let place = Place::sqlite();
    let log = place.open().await;
    write(&log, create_workspace()).await;
    for n in 0..20 {
        write(&log, connect(n)).await;
        // Each round has names that no reader knows, and others that it does.
        let (activation, _) = activation(0..=n);
        write(&log, activation).await;
        let records = read_all(&log).await;
        let mut raw = raw(&place).await;
        for record in &records {
            let stream = match record.stream {
                StreamId::Activation(id) => format!("x'{}'", id.uuid().simple()),
                ref stream => format!("'{stream}'"),
            };
            let correlation = record
                .correlation_id
                .map_or("NULL".to_owned(), |id| format!("x'{}'", id.uuid().simple()));
            let sql = format!(
                "SELECT 1 FROM events e JOIN names s ON s.id = e.stream \
                 JOIN names t ON t.id = e.type JOIN names a ON a.id = e.actor \
                 LEFT JOIN names c ON c.id = e.correlation \
                 WHERE e.position = {} AND s.name = {stream} AND t.name = '{}' \
                 AND a.name = '{}' AND c.name IS {correlation}",
                record.position, record.type_name, record.actor.id
            );
            let row = sqlx::query(AssertSqlSafe(sql)).fetch_optional(&mut raw).await.unwrap();
            assert!(row.is_some(), "{record:?}");
        }
    }
}
