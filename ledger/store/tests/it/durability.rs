//! The order of a write: first the disk, then the answer. A kill cannot show
//! it, since the system keeps what a dead process wrote; `strace` can.

use crate::child::{Acknowledged, Server};
use crate::support::Place;

const N_WRITES: usize = 10;

/// Writes under `strace`, and counts the writes whose answer left after the
/// write-ahead log was synced.
fn count_durable(durable: bool) -> usize {
    let place = Place::sqlite();
    let trace = place.folder().join("strace.out");
    let strace = [
        "strace",
        "-f",
        "-y",
        "-s",
        "64",
        "-e",
        "trace=read,write,fsync,fdatasync",
        "-o",
        trace.to_str().unwrap(),
        "--",
    ];
    let mut server = Server::start(place.folder(), &strace, durable);
    for n in 0..N_WRITES {
        let answer = server.ask(&format!("write {}", 700_000 + n));
        assert!(Acknowledged::parse(&answer).is_some(), "{answer}");
    }
    server.stop();
    let trace = std::fs::read_to_string(&trace).unwrap();
    (0..N_WRITES).filter(|n| is_synced_before_answer(&trace, 700_000 + n)).count()
}

/// Looks between the arrival of a request and the first byte of its answer.
fn is_synced_before_answer(trace: &str, n: usize) -> bool {
    let (request, answer) = (format!("\"write {n}\\n"), format!("\"> written {n} "));
    let mut lines = trace.lines().skip_while(|line| !line.contains(&request)).skip(1);
    // Calls of several threads interleave: a call that waits is cut in two
    // lines, of which the first has the file and the second the result.
    let mut waiting = std::collections::HashSet::new();
    let mut synced = false;
    let answered = lines.any(|line| {
        let thread = line.split_whitespace().next().unwrap_or_default();
        let of_log = line.contains("sync(") && line.contains("ledger.db-wal>");
        if of_log && line.ends_with("<unfinished ...>") {
            waiting.insert(thread);
        } else if of_log || (line.contains("sync resumed>") && waiting.remove(thread)) {
            synced |= line.ends_with("= 0");
        }
        line.contains(&answer)
    });
    assert!(answered, "the trace has no answer to request {n}");
    synced
}

#[test]
fn an_answer_leaves_after_the_disk_has_the_write() {
    assert_eq!(count_durable(true), N_WRITES);
}

#[test]
fn the_check_notices_a_log_that_does_not_wait_for_the_disk() {
    assert_eq!(count_durable(false), 0);
}
