//! Figures for Prometheus, of one server: several may live in one process.
//!
//! What happens is counted as it happens, here. What *is* (how many agents are
//! connected, how far the fold is behind) is read from the server when it is
//! asked for, in [`scrape`], which also names every figure: to add one, add it
//! there, and let the tests write it into `docs/metrics.md`.

pub(crate) mod outcomes;
pub(crate) mod process;
pub(crate) mod scrape;

use crate::request::NO_ROUTE;
use crate::routes::TABLE;
use api_wire::problem::Code;
use ledger_core::Position;
use ledger_store::{WriteError, Written};
use outcomes::Outcomes;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use std::time::Duration;

/// A label and its value, of a closed set.
type Label = (&'static str, &'static str);
/// Counters that differ in one label.
type Counters = Family<[Label; 1], Counter>;

/// The route's path and the status of its answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet)]
struct Answers {
    route: &'static str,
    status: u16,
}

/// Seconds from a write to its commit: a fast disk's sync to the time after which
/// a write is given up.
const APPEND_SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// How an append ended: every value of its label.
const APPEND_RESULTS: [&str; 8] = [
    "appended",
    "repeated",
    "nothing",
    "rejected",
    "conflict",
    "too_large",
    "unavailable",
    "failed",
];

/// What is counted while a server runs, from 0 at its start.
pub(crate) struct Metrics {
    /// Where the log ended when the server started.
    since: Position,
    appends: Counters,
    append_seconds: Histogram,
    requests: Family<Answers, Counter>,
    refused: Counters,
    pub(crate) outcomes: Outcomes,
}

impl Metrics {
    /// Begins to count after the position. What can happen is there from the
    /// start, at 0, so that its first increase is one.
    pub(crate) fn new(since: Position) -> Self {
        let refused = Code::ALL.iter().map(|code| code.as_str());
        let requests = Family::<Answers, Counter>::default();
        for path in TABLE.iter().map(|route| route.path).chain([NO_ROUTE]) {
            let status = if path == NO_ROUTE { 404 } else { ordinary_status(path) };
            drop(requests.get_or_create(&Answers { route: path, status }));
        }
        Self {
            since,
            appends: counters("result", APPEND_RESULTS),
            append_seconds: Histogram::new(APPEND_SECONDS),
            requests,
            refused: counters("code", refused),
            outcomes: Outcomes::new(since),
        }
    }

    /// Counts an answer to a request.
    pub(crate) fn answer(&self, route: &'static str, status: u16) {
        self.requests.get_or_create(&Answers { route, status }).inc();
    }

    /// Counts a request that got a problem for an answer.
    pub(crate) fn refuse(&self, code: Code) {
        self.refused.get_or_create(&[("code", code.as_str())]).inc();
    }

    /// Counts a write, and how long it took if it was committed.
    pub(crate) fn append(&self, written: &Result<Written, WriteError>, took: Duration) {
        let result = append_result(written);
        self.appends.get_or_create(&[("result", result)]).inc();
        if result == "appended" {
            self.append_seconds.observe(took.as_secs_f64());
        }
    }
}

/// An agent's socket is no answer but a switch of protocols.
fn ordinary_status(path: &str) -> u16 {
    if path == api_wire::agent::PATH { 101 } else { 200 }
}

fn counters(label: &'static str, values: impl IntoIterator<Item = &'static str>) -> Counters {
    let family = Counters::default();
    for value in values {
        drop(family.get_or_create(&[(label, value)]));
    }
    family
}

fn append_result(written: &Result<Written, WriteError>) -> &'static str {
    match written {
        Ok(Written { repeated: true, .. }) => "repeated",
        Ok(Written { positions: None, .. }) => "nothing",
        Ok(Written { positions: Some(_), .. }) => "appended",
        Err(
            WriteError::Rejected(_)
            | WriteError::IdempotencyMismatch { .. }
            | WriteError::NoAnnex { .. },
        ) => "rejected",
        Err(WriteError::Conflict { .. }) => "conflict",
        Err(WriteError::TooLarge { .. }) => "too_large",
        Err(WriteError::Unavailable { .. }) => "unavailable",
        Err(WriteError::Database(_)) => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_of_a_write_is_there_from_the_start() {
        let written = |repeated, positions| Ok(Written { positions, repeated });
        let at = Some((Position(1), Position(2)));
        let stream = ledger_core::StreamId::Workspace(ledger_core::WorkspaceName::initial());
        let zero = ledger_core::Version::ZERO;
        let results = [
            written(false, at),
            written(true, at),
            written(false, None),
            Err(WriteError::Rejected(ledger_core::Rejection::WorkspaceNotFound {
                workspace: ledger_core::WorkspaceName::initial(),
            })),
            Err(WriteError::Conflict { stream, expected: zero, actual: zero }),
            Err(WriteError::TooLarge { what: String::new() }),
            Err(WriteError::Unavailable { why: String::new() }),
            Err(WriteError::Database("disk".into())),
        ];
        let results: Vec<&str> = results.iter().map(append_result).collect();
        assert_eq!(results, APPEND_RESULTS);
    }
}
