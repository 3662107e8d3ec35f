//! Servers that are killed at any moment while many write, again and again on one
//! log: what was acknowledged is there afterwards, where it was said to be, once.
//!
//! The moments come from `LEDGER_KILLS_SEED` (the clock by default), which is printed;
//! what the load does within them is the scheduler's.

mod agents;
mod check;
mod first_start;
mod load;
mod outages;

use crate::rig::postgres::Postgres;
use crate::rig::random::{self, Random};
use crate::rig::server::{Options, Server};
use crate::rig::story::check_log;
use api_wire::http::{LogEvent, LogQuery};
use check::History;
use ledger_core::{Position, SessionId};
use load::{Acknowledged, Load, Run};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a log lies on.
trait Database {
    /// How a server is started on it.
    fn options(&self) -> Options;

    /// Whether several servers may share it.
    fn is_shared(&self) -> bool;

    /// What happens to it while the server is dead.
    fn between(&mut self, _kill: usize) {}
}

/// A file in the server's own data folder.
struct Sqlite;

impl Database for Sqlite {
    fn options(&self) -> Options {
        Options::default()
    }

    fn is_shared(&self) -> bool {
        false
    }
}

impl Database for Postgres {
    fn options(&self) -> Options {
        Self::options(self, &[])
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// Kills, of which each costs a start of some 0.2 seconds.
const N_KILLS: usize = 100;
/// A server dies after fewer further writes than this are acknowledged…
const FURTHER_WRITES_MAX: usize = 90;
/// … and up to so much later: somewhere in a commit, and not only right after an answer.
const LATER_MAX: Duration = Duration::from_millis(25);
/// One that dies while it starts does so within this, in which it may come to serve.
const START_MAX: Duration = Duration::from_millis(400);

#[test]
fn a_server_killed_a_hundred_times_under_load_loses_and_doubles_nothing_on_sqlite() {
    survive(&mut Sqlite, N_KILLS);
}

#[test]
fn a_server_killed_a_hundred_times_under_load_loses_and_doubles_nothing_on_postgres() {
    survive(&mut Postgres::start(), N_KILLS);
}

/// Lets a server die so many times, and checks the log after each start.
fn survive(database: &mut impl Database, n_kills: usize) {
    let seed = random::seed("LEDGER_KILLS_SEED");
    eprintln!("LEDGER_KILLS_SEED={seed}");
    let mut random = Random::new(seed);
    let folder = TempDir::with_prefix("ledger-kills-").expect("a folder can be made");
    let mut server = Server::start(folder.path(), database.options());
    let token = server.admin_token();
    let mut load = Load::start(Run::new(1, server.url(), &token), seed);
    let mut told = Told::new(database.is_shared());

    let begun = Instant::now();
    let (mut kills, mut killed_starting) = (0, 0);
    while kills < n_kills {
        load.wait_for_entries(load.entries() + random.below(FURTHER_WRITES_MAX));
        // Not for anything to happen: the moment itself is random.
        std::thread::sleep(LATER_MAX.mul_f64(random.fraction()));
        server.kill();
        kills += 1;
        database.between(kills);
        if random.below(6) == 0 {
            server.restart_and_die(START_MAX.mul_f64(random.fraction()));
            kills += 1;
            killed_starting += 1;
            database.between(kills);
        }
        assert!(!server.process().stderr().contains("panicked"), "{}", server.process().stderr());
        server.restart_anywhere();
        let run = Run::new(1 + kills, server.url(), &token);
        // Nobody writes yet, so that everything acknowledged is known.
        told.check(&load, &run);
        load.open(run);
    }
    let took = begun.elapsed();
    let outcome = told.end(load, &mut server, &token);
    let Outcome { history, acknowledged, sessions } = &outcome;
    let starts = history.count("NodeStarted");
    let expected = 1 + kills - killed_starting..=1 + kills;
    assert!(expected.contains(&starts), "{starts} starts are recorded, not {expected:?}");
    assert_eq!(history.count("NodeStopped"), 0, "no server but the last had the time to stop");
    let committed = acknowledged.iter().filter(|a| told.was_committed_unanswered(a)).count();
    let shared = history.shared_commits(acknowledged);
    eprintln!(
        "{kills} kills, {killed_starting} of them during a start, in {took:?}: {outcome}, of \
         which {committed} had been committed; {shared} commits of several requests"
    );
    // A load that no kill meets proves nothing.
    assert!(outcome.retried() >= n_kills && committed > 0 && shared >= n_kills / 2);
    assert!(history.count("SessionsLost") >= n_kills / 3);
    check::assert_notices(history, acknowledged, sessions);
}

/// A log that holds what was told, with what was told of it.
struct Outcome {
    history: History,
    acknowledged: Vec<Acknowledged>,
    sessions: Vec<SessionId>,
}

impl Outcome {
    /// Requests that were sent again after what happened to the first try.
    fn retried(&self) -> usize {
        self.acknowledged.iter().filter(|a| a.answered_in > a.sent_in).count()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} events, {} requests and {} sessions acknowledged, {} requests sent again",
            self.history.events.len(),
            self.acknowledged.len(),
            self.sessions.len(),
            self.retried(),
        )
    }
}

/// What the servers told so far, from one start to the next.
struct Told {
    history: History,
    n_checked: usize,
    /// How long the log was when each run began, by its number.
    heads: BTreeMap<usize, Position>,
}

impl Told {
    fn new(shared: bool) -> Self {
        Self { history: History::new(shared), n_checked: 0, heads: BTreeMap::new() }
    }

    /// Reads on, and holds what is there to what was acknowledged.
    fn check(&mut self, load: &Load, run: &Run) {
        // First what is said to be there, where others write meanwhile.
        let fresh = load.book.acknowledged(self.n_checked);
        let sessions = load.book.sessions();
        loop {
            let from = Some(self.history.next());
            let query = LogQuery { from, ..LogQuery::default() };
            let page = load.runtime.block_on(run.client.log(&query)).expect("the log is read");
            if page.events.is_empty() {
                break;
            }
            self.history.extend(page.events);
        }
        let head = Position(self.history.next().0 - 1);
        self.heads.insert(run.number, head);
        self.n_checked += fresh.len();
        let mut faults = self.history.faults_of(&fresh);
        faults.extend(self.history.faults_of_deaths(&sessions));
        assert!(faults.is_empty(), "before run {}: {}", run.number, faults.join("\n"));
    }

    /// Holds the whole log, read once more, to everything.
    fn check_all(&self, history: &History, acknowledged: &[Acknowledged], sessions: &[SessionId]) {
        check_log(&history.events);
        let read = |events: &[LogEvent]| {
            let keys = events.iter().map(|e| (e.position, e.event_id, e.payload.to_string()));
            keys.collect::<Vec<_>>()
        };
        let before = read(&self.history.events);
        assert!(read(&history.events[..before.len()]) == before, "what was read once has changed");
        let mut faults = history.faults_of_order();
        faults.extend(history.faults_of(acknowledged));
        faults.extend(history.faults_of_sums(acknowledged));
        faults.extend(history.faults_of_deaths(sessions));
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    /// Lets the load and the server end, and holds the whole log to all that was told.
    fn end(&self, mut load: Load, server: &mut Server, token: &str) -> Outcome {
        load.finish();
        let acknowledged = load.book.acknowledged(0);
        let sessions = load.book.sessions();
        let refused = load.book.refused();
        let history = self.history.with(server.log(token));
        assert!(server.terminate().success(), "the last server does not stop well");
        assert!(!server.process().stderr().contains("panicked"), "{}", server.process().stderr());
        load.end();
        self.check_all(&history, &acknowledged, &sessions);
        assert_eq!(history.find(&refused), None, "a refused request is in the log");
        Outcome { history, acknowledged, sessions }
    }

    /// Whether a server committed the write and died before it could say so.
    fn was_committed_unanswered(&self, acknowledged: &Acknowledged) -> bool {
        let head = self.heads.get(&acknowledged.answered_in).copied().unwrap_or_default();
        let position = self.history.position(acknowledged);
        acknowledged.answered_in > acknowledged.sent_in && position.is_some_and(|p| p <= head)
    }
}
