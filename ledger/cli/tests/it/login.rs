//! `ledger login` against a real server: what is kept, used and forgotten.

use crate::support::{Run, Server, ledger, run};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A user with a home and nothing else.
struct User(TempDir);

impl User {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn ledger(&self, args: &[&str]) -> Command {
        let mut command = ledger(args);
        command.env_remove("XDG_CONFIG_HOME").env("HOME", self.0.path());
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str], code: i32) -> Run {
        let run = run(&mut self.ledger(args));
        assert_eq!(run.code, code, "{args:?}: {run:?}");
        assert!(!format!("{run:?}").contains("ldg_"), "{args:?}: a token is shown: {run:?}");
        run
    }

    fn login(&self, server: &Server, token: &Path, more: &[&str]) -> Run {
        let token = token.to_str().expect("UTF-8");
        self.run(&[&["login", &server.url, "--token-file", token], more].concat(), 0)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(".config/ledger/servers.toml")
    }

    fn kept(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap_or_default()
    }
}

#[test]
fn a_login_is_all_that_a_verb_needs_and_logout_forgets_it() {
    let (server, user) = (Server::start(), User::new());
    let told = user.login(&server, &server.admin_token(), &[]);
    assert!(
        told.stderr.contains("as 127.0.0.1: a token of kind admin for the whole ledger, until 20"),
        "{told:?}"
    );
    for (path, expected) in
        [(user.file(), 0o600), (user.file().parent().expect("one").into(), 0o700)]
    {
        let mode = std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{}", path.display());
    }
    let list = user.run(&["workspace", "list"], 0);
    assert!(list.stdout.contains("default"), "{list:?}");
    let list = user.run(&["login", "--list"], 0);
    assert!(list.stdout.contains(&server.url) && list.stdout.contains("current"), "{list:?}");
    let out = user.run(&["logout"], 0);
    let advice = out.stderr.lines().find_map(|line| line.split_once("`ledger token revoke "));
    let id = advice.expect("tells how to revoke").1.trim_end_matches('`').to_owned();
    assert!(server.admin(&["token", "list"]).stdout.contains(&id), "the id is that of the token");
    assert!(!user.kept().contains("ldg_"), "the token is still there");
    let none = user.run(&["workspace", "list"], 2);
    assert!(none.stderr.contains("`ledger login URL`"), "{none:?}");
    user.run(&["logout"], 2);
}

#[test]
fn a_token_comes_from_stdin_where_that_is_no_terminal() {
    let (server, user) = (Server::start(), User::new());
    let login = |text: &str, code: i32, words: &str| {
        let mut command = user.ledger(&["login", &server.url, "--name", "here"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
        let run: Run = child.wait_with_output().expect("ends").into();
        assert_eq!(run.code, code, "{run:?}");
        assert!(run.stderr.contains(words), "{run:?}");
    };
    login("", 2, "stdin: this is no token");
    login("hunter2\n", 2, "stdin: this is no token");
    assert_eq!(user.kept(), "");
    let token = std::fs::read_to_string(server.admin_token()).expect("a token");
    login(&token, 0, "logged in to");
    assert!(user.kept().contains(token.trim()));
}

#[test]
fn what_the_server_does_not_accept_is_not_kept() {
    let (server, user) = (Server::start(), User::new());
    let token = server.admin_token();
    let good = token.to_str().expect("UTF-8");
    let wrong = server.file("wrong", &format!("ldg_read_{}\n", "x".repeat(43)));
    let foreign = crate::support::foreign_server();
    for (args, code, words) in [
        (vec!["login", &server.url, "--token-file", &wrong], 4, "the token is not known here"),
        (vec!["login", &server.url, "--token-file", good, "-w", "team-9"], 4, "team-9"),
        (vec!["login", "http://127.0.0.1:9", "--token-file", good], 1, "Hint: check the address"),
        (vec!["login", &foreign, "--token-file", good], 1, "not as Ledger does"),
        (vec!["login", "http://ledger.example", "--token-file", good], 2, "is not encrypted"),
        (vec!["login", "ledger.example", "--token-file", good], 2, "is no server address"),
        (vec!["login", &server.url, "--token-file", "/nowhere"], 2, "/nowhere cannot be read"),
        (vec!["login", &server.url, "--token"], 2, "cannot be given on the command line"),
        (vec!["login", "--token-file", good], 2, "no server is named"),
        (vec!["login", &server.url, "--name", "a b"], 2, "it must be 1 to 253"),
        (vec!["login", &server.url, "--list"], 2, "cannot be used with"),
    ] {
        let run = user.run(&args, code);
        assert!(run.stderr.contains(words), "{args:?}: {run:?}");
    }
    assert!(!user.file().exists(), "{}", user.kept());
}

#[test]
fn several_servers_have_names_and_a_kept_token_goes_to_its_own_only() {
    let (one, two, user) = (Server::start(), Server::start(), User::new());
    assert_eq!(one.admin(&["workspace", "create", "only-one"]).code, 0);
    assert_eq!(two.admin(&["workspace", "create", "only-two"]).code, 0);
    user.login(&one, &one.admin_token(), &[]);
    // The host's name is taken, by another server.
    let token = two.admin_token();
    let taken = user.run(&["login", &two.url, "--token-file", token.to_str().expect("UTF-8")], 2);
    assert!(taken.stderr.contains("--name NAME"), "{taken:?}");
    user.login(&two, &token, &["--name", "two", "--workspace", "only-two"]);
    let seen = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = user.ledger(&[&["workspace", "list"], args].concat());
        let run = run(command.envs(variables.iter().copied()));
        let of = |name: &str| run.stdout.contains(name);
        (run.code, of("only-one"), of("only-two"))
    };
    // The newest is the current one.
    assert_eq!(seen(&[], &[]), (0, false, true));
    assert_eq!(seen(&["--server", "127.0.0.1"], &[]), (0, true, false));
    assert_eq!(seen(&[], &[("LEDGER_SERVER", "127.0.0.1")]), (0, true, false));
    assert_eq!(seen(&["--url", &one.url], &[]), (0, true, false));
    assert_eq!(seen(&[], &[("LEDGER_URL", &one.url)]), (0, true, false));
    user.run(&["login", "--use", "127.0.0.1"], 0);
    assert_eq!(seen(&[], &[]), (0, true, false));
    // A token of the environment beats the kept one, and is refused by the other server.
    let other = std::fs::read_to_string(&token).expect("a token");
    assert_eq!(seen(&[], &[("LEDGER_TOKEN", other.trim())]).0, 4);
    // No kept token is for this address: nothing is sent.
    let elsewhere = user.run(&["workspace", "list", "--url", "http://127.0.0.1:9"], 2);
    assert!(elsewhere.stderr.contains("there is no token"), "{elsewhere:?}");
    let both = user.run(&["agents", "--url", &one.url, "--server", "two"], 2);
    assert!(both.stderr.contains("cannot be used with"), "{both:?}");
    let unknown = user.run(&["agents", "--server", "tow"], 2);
    assert!(unknown.stderr.contains("Hint: did you mean two?"), "{unknown:?}");
    // The workspace of the login is what is meant.
    let log = user.run(&["log", "--server", "two"], 0);
    assert!(
        log.stdout.contains("workspace/only-two") && !log.stdout.contains("workspace/default"),
        "{log:?}"
    );
    let listed = user.run(&["login", "--list", "--format", "json"], 0);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!(
        (&listed["servers"][0]["current"], &listed["servers"][1]["workspace"]),
        (&true.into(), &"only-two".into())
    );
    // Without a current one, none is met by surprise.
    user.run(&["logout", "127.0.0.1"], 0);
    let none = user.run(&["workspace", "list"], 2);
    assert!(
        none.stderr.contains("`ledger login --use NAME`") && none.stderr.contains("two"),
        "{none:?}"
    );
}

#[test]
fn a_login_without_address_renews_the_token_of_the_one_that_is_there() {
    let (server, user) = (Server::start(), User::new());
    user.login(&server, &server.admin_token(), &["--name", "prod", "--workspace", "default"]);
    let read = server.token("read");
    let renewed = user.run(&["login", "--token-file", read.to_str().expect("UTF-8")], 0);
    assert!(renewed.stderr.contains("as prod: a token of kind read"), "{renewed:?}");
    let kept = user.kept();
    assert!(kept.contains("workspace = \"default\"") && !kept.contains("ldg_admin"), "{kept}");
}

#[test]
fn a_file_that_others_may_read_is_not_used() {
    let (server, user) = (Server::start(), User::new());
    user.login(&server, &server.admin_token(), &[]);
    std::fs::set_permissions(user.file(), PermissionsExt::from_mode(0o644)).expect("changed");
    for args in [vec!["agents"], vec!["login", "--list"], vec!["logout"]] {
        let refused = user.run(&args, 2);
        assert!(refused.stderr.contains("Hint: `chmod 600"), "{refused:?}");
    }
    // What needs no login does not care.
    let explicit = user.run(
        &[
            "agents",
            "--url",
            &server.url,
            "--token-file",
            server.admin_token().to_str().expect("UTF-8"),
        ],
        0,
    );
    assert!(explicit.stderr.contains("no agent has connected"), "{explicit:?}");
}
