//! Servers that begin at the same moment on a database that has no log yet.

use super::servers::give_key;
use crate::rig::http::ask;
use crate::rig::postgres::Postgres;
use crate::rig::server::{Beginning, Options, Server};
use crate::rig::story::check_log;
use tempfile::TempDir;

const N_SERVERS: usize = 4;

#[test]
fn of_servers_that_begin_at_once_one_begins_the_log_and_the_others_say_what_they_need() {
    let postgres = Postgres::start();
    let folders =
        [(); N_SERVERS].map(|()| TempDir::with_prefix("ledger-first-").expect("a folder"));
    let begun: Vec<_> = folders
        .iter()
        .map(|folder| Beginning::start(folder.path(), postgres.options(&[])))
        .collect();
    let mut servers = Vec::new();
    let mut late = Vec::new();
    for (beginning, folder) in begun.into_iter().zip(&folders) {
        match beginning.wait() {
            Ok(server) => servers.push(server),
            Err(output) => {
                assert_eq!(output.code(), Some(1), "{}", output.stderr);
                assert!(output.stderr.contains("token-key"), "{}", output.stderr);
                // Nothing is left that would never be good.
                for name in ["token-key", "admin-token"] {
                    assert!(!folder.path().join("data").join(name).exists(), "{name} is left");
                }
                late.push(folder);
            }
        }
    }
    assert_eq!(servers.len(), 1, "so many servers began the one log");
    eprintln!("{} servers began too late", late.len());
    // With the key, each starts.
    for folder in late {
        give_key(&servers[0], folder.path());
        servers.push(Server::start(folder.path(), postgres.options(&[])));
    }
    let token = servers[0].admin_token();
    for server in &servers {
        assert_eq!(ask(server.url(), &token, "/v1/whoami", None).status, 200);
    }
    let log = servers[0].log(&token);
    check_log(&log);
    let count = |name: &str| log.iter().filter(|event| event.type_name == name).count();
    assert_eq!((count("WorkspaceCreated"), count("TokenIssued")), (1, 1));
    for server in &mut servers {
        assert!(server.terminate().success(), "a server does not stop well");
    }
}

#[test]
fn servers_that_begin_at_once_with_one_key_all_serve_at_their_second_start_at_the_latest() {
    let postgres = Postgres::start();
    let folders =
        [(); N_SERVERS].map(|()| TempDir::with_prefix("ledger-first-").expect("a folder"));
    // A key as the first start of a server makes it.
    let elsewhere = TempDir::with_prefix("ledger-first-").expect("a folder");
    let other = Server::start(elsewhere.path(), Options::default());
    for folder in &folders {
        give_key(&other, folder.path());
    }
    let begun: Vec<_> = folders
        .iter()
        .map(|folder| Beginning::start(folder.path(), postgres.options(&[])))
        .collect();
    let mut again = 0;
    let serve = |(beginning, folder): (Beginning, &TempDir)| {
        beginning.wait().unwrap_or_else(|output| {
            assert_eq!(output.code(), Some(1), "{}", output.stderr);
            assert!(output.stderr.contains("start this one again"), "{}", output.stderr);
            again += 1;
            Server::start(folder.path(), postgres.options(&[]))
        })
    };
    let mut servers: Vec<_> = begun.into_iter().zip(&folders).map(serve).collect();
    eprintln!("{again} servers had to be started again");
    // One of them has the first token, and it is good at all.
    let tokens = servers.iter().map(|server| server.data().join("admin-token"));
    let tokens: Vec<_> = tokens.filter(|token| token.exists()).collect();
    let [token] = &tokens[..] else { panic!("{tokens:?}") };
    let token = std::fs::read_to_string(token).expect("it can be read");
    for server in &servers {
        assert_eq!(ask(server.url(), token.trim(), "/v1/whoami", None).status, 200);
    }
    check_log(&servers[0].log(token.trim()));
    for server in &mut servers {
        assert!(server.terminate().success(), "a server does not stop well");
    }
}
