//! `ledger agent` as a real process: one machine of a fleet.

use super::process::Process;
use super::server::{ledger_program, wrapped};
use super::wait_for;
use super::world::World;
use ledger_core::{EventId, RequestId, StorePath};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A machine with its profile and state, and the agent that runs on it.
pub(crate) struct Agent {
    name: String,
    folder: PathBuf,
    token: String,
    settings: Settings,
    process: Process,
    /// From the journals of earlier starts, each of which forgets the one before.
    acknowledged: Vec<EventId>,
}

/// How an agent is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// What the command line begins with: a tracer, a network namespace.
    pub(crate) wrapper: Vec<String>,
    /// Another substituter than the world's HTTP cache.
    pub(crate) substituter: Option<String>,
    /// More environment.
    pub(crate) env: Vec<(String, String)>,
}

/// A tracer that makes every sync take its time, so that what is seen in a file
/// is seen before the program goes on.
pub(crate) fn slow_syncs() -> Settings {
    let tracer = "strace -D -f -qq -o /dev/null -e trace=fsync,fdatasync \
                  -e inject=fsync,fdatasync:delay_exit=250000";
    let wrapper = tracer.split_whitespace().map(str::to_owned).collect();
    Settings { wrapper, ..Settings::default() }
}

/// A tracer that kills the agent as it comes to sync the n-th line of its journal.
pub(crate) fn killed_at_line(state: &Path, n: usize) -> Settings {
    let tracer = "strace -D -f -qq -o /dev/null -e trace=fdatasync";
    let mut wrapper: Vec<String> = tracer.split_whitespace().map(str::to_owned).collect();
    wrapper.extend(["-P".to_owned(), state.join("journal").display().to_string()]);
    wrapper.extend(["-e".to_owned(), format!("inject=fdatasync:signal=KILL:when={n}")]);
    Settings { wrapper, ..Settings::default() }
}

impl Agent {
    /// Starts an agent on a machine that never had one.
    pub(crate) fn launch(world: &World, name: &str, machine: &str, settings: Settings) -> Self {
        Self::launch_as(world, name, machine, &world.agent_token(), settings)
    }

    /// The same with a token of its own.
    pub(crate) fn launch_with_token(world: &World, name: &str, machine: &str, token: &str) -> Self {
        Self::launch_as(world, name, machine, token, Settings::default())
    }

    fn launch_as(
        world: &World,
        name: &str,
        machine: &str,
        token: &str,
        settings: Settings,
    ) -> Self {
        let folder = world.folder().join(machine);
        fs::create_dir_all(&folder).expect("a folder can be made");
        let process = launch(world, name, &folder, token, &settings);
        Self {
            name: name.to_owned(),
            folder,
            token: token.to_owned(),
            settings,
            process,
            acknowledged: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGKILL to the agent alone; a supervisor that it started lives on.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGKILL to everything that the machine runs of it, as a power cut does.
    pub(crate) fn cut_power(&mut self) {
        self.process.kill();
        let state = self.state().display().to_string();
        wait_for("the end of everything that ran on the machine", || {
            let pids = supervisors(&state);
            for pid in &pids {
                // It may have ended by itself.
                let _ = rustix::process::kill_process(*pid, rustix::process::Signal::KILL);
            }
            pids.is_empty().then_some(())
        });
    }

    /// Starts it again on the same state.
    pub(crate) fn restart(&mut self, world: &World) {
        self.restart_with(world, Settings::default());
    }

    /// Starts it again on the same state, some other way.
    pub(crate) fn restart_with(&mut self, world: &World, settings: Settings) {
        self.process.kill();
        self.acknowledged = self.acknowledged();
        self.settings = settings;
        self.process = launch(world, &self.name, &self.folder, &self.token, &self.settings);
    }

    /// Copies state and nothing else to another machine.
    pub(crate) fn copy_state_to(&self, world: &World, machine: &str) {
        let to = world.folder().join(machine).join("state");
        copy_folder(&self.state(), &to);
        let owner = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&to, owner).expect("the folder can be closed to others");
    }

    /// Takes the last record off the journal, as a power cut does before it is
    /// synced, and returns its kind.
    pub(crate) fn lose_last_record(&self) -> String {
        let lost = self.journal().pop().expect("there is a record");
        let path = self.state().join("journal");
        let text = fs::read_to_string(&path).expect("there is a journal");
        let end = text.trim_end().rfind('\n').expect("the first line is never at risk") + 1;
        fs::write(&path, &text[..end]).expect("a file can be written");
        lost["record"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns where the profile points, and Nix's number of it.
    pub(crate) fn profile(&self) -> Option<(StorePath, u64)> {
        target(&profile(&self.folder))
    }

    /// The same for the profile that home-manager's own script sets.
    pub(crate) fn home_profile(&self) -> Option<(StorePath, u64)> {
        target(&self.folder.join(".local/state/nix/profiles/home-manager"))
    }

    /// Waits until the journal holds a record of this kind for the deployment
    /// that was last admitted.
    pub(crate) fn wait_for_record(&mut self, kind: &str) {
        wait_for(&format!("the record {kind} in the journal of {}", self.name), || {
            let records = self.journal();
            let kinds: Vec<_> = records.iter().filter_map(|r| r["record"].as_str()).collect();
            let admitted = kinds.iter().rposition(|kind| *kind == "admitted")?;
            kinds[admitted..].contains(&kind).then_some(())
        });
    }

    /// The ids of the events whose reports were acknowledged to this agent.
    pub(crate) fn acknowledged(&self) -> Vec<EventId> {
        let ids = self.journal().into_iter().filter(|record| record["record"] == "answered");
        let ids = ids
            .filter_map(|record| record["request_id"].as_str()?.parse::<RequestId>().ok())
            .map(|request| EventId::derive(request, 0));
        self.acknowledged.iter().copied().chain(ids).collect()
    }

    fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.state().join("journal")).unwrap_or_default();
        // Each line is a checksum and JSON. The last one may be half written.
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let lines = lines.filter_map(|(_, json)| serde_json::from_str::<Value>(json).ok());
        lines.map(|mut line| line["record"].take()).collect()
    }
}

fn launch(world: &World, name: &str, folder: &Path, token: &str, settings: &Settings) -> Process {
    // The folder is the home of the user whose machine it is, too.
    let mut agent = wrapped(&settings.wrapper, &ledger_program(), folder);
    let substituter = settings.substituter.clone().unwrap_or_else(|| world.nix.cache.url());
    agent
        .args(["agent", name, "--profile"])
        .arg(profile(folder))
        .arg("--state")
        .arg(folder.join("state"))
        .args(["--substituter", &substituter])
        .args(["--trusted-public-key", world.nix.public_key()])
        .env("LEDGER_URL", world.server_url())
        .env("LEDGER_TOKEN", token)
        .envs(settings.env.iter().cloned());
    Process::start(&format!("agent-{name}"), agent, world.folder())
}

fn target(profile: &Path) -> Option<(StorePath, u64)> {
    let link = fs::read_link(profile).ok()?;
    let number = link.to_str()?.strip_suffix("-link")?.rsplit('-').next()?.parse().ok()?;
    let target = fs::canonicalize(profile).ok()?;
    Some((StorePath::new(target.to_str()?).ok()?, number))
}

fn profile(folder: &Path) -> PathBuf {
    folder.join("profile")
}

/// The supervisors that run for an agent with this state folder.
fn supervisors(state: &str) -> Vec<rustix::process::Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains("--supervise-activation") && line.contains(state) {
            found.extend(rustix::process::Pid::from_raw(pid));
        }
    }
    found
}

/// Copies files and folders; locks and sockets stay.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    let mode = fs::metadata(from).expect("the folder is there").permissions();
    fs::set_permissions(to, mode).expect("a mode can be set");
    for entry in fs::read_dir(from).expect("the folder can be read").flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("it has a type");
        if kind.is_dir() {
            copy_folder(&path, &to);
        } else if kind.is_file() {
            fs::copy(&path, &to).expect("a file can be copied");
        }
    }
}
