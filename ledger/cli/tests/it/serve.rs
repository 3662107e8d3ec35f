//! `ledger serve`: start, stop, and what keeps it from starting.

use crate::support::{DEADLINE, Server, ledger, run};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

#[test]
fn the_first_start_tells_where_everything_is_and_a_stop_is_recorded() {
    let mut server = Server::start();
    let token = server.admin_token();
    assert!(server.greeting.contains(&format!("the first admin token is in {}", token.display())));
    for path in [server.data(), token] {
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is closed to others", path.display());
    }
    assert!(server.stop().success());
    let server = server.kill_and_start_again();
    assert!(!server.greeting.contains("admin token"), "only once: {}", server.greeting);
    let log = server.admin(&["log", "--format", "jsonl"]);
    for type_name in ["NodeStarted", "NodeStopped"] {
        assert!(log.stdout.contains(type_name), "{type_name}: {}", log.stdout);
    }
    assert!(!log.stdout.contains("SessionsLost"));
}

#[test]
fn a_second_server_on_the_same_data_does_not_start() {
    let server = Server::start();
    let data = server.data();
    let mut second = ledger(&["serve", "--listen", "127.0.0.1:0", "--data"]);
    let second = run(second.arg(&data));
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("is in use by another process"), "{}", second.stderr);
}

#[test]
fn what_cannot_be_listened_on_or_read_is_said() {
    let server = Server::start();
    let address = server.url.trim_start_matches("http://");
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let taken = run(&mut ledger(&["serve", "--data", data, "--listen", address]));
    assert_eq!(taken.code, 1, "{taken:?}");
    assert!(taken.stderr.contains(address) && taken.stderr.contains("in use"), "{}", taken.stderr);
    let mut no_key = ledger(&["serve", "--data", data, "--listen", "127.0.0.1:0"]);
    let no_key =
        run(no_key.args(["--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"]));
    assert_eq!(no_key.code, 1, "{no_key:?}");
    assert!(no_key.stderr.contains("/nowhere/cert.pem"), "{}", no_key.stderr);
}

#[test]
fn an_encrypted_server_is_believed_only_with_its_authority() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let cert = file("cert.pem", &made.cert.pem());
    let key = file("key.pem", &made.signing_key.serialize_pem());
    let server = Server::start_with(&["--tls-cert", &cert, "--tls-key", &key]);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let url = server.url.replace("127.0.0.1", "localhost");
    let token = server.admin_token();
    let ask = |authority: Option<&str>| {
        let mut command = server.with_token(&token, &["workspace", "list", "--url", &url]);
        command.env("SSL_CERT_FILE", authority.unwrap_or("/etc/ssl/certs/ca-certificates.crt"));
        run(&mut command)
    };
    let known = ask(Some(&cert));
    assert_eq!(known.code, 0, "{known:?}");
    assert!(known.stdout.contains("default"), "{known:?}");
    let begun = Instant::now();
    let unknown = ask(None);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(unknown.stderr.contains("cannot prove that it is the server"), "{}", unknown.stderr);
    // It is not asked again for the 30 s that a server may be away.
    assert!(begun.elapsed() < DEADLINE / 3, "{:?}", begun.elapsed());
}

#[test]
fn listening_to_the_network_without_encryption_warns() {
    let server = Server::start_on("0.0.0.0:0");
    let warning = server.greeting.lines().next().unwrap_or_default();
    assert!(warning.starts_with("warning: 0.0.0.0:0 is open to the network"), "{warning}");
    let next = server.greeting.lines().find(|line| line.contains("export LEDGER_URL"));
    assert!(next.is_some_and(|line| line.contains("http://127.0.0.1:")), "{}", server.greeting);
}
