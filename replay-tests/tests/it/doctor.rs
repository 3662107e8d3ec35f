//! `ledger doctor` on a PostgreSQL of its own, which a test may set as badly as it likes.

use crate::rig::administrator::Administrator;
use crate::rig::postgres::Postgres;
use crate::rig::process::{Process, command};
use crate::rig::server::{Server, ledger_program};
use crate::rig::wait_for;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// What `ledger doctor` finds of a database.
struct Report {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl Report {
    fn of(folder: &Path, database: &str) -> Self {
        let mut doctor = command(ledger_program(), folder);
        doctor.args(["doctor", "--format", "json"]).env("LEDGER_DATABASE", database);
        let output = Process::run("doctor", doctor, folder);
        let report: Value = serde_json::from_str(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", output.stdout, output.stderr));
        assert!(!output.stdout.contains("secret"), "a password is shown: {}", output.stdout);
        let findings = report["findings"].as_array().expect("a list").iter();
        let findings = findings.filter(|finding| finding["group"] == "database");
        Self { code: output.code(), findings: findings.cloned().collect() }
    }

    /// What is not ok: status, check and text of each.
    fn troubles(&self) -> Vec<String> {
        let troubles = self.findings.iter().filter(|finding| finding["status"] != "ok");
        let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("").to_owned();
        troubles.map(|f| ["status", "check", "text"].map(|key| word(f, key)).join(" ")).collect()
    }

    /// Expects one trouble, how it begins, and the exit code that goes with it.
    #[track_caller]
    fn finds(&self, beginning: &str) {
        let troubles = self.troubles();
        let [trouble] = &*troubles else { panic!("not one: {troubles:#?}") };
        assert!(trouble.starts_with(beginning), "{beginning:?} does not begin {trouble:?}");
        let fails = trouble.starts_with("fail");
        assert_eq!(self.code, Some(i32::from(fails)), "{trouble}");
    }
}

#[test]
fn each_thing_that_is_wrong_with_a_database_is_found_with_what_to_do() {
    let mut postgres = Postgres::start_careful();
    let mut database = Administrator::of(&postgres);
    let folder = TempDir::with_prefix("ledger-doctor-").expect("a folder");
    let mut server = Server::start(folder.path(), postgres.options(&[]));
    // It has a password, which this database does not ask for.
    let url = postgres.url().replacen('@', ":secret@", 1);
    let doctor = |url: &str| Report::of(folder.path(), url);
    let well = wait_for("a server that is seen to run", || {
        Some(doctor(&url)).filter(|report| report.troubles().is_empty())
    });
    let checks: Vec<_> = well.findings.iter().filter_map(|f| f["check"].as_str()).collect();
    let expected = "database database_version database_clock durability schema login partitions checkpoint nodes";
    assert_eq!((checks.join(" "), well.code), (expected.to_owned(), Some(0)));

    for (setting, found) in [
        ("fsync", "fail durability fsync is off: a power cut loses"),
        ("full_page_writes", "fail durability full_page_writes is off: a power cut can tear"),
        ("synchronous_commit", "warn durability synchronous_commit is off for this login"),
    ] {
        let reload = "SELECT pg_reload_conf()";
        database.run(&format!("ALTER SYSTEM SET {setting} = off"));
        database.run(reload);
        let new = wait_for(&format!("{setting} to be off"), || {
            Some(doctor(&url)).filter(|report| !report.troubles().is_empty())
        });
        new.finds(found);
        database.run(&format!("ALTER SYSTEM RESET {setting}"));
        database.run(reload);
        wait_for(&format!("{setting} to be on"), || {
            doctor(&url).troubles().is_empty().then_some(())
        });
    }

    doctor(&postgres.superuser()).finds("fail login postgres is a superuser: a server's login");
    database.run("CREATE ROLE nobody LOGIN");
    doctor(&url.replace("ledger_test", "nobody")).finds("fail login nobody may not use the log");
    database.run("DELETE FROM ledger.migrations WHERE version = 3");
    doctor(&url).finds("fail schema these steps are missing: 3 (functions)");
    database.run("INSERT INTO ledger.migrations (version, name) VALUES (3, 'functions')");

    server.kill();
    // An hour later, as far as the database knows.
    database.run("UPDATE ledger.nodes SET seen_at = seen_at - interval '1 hour'");
    let report = doctor(&url);
    let troubles = report.troubles();
    assert!(
        troubles.len() == 2
            && troubles[0].starts_with("warn nodes no server runs")
            && troubles[1].contains("1 h 0 min ago, and nobody recorded it as lost"),
        "{troubles:#?}"
    );
    assert_eq!(report.code, Some(0));

    postgres.stop_at_once();
    doctor(&url).finds("fail database the database failed: connecting to it");
}
