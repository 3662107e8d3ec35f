//! Judges what was found of the database that servers share.

use super::facts::Database;
use super::server::{clock, fail};
use super::{Finding, Findings, Group};
use crate::terminal::took;
use ledger_core::Timestamp;
use ledger_store::{Inspection, Life, LogInspection, Login, NodeInspection, Settings};
use std::fmt::Display;
use std::time::Duration;

/// A log is signed at most a second after it grew, on a busy server a little later.
const UNSIGNED_WARN: Duration = Duration::from_secs(10);
/// After so long without a sign of life, servers record each other as lost, if
/// `--node-timeout` says nothing else.
const SILENT_WARN: Duration = Duration::from_secs(15);
/// For so long a lost server is shown: then it is taken to be gone for good.
const LOST_SHOWN: Duration = Duration::from_secs(24 * 3600);

pub(super) fn judge(database: Option<&Database>) -> Vec<Finding> {
    let mut found = Findings::of(Group::Database);
    let Some(Database { url, inspected }) = database else { return found.into_vec() };
    let inspection = match inspected {
        Ok(inspection) => inspection,
        Err(trouble) => {
            let fix = "check the address, and that PostgreSQL runs there and takes this login";
            fail(&mut found, "database", trouble, fix);
            return found.into_vec();
        }
    };
    found.ok("database", format!("{url} answers"));
    version(&mut found, inspection);
    clock(&mut found, "database_clock", inspection.ahead, "the database's");
    durability(&mut found, &inspection.settings);
    schema(&mut found, inspection);
    login(&mut found, &inspection.login, inspection.missing_steps.is_empty());
    if let Some(log) = &inspection.log {
        partitions(&mut found, log);
        checkpoint(&mut found, log);
        nodes(&mut found, &log.nodes);
    }
    found.into_vec()
}

fn version(found: &mut Findings, inspection: &Inspection) {
    let text = format!("it is PostgreSQL {}", inspection.version);
    if inspection.is_supported {
        found.ok("database_version", text);
    } else {
        found.fail("database_version", text, "upgrade it: Ledger needs 15 or newer");
    }
}

fn durability(found: &mut Findings, settings: &Settings) {
    let mut is_well = true;
    for (name, value, lost) in [
        ("fsync", &settings.fsync, "a power cut loses what was acknowledged"),
        ("full_page_writes", &settings.full_page_writes, "a power cut can tear pages apart"),
    ] {
        if value != "on" {
            is_well = false;
            let text = format!("{name} is {value}: {lost}");
            found.fail("durability", text, format!("set {name} = on in postgresql.conf"));
        }
    }
    // With a standby it may promise more than `on` does.
    let value = &settings.synchronous_commit;
    if !matches!(value.as_str(), "on" | "remote_apply") {
        is_well = false;
        found.warn(
            "durability",
            format!(
                "synchronous_commit is {value} for this login; servers set it on for what they write, other programs do not"
            ),
            "leave synchronous_commit = on, for the database and the login",
        );
    }
    if is_well {
        found.ok(
            "durability",
            format!("fsync and full_page_writes are on, synchronous_commit is {value}"),
        );
    }
}

fn schema(found: &mut Findings, inspection: &Inspection) {
    if let Some(newer) = inspection.newer_schema {
        let text = format!("the schema is {newer}, which this program does not know");
        found.fail("schema", text, "use a newer version of Ledger");
    } else if inspection.missing_steps.is_empty() {
        found.ok("schema", "it is this program's");
    } else {
        found.fail(
            "schema",
            format!("these steps are missing: {}", inspection.missing_steps.join(", ")),
            "run `ledger migrate --database URL` with a login that may: a superuser, or the database's owner with CREATEROLE",
        );
    }
}

fn login(found: &mut Findings, login: &Login, is_migrated: bool) {
    let name = &login.name;
    if !login.too_much.is_empty() {
        found.fail(
            "login",
            format!("{name} {}: a server's login is to append and to read, and no more", login.too_much.join(", ")),
            "give the servers a login of their own: CREATE ROLE ledger_1 LOGIN PASSWORD '…'; GRANT ledger_service TO ledger_1",
        );
    } else if login.is_enough {
        found.ok("login", format!("{name} may what ledger_service may, and no more"));
    } else if is_migrated {
        let fix = format!("GRANT ledger_service TO \"{name}\"");
        found.fail("login", format!("{name} may not use the log"), fix);
    }
}

fn partitions(found: &mut Findings, log: &LogInspection) {
    let (size, room) = (log.size, log.room);
    let text = format!("there is room for {room} events behind {size}");
    let fix = "a server makes the next partition when one is full to four fifths, and something keeps it from that: see the logs of server and database, and run `ledger verify`";
    if size == 0 {
        found.ok("partitions", "the first event makes the first");
    } else if room == 0 {
        found.fail("partitions", text, fix);
    } else if room < log.width / 5 {
        found.warn("partitions", text, fix);
    } else {
        found.ok("partitions", text);
    }
}

fn checkpoint(found: &mut Findings, log: &LogInspection) {
    let newest = match log.signed_until {
        Some(until) => format!(
            "the newest covers {} of {} events, up to {} ago",
            log.signed,
            log.size,
            took(until, log.now)
        ),
        None => format!("there is none over {} events", log.size),
    };
    match log.unsigned_since {
        Some(since) if since.plus_micros(micros(UNSIGNED_WARN)) < log.now => found.warn(
            "checkpoint",
            format!("{newest}; what came since is not signed for {}", took(since, log.now)),
            "a server signs at most a second after the log grew: see that one runs, and what its /readyz says",
        ),
        _ => found.ok("checkpoint", newest),
    }
}

fn nodes(found: &mut Findings, nodes: &[NodeInspection]) {
    let running = |node: &&NodeInspection| node.life == Life::Running;
    let (alive, silent): (Vec<_>, Vec<_>) =
        nodes.iter().filter(running).partition(|node| node.silent <= SILENT_WARN);
    if alive.is_empty() {
        found.warn("nodes", "no server runs on it", "start `ledger serve --database URL`");
    } else {
        let each = alive.iter().map(|node| format!("{} ({} ago)", node.node, ago(node.silent)));
        let each: Vec<_> = each.collect();
        let text = format!("{} run, by their last signs of life: {}", each.len(), each.join(", "));
        found.ok("nodes", text);
    }
    for node in silent {
        found.warn(
            "nodes",
            format!(
                "{} gave its last sign of life {} ago, and nobody recorded it as lost",
                node.node,
                ago(node.silent)
            ),
            "start it again; with a longer --node-timeout than 15 s this may be in order",
        );
    }
    for node in nodes.iter().filter(|node| node.life == Life::Lost && node.silent < LOST_SHOWN) {
        found.warn(
            "nodes",
            format!(
                "{} is recorded as lost; its last sign of life was {} ago",
                node.node,
                ago(node.silent)
            ),
            "start it again; one that is gone for good is shown for a day",
        );
    }
}

fn ago(silent: Duration) -> impl Display {
    let then = Timestamp::from_micros(0);
    took(then, then.plus_micros(micros(silent)))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
