//! The story: a server, a cache, two machines, three versions.

use super::line::{self, Line};
use super::screen::Screen;
use super::stage::{Ended, Running, Stage};
use super::timeline;
use crate::failure::Failure;
use api_wire::http::LogEvent;
use ledger_core::StorePath;
use std::fs;
use std::io::{self, BufRead};
use std::sync::Arc;

/// The machines.
const AGENTS: [&str; 2] = ["web-1", "web-2"];
/// The machine that is away for a while.
const AWAY: &str = "web-2";
/// What each version's page says.
const PAGES: [&str; 3] = ["Hello.", "Hello, world.", "Hello, whole wide world."];
/// Nix's expression of a version.
const SITE: &str = include_str!("site.nix");
/// The program in every version.
const SCRIPT: &str = "#!/bin/sh\nexec cat \"$(dirname \"$0\")/../share/page\"\n";

/// A story that is being told.
pub(crate) struct Story {
    stage: Arc<Stage>,
    screen: Screen,
    /// Whether to wait for a key between the steps.
    pause: bool,
}

/// What is worth knowing afterwards.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The server's address.
    pub(crate) url: String,
    /// How the programs that stay are started again.
    pub(crate) server: Line,
    pub(crate) agents: Vec<Line>,
}

impl Story {
    pub(crate) fn new(stage: Arc<Stage>, screen: Screen, pause: bool) -> Self {
        Self { stage, screen, pause }
    }

    /// Tells it from the beginning to the end.
    pub(crate) fn tell(mut self) -> Result<Told, Failure> {
        self.open()?;
        let url = self.step("A server keeps the log", Self::server)?;
        let title = "Nix builds three versions and signs them into a cache";
        let versions = self.step(title, Self::cache)?;
        self.step("Two machines connect, each with an agent", Self::agents)?;
        self.step("The first version goes out", |story| story.first(&versions))?;
        self.step("The second version replaces it", |story| story.second(&versions))?;
        let title = "The third version goes out while web-2 is away";
        self.step(title, |story| story.third(&versions))?;
        self.step("The log remembers", Self::remember)?;
        let server = server(&url);
        Ok(Told { url, server, agents: AGENTS.map(agent).into() })
    }

    fn open(&mut self) -> Result<(), Failure> {
        let folder = self.stage.folder().shown();
        self.screen.heading("Ledger: one server, two machines, three versions")?;
        Ok(self.screen.say(&format!(
            "Everything is real, and happens in {folder}. The command lines are those that you would type there.",
        ))?)
    }

    /// Tells one step. A failure says in which it was.
    fn step<T>(
        &mut self,
        title: &str,
        act: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let number = self.screen.step(title)?;
        let acted = act(self);
        let acted = acted.map_err(|e| e.context(format!("step {number} failed ({title})")))?;
        if self.pause {
            self.wait_for_enter()?;
        }
        Ok(acted)
    }

    fn wait_for_enter(&mut self) -> Result<(), Failure> {
        self.screen.ask("Enter goes on, Ctrl-C ends it. ")?;
        io::stdin().lock().read_line(&mut String::new())?;
        Ok(())
    }

    fn server(&mut self) -> Result<String, Failure> {
        self.screen.say(
            "It is a process of its own, on SQLite. Every event of all that follows is in its log.",
        )?;
        let url = self.stay("server", &server("http://127.0.0.1:0"), |line| {
            line.strip_prefix("listening on ").map(|url| url.trim().to_owned())
        })?;
        self.export("LEDGER_URL", &url)?;
        self.export("LEDGER_TOKEN", "$(cat data/admin-token)")?;
        Ok(url)
    }

    fn cache(&mut self) -> Result<Vec<StorePath>, Failure> {
        self.screen.say(
            "Each is a small profile of a script and a page. They are built here, offline, in a store of the demo's own; this machine's store is left alone.",
        )?;
        let folder = self.stage.folder();
        folder.write("site.nix", SITE)?;
        folder.write_program("script/bin/site", SCRIPT)?;
        for (number, page) in (1..).zip(PAGES) {
            folder.write(&format!("page-v{number}/share/page"), &format!("{page}\n"))?;
        }
        self.export("NIX_CONF_DIR", "$PWD/nix")?;
        self.export("NIX_REMOTE", "$PWD/builder")?;
        let names = ["demo-1", "cache.key", "cache.pub"];
        let key = ["--generate-binary-cache-key"].into_iter().chain(names);
        self.run(&Line::new("nix-store", key))?;
        let versions = self.build()?;
        let cache = "file://$PWD/cache?secret-key=$PWD/cache.key";
        let paths = versions.iter().map(StorePath::as_str);
        self.run(&Line::new("nix", ["copy", "--to", cache].into_iter().chain(paths)))?;
        Ok(versions)
    }

    /// Builds the versions, or adds them to the store as they are where Nix may
    /// not build in another store than the machine's own.
    fn build(&mut self) -> Result<Vec<StorePath>, Failure> {
        let mut versions = Vec::new();
        let mut added = false;
        for number in 1..=PAGES.len() {
            let build = ["site.nix", "--no-out-link", "--argstr", "version"].map(str::to_owned);
            let build = build.into_iter().chain([number.to_string()]);
            if !added {
                let line = Line::new("nix-build", build);
                let built = self.try_run(&line)?;
                if built.is_success() {
                    versions.push(the_path(built.well()?)?);
                    continue;
                }
                added = true;
                self.screen.say(
                    "This machine does not let Nix build in a store of one's own (on Linux that takes user namespaces). So each version is added to the store as one folder instead.",
                )?;
            }
            versions.push(self.add(number)?);
        }
        Ok(versions)
    }

    fn add(&mut self, number: usize) -> Result<StorePath, Failure> {
        let name = format!("site-v{number}");
        let folder = self.stage.folder();
        folder.write_program(&format!("{name}/bin/site"), SCRIPT)?;
        let page = folder.path().join(format!("page-v{number}/share/page"));
        folder.write(&format!("{name}/share/page"), &fs::read_to_string(page)?)?;
        the_path(self.run(&Line::new("nix-store", ["--add".to_owned(), name]))?)
    }

    fn agents(&mut self) -> Result<(), Failure> {
        self.screen.say(
            "An agent only connects outwards. It has a token, a profile, a store, and the cache's key; here each machine is a folder.",
        )?;
        let token = ["token", "create", "--kind", "agent", "--agent", "web-*"];
        self.run(&Line::ledger(token).into_file("agent-token"))?;
        for name in AGENTS {
            self.start_agent(name)?;
        }
        Ok(())
    }

    fn start_agent(&mut self, name: &'static str) -> Result<(), Failure> {
        let connected = |line: &str| line.contains("connected to").then_some(());
        self.stay(name, &agent(name), connected)
    }

    fn first(&mut self, versions: &[StorePath]) -> Result<(), Failure> {
        self.screen.say(
            "A file names what each agent is to run. The agents fetch it from the cache, check its signature, and set their profiles.",
        )?;
        let activate = self.activation(1, versions)?;
        self.run(&Line::new("cat", ["v1.json"]))?;
        self.run(&activate).map(drop)
    }

    fn second(&mut self, versions: &[StorePath]) -> Result<(), Failure> {
        self.screen.say(
            "They fetch only what is new. What Nix prints on the machines is left out from here on.",
        )?;
        let activate = self.activation(2, versions)?;
        self.screen.command(&activate.words())?;
        let running = self.stage.start(&activate)?;
        self.finish_briefly(running)?;
        self.generations("web-1")
    }

    /// Follows an activation to its end, without what the agents' programs print.
    fn finish_briefly(&mut self, activate: Running) -> Result<(), Failure> {
        let ended = self.stage.finish(activate, |said| show_briefly(&mut self.screen, said))?;
        ended.well().map(drop)
    }

    /// Writes the file that says what is to run where, and returns how to send it.
    fn activation(&mut self, number: usize, versions: &[StorePath]) -> Result<Line, Failure> {
        let path =
            versions.get(number - 1).ok_or_else(|| Failure::failed("there is no such version"))?;
        let file = format!("v{number}.json");
        let agents = AGENTS.map(|name| format!("    \"{name}\": \"{path}\"")).join(",\n");
        let spec = format!("{{\n  \"agents\": {{\n{agents}\n  }}\n}}\n");
        self.stage.folder().write(&file, &spec)?;
        let description = format!("version {number}");
        Ok(Line::ledger(["activate", &file, "--description", &description]))
    }

    /// Shows the generations that Nix knows of an agent's profile.
    fn generations(&mut self, name: &str) -> Result<(), Failure> {
        self.screen.say("And Nix says the same of the profile:")?;
        let profile = format!("{name}/profile");
        let line = Line::new("nix-env", ["--profile", &profile, "--list-generations"]);
        self.run(&line.env("NIX_REMOTE", root(name))).map(drop)
    }

    fn third(&mut self, versions: &[StorePath]) -> Result<(), Failure> {
        self.screen
            .say("First the agent of web-2 is stopped, as if its machine were switched off.")?;
        let agent = self.stage.take(AWAY).ok_or_else(|| Failure::failed("web-2 does not run"))?;
        self.screen.command(&["kill".to_owned(), agent.id().to_string()])?;
        self.stage.dismiss(agent)?;
        let activate = self.activation(3, versions)?.in_background();
        let waits = |line: &str| line.contains("web-1#3 succeeded").then_some(());
        self.screen.command(&activate.words())?;
        let running = self.stage.start(&activate)?;
        self.stage.join("activate", running, |said| {
            show_briefly(&mut self.screen, said)?;
            Ok(waits(said))
        })?;
        self.screen.say(
            "web-1 has it, and the activation waits for web-2. Now that machine comes back; nobody has to tell it anything.",
        )?;
        self.start_agent(AWAY)?;
        self.screen.say("It found what it had missed, and the activation ends:")?;
        let activate = self.stage.take("activate");
        let activate = activate.ok_or_else(|| Failure::failed("the activation is lost"))?;
        self.finish_briefly(activate)?;
        self.run(&Line::ledger(["agents"])).map(drop)
    }

    fn remember(&mut self) -> Result<(), Failure> {
        self.screen.say(
            "Every step above is an event that nobody can change afterwards. `ledger log` prints them; this is the same for the eye, with times in UTC.",
        )?;
        self.run(&Line::ledger(["log", "--format", "jsonl"]).into_file("log.jsonl"))?;
        let text = fs::read_to_string(self.stage.folder().path().join("log.jsonl"))?;
        let events: Result<Vec<LogEvent>, _> = text.lines().map(serde_json::from_str).collect();
        let rows = timeline::tell(&events?);
        self.screen.lines(&timeline::show(&rows, self.screen.look()))?;
        Ok(())
    }

    fn export(&mut self, name: &str, word: &str) -> Result<(), Failure> {
        self.stage.export(name, word)?;
        Ok(self.screen.command(&line::export(name, word))?)
    }

    /// Runs a program to its end, which must be a good one. Returns its last line.
    fn run(&mut self, line: &Line) -> Result<Option<String>, Failure> {
        self.try_run(line)?.well()
    }

    fn try_run(&mut self, line: &Line) -> Result<Ended, Failure> {
        self.screen.command(&line.words())?;
        let running = self.stage.start(line)?;
        self.stage.finish(running, |said| self.screen.output(said))
    }

    /// Starts a program that stays, and shows what it says until it said what
    /// is awaited.
    fn stay<T>(
        &mut self,
        name: &'static str,
        line: &Line,
        look: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Failure> {
        self.screen.command(&line.words())?;
        let running = self.stage.start(line)?;
        self.stage.join(name, running, |said| {
            self.screen.output(said)?;
            Ok(look(said))
        })
    }
}

/// Shows a line of `ledger activate`, unless it is one that a program on an
/// agent's machine printed.
fn show_briefly(screen: &mut Screen, said: &str) -> io::Result<()> {
    let is_of = |name: &&str| said.strip_prefix(*name).is_some_and(|rest| rest.starts_with(" |"));
    if AGENTS.iter().any(is_of) { Ok(()) } else { screen.output(said) }
}

/// Returns how a server is started that listens there.
fn server(url: &str) -> Line {
    let address = url.trim_start_matches("http://");
    Line::ledger(["serve", "--data", "data", "--listen", address]).in_background()
}

/// Returns how the agent of a machine is started.
fn agent(name: &str) -> Line {
    let (profile, state) = (format!("{name}/profile"), format!("{name}/state"));
    let line = Line::ledger([
        "agent",
        name,
        "--token-file",
        "agent-token",
        "--profile",
        &profile,
        "--state",
        &state,
        "--substituter",
        "file://$PWD/cache",
        "--trusted-public-key",
        "$(cat cache.pub)",
    ]);
    line.env("NIX_REMOTE", root(name)).without("LEDGER_TOKEN").in_background()
}

/// Returns the folder that is a machine's own root, with a store in it.
fn root(name: &str) -> String {
    format!("$PWD/{name}/root")
}

/// Reads the store path that Nix printed last.
fn the_path(last: Option<String>) -> Result<StorePath, Failure> {
    let last = last.unwrap_or_default();
    StorePath::new(last.trim()).map_err(|e| {
        Failure::from(e).context(format!("Nix printed {last:?} where a store path was awaited"))
    })
}
