//! A token stands where its holder put it, and nowhere else.

use super::assert_code;
use crate::rig::agent::{Agent, Settings};
use crate::rig::nix::{Closure, Kind};
use crate::rig::server::Options;
use crate::rig::story::check_log;
use crate::rig::world::World;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn no_token_is_left_in_any_file_log_or_process() {
    leaves_no_token("text");
}

#[test]
fn no_token_is_left_in_any_file_or_process_where_logs_are_json() {
    leaves_no_token("json");
}

fn leaves_no_token(form: &str) {
    // Everybody writes down as much as can be asked for.
    let log =
        ["env".to_owned(), "LEDGER_LOG=trace".to_owned(), format!("LEDGER_LOG_FORMAT={form}")];
    let server = Options { wrapper: log.to_vec(), ..Options::default() };
    let mut world = World::with(server, Settings::default());
    let admin = world.server.admin_token();
    let agent_token = world.agent_token();
    let settings = Settings { wrapper: log.to_vec(), ..Settings::default() };
    let mut agent = Agent::launch(&world, "web-1", "web-1", settings);
    world.wait_for_sessions("web-1", 1);
    let path = world.nix.offer(&Closure::new(Kind::HomeManager, "home").gated());
    let activate = world.start_activate(&[("web-1", &path)], &[]);
    world.wait_for_steps("web-1", "ClosureFetched", 1);
    for id in [world.server.process().id(), agent.process().id(), activate.id()] {
        let line = fs::read(format!("/proc/{id}/cmdline")).expect("the process lives");
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(!line.contains("ldg_"), "a token stands in a command line: {line}");
    }
    world.nix.open_gate();
    assert_code(&activate.output(), 0);
    assert!(!world.nix.calls().join("\n").contains("SAW A TOKEN"), "{:?}", world.nix.calls());
    assert!(world.server.terminate().success() && agent.process().terminate().success());

    let mut files = 0;
    for file in files_under(world.folder()) {
        files += 1;
        let bytes = fs::read(&file).expect("the file can be read");
        let holds = |token: &str| bytes.windows(token.len()).any(|part| part == token.as_bytes());
        let name = file.file_name().expect("it has a name").to_string_lossy().into_owned();
        // Where they are given out, and only there.
        assert!(!holds(&admin) || name == "admin-token", "{}", file.display());
        assert!(
            !holds(&agent_token) || name.ends_with("ledger-token.stdout"),
            "{}",
            file.display()
        );
    }
    assert!(files > 10, "only {files} files were looked at");
    world.server.restart();
    check_log(&world.log());
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read").flatten() {
        let kind = entry.file_type().expect("it has a type");
        if kind.is_dir() {
            files.extend(files_under(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

#[test]
fn what_holds_secrets_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let agent = world.agent("web-1");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&world.server.data()), 0o700);
    assert_eq!(mode(&world.server.data().join("admin-token")), 0o600);
    assert_eq!(mode(&agent.state()) & 0o077, 0, "others may look into the agent's state");
    world.check_story(&agent, &["AgentRegistered"]);
}
