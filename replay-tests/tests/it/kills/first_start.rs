//! A first start that dies between two of the files that it makes.

use crate::rig::http::ask;
use crate::rig::postgres::Postgres;
use crate::rig::server::{Options, Server};
use crate::rig::story::check_log;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use tempfile::TempDir;

/// What a first start moves to its place, in this order.
const FILES: [&str; 6] = [
    "token-key.first.new",
    "node.new",
    "signing-key.new",
    "admin-token.new",
    "token-key.first",
    "signing-key.pub.new",
];

/// Starts a server that dies when it is about to move the file to its place.
fn start_and_die(folder: &Path, file: &str, mut options: Options) {
    let path = folder.join("data").join(file);
    let path = path.to_str().expect("a path of text");
    let tracer = "strace -f -qq -o /dev/null -e trace=/^rename -e inject=/^rename:signal=KILL -P";
    options.wrapper = tracer.split(' ').chain([path]).map(str::to_owned).collect();
    let output = Server::start_in_vain(folder, &options);
    assert_eq!(output.status.signal(), Some(9), "{file}: {}", output.stderr);
    assert!(Path::new(path).exists(), "{file} was moved");
}

#[test]
fn a_first_start_that_died_at_any_of_its_files_is_taken_up_by_the_next() {
    for file in FILES {
        let folder = TempDir::with_prefix("ledger-first-").expect("a folder");
        start_and_die(folder.path(), file, Options::default());
        let mut server = Server::start(folder.path(), Options::default());
        let token = server.admin_token();
        assert_eq!(ask(server.url(), &token, "/v1/whoami", None).status, 200, "{file}");
        let log = server.log(&token);
        check_log(&log);
        let count = |name: &str| log.iter().filter(|event| event.type_name == name).count();
        assert_eq!((count("WorkspaceCreated"), count("TokenIssued")), (1, 1), "{file}");
        assert!(!server.data().join("token-key.first").exists(), "{file}");
        // The key has its lasting name, and the tokens are good at the next start, too.
        server.restart();
        assert_eq!(ask(server.url(), &token, "/v1/whoami", None).status, 200, "{file}");
        assert!(server.terminate().success(), "{file}");
    }
}

#[test]
fn a_key_that_a_crashed_first_start_left_is_not_taken_for_one_that_was_given() {
    let postgres = Postgres::start();
    let folders = [(); 2].map(|()| TempDir::with_prefix("ledger-first-").expect("a folder"));
    let [late, first] = folders.each_ref().map(|folder| folder.path());
    start_and_die(late, "admin-token.new", postgres.options(&[]));
    let mut server = Server::start(first, postgres.options(&[]));
    let output = Server::start_in_vain(late, &postgres.options(&[]));
    assert_eq!(output.code(), Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("copy token-key"), "{}", output.stderr);
    for name in ["token-key.first", "token-key", "admin-token"] {
        assert!(!late.join("data").join(name).exists(), "{name} is left");
    }
    let key = late.join("data").join("token-key");
    std::fs::copy(server.data().join("token-key"), key).expect("the key can be copied");
    let mut second = Server::start(late, postgres.options(&[]));
    let token = server.admin_token();
    assert_eq!(ask(second.url(), &token, "/v1/whoami", None).status, 200);
    check_log(&second.log(&token));
    for server in [&mut server, &mut second] {
        assert!(server.terminate().success(), "a server does not stop well");
    }
}
