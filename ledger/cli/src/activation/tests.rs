//! An activation's fold: events and output in, lines out.

use super::item::{Item, Verdict};
use super::progress::Progress;
use super::text;
use crate::failure::Exit;
use api_wire::http::{ActivateAnswer, DeploymentStatus, LogEvent};
use ledger_core::{DeploymentId, Position, Timestamp};
use std::fmt::Write as _;

const ACTIVATION: &str = "0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90";
const PATH: &str = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web";

/// The id of the n-th agent's deployment.
fn id(n: usize) -> String {
    format!("0190b1f2-7c1e-7d3a-9f00-00000000000{n}")
}

fn deployment(n: usize) -> DeploymentId {
    id(n).parse().expect("valid")
}

/// An answer for agents a1, a2, …: a `-` before the name says that it is offline.
fn answer(agents: &str) -> ActivateAnswer {
    let parts: Vec<String> = agents
        .split_whitespace()
        .map(|name| {
            let (name, connected) = match name.strip_prefix('-') {
                Some(name) => (name, false),
                None => (name, true),
            };
            let n: usize = name[1..].parse().expect("a number");
            let seen = if connected { "null" } else { "\"2026-03-01T11:00:00Z\"" };
            format!(
                r#"{{"agent":"{name}","id":"{}","index":{n},"store_path":"{PATH}","connected":{connected},"last_seen":{seen},"waits_for":null}}"#,
                id(n)
            )
        })
        .collect();
    let text = format!(
        r#"{{"id":"{ACTIVATION}","workspace":"default","position":40,"deployments":[{}]}}"#,
        parts.join(",")
    );
    serde_json::from_str(&text).expect("an answer")
}

fn event(position: u64, type_name: &str, n: usize, more: &str) -> LogEvent {
    let at = Timestamp::from_micros(1_772_366_400_000_000)
        .plus_micros(i64::try_from(position).expect("small") * 1_000_000);
    let text = format!(
        r#"{{"position":{position},"stream":"agent/default/a{n}","version":1,"event_id":"{ACTIVATION}","type":"{type_name}",
        "occurred_at":"{at}","recorded_at":"{at}","actor":{{"kind":"agent","id":"a{n}"}},
        "correlation_id":"{ACTIVATION}","causation_id":null,"payload":{{"deployment":"{}"{more}}}}}"#,
        id(n)
    );
    serde_json::from_str(&text).expect("an event")
}

fn started(position: u64, n: usize) -> LogEvent {
    event(position, "DeploymentStarted", n, &format!(r#","session":"{ACTIVATION}""#))
}

fn digest(bytes: u64) -> String {
    format!(r#","output":{{"blake3":"{}","bytes":{bytes}}}"#, "0".repeat(64))
}

fn succeeded(position: u64, n: usize, bytes: u64) -> LogEvent {
    event(position, "DeploymentSucceeded", n, &digest(bytes))
}

fn failed(position: u64, n: usize, bytes: u64, outcome: &str) -> LogEvent {
    let more = format!(r#","reason":"activation_failed","outcome":"{outcome}"{}"#, digest(bytes));
    event(position, "DeploymentFailed", n, &more)
}

fn superseded(position: u64, n: usize) -> LogEvent {
    event(position, "DeploymentSuperseded", n, &format!(r#","by":"{}""#, id(9)))
}

fn cancelled(position: u64, n: usize) -> LogEvent {
    event(position, "DeploymentCancelled", n, r#","reason":"requested""#)
}

/// Writes items the way a test reads them.
fn told(items: &[Item]) -> String {
    let mut text = String::new();
    for item in items {
        let _ = match item {
            Item::Output(output) => writeln!(text, "{}: {}", output.agent, output.line),
            Item::Status(status) => writeln!(text, "{} {}", status.agent, status.event),
            Item::Requested(_) | Item::Summary(_) => writeln!(text, "unexpected"),
        };
    }
    text
}

#[test]
fn whatever_the_interleaving_output_is_whole_and_before_the_end() {
    let bytes = b"one\ntwo\nthree";
    let events = [started(41, 1), succeeded(42, 1, 13)];
    // Output in two pieces and two events, in every order that keeps each in its own.
    let orders = ["EEOO", "EOEO", "EOOE", "OEEO", "OEOE", "OOEE"];
    for order in orders {
        for cut in 0..=bytes.len() {
            let mut progress = Progress::new(answer("a1"), false);
            let (mut next_event, mut next_piece, mut items) = (0, 0, Vec::new());
            for step in order.chars() {
                if step == 'E' {
                    items.extend(progress.event(&events[next_event]));
                    next_event += 1;
                } else {
                    let (from, to) = if next_piece == 0 { (0, cut) } else { (cut, bytes.len()) };
                    items.extend(progress.output(deployment(1), from as u64, &bytes[from..to]));
                    next_piece += 1;
                }
            }
            assert!(progress.is_done(), "{order} cut at {cut}");
            let text = told(&items);
            let lines: Vec<&str> = text.lines().filter(|line| !line.contains("Started")).collect();
            assert_eq!(
                lines,
                ["a1: one", "a1: two", "a1: three", "a1 DeploymentSucceeded"],
                "{order} cut at {cut}"
            );
        }
    }
}

#[test]
fn an_end_is_held_until_its_output_came_or_is_known_to_be_lost() {
    let mut progress = Progress::new(answer("a1 a2"), false);
    let before = progress.mark();
    progress.output(deployment(1), 0, b"half");
    assert_eq!(told(&progress.event(&succeeded(41, 1, 100))), "");
    assert!(progress.holds() && !progress.is_done());
    assert_eq!(told(&progress.output_ended(before)), "", "asked before the end was known");
    let mark = progress.mark();
    assert_eq!(told(&progress.output_ended(mark)), "a1: half\na1 DeploymentSucceeded\n");
    assert_eq!(told(&progress.output_ended(mark)), "", "once");
    assert!(!progress.is_done(), "a2 goes on");
}

#[test]
fn what_comes_twice_is_shown_once_and_of_others_nothing() {
    let mut progress = Progress::new(answer("a1"), false);
    assert_eq!(told(&progress.event(&started(41, 1))), "a1 DeploymentStarted\n");
    assert_eq!(told(&progress.event(&started(41, 1))), "");
    assert_eq!(told(&progress.event(&started(42, 7))), "");
    assert_eq!(told(&progress.event(&event(43, "HealthWindow", 1, ""))), "");
    assert_eq!(told(&progress.output(deployment(1), 0, b"one\ntw")), "a1: one\n");
    assert_eq!(told(&progress.output(deployment(1), 0, b"one\ntw")), "");
    assert_eq!(told(&progress.output(deployment(1), 4, b"two\n")), "a1: two\n");
    assert_eq!(told(&progress.output(deployment(1), u64::MAX, b"x\n")), "a1: x\n");
    assert_eq!(told(&progress.output(deployment(7), 0, b"x\n")), "");
}

#[test]
fn lines_without_an_end_are_shown_when_the_wait_is_over() {
    let mut progress = Progress::new(answer("a1 a2"), false);
    progress.output(deployment(1), 0, b"how far?");
    progress.event(&succeeded(41, 2, 3));
    assert_eq!(told(&progress.flush()), "a1: how far?\na2 DeploymentSucceeded\n");
    assert_eq!(told(&progress.flush()), "");
}

/// Folds the events and checks verdict and exit code of what comes out.
fn check_verdict(agents: &str, events: &[LogEvent], verdict: Verdict, exit: Exit) {
    let (names, allow_offline) = match agents.strip_prefix("allow_offline ") {
        Some(names) => (names, true),
        None => (agents, false),
    };
    let mut progress = Progress::new(answer(names), allow_offline);
    for event in events {
        progress.event(event);
    }
    let found = progress.verdict(Verdict::TimedOut);
    assert_eq!((found, found.exit()), (verdict, exit), "{agents}");
    assert_eq!(progress.summary(found).exit_code, exit as u8);
    assert_eq!(progress.is_done(), found != Verdict::TimedOut, "{agents}");
}

#[test]
fn the_exit_code_tells_the_worst_that_happened() {
    use Verdict::{Cancelled, Failed, Succeeded, Superseded, TimedOut, Unknown};
    let (ok, one, two) = (succeeded(51, 1, 0), Exit::Failed, "a1 a2");
    check_verdict("a1", std::slice::from_ref(&ok), Succeeded, Exit::Done);
    check_verdict(two, &[ok.clone(), succeeded(52, 2, 0)], Succeeded, Exit::Done);
    check_verdict(two, std::slice::from_ref(&ok), TimedOut, one);
    check_verdict(two, &[ok.clone(), started(52, 2)], TimedOut, one);
    check_verdict(two, &[ok.clone(), failed(52, 2, 0, "unchanged")], Failed, one);
    check_verdict(two, &[ok.clone(), failed(52, 2, 0, "unknown")], Unknown, Exit::NotBack);
    check_verdict(two, &[cancelled(51, 1), failed(52, 2, 0, "unknown")], Unknown, Exit::NotBack);
    check_verdict(two, &[ok.clone(), superseded(52, 2)], Superseded, one);
    check_verdict(two, &[cancelled(51, 1), superseded(52, 2)], Cancelled, one);
    check_verdict("a1 -a2", std::slice::from_ref(&ok), TimedOut, one);
    check_verdict("allow_offline a1 -a2", std::slice::from_ref(&ok), Succeeded, Exit::Done);
    let late = [ok, failed(52, 2, 0, "unknown")];
    check_verdict("allow_offline a1 -a2", &late, Succeeded, Exit::Done);
    check_verdict("allow_offline -a1 -a2", &[], Succeeded, Exit::Done);
    for (verdict, exit) in [
        (Verdict::DryRun, Exit::Done),
        (Verdict::Requested, Exit::Done),
        (Verdict::Interrupted, one),
    ] {
        assert_eq!(verdict.exit(), exit);
    }
}

#[test]
fn who_is_offline_and_what_is_waited_for_is_said() {
    let mut progress = Progress::new(answer("a1 -a2"), false);
    let lines: Vec<String> = progress
        .requested()
        .iter()
        .flat_map(|item| match item {
            Item::Requested(requested) => text::requested(requested),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(
        lines,
        [
            &format!("a1#1 is to run {PATH}"),
            &format!("a2#2 is to run {PATH}"),
            "a2 is offline since 2026-03-01T11:00:00Z; its deployment waits",
        ]
    );
    progress.event(&started(41, 1));
    let now: Timestamp = "2026-03-01T12:01:11Z".parse().expect("valid");
    assert_eq!(
        text::waiting(&progress, now).as_deref(),
        Some(
            "waiting for 2 of 2: a1#1 (running for 30 s), a2#2 (offline since 2026-03-01T11:00:00Z)"
        )
    );
    progress.refresh(&answer("a1 a2"));
    progress.event(&succeeded(42, 1, 0));
    assert_eq!(
        text::waiting(&progress, now).as_deref(),
        Some("waiting for 1 of 2: a2#2 (not started)")
    );
    progress.event(&succeeded(43, 2, 0));
    assert_eq!(text::waiting(&progress, now), None);
}

#[test]
fn the_summary_tells_each_agent_and_the_whole() {
    let mut progress = Progress::new(answer("a1 a2 a3 -a4"), true);
    for event in [
        started(41, 1),
        started(42, 2),
        succeeded(44, 1, 0),
        failed(45, 2, 0, "unknown"),
        superseded(46, 3),
    ] {
        progress.event(&event);
    }
    let summary = progress.summary(progress.verdict(Verdict::TimedOut));
    assert_eq!(summary.agents.len(), 4);
    assert_eq!(summary.agents[3].status, DeploymentStatus::Pending);
    insta::assert_snapshot!(text::summary(&summary, false), @r"
    DEPLOYMENT  RESULT      TOOK   WHY
    a1#1        succeeded   3.0 s  -
    a2#2        failed      3.0 s  its activation failed; what the machine runs now is not known, so look at it before you go on
    a3#3        superseded  -      newer deployment 0190b1f2-7c1e-7d3a-9f00-000000000009
    a4#4        pending     -      was offline; not waited for
    1 of 4 agents succeeded, 1 failed, 1 superseded, 1 pending; not all are known to be back on their old closure
    ");
    let summary = progress.summary(Verdict::Succeeded);
    let first = super::item::Summary { agents: summary.agents[1..2].to_vec(), ..summary };
    insta::assert_snapshot!(serde_json::to_string(&Item::Summary(first)).expect("encodes"), @r#"{"type":"summary","activation":"0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90","workspace":"default","outcome":"succeeded","exit_code":0,"agents":[{"agent":"a2","deployment":"0190b1f2-7c1e-7d3a-9f00-000000000002","index":2,"store_path":"/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web","status":"failed","counts":true,"started_at":"2026-03-01T12:00:42.000000Z","ended_at":"2026-03-01T12:00:45.000000Z","reason":"activation_failed","outcome":"unknown","superseded_by":null}]}"#);
}

#[test]
fn an_error_that_ended_the_output_is_not_said_twice() {
    let check = |output: &str, error: &str, lines: usize| {
        let mut progress = Progress::new(answer("a1"), false);
        progress.output(deployment(1), 0, output.as_bytes());
        let mut event = failed(41, 1, output.len() as u64, "unchanged");
        let error = Some(error.to_owned());
        event.annex = Some(ledger_core::Annex { error, ..ledger_core::Annex::default() });
        let items = progress.event(&event);
        let Some(Item::Status(status)) = items.last() else { panic!("{items:?}") };
        assert_eq!(text::status(status).len(), lines, "{output:?}");
    };
    check("trying\nerror: no\n\n", "error: no\n", 1);
    check("trying\nerror: no", "trying\nerror: no", 1);
    check("trying\n", "disk full\nreally", 3);
    check("", "disk full", 2);
    check("", &"line\n".repeat(31), 32);
}

#[test]
fn every_line_of_the_json_form_has_its_type() {
    let mut progress = Progress::new(answer("-a1"), false);
    let mut items = progress.requested();
    items.extend(progress.output(deployment(1), 0, b"\xffone\n"));
    let fetched = r#","closure_bytes":7,"closure_paths":1"#;
    items.extend(progress.event(&event(42, "ClosureFetched", 1, fetched)));
    items.extend(progress.event(&failed(43, 1, 0, "unchanged")));
    let lines: Vec<String> =
        items.iter().map(|item| serde_json::to_string(item).expect("encodes")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"type":"requested","activation":"0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90","agent":"a1","deployment":"0190b1f2-7c1e-7d3a-9f00-000000000001","index":1,"store_path":"/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web","connected":false,"last_seen":"2026-03-01T11:00:00.000000Z","waits_for":null}
    {"type":"output","agent":"a1","deployment":"0190b1f2-7c1e-7d3a-9f00-000000000001","line":"�one"}
    {"type":"status","agent":"a1","deployment":"0190b1f2-7c1e-7d3a-9f00-000000000001","index":1,"status":"running","event":"ClosureFetched","position":42,"at":"2026-03-01T12:00:42.000000Z","closure_bytes":7,"closure_paths":1}
    {"type":"status","agent":"a1","deployment":"0190b1f2-7c1e-7d3a-9f00-000000000001","index":1,"status":"failed","event":"DeploymentFailed","position":43,"at":"2026-03-01T12:00:43.000000Z","reason":"activation_failed","outcome":"unchanged"}
    "#);
}

#[test]
fn an_old_cursor_and_an_empty_answer_change_nothing() {
    let mut progress =
        Progress::new(ActivateAnswer { deployments: Vec::new(), ..answer("a1") }, false);
    assert!(progress.is_done() && progress.unfinished().next().is_none());
    assert!(progress.event(&LogEvent { position: Position::ZERO, ..started(1, 1) }).is_empty());
    assert_eq!(progress.verdict(Verdict::TimedOut), Verdict::Succeeded);
}

#[test]
fn the_bottom_of_a_terminal_shows_all_and_some_of_those_that_run() {
    let mut progress = Progress::new(answer("a1 a2 a3 a4 a5 a6 a7 -a8"), false);
    for n in 1..=7 {
        progress.event(&started(40 + n as u64, n));
    }
    let fetched = r#","closure_bytes":1,"closure_paths":1"#;
    progress.event(&event(48, "ClosureFetched", 2, fetched));
    progress.event(&succeeded(49, 1, 0));
    progress.event(&failed(50, 3, 0, "unchanged"));
    // The end of this one waits for its output, which is still to be shown.
    progress.event(&succeeded(51, 4, 10));
    let at = |position: i64| Timestamp::from_micros(1_772_366_400_000_000 + position * 1_000_000);
    let lines = |columns| super::bars::lines(&progress, at(40), at(101), columns);
    assert_eq!(
        lines(100),
        [
            "[#####---------------] 2/8 ended, 1 failed, 5 running, 1 pending, 1 succeeded, 1 min 1 s",
            "  a2#2 activating, 59 s",
            "  a4#4 fetching, 57 s",
            "  a5#5 fetching, 56 s",
            "  a6#6 fetching, 55 s",
            "  a7#7 fetching, 54 s",
        ]
    );
    assert_eq!(lines(20)[0], "2/8 ended, 1 failed,");
    for columns in [1, 20, 40, 80, 89, 90, 200] {
        let widest = lines(columns).iter().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|widest| widest <= columns), "{columns}: {widest:?}");
    }
}
