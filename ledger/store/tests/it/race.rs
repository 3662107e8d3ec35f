//! Sixteen writers whose writes fail in every way, and readers that follow by
//! position while they write: nothing acknowledged is missing, nothing else is
//! there, no position is skipped, and everybody reads the same order.
//!
//! What each writer does comes from `LEDGER_RACE_SEED` (random by default), which is
//! printed; how their steps meet is the scheduler's.

use crate::support::*;
use ledger_core::event;
use ledger_core::{EventId, NewEvent, NodeId, Position, Record, RequestId, StreamId, Version};
use ledger_store::{Expectation, Log, SystemClock, Write, WriteError, Written};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

const N_WRITERS: usize = 16;
/// What each of them does: 4,800 steps that are over in seconds, and enough that
/// a reader by a bare sequence would miss hundreds of events.
const N_STEPS: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_sqlite() {
    // A second process on the file is refused, so there is one node.
    race(&Place::sqlite(), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_postgres() {
    race(&Place::postgres().await, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_two_nodes_on_one_postgres() {
    race(&Place::postgres().await, 2).await;
}

/// Lets writers and readers race over logs that so many nodes opened at the place.
pub(crate) async fn race(place: &Place, n_nodes: usize) {
    let seed = seed();
    println!("LEDGER_RACE_SEED={seed}");
    let mut logs = Vec::new();
    for _ in 0..n_nodes {
        logs.push(place.open_at(Arc::new(SystemClock)).await);
    }
    write(&logs[0], create_workspace()).await;

    let (end, ended) = watch::channel(None);
    let mut readers = JoinSet::new();
    for (log, limit) in logs.iter().flat_map(|log| [(log, 1), (log, 7), (log, 1_000)]) {
        readers.spawn(follow(log.clone(), limit, ended.clone()));
    }
    let mut writers = JoinSet::new();
    for n in 0..N_WRITERS {
        let writer = Writer::new(n, logs[n % n_nodes].clone(), seed);
        writers.spawn(writer.run());
    }
    let deeds: Vec<Deeds> = soon("the writers", writers.join_all()).await;

    // A write whose caller went away may still be on its way; behind this one there is none.
    let mut last = Position::ZERO;
    for log in &logs {
        last = Position(positions(log.write(one_event()).await).1);
    }
    end.send_replace(Some(last));
    let followed = soon("the readers", readers.join_all()).await;
    for log in logs {
        log.close().await;
    }
    let log = place.open().await;
    let records = read_all(&log).await;
    log.close().await;

    for (n, seen) in followed.iter().enumerate() {
        assert!(seen == &records, "reader {n} saw another history than is stored");
    }
    check(&records, &deeds, 1 + n_nodes);
}

/// Follows the log by position until it has the last one, and returns what it read.
async fn follow(log: Log, limit: usize, mut end: watch::Receiver<Option<Position>>) -> Vec<Record> {
    let mut head = log.head();
    let mut next = Position(1);
    let mut records = Vec::new();
    loop {
        // First what is said to be there, then what is: never the other way round.
        let announced = *head.borrow_and_update();
        while next <= announced {
            let page = log.read(next, limit).await.unwrap();
            assert!(!page.is_empty(), "{announced} was announced, and {next} is not there");
            for record in page {
                assert_eq!(record.position, next, "a gap");
                next = next.next();
                records.push(record);
            }
        }
        if end.borrow_and_update().is_some_and(|last| next > last) {
            return records;
        }
        tokio::select! {
            moved = head.changed() => moved.unwrap(),
            ends = end.changed() => ends.unwrap(),
        }
    }
}

/// A request that appends so many events.
#[derive(Clone, Copy, Debug)]
struct Sent {
    request: RequestId,
    n_events: usize,
    /// What it expects of the stream that all write to.
    expected: Option<Version>,
}

/// What came of one writer's requests.
#[derive(Default)]
struct Deeds {
    acknowledged: Vec<(Sent, Written)>,
    /// Those whose answer nobody waited for.
    dropped: Vec<Sent>,
    refused: usize,
    conflicts: usize,
    repeated: usize,
}

struct Writer {
    log: Log,
    random: Random,
    /// A stream that nobody else writes to.
    own: NodeId,
    /// The newest known version of the stream that all write to.
    version: Version,
    deeds: Deeds,
}

impl Writer {
    fn new(n: usize, log: Log, seed: u64) -> Self {
        let own = NodeId::new(Uuid::from_u128(1_000 + n as u128));
        let random = Random(seed.wrapping_add(n as u64));
        Self { log, random, own, version: Version::ZERO, deeds: Deeds::default() }
    }

    async fn run(mut self) -> Deeds {
        for step in 0..N_STEPS {
            // Each kind of step at least once, whatever the seed.
            let kind = if step < 8 { step } else { self.random.below(12) };
            match kind {
                0 => self.refuse(create_workspace()).await,
                1 => self.refuse(self.too_large()).await,
                2 => self.expect_the_impossible().await,
                3 => self.expect_what_may_hold().await,
                4 => self.drop_midway().await,
                5 => self.drop_midway_and_ask_again().await,
                6 => self.repeat().await,
                _ => {
                    let sent = self.fresh();
                    self.send(sent).await;
                }
            }
        }
        self.deeds
    }

    fn fresh(&mut self) -> Sent {
        let n_events = 1 + self.random.below(4);
        Sent { request: fresh_request(), n_events, expected: None }
    }

    /// The request as a write: the same each time.
    fn write(&self, sent: Sent) -> Write {
        let stopped = |node| NewEvent::new(StreamId::Node(node), event::NodeStopped {});
        let nodes = [node(), self.own].into_iter().cycle().take(sent.n_events);
        let expect = sent.expected.map(|version| Expectation { stream: shared(), version });
        Write {
            request_id: sent.request,
            expect: expect.into_iter().collect(),
            ..events(nodes.map(stopped).collect())
        }
    }

    async fn send(&mut self, sent: Sent) {
        let written = self.log.write(self.write(sent)).await.unwrap();
        // What is acknowledged is there to be read, at once.
        let (first, last) = written.positions.unwrap();
        let records = self.log.read(first, sent.n_events).await.unwrap();
        let ids = records.iter().map(|record| record.event_id);
        assert!(ids.eq(ids_of(sent)), "{sent:?} is acknowledged, and not there");
        assert_eq!(last.0 - first.0 + 1, sent.n_events as u64);
        self.deeds.acknowledged.push((sent, written));
    }

    async fn refuse(&mut self, write: Write) {
        let refusal = self.log.write(write).await.unwrap_err();
        assert!(
            matches!(refusal, WriteError::Rejected(_) | WriteError::TooLarge { .. }),
            "{refusal:?}"
        );
        self.deeds.refused += 1;
    }

    fn too_large(&self) -> Write {
        let mut actor = actor();
        actor.id = "x".repeat(1_000);
        Write { actor, ..one_event() }
    }

    async fn expect_the_impossible(&mut self) {
        let sent = Sent { expected: Some(Version(u64::MAX >> 8)), ..self.fresh() };
        let refusal = self.log.write(self.write(sent)).await.unwrap_err();
        let WriteError::Conflict { actual, .. } = refusal else { panic!("{refusal:?}") };
        self.version = actual;
        self.deeds.conflicts += 1;
    }

    /// Expects the version that was seen last, as several writers may at once.
    async fn expect_what_may_hold(&mut self) {
        let sent = Sent { expected: Some(self.version), ..self.fresh() };
        match self.log.write(self.write(sent)).await {
            Ok(written) => self.deeds.acknowledged.push((sent, written)),
            Err(WriteError::Conflict { actual, .. }) => {
                self.version = actual;
                self.deeds.conflicts += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Sends and goes away, somewhere between the first step and the answer.
    async fn drop_midway(&mut self) {
        let sent = self.fresh();
        let polls = self.random.below(20);
        match self.poll(sent, polls).await {
            Some(written) => self.deeds.acknowledged.push((sent, written)),
            None => self.deeds.dropped.push(sent),
        }
    }

    async fn drop_midway_and_ask_again(&mut self) {
        let sent = self.fresh();
        let polls = self.random.below(20);
        self.poll(sent, polls).await;
        self.send(sent).await;
    }

    async fn poll(&self, sent: Sent, polls: usize) -> Option<Written> {
        let mut write = pin!(self.log.write(self.write(sent)));
        for _ in 0..polls {
            let polled = std::future::poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await;
            if let Poll::Ready(written) = polled {
                return Some(written.unwrap());
            }
            tokio::task::yield_now().await;
        }
        None
    }

    /// Sends an acknowledged request again, and then another one under its id.
    async fn repeat(&mut self) {
        let n_acknowledged = self.deeds.acknowledged.len();
        if n_acknowledged == 0 {
            let sent = self.fresh();
            return self.send(sent).await;
        }
        let (sent, written) = self.deeds.acknowledged[self.random.below(n_acknowledged)].clone();
        let again = self.log.write(self.write(sent)).await.unwrap();
        assert_eq!(again, Written { repeated: true, ..written });
        let other = self.write(Sent { n_events: sent.n_events + 1, ..sent });
        let refusal = self.log.write(other).await.unwrap_err();
        assert!(matches!(refusal, WriteError::IdempotencyMismatch { .. }), "{refusal:?}");
        self.deeds.repeated += 1;
    }
}

fn shared() -> StreamId {
    StreamId::Node(node())
}

fn ids_of(sent: Sent) -> impl Iterator<Item = EventId> {
    (0..sent.n_events as u32).map(move |ordinal| EventId::derive(sent.request, ordinal))
}

/// Holds the stored history to what was acknowledged; `n_others` events are nobody's.
fn check(records: &[Record], deeds: &[Deeds], n_others: usize) {
    let gaps = records.iter().zip(1..).filter(|(record, position)| record.position.0 != *position);
    let gaps = gaps.count();
    let mut versions = BTreeMap::new();
    for record in records {
        let version = versions.entry(&record.stream).or_insert(Version::ZERO);
        *version = version.next();
        assert_eq!(record.version, *version, "a gap in {}", record.stream);
    }
    assert!(records.is_sorted_by_key(|record| record.recorded_at), "time falls");
    let places: BTreeMap<EventId, usize> =
        records.iter().enumerate().map(|(idx, record)| (record.event_id, idx)).collect();
    assert_eq!(places.len(), records.len(), "an event stands twice");

    let mut lost = 0;
    let mut n_explained = n_others;
    let acknowledged: Vec<_> = deeds.iter().flat_map(|deeds| &deeds.acknowledged).collect();
    for (sent, written) in &acknowledged {
        let (first, _) = written.positions.unwrap();
        let here = (first.0 as usize - 1)..;
        let found = ids_of(*sent).zip(here).filter(|(id, idx)| places.get(id) == Some(idx));
        lost += sent.n_events - found.count();
        n_explained += sent.n_events;
        if let Some(expected) = sent.expected {
            let record = &records[first.0 as usize - 1];
            assert_eq!(record.version, expected.next(), "a stale write came through");
        }
    }
    let requests: BTreeSet<_> = acknowledged.iter().map(|(sent, _)| sent.request).collect();
    assert_eq!(requests.len(), acknowledged.len(), "a request is acknowledged as two");

    let mut stood = 0;
    let dropped: Vec<_> = deeds.iter().flat_map(|deeds| &deeds.dropped).collect();
    for sent in &dropped {
        let found: Vec<usize> = ids_of(**sent).filter_map(|id| places.get(&id).copied()).collect();
        assert!(found.windows(2).all(|two| two[0] + 1 == two[1]), "{sent:?} is torn apart");
        assert!(found.is_empty() || found.len() == sent.n_events, "{sent:?} is there in part");
        stood += usize::from(!found.is_empty());
        n_explained += found.len();
    }
    let sum = |count: fn(&Deeds) -> usize| deeds.iter().map(count).sum::<usize>();
    let (refused, conflicts) = (sum(|deeds| deeds.refused), sum(|deeds| deeds.conflicts));
    println!(
        "{} events; {} requests acknowledged, {} sent again, {refused} refused, {conflicts} \
         conflicts, {} dropped of which {stood} stand; lost {lost}, gaps {gaps}",
        records.len(),
        acknowledged.len(),
        sum(|deeds| deeds.repeated),
        dropped.len(),
    );
    assert_eq!((lost, gaps), (0, 0));
    assert_eq!(
        n_explained,
        records.len(),
        "the log has events that nobody wrote, or has them twice"
    );
    // The seed cannot make a race of nothing.
    assert!(acknowledged.len() > N_WRITERS * N_STEPS / 4 && dropped.len() >= N_WRITERS / 2);
    assert!(refused >= 2 * N_WRITERS && conflicts >= N_WRITERS);
}

fn seed() -> u64 {
    let given = std::env::var("LEDGER_RACE_SEED").ok();
    given.map_or_else(|| getrandom::u64().unwrap(), |text| text.parse().unwrap())
}

/// SplitMix64: small, good enough here, and without a dependency.
struct Random(u64);

impl Random {
    /// A number below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
