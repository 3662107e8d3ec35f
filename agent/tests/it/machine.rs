//! What the agent keeps on its machine and for itself: its folder, its key, its
//! profile and its token.

use crate::nix::text;
use crate::rig::{TOKEN, agent, ends, exit_code, folder, kill, start, terminate};
use crate::server::{Server, name};
use api_wire::agent::FromAgent;
use std::path::Path;
use std::process::Stdio;
use tokio::io::AsyncReadExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_on_the_same_state_is_refused() {
    let (server, folder) = (Server::start().await, folder());
    let mut child = start(&server, &folder.path().join("state"), &[]);
    server.until("a session", |world| world.sessions >= 1).await;
    let (code, words) = ends(&server, &folder).await;
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("another agent runs on the state folder"), "{words}");
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_on_the_same_profile_is_refused_until_the_first_ended() {
    let (server, folder) = (Server::start().await, folder());
    let (profiles, way) = (folder.path().join("profiles"), folder.path().join("way"));
    std::fs::create_dir(&profiles).expect("made");
    std::os::unix::fs::symlink(&profiles, &way).expect("a link");
    let (one, two) = (text(&profiles.join("system")), text(&way.join("system")));
    let mut first = start(&server, &folder.path().join("one"), &["--profile", &one]);
    server.until("a session", |world| world.sessions >= 1).await;
    let second = || agent(&server, &folder.path().join("two"), &["--profile", &two]);
    let output = second().output().await.expect("ran");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    let process = first.id().expect("it runs");
    assert!(words.contains(&format!("the agent {} (process {process})", name())), "{words}");
    assert!(words.contains("--profile of its own"), "{words}");
    let left: Vec<_> = std::fs::read_dir(&profiles).expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
    // However the first ends.
    kill(&first);
    assert_eq!(exit_code(&mut first).await, None);
    for sessions in 2..=3 {
        let mut next = second().spawn().expect("it starts");
        server.until("a session", |world| world.sessions >= sessions).await;
        terminate(&next);
        assert_eq!(exit_code(&mut next).await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_made_once_and_readable_by_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let (server, folder) = (Server::start().await, folder());
    let state = folder.path().join("state");
    for sessions in 1..=2 {
        let mut child = start(&server, &state, &[]);
        server.until("a session", |world| world.sessions >= sessions).await;
        terminate(&child);
        assert_eq!(exit_code(&mut child).await, Some(0));
    }
    let mode =
        |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("key")), 0o600);
    assert_eq!(mode(&state.join("journal")), 0o600);
    let keys = server.with(|world| {
        let keys = world.heard.iter().filter_map(|message| match message {
            FromAgent::Hello { public_key, agent, .. } if *agent == name() => Some(*public_key),
            _ => None,
        });
        keys.collect::<Vec<_>>()
    });
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    std::fs::write(state.join("key"), "no key").expect("written");
    let (code, words) = ends(&server, &folder).await;
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("is damaged"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_folder_that_others_may_enter_is_refused_and_left_as_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let (server, folder) = (Server::start().await, folder());
    let open = folder.path().join("open");
    std::fs::create_dir(&open).expect("made");
    for others in [0o755, 0o710, 0o1777] {
        let permissions = std::fs::Permissions::from_mode(others);
        std::fs::set_permissions(&open, permissions).expect("set");
        let output = agent(&server, &open, &[]).output().await.expect("ran");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains("is open to other users") && words.contains("chmod 700"), "{words}");
        let mode = std::fs::metadata(&open).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, others);
        assert_eq!(std::fs::read_dir(&open).expect("a folder").count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_errors_are_code_2_and_show_no_token() {
    let (server, folder) = (Server::start().await, folder());
    let state = folder.path().join("state");
    let activate = format!("ldg_activate_{}", "a".repeat(43));
    let cases: [(&str, &str, &str); 4] = [
        ("LEDGER_TOKEN", "secret-in-a-wrong-form", "holds no token"),
        ("LEDGER_TOKEN", &activate, "an agent needs one of kind agent"),
        ("LEDGER_URL", "http://ledger.example.com", "not encrypted"),
        ("LEDGER_URL", "ledger", "no server address"),
    ];
    for (variable, value, words) in cases {
        let output = agent(&server, &state, &[]).env(variable, value).output().await.expect("ran");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!said.contains("secret-in") && !said.contains("aaaa"), "{said}");
    }
    let output =
        agent(&server, &state, &[]).env_remove("LEDGER_TOKEN").output().await.expect("ran");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no token"));
    let output = agent(&server, &state, &["--profile", "../"]).output().await.expect("ran");
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_of_the_log_prints_the_token() {
    let (server, folder) = (Server::start().await, folder());
    let everything = "trace,tungstenite=trace,tungstenite::handshake::client=trace,log=trace";
    for (sessions, filter) in [(1, "trace"), (2, everything)] {
        let mut command = agent(&server, &folder.path().join("state"), &[]);
        command.env("LEDGER_LOG", filter).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        server.until("a session", |world| world.sessions >= sessions).await;
        terminate(&child);
        assert_eq!(exit_code(&mut child).await, Some(0));
        let mut words = String::new();
        let mut stderr = child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut words).await.expect("text");
        // The libraries do speak, but for what they sent.
        assert!(words.contains("DEBUG"), "{words}");
        assert!(!words.contains(TOKEN) && !words.contains("ldg_agent"), "{words}");
    }
}
