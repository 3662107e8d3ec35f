//! `ledger doctor` against real servers, real Nix and real folders.

use crate::support::{Agent, Run, Server, ledger, run};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The findings of a run with `--format json`, which says so with its exit code.
#[derive(Debug)]
struct Report {
    run: Run,
    findings: Vec<Value>,
}

impl Report {
    fn of(command: &mut Command) -> Self {
        let begun = Instant::now();
        let run =
            run(command.args(["--format", "json"]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
        assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
        let report: Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:?}"));
        let findings = report["findings"].as_array().expect("a list").clone();
        let fails = findings.iter().any(|finding| finding["status"] == "fail");
        assert_eq!((run.code, report["status"] == "fail"), (i32::from(fails), fails), "{run:?}");
        assert!(!run.stdout.contains("ldg_"), "a token is shown: {run:?}");
        Self { run, findings }
    }

    /// Expects a finding of the check with the status and the words.
    #[track_caller]
    fn has(&self, check: &str, status: &str, words: &str) -> &Self {
        let found = self.findings.iter().any(|finding| {
            finding["check"] == check
                && finding["status"] == status
                && finding.to_string().contains(words)
        });
        assert!(found, "no {status} {check} with {words:?}: {:#?}", self.findings);
        self
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn without_a_server_it_looks_at_the_machine_and_fails_nothing() {
    let report = Report::of(&mut ledger(&["doctor"]));
    report.has("configuration", "warn", "ledger login URL").has("nix", "ok", "nix-store (Nix)");
    assert!(!report.run.stdout.contains("\"fail\""), "{report:?}");
    let text = run(ledger(&["doctor"]).env("PATH", "/nonexistent"));
    assert_eq!(text.code, 0, "{text:?}");
    for part in [
        "Server\n  warn  configuration: no server",
        "        -> `ledger login URL`",
        "This machine\n  warn  nix: ",
    ] {
        assert!(text.stdout.contains(part), "{part}: {}", text.stdout);
    }
    assert!(!text.stdout.contains('\u{1b}') && text.stderr.is_empty(), "{text:?}");
}

#[test]
fn with_a_server_it_judges_server_and_token() {
    let server = Server::start();
    let data = server.data();
    let admin = server.admin_token();
    let doctor = |token: &Path| {
        Report::of(
            server.with_token(token, &["doctor", "--data", path(&data)]).env("SSL_CERT_FILE", ""),
        )
    };
    let report = doctor(&admin);
    report
        .has("configuration", "ok", "from LEDGER_URL, the token from --token-file")
        .has("reachable", "ok", "is ready")
        .has("encryption", "ok", "this machine itself")
        .has("clock", "ok", "within")
        .has("token", "ok", "of kind admin for the whole ledger")
        .has("first_token", "ok", "the only one");
    // Another admin token for the whole ledger: the first one is needed no longer.
    let made =
        server.admin(&["token", "create", "--kind", "admin", "--ledger-wide", "--expires", "2d"]);
    let other = server.file("other", &made.stdout);
    doctor(&admin).has("first_token", "warn", "rm ");
    doctor(other.as_ref()).has("first_token", "warn", "rm ").has("expiry", "warn", "in 1 day");
    let read = server.token("read");
    doctor(&read).has("first_token", "ok", "an admin token would tell");
    let unknown = server.file("unknown", &format!("ldg_read_{}", "x".repeat(43)));
    doctor(unknown.as_ref()).has("token", "fail", "is not known here");
    let gone =
        Report::of(&mut server.with_token(&admin, &["doctor", "--url", "http://127.0.0.1:9"]));
    gone.has("reachable", "fail", "no answer");
    let clear =
        Report::of(&mut server.with_token(&admin, &["doctor", "--url", "http://ledger.example"]));
    clear.has("reachable", "fail", "is not encrypted");
    let foreign = crate::support::foreign_server();
    let foreign = Report::of(&mut server.with_token(&admin, &["doctor", "--url", &foreign]));
    foreign.has("reachable", "fail", "not as Ledger does");
}

#[test]
fn a_certificate_is_judged_by_trust_and_by_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("params");
    params.not_after = rcgen::date_time_ymd(2200, 1, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    let cert = params.self_signed(&key).expect("signed");
    let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert_file, cert.pem()).expect("written");
    std::fs::write(&key_file, key.serialize_pem()).expect("written");
    let server =
        Server::start_with(&["--tls-cert", path(&cert_file), "--tls-key", path(&key_file)]);
    let url = server.url.replace("127.0.0.1", "localhost");
    let doctor = |authorities: &str| {
        let mut command = server.with_token(&server.admin_token(), &["doctor", "--url", &url]);
        Report::of(command.env("SSL_CERT_FILE", authorities))
    };
    doctor(path(&cert_file)).has("encryption", "ok", "ends 2200-01-01T00:00:00Z");
    let refused = doctor("/etc/ssl/certs/ca-certificates.crt");
    refused.has("encryption", "fail", "SSL_CERT_FILE");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_machine_is_judged_by_its_folders_and_its_name() {
    let server = Server::start();
    let token = server.token("agent");
    let _other = Agent::connect(&server.url, &token, "web-1").await;
    let folder = tempfile::tempdir().expect("a folder");
    let (state, cache) = (folder.path().join("state"), folder.path().join("cache"));
    let substituter = format!("file://{}", cache.display());
    let profile = folder.path().join("profiles/web");
    let doctor = |token: &Path, name: &str| {
        let args = [
            "doctor",
            "--agent",
            name,
            "--state",
            path(&state),
            "--profile",
            path(&profile),
            "--substituter",
            &substituter,
            "--trusted-public-key",
            "mine-1:AAAA",
        ];
        Report::of(&mut server.with_token(token, &args))
    };
    let report = doctor(&token, "web-1");
    report
        .has("token", "ok", "of kind agent")
        .has("agent", "warn", "may not list agents")
        .has("state", "ok", "made by the agent's first start")
        .has("cache", "fail", "nix-cache-info")
        .has("profile", "ok", "can be set");
    // A state folder with another key than the one that the name belongs to.
    std::fs::create_dir_all(&state).expect("made");
    std::fs::write(state.join("key"), data_encoding_of([7; 32])).expect("written");
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o755)).expect("changed");
    std::fs::create_dir_all(&cache).expect("made");
    std::fs::write(cache.join("nix-cache-info"), "StoreDir: /nix/store\n").expect("written");
    std::fs::write(cache.join("a.narinfo"), "StorePath: /nix/store/a\nSig: theirs-1:AAAA\n")
        .expect("written");
    let admin = server.admin_token();
    doctor(&admin, "web-1")
        .has("state", "fail", "chmod 700")
        .has("cache", "ok", "answers")
        .has("cache_key", "fail", "theirs-1, which is not trusted")
        .has("agent", "fail", "belongs to another key than this machine's, and is connected");
    doctor(&admin, "web-2").has("agent", "ok", "web-2 is free");
}

/// A key as the agent keeps it: base 64 of 32 bytes.
fn data_encoding_of(bytes: [u8; 32]) -> String {
    data_encoding::BASE64.encode(&bytes)
}
