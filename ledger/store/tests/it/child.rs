//! A server in a process of its own, so that it can be killed and watched: this
//! test binary, started again.

use crate::support::*;
use ledger_core::EventId;
use ledger_store::{Log, Options, Readiness, SystemClock, Write, WriteError};
use std::io::{BufRead, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

/// Where the child finds its log. Only a child has it.
const FOLDER: &str = "LEDGER_STORE_TEST_FOLDER";
/// Set when commits are not to wait for the disk.
const NOT_DURABLE: &str = "LEDGER_STORE_TEST_NOT_DURABLE";

/// A child, and the lines that it prints.
pub(crate) struct Server {
    pub(crate) process: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts a child on the folder, through the given command if there is one.
    pub(crate) fn start(folder: &Path, through: &[&str], durable: bool) -> Self {
        let exe = std::env::current_exe().unwrap();
        let mut words = through.iter().map(Into::into).chain([exe.into_os_string()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(["--exact", "child::serve", "--nocapture", "--quiet"]);
        command.env(FOLDER, folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        if !durable {
            command.env(NOT_DURABLE, "1");
        }
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, input, lines }
    }

    /// Gives the child something to do.
    pub(crate) fn say(&mut self, line: &str) {
        // A child that was killed does not listen, and its answers show it. One call
        // for the whole line, so that a trace has it in one piece.
        let _ = self.input.write_all(format!("{line}\n").as_bytes());
    }

    /// Returns the child's next answer; `None` when it has ended.
    pub(crate) fn answer(&mut self) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| {
            // The test harness of the child prints lines of its own.
            line.split_once("> ").map(|(_, answer)| answer.to_owned())
        })
    }

    /// Asks and waits for the answer.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.answer().unwrap()
    }

    /// Kills the child at once, and returns what it had answered before.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::iter::from_fn(|| self.answer()).collect()
    }

    /// Lets the child close its log and end.
    pub(crate) fn stop(self) {
        let Self { mut process, input, lines } = self;
        drop(input);
        lines.for_each(drop);
        assert!(process.wait().unwrap().success());
    }
}

/// An acknowledged write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    request: u128,
    first: u64,
    last: u64,
}

impl Acknowledged {
    /// Reads an answer like `written 7 12 13`; `None` if it is another one.
    pub(crate) fn parse(answer: &str) -> Option<Self> {
        let mut words = answer.strip_prefix("written ")?.split(' ');
        let mut number = || words.next()?.parse::<u128>().ok();
        let (request, first, last) = (number()?, number()?, number()?);
        Some(Self { request, first: first as u64, last: last as u64 })
    }
}

/// Checks that the log is whole and has everything that was acknowledged.
pub(crate) async fn check_has(folder: &Path, acknowledged: &[Acknowledged]) {
    let log = Log::open_sqlite(folder, Arc::new(SystemClock)).await.unwrap();
    let records = read_all(&log).await;
    for Acknowledged { request: n, first, last } in acknowledged {
        for (ordinal, position) in (0..).zip(*first..=*last) {
            let record = &records[position as usize - 1];
            assert_eq!(record.event_id, EventId::derive(request(*n), ordinal), "request {n}");
        }
    }
    log.close().await;
}

/// What a child does. As a test of this binary it is nothing.
#[test]
fn serve() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let durable = std::env::var_os(NOT_DURABLE).is_none();
    let options = Options { durable, ..Options::default() };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async {
        let log = Log::open_sqlite_with(folder.as_ref(), Arc::new(SystemClock), options).await;
        let log = log.unwrap();
        let mut lines = std::io::stdin().lines().map_while(Result::ok);
        while let Some(line) = tokio::task::block_in_place(|| lines.next()) {
            match line.split_once(' ') {
                Some(("write", n)) => println!("> {}", append(&log, n.parse().unwrap()).await),
                Some(("flood", n)) => flood(&log, n.parse().unwrap()),
                _ => match log.readiness() {
                    Readiness::Ready => println!("> ready"),
                    Readiness::NotReady(why) => println!("> not ready: {why}"),
                },
            }
        }
        log.close().await;
    });
}

/// Writes without end, from several producers, under request ids from `n` on.
fn flood(log: &Log, n: u128) {
    for producer in 0..8_u128 {
        let log = log.clone();
        tokio::spawn(async move {
            for step in 0.. {
                let answer = append(&log, n + step * 8 + producer).await;
                println!("> {answer}");
            }
        });
    }
}

/// Appends one to three events under a numbered request, and says what came of it.
async fn append(log: &Log, n: u128) -> String {
    let new = vec![created("default"); 1 + (n % 3) as usize];
    match log.write(Write { request_id: request(n), ..events(new) }).await {
        Ok(written) => {
            let (first, last) = written.positions.unwrap();
            format!("written {n} {first} {last}")
        }
        Err(WriteError::Unavailable { why }) => format!("unavailable {n} {why}"),
        Err(error) => format!("failed {n} {error:?}"),
    }
}
