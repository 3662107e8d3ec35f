//! The real program, as a process.

use crate::nix::text;
use crate::server::{PATIENCE, Server, name};
use ledger_core::names::StorePath;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// A token of the right form; the server of these tests asks for no more.
pub const TOKEN: &str = "ldg_agent_0123456789012345678901234567890123456789012";

/// Makes the agent's command line.
pub fn agent(server: &Server, state: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ledger-agent"));
    // Unless a test says otherwise, one that no other agent has.
    let own = format!("--profile={}-profile", state.display());
    let profile = (!more.contains(&"--profile")).then_some(own);
    command
        .arg(name().as_str())
        .arg("--state")
        .arg(state)
        .args(more)
        .args(profile)
        .env("LEDGER_URL", format!("http://{}", server.address))
        .env("LEDGER_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Starts the agent.
pub fn start(server: &Server, state: &Path, more: &[&str]) -> Child {
    agent(server, state, more).spawn().expect("the agent starts")
}

/// Waits for a process to end, and returns its exit code.
pub async fn exit_code(child: &mut Child) -> Option<i32> {
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends in time");
    status.expect("a status").code()
}

/// Asks a process to end.
pub fn terminate(child: &Child) {
    signal(child, rustix::process::Signal::TERM);
}

/// Ends a process as a power cut would.
pub fn kill(child: &Child) {
    signal(child, rustix::process::Signal::KILL);
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = i32::try_from(child.id().expect("it runs")).expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("it is signalled");
}

/// Makes a folder for an agent.
pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A path that no store and no cache has.
pub fn nowhere() -> StorePath {
    StorePath::new("/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-nowhere").expect("a path")
}

/// Options with which Nix asks no cache in the world.
pub fn offline(folder: &TempDir) -> [String; 4] {
    let cache = format!("file://{}", text(&folder.path().join("empty")));
    let profile = text(&folder.path().join("profiles/system"));
    ["--substituter".to_owned(), cache, "--profile".to_owned(), profile]
}

/// Runs the agent until it ends by itself, and returns its exit code and words.
pub async fn ends(server: &Server, folder: &TempDir) -> (Option<i32>, String) {
    let mut child = agent(server, &folder.path().join("state"), &[])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut words = String::new();
    let code = exit_code(&mut child).await;
    let mut stderr = child.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut words).await.expect("text");
    (code, words)
}
