//! One test's world: a server, a cache, and the command line between them.

use super::agent::{Agent, Settings};
use super::nix::Nix;
use super::process::{Output, Process};
use super::server::{Options, Server, ledger_program, wrapped};
use super::wait_for;
use api_wire::http::LogEvent;
use ledger_core::StorePath;
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

/// Everything but the agents, which a test holds itself.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) nix: Nix,
    agent_token: String,
    /// What every client is started behind, and with.
    clients: Settings,
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Options::default(), Settings::default())
    }

    /// A world whose server answers to signs of life every so many milliseconds.
    pub(crate) fn with_ping_interval(interval: &str) -> Self {
        let args = vec!["--ping-interval".into(), interval.into()];
        Self::with(Options { args, ..Options::default() }, Settings::default())
    }

    pub(crate) fn with(server: Options, clients: Settings) -> Self {
        let folder = TempDir::with_prefix("ledger-test-").expect("a folder can be made");
        let server = Server::start(folder.path(), server);
        let nix = Nix::new();
        let mut world = Self { server, nix, agent_token: String::new(), clients, folder };
        world.agent_token = world.token("agent", &[]);
        world
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn server_url(&self) -> String {
        self.server.url().to_owned()
    }

    pub(crate) fn agent_token(&self) -> String {
        self.agent_token.clone()
    }

    /// Issues a token and returns its text.
    pub(crate) fn token(&self, kind: &str, more: &[&str]) -> String {
        let mut args = vec!["token", "create", "--kind", kind];
        args.extend(more);
        self.ledger(&args).expect_success().trim().to_owned()
    }

    /// Runs `ledger` as the administrator.
    pub(crate) fn ledger(&self, args: &[&str]) -> Output {
        self.start_ledger(&self.server.admin_token(), args).output()
    }

    /// Starts `ledger` with a token.
    pub(crate) fn start_ledger(&self, token: &str, args: &[&str]) -> Process {
        let mut ledger = wrapped(&self.clients.wrapper, &ledger_program(), self.folder());
        ledger
            .args(args)
            .env("LEDGER_URL", self.server.url())
            .env("LEDGER_TOKEN", token)
            .envs(self.clients.env.iter().cloned());
        Process::start(&format!("ledger-{}", args[0]), ledger, self.folder())
    }

    /// Starts an agent on a machine of its own, and waits until it is connected.
    pub(crate) fn agent(&self, name: &str) -> Agent {
        let agent = Agent::launch(self, name, name, self.clients.clone());
        self.wait_for_sessions(name, 1);
        agent
    }

    /// Starts `ledger activate` for these agents, with more arguments.
    pub(crate) fn start_activate(&self, agents: &[(&str, &StorePath)], more: &[&str]) -> Process {
        let agents: BTreeMap<_, _> = agents.iter().map(|(name, p)| (*name, p.as_str())).collect();
        let spec = serde_json::json!({ "agents": agents }).to_string();
        let file = self.folder().join(format!("{}.json", uuid::Uuid::now_v7()));
        std::fs::write(&file, spec).expect("a file can be written");
        let mut args = vec!["activate", file.to_str().expect("the path is UTF-8")];
        args.extend(more);
        self.start_ledger(&self.server.admin_token(), &args)
    }

    /// Runs `ledger activate` to its end.
    pub(crate) fn activate(&self, agents: &[(&str, &StorePath)], more: &[&str]) -> Output {
        self.start_activate(agents, more).output()
    }

    /// The whole log, as `ledger log --format jsonl` prints it.
    pub(crate) fn log(&self) -> Vec<LogEvent> {
        let text = self.ledger(&["log", "--format", "jsonl"]).expect_success();
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
        text.lines().map(parse).collect()
    }

    /// The types of an agent's stream, in order.
    pub(crate) fn story(&self, agent: &str) -> Vec<String> {
        let stream = format!("agent/default/{agent}");
        let events = self.log().into_iter().filter(|event| event.stream.to_string() == stream);
        events.map(|event| event.type_name).collect()
    }

    /// Waits until the log holds so many events of the type that pass.
    pub(crate) fn wait_for_events(
        &self,
        type_name: &str,
        count: usize,
        passes: impl Fn(&LogEvent) -> bool,
    ) -> Vec<LogEvent> {
        wait_for(&format!("{count} {type_name} in the log"), || {
            let log = self.log().into_iter();
            let found: Vec<_> = log.filter(|e| e.type_name == type_name && passes(e)).collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// Waits until the agent has so many events of the type in its stream.
    pub(crate) fn wait_for_steps(&self, agent: &str, type_name: &str, count: usize) -> LogEvent {
        let stream = format!("agent/default/{agent}");
        let found = self.wait_for_events(type_name, count, |e| e.stream.to_string() == stream);
        found.into_iter().last().expect("at least one was waited for")
    }

    /// Waits until the agent has connected so many times.
    pub(crate) fn wait_for_sessions(&self, agent: &str, count: usize) {
        self.wait_for_events("AgentConnected", count, |event| event.payload["agent"] == agent);
    }
}
