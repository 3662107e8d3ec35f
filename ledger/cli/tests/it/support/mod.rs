//! Runs the binary, a server of it, and agents that follow a script.

mod agent;

pub(crate) use agent::{Agent, Script};

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;

/// Nothing that a test waits for takes so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Returns the binary with an environment of nothing but what a test gives it.
pub(crate) fn ledger(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ledger"));
    command.args(args).env_clear().env("COLUMNS", "100").stdin(Stdio::null());
    // Not the logins of whoever runs the tests.
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    command
}

/// What a run of the binary came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code().expect("not killed"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Run {
    command.output().expect("runs").into()
}

/// A server of the binary on a free port, with its data in a folder of its own.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    pub(crate) url: String,
    /// What it said until it was ready.
    pub(crate) greeting: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), "127.0.0.1:0", &[])
    }

    pub(crate) fn start_with(more: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), "127.0.0.1:0", more)
    }

    pub(crate) fn start_on(listen: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), listen, &[])
    }

    fn start_in(folder: TempDir, listen: &str, more: &[&str]) -> Self {
        let data = folder.path().join("data");
        // The first start goes on to tell what to do next.
        let last_line = if data.exists() { "data in " } else { "  ledger agent NAME" };
        let mut command = ledger(&["serve", "--listen", listen, "--data"]);
        command.arg(&data).args(more).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("starts");
        let stderr = child.stderr.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        // Reads on to the end, so that the server never waits for us.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut greeting = String::new();
        let mut url = None;
        loop {
            let line =
                lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("silent: {greeting}"));
            greeting.push_str(&line);
            greeting.push('\n');
            url = url.or_else(|| line.strip_prefix("listening on ").map(str::to_owned));
            if line.starts_with(last_line) {
                break;
            }
        }
        Self { child, folder, url: url.expect("says its address"), greeting }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns the path of a file of the test's own.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn admin_token(&self) -> PathBuf {
        self.data().join("admin-token")
    }

    /// Returns the binary with this server's address and the given token's file.
    pub(crate) fn with_token(&self, token: &Path, args: &[&str]) -> Command {
        let mut command = ledger(args);
        command.env("LEDGER_URL", &self.url).arg("--token-file").arg(token);
        command
    }

    /// Runs a verb as admin.
    pub(crate) fn admin(&self, args: &[&str]) -> Run {
        run(&mut self.with_token(&self.admin_token(), args))
    }

    /// Makes a token and returns its file.
    pub(crate) fn token(&self, kind: &str) -> PathBuf {
        let made = self.admin(&["token", "create", "--kind", kind]);
        assert_eq!(made.code, 0, "{made:?}");
        PathBuf::from(self.file(&format!("{kind}-token"), &made.stdout))
    }

    /// Kills the server, and starts it again where it was.
    pub(crate) fn kill_and_start_again(mut self) -> Self {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        let listen = self.url.trim_start_matches("http://").to_owned();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder"));
        Self::start_in(folder, &listen, &[])
    }

    /// Asks the server to stop, and returns how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        assert!(asked.success());
        self.child.wait().expect("ends")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, or ended now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server of something else, which answers everything with a page, and
/// returns its address. It ends with the test.
pub(crate) fn foreign_server() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let page = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>";
            let _ = stream.write_all(page.as_bytes());
        }
    });
    format!("http://{address}")
}
