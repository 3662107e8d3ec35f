//! Facts of a database in, findings out.

use super::{check, now, spoilt, trouble, well};
use crate::doctor::facts::{Database, Facts};
use crate::doctor::{Group, judge};
use ledger_core::{NodeId, RequestId};
use ledger_store::{Inspection, Life, LogInspection, Login, NodeInspection, Settings};
use std::time::Duration;

const SECOND: i64 = 1_000_000;

fn node(life: Life, seconds: u64) -> NodeInspection {
    let id = RequestId::from_bytes([7; 16]);
    NodeInspection { node: NodeId::new(id.uuid()), silent: Duration::from_secs(seconds), life }
}

fn log() -> LogInspection {
    LogInspection {
        now: now(),
        size: 5_000_000,
        room: 5_000_000,
        width: 10_000_000,
        signed: 5_000_000,
        signed_until: Some(now().plus_micros(-90 * SECOND)),
        unsigned_since: None,
        nodes: vec![node(Life::Running, 3), node(Life::Stopped, 999)],
    }
}

/// One with which all is well.
fn inspection() -> Inspection {
    Inspection {
        version: "15.14".to_owned(),
        is_supported: true,
        ahead: 0,
        settings: Settings {
            fsync: "on".to_owned(),
            full_page_writes: "on".to_owned(),
            synchronous_commit: "on".to_owned(),
        },
        missing_steps: Vec::new(),
        newer_schema: None,
        login: Login { name: "ledger_1".to_owned(), is_enough: true, too_much: Vec::new() },
        log: Some(log()),
    }
}

fn with(spoil: impl FnOnce(&mut Inspection)) -> impl FnOnce(&mut Facts) {
    let mut inspection = inspection();
    spoil(&mut inspection);
    let url = "postgres://ledger_1@db/ledger".to_owned();
    move |facts| facts.database = Some(Database { url, inspected: Ok(inspection) })
}

fn with_log(spoil: impl FnOnce(&mut LogInspection)) -> impl FnOnce(&mut Facts) {
    let mut log = log();
    spoil(&mut log);
    with(move |inspection| inspection.log = Some(log))
}

#[test]
fn a_database_with_which_all_is_well_has_a_line_for_each_check() {
    let mut facts = well();
    with(|_| {})(&mut facts);
    assert_eq!(spoilt(with(|_| {})), Vec::<String>::new());
    let of_database = judge(&facts).into_iter().filter(|f| f.group == Group::Database);
    let checks: Vec<&str> = of_database.map(|finding| finding.check).collect();
    let expected = "database database_version database_clock durability schema login partitions checkpoint nodes";
    assert_eq!(checks.join(" "), expected);
}

#[test]
fn a_database_and_what_it_runs_with_are_judged() {
    let gone = |facts: &mut Facts| {
        let inspected = Err(trouble("the connection is refused"));
        facts.database = Some(Database { url: String::new(), inspected });
    };
    check(gone, "fail database: the connection is refused", &["PostgreSQL runs there"]);
    let old = |i: &mut Inspection| (i.version, i.is_supported) = ("14.9".to_owned(), false);
    check(with(old), "fail database_version: it is PostgreSQL 14.9", &["15 or newer"]);
    let off = "off".to_owned();
    check(
        with(|i| i.settings.fsync = off.clone()),
        "fail durability: fsync is off",
        &["set fsync"],
    );
    check(
        with(|i| i.settings.full_page_writes = off.clone()),
        "fail durability: full_page_writes is off",
        &["postgresql.conf"],
    );
    check(
        with(|i| i.settings.synchronous_commit = off.clone()),
        "warn durability: synchronous_commit is off",
        &["servers set it on"],
    );
    let applied = "remote_apply".to_owned();
    assert!(spoilt(with(|i| i.settings.synchronous_commit = applied)).is_empty());
    check(with(|i| i.ahead = 6 * SECOND), "warn database_clock", &["6.0 s behind the database's"]);
    check(with(|i| i.ahead = -301 * SECOND), "fail database_clock", &["301.0 s ahead of"]);
}

#[test]
fn a_schema_and_a_login_that_do_not_fit_are_found() {
    let unmigrated = |i: &mut Inspection| {
        i.missing_steps = vec!["3 (functions)".to_owned(), "4 (nodes)".to_owned()];
        i.login.is_enough = false;
        i.log = None;
    };
    check(
        with(unmigrated),
        "fail schema: these steps are missing: 3 (functions), 4 (nodes)",
        &["`ledger migrate --database URL`"],
    );
    let newer = |i: &mut Inspection| (i.newer_schema, i.log) = (Some(9), None);
    check(with(newer), "fail schema: the schema is 9", &["newer version of Ledger"]);
    let poor = |i: &mut Inspection| (i.login.is_enough, i.log) = (false, None);
    check(with(poor), "fail login: ledger_1 may not", &["GRANT ledger_service TO \"ledger_1\""]);
    let rich = |i: &mut Inspection| {
        i.login.too_much = vec!["owns the database".to_owned(), "may make roles".to_owned()];
    };
    check(
        with(rich),
        "fail login: ledger_1 owns the database, may make roles",
        &["a login of their own"],
    );
}

#[test]
fn a_log_that_nobody_tends_is_found() {
    check(with_log(|l| l.room = 1_999_999), "warn partitions", &["1999999 events", "four fifths"]);
    assert!(spoilt(with_log(|l| l.room = 2_000_000)).is_empty());
    check(with_log(|l| l.room = 0), "fail partitions", &["ledger verify"]);
    assert!(spoilt(with_log(|l| (l.size, l.room) = (0, 0))).is_empty());

    let unsigned = |seconds: i64| {
        with_log(move |l| {
            l.signed -= 1;
            l.unsigned_since = Some(l.now.plus_micros(-seconds * SECOND));
        })
    };
    assert!(spoilt(unsigned(10)).is_empty());
    check(unsigned(70), "warn checkpoint: the newest covers 4999999 of 5000000", &["1 min 10 s"]);
    let never = |l: &mut LogInspection| {
        (l.signed, l.signed_until) = (0, None);
        l.unsigned_since = Some(l.now.plus_micros(-70 * SECOND));
    };
    check(with_log(never), "warn checkpoint: there is none over 5000000", &["/readyz"]);

    check(with_log(|l| l.nodes.clear()), "warn nodes: no server runs", &["ledger serve"]);
    let more = |life, seconds| with_log(move |l| l.nodes.push(node(life, seconds)));
    check(more(Life::Running, 16), "warn nodes: 07070707", &["16 s ago, and nobody"]);
    check(more(Life::Lost, 7200), "warn nodes: 07070707", &["lost", "2 h 0 min ago", "a day"]);
    assert!(spoilt(more(Life::Lost, 90_000)).is_empty());
}
