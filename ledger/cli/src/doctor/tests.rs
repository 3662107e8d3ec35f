//! Facts in, findings out.

mod database;

use super::facts::{
    Cache, CacheAnswer, Chosen, Disk, Facts, FirstToken, Machine, NixConfig, Session, State,
    Trouble,
};
use super::{Grade, judge};
use api_client::http::Probe;
use api_wire::http::WhoAmI;
use ledger_core::Timestamp;
use ledger_core::key::PublicKey;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * 3600 * SECOND;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a moment")
}

fn told() -> WhoAmI {
    let text = r#"{"token":"0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90","kind":"agent","reach":"workspace",
        "workspace":"default","agents":[],"rights":["connect"],"issued_at":"2026-01-01T00:00:00Z",
        "expires_at":null,"version":"0.1.0","node":"0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90",
        "now":"2026-03-01T12:00:00Z","position":41,"ready":true}"#;
    serde_json::from_str(text).expect("an answer")
}

fn trouble(text: &str) -> Trouble {
    Trouble { text: text.to_owned(), fix: None, is_certificate: false }
}

fn disk(free: u64, size: u64) -> Disk {
    Disk { of: "the Nix store", path: "/nix/store".into(), free, size }
}

fn cache(answer: CacheAnswer, signed_by: Option<&[&str]>) -> Cache {
    let signed_by = signed_by.map(|names| names.iter().map(|n| (*n).to_owned()).collect());
    Cache { url: "https://c.example".to_owned(), answer, signed_by, is_trusted: false }
}

fn session() -> Session {
    let key = PublicKey::from_bytes([1; 32]);
    Session {
        name: "web-1".parse().expect("valid"),
        is_known: true,
        is_connected: true,
        is_retired: false,
        pinned: Some(key),
        own: Some(key),
    }
}

/// A machine on which all is well.
fn well() -> Facts {
    let config = NixConfig { require_sigs: true, ..NixConfig::default() };
    Facts {
        now: now(),
        version: "0.1.0",
        chosen: Ok(Some(Chosen {
            url: "https://ledger.example".to_owned(),
            url_from: "LEDGER_URL".to_owned(),
            token_from: Some("LEDGER_TOKEN".to_owned()),
            is_this_machine: false,
        })),
        probe: Some(Ok(Probe {
            not_ready: None,
            certificate_ends: Some(now().plus_micros(90 * DAY)),
        })),
        told: Some(Ok(told())),
        ahead: Some(0),
        database: None,
        agent: "web-1".parse().ok(),
        first_token: None,
        machine: Machine {
            runs_agent: true,
            nix: Some(Ok("nix-store (Nix) 2.8.0".to_owned())),
            store: Some(Ok(())),
            config: Some(Ok(config)),
            caches: vec![cache(CacheAnswer::Cache, Some(&["c-1"]))],
            trusted_keys: vec!["c-1:AAAA".to_owned()],
            profile: Some(("/nix/var/nix/profiles/system".into(), Ok(()))),
            state: Some(State { path: "/s".into(), mode: Ok(Some(0o700)) }),
            session: Some(Ok(session())),
            disks: vec![disk(500 << 30, 1000 << 30)],
        },
    }
}

/// Returns what is not ok about facts, a line each, after a change that spoils them.
fn spoilt(spoil: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = well();
    spoil(&mut facts);
    let mut lines = Vec::new();
    for finding in judge(&facts) {
        assert_eq!(finding.fix.is_some(), finding.status != Grade::Ok, "{finding:?}");
        if finding.status != Grade::Ok {
            let status = format!("{:?}", finding.status).to_lowercase();
            let fix = finding.fix.unwrap_or_default();
            lines.push(format!("{status} {}: {} -> {fix}", finding.check, finding.text));
        }
    }
    lines
}

/// Expects one line that is not ok: how it begins, and words of it.
#[track_caller]
fn check(spoil: impl FnOnce(&mut Facts), beginning: &str, words: &[&str]) {
    let lines = spoilt(spoil);
    let [line] = &*lines else { panic!("not one line: {lines:#?}") };
    assert!(line.starts_with(beginning), "{beginning:?} does not begin {line:?}");
    for word in words {
        assert!(line.contains(word), "{word:?} is not in {line:?}");
    }
}

#[test]
fn where_all_is_well_every_line_is_ok() {
    assert_eq!(spoilt(|_| {}), Vec::<String>::new());
    let checks: Vec<&str> = judge(&well()).iter().map(|finding| finding.check).collect();
    let expected = "configuration reachable version encryption clock token expiry nix store profile state agent disk cache cache_key";
    assert_eq!(checks.join(" "), expected);
}

#[test]
fn without_server_or_token_the_machine_is_judged_alone() {
    let nowhere = |facts: &mut Facts| {
        (facts.chosen, facts.probe, facts.told, facts.ahead) = (Ok(None), None, None, None);
        facts.machine.session = None;
    };
    check(nowhere, "warn configuration: no server", &["ledger login URL"]);
    let no_token = |facts: &mut Facts| {
        facts.told = None;
        if let Ok(Some(chosen)) = &mut facts.chosen {
            chosen.token_from = None;
        }
    };
    check(no_token, "warn token: there is none", &["`ledger login https://ledger.example`"]);
    let broken = |facts: &mut Facts| {
        facts.told = None;
        facts.chosen = Err(trouble("others may read servers.toml"));
    };
    check(broken, "fail configuration: others may read", &["->"]);
}

#[test]
fn the_server_is_judged() {
    let probe = |not_ready: Option<&str>, days: i64| {
        let certificate_ends = Some(now().plus_micros(days * DAY));
        Some(Ok(Probe { not_ready: not_ready.map(str::to_owned), certificate_ends }))
    };
    check(
        |f| f.probe = probe(Some("the clock jumped"), 90),
        "fail reachable",
        &["the clock jumped", "--confirm-clock"],
    );
    check(
        |f| f.probe = probe(None, 13),
        "warn encryption",
        &["2026-03-14T12:00:00Z", "in 13 days", "renew"],
    );
    assert_eq!(spoilt(|f| f.probe = probe(None, 15)), Vec::<String>::new());
    let refused = Trouble { is_certificate: true, ..trouble("cannot prove that it is the server") };
    check(
        |f| (f.probe, f.told, f.ahead) = (Some(Err(refused)), None, None),
        "fail encryption: cannot prove",
        &[],
    );
    check(
        |f| (f.probe, f.told) = (Some(Err(trouble("no answer"))), None),
        "fail reachable: no answer",
        &["ledger serve"],
    );
    check(|f| f.version = "0.2.0", "warn version", &["0.1.0", "0.2.0"]);
    assert_eq!(spoilt(|f| f.version = "0.1.9"), Vec::<String>::new());
}

#[test]
fn clocks_apart_warn_after_seconds_and_fail_after_minutes() {
    for fine in [0, 5 * SECOND, -5 * SECOND] {
        assert_eq!(spoilt(|f| f.ahead = Some(fine)), Vec::<String>::new());
    }
    check(|f| f.ahead = Some(5 * SECOND + 1), "warn clock", &["5.0 s behind the server's"]);
    check(
        |f| f.ahead = Some(-6_500_000),
        "warn clock",
        &["6.5 s ahead of the server's", "set-ntp"],
    );
    check(|f| f.ahead = Some(300 * SECOND), "warn clock", &[]);
    check(|f| f.ahead = Some(-301 * SECOND), "fail clock", &["301.0 s ahead"]);
    check(|f| f.ahead = Some(i64::MIN), "fail clock", &[]);
}

#[test]
fn the_token_is_judged() {
    let until =
        |left: i64| Some(Ok(WhoAmI { expires_at: Some(now().plus_micros(left)), ..told() }));
    check(|f| f.told = until(7 * DAY - 1), "warn expiry", &["in 6 days", "--kind agent"]);
    check(|f| f.told = until(3600 * SECOND), "warn expiry", &["in less than a day"]);
    check(|f| f.told = until(0), "fail expiry: it ended 2026-03-01T12:00:00Z", &[]);
    assert_eq!(spoilt(|f| f.told = until(8 * DAY)), Vec::<String>::new());
    check(
        |f| f.told = Some(Err(trouble("the token has expired"))),
        "fail token: the token has expired",
        &[],
    );
    let agents = vec!["db-*".parse().expect("a pattern")];
    check(
        |f| f.told = Some(Ok(WhoAmI { agents, ..told() })),
        "fail agent_name",
        &["--agent web-1"],
    );
    let first = |another| Some(FirstToken { path: "/d/admin-token".into(), days: 9, another });
    check(
        |f| f.first_token = first(Some(true)),
        "warn first_token",
        &["for 9 days", "`rm /d/admin-token`"],
    );
    for needed in [Some(false), None] {
        assert_eq!(spoilt(|f| f.first_token = first(needed)), Vec::<String>::new());
    }
}

#[test]
fn the_machine_is_judged_and_more_strictly_where_an_agent_is_to_run() {
    let no_nix = |f: &mut Facts| {
        f.machine.nix = Some(Err("nix-store: No such file".to_owned()));
        (f.machine.store, f.machine.config) = (None, None);
    };
    check(no_nix, "fail nix", &["install Nix"]);
    let none_needed = |f: &mut Facts| {
        no_nix(f);
        f.machine.runs_agent = false;
    };
    check(none_needed, "warn nix", &[]);
    check(
        |f| f.machine.store = Some(Err("no daemon".to_owned())),
        "fail store",
        &["no daemon", "nix-daemon"],
    );
    check(
        |f| f.machine.config = Some(Err("no such command".to_owned())),
        "warn nix_config",
        &["--substituter"],
    );
    check(
        |f| f.machine.profile = Some(("/p".into(), Err("denied".to_owned()))),
        "fail profile: /p",
        &["denied", "--profile"],
    );
    let state = |mode| Some(State { path: "/s".into(), mode });
    check(
        |f| f.machine.state = state(Ok(Some(0o755))),
        "fail state",
        &["mode 755", "`chmod 700 /s`"],
    );
    check(|f| f.machine.state = state(Err("denied".to_owned())), "fail state", &["as the user"]);
    assert_eq!(spoilt(|f| f.machine.state = state(Ok(None))), Vec::<String>::new());
    check(
        |f| f.machine.disks = vec![disk(9 << 30, 100 << 30)],
        "warn disk",
        &["9 %", "nix-collect-garbage"],
    );
    check(|f| f.machine.disks = vec![disk(1 << 30, 4 << 30)], "warn disk", &["25 %"]);
    assert_eq!(spoilt(|f| f.machine.disks = vec![disk(10 << 30, 100 << 30)]), Vec::<String>::new());
}

#[test]
fn another_agent_of_the_name_is_found_by_its_key() {
    let with = |change: fn(&mut Session)| {
        move |f: &mut Facts| {
            let mut session = session();
            change(&mut session);
            f.machine.session = Some(Ok(session));
        }
    };
    let other = PublicKey::from_bytes([2; 32]);
    check(
        move |f| f.machine.session = Some(Ok(Session { own: Some(other), ..session() })),
        "fail agent: the name web-1 belongs to another key",
        &["connected", "`ledger agents rekey web-1`"],
    );
    check(with(|s| s.own = None), "warn agent", &["not in this state folder"]);
    check(with(|s| s.is_retired = true), "fail agent: web-1 is retired", &[]);
    assert_eq!(spoilt(with(|s| s.is_known = false)), Vec::<String>::new());
    assert_eq!(spoilt(with(|s| s.pinned = None)), Vec::<String>::new());
    check(|f| f.machine.session = Some(Err("may not".to_owned())), "warn agent", &["kind read"]);
}

#[test]
fn caches_and_their_keys_are_judged() {
    let caches = |one: Cache| move |f: &mut Facts| f.machine.caches = vec![one];
    check(
        caches(cache(CacheAnswer::No("refused".to_owned()), None)),
        "fail cache: https://c.example",
        &["refused"],
    );
    check(caches(cache(CacheAnswer::WantsPassword, None)), "warn cache", &["netrc"]);
    check(
        caches(cache(CacheAnswer::Cache, Some(&["d-1"]))),
        "fail cache_key",
        &["d-1, which is not trusted"],
    );
    check(caches(cache(CacheAnswer::Cache, Some(&[]))), "fail cache_key", &["without a signature"]);
    check(|f| f.machine.caches.clear(), "fail cache: no binary cache", &[]);
    let unseen = || cache(CacheAnswer::Cache, None);
    assert_eq!(spoilt(caches(unseen())), Vec::<String>::new());
    assert_eq!(spoilt(caches(cache(CacheAnswer::NotAsked, None))), Vec::<String>::new());
    let no_keys = |f: &mut Facts| {
        f.machine.caches = vec![unseen()];
        f.machine.trusted_keys.clear();
    };
    check(no_keys, "fail cache_key: no key is trusted", &[]);
    let trusted = Cache { is_trusted: true, ..cache(CacheAnswer::Cache, Some(&["d-1"])) };
    assert_eq!(spoilt(caches(trusted)), Vec::<String>::new());
    // Where no agent is to run, it is no more than a doubt.
    let elsewhere = |f: &mut Facts| {
        f.machine.runs_agent = false;
        f.machine.caches = vec![cache(CacheAnswer::No("refused".to_owned()), None)];
    };
    check(elsewhere, "warn cache", &[]);
}
