//! `ledger serve` as a real process, which can die and come back.

use super::process::{Output, Process, command};
use super::wait_for;
use api_wire::http::LogEvent;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// A server and its data folder.
pub(crate) struct Server {
    folder: PathBuf,
    url: String,
    options: Options,
    process: Process,
}

/// How a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// What the command line begins with: a tracer, a network namespace.
    pub(crate) wrapper: Vec<String>,
    /// The address, without a port.
    pub(crate) host: String,
    /// More arguments.
    pub(crate) args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { wrapper: Vec::new(), host: "127.0.0.1".into(), args: Vec::new() }
    }
}

/// The program under test, next to this one in the target folder.
///
/// `LEDGER_TEST_PROGRAM` names another, as to see that a test fails on a broken one.
pub(crate) fn ledger_program() -> PathBuf {
    if let Some(program) = std::env::var_os("LEDGER_TEST_PROGRAM") {
        return program.into();
    }
    let test = std::env::current_exe().expect("this program has a path");
    let folder = test.parent().and_then(Path::parent).expect("it is in target/debug/deps");
    let program = folder.join("ledger");
    assert!(program.exists(), "{} is missing: cargo build --workspace --bins", program.display());
    program
}

/// The program behind a wrapper.
pub(crate) fn wrapped(wrapper: &[String], program: &Path, home: &Path) -> Command {
    match wrapper.split_first() {
        None => command(program, home),
        Some((first, rest)) => {
            let mut command = command(first, home);
            command.args(rest).arg(program);
            command
        }
    }
}

/// A server of which nobody knows yet whether it will serve.
pub(crate) struct Beginning {
    folder: PathBuf,
    options: Options,
    process: Process,
}

impl Beginning {
    /// Starts one, and does not wait for it.
    pub(crate) fn start(folder: &Path, options: Options) -> Self {
        let process = begin(folder, &options, 0);
        Self { folder: folder.to_owned(), options, process }
    }

    /// Waits until it serves, or ends.
    pub(crate) fn wait(self) -> Result<Server, Output> {
        let Self { folder, options, mut process } = self;
        let url = wait_for("a server that serves or ends", || {
            let text = process.stderr();
            let url = text.lines().find_map(address);
            url.map(Some).or_else(|| process.has_ended().map(|_| None))
        });
        match url {
            Some(url) => Ok(Server { folder, url, options, process }),
            None => Err(process.output()),
        }
    }
}

impl Server {
    /// Starts a new server with everything in the folder.
    pub(crate) fn start(folder: &Path, options: Options) -> Self {
        let (process, url) = launch(folder, &options, 0);
        Self { folder: folder.to_owned(), url, options, process }
    }

    /// Starts a new server where it cannot, and returns how it ended.
    pub(crate) fn start_in_vain(folder: &Path, options: &Options) -> Output {
        begin(folder, options, 0).output()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn data(&self) -> PathBuf {
        data(&self.folder)
    }

    /// The token that the first start left in the data folder.
    pub(crate) fn admin_token(&self) -> String {
        let text = std::fs::read_to_string(self.data().join("admin-token"));
        text.expect("the server left a token").trim().to_owned()
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.process.terminate()
    }

    /// Runs `ledger` against it with a token.
    pub(crate) fn ledger(&self, token: &str, args: &[&str]) -> Output {
        let mut ledger = command(ledger_program(), &self.folder);
        ledger.args(args).env("LEDGER_URL", &self.url).env("LEDGER_TOKEN", token);
        Process::run(&format!("ledger-{}", args[0]), ledger, &self.folder)
    }

    /// The whole log, as `ledger log --format jsonl` prints it.
    pub(crate) fn log(&self, token: &str) -> Vec<LogEvent> {
        let text = self.ledger(token, &["log", "--format", "jsonl"]).expect_success();
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
        text.lines().map(parse).collect()
    }

    /// Lets such system calls on the database's files fail, from now until the
    /// returned tracer is terminated.
    pub(crate) fn fail_in(&mut self, calls: &str, error: &str) -> Process {
        let mut tracer = self.tracer(calls, &format!("error={error}"));
        for file in ["ledger.db", "ledger.db-wal"] {
            tracer.arg("-P").arg(self.data().join(file));
        }
        self.attach(tracer)
    }

    /// Kills the server in the n-th such system call that one of its threads makes
    /// after now. Returns the tracer, which ends with the server.
    pub(crate) fn kill_in(&mut self, calls: &str, n: usize) -> Process {
        let tracer = self.tracer(calls, &format!("signal=KILL:when={n}"));
        self.attach(tracer)
    }

    fn tracer(&self, calls: &str, injected: &str) -> Command {
        let mut tracer = command("strace", &self.folder);
        tracer.args(["-f", "-p", &self.process.id().to_string(), "-e"]);
        tracer.arg(format!("trace={calls}"));
        tracer.args(["-e", &format!("inject={calls}:{injected}")]);
        tracer
    }

    fn attach(&self, tracer: Command) -> Process {
        let mut tracer = Process::start("strace", tracer, &self.folder);
        let attached = |line: &str| line.contains("attached").then_some(());
        tracer.wait_for_line("its hold on the server", attached);
        tracer
    }

    /// Starts it again on the same data, at any port: its own may meanwhile be
    /// another's, who connects from there.
    pub(crate) fn restart_anywhere(&mut self) {
        self.process.kill();
        (self.process, self.url) = launch(&self.folder, &self.options, 0);
    }

    /// Starts it again on the same data and kills it so soon after.
    pub(crate) fn restart_and_die(&mut self, after: Duration) {
        self.process.kill();
        self.process = begin(&self.folder, &self.options, 0);
        // Not for anything to happen: the moment itself is what a test chose.
        std::thread::sleep(after);
        self.process.kill();
    }

    /// Starts it again on data that it cannot use, and returns how it ended.
    pub(crate) fn restart_in_vain(&mut self) -> Output {
        self.process.kill();
        begin(&self.folder, &self.options, 0).output()
    }

    /// Starts it again on the same data and port.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok());
        let (process, url) = launch(&self.folder, &self.options, port.expect("the URL has a port"));
        assert_eq!(url, self.url, "the server came back elsewhere");
        self.process = process;
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn begin(folder: &Path, options: &Options, port: u16) -> Process {
    let mut serve = wrapped(&options.wrapper, &ledger_program(), folder);
    serve
        .args(["serve", "--listen", &format!("{}:{port}", options.host), "--data"])
        .arg(data(folder))
        .args(&options.args);
    Process::start("serve", serve, folder)
}

fn launch(folder: &Path, options: &Options, port: u16) -> (Process, String) {
    let mut process = begin(folder, options, port);
    let url = process.wait_for_line("the address", address);
    (process, url)
}

/// The address that a line of the server's names, if it does.
fn address(line: &str) -> Option<String> {
    // In JSON, the line goes on with a quotation mark.
    let url = line.split("listening on ").nth(1)?.split([' ', '"']).next()?;
    Some(url.trim_end_matches('/').to_owned())
}
