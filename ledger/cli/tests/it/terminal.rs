//! What is drawn on a terminal, a real one, and what of it is left elsewhere.

use crate::activate::World;
use crate::support::{Agent, DEADLINE, Run, Script, Server, ledger, run};
use ledger_core::event::FailureOutcome;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Returns the command as it runs on a terminal of so many columns, for which
/// `script` makes a pseudo terminal. All that it writes there comes out of stdout.
fn on_terminal(command: &Command, columns: u16, variables: &[(&str, &str)]) -> Command {
    with_redirection(command, columns, variables, "")
}

/// The same with stdout in a file: stderr alone is on the terminal.
fn into_file(command: &Command, columns: u16, file: &str) -> Command {
    with_redirection(command, columns, &[], &format!(" > '{file}'"))
}

fn with_redirection(
    command: &Command,
    columns: u16,
    variables: &[(&str, &str)],
    redirection: &str,
) -> Command {
    let mut line = format!("stty rows 24 cols {columns}; exec '{}'", env!("CARGO_BIN_EXE_ledger"));
    for arg in command.get_args() {
        let _ = write!(line, " '{}'", arg.to_str().expect("UTF-8"));
    }
    line.push_str(redirection);
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env_clear();
    script.env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh").env("TERM", "xterm-256color");
    for (name, value) in command.get_envs() {
        if name != "COLUMNS" {
            value.map(|value| script.env(name, value));
        }
    }
    script.envs(variables.iter().copied());
    script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    script
}

/// A command on a terminal, and what it wrote there so far.
struct Screen {
    child: Child,
    told: String,
    stdout: ChildStdout,
}

impl Screen {
    fn of(mut command: Command) -> Self {
        let mut child = command.spawn().expect("starts");
        let stdout = child.stdout.take().expect("piped");
        Self { child, told: String::new(), stdout }
    }

    /// Reads on until the words come, or else to the end.
    async fn until(mut self, words: &'static str) -> Self {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = [0; 4096];
            while words.is_empty() || !self.told.contains(words) {
                let read = self.stdout.read(&mut piece).expect("read");
                if read == 0 {
                    assert_eq!(words, "", "it ended: {:?}", self.told);
                    break;
                }
                self.told.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
            self
        });
        tokio::time::timeout(DEADLINE, read).await.expect("told in time").expect("joins")
    }

    async fn end(self) -> Run {
        let mut ended = self.until("").await;
        let code = ended.child.wait().expect("ends").code().expect("not killed");
        Run { code, stdout: ended.told, stderr: String::new() }
    }

    fn kill(mut self) -> String {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        self.told
    }
}

const LONG: &str = "web-2-with-a-name-that-is-rather-long";

/// Runs `ledger activate` for an agent that succeeds and one that fails, both of
/// which run until the words are on the terminal.
async fn activate(
    columns: u16,
    variables: &[(&str, &str)],
    more: &[&str],
    until: &'static str,
) -> Run {
    let world = World::new(&["web-1", LONG]);
    let (mut one, mut two) = (world.connect("web-1").await, world.connect(LONG).await);
    let args = [&["activate", &world.spec], more].concat();
    let command = world.server.with_token(&world.activate, &args);
    let screen = Screen::of(on_terminal(&command, columns, variables));
    let (first, second) = (one.claim().await, two.claim().await);
    one.say(first, 0, "a line of output\n").await;
    let screen = screen.until("a line of output").await.until(until).await;
    one.end(first, &Script::Succeed("a line of output\n")).await;
    two.end(second, &Script::Fail("", FailureOutcome::Unchanged)).await;
    screen.end().await
}

/// Returns the rows of a terminal of so many columns as they were written, without
/// what steers it. What is longer than a row goes on in the next one.
fn rows(text: &str, columns: usize) -> Vec<String> {
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            plain.push('\n');
        } else {
            plain.push(c);
        }
    }
    let row = |row: &[char]| row.iter().collect::<String>().trim_end().to_owned();
    let lines = plain.split(['\r', '\n']).map(|line| line.chars().collect::<Vec<char>>());
    lines.flat_map(|line| line.chunks(columns).map(row).collect::<Vec<_>>()).collect()
}

/// The beginnings of its rows: of all agents, and of one.
fn is_of_the_bottom(row: &str) -> bool {
    row.starts_with("  web-") || row.contains("/2 ended")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bottom_of_a_terminal_never_wraps_and_leaves_no_trace() {
    for (columns, row) in
        [(20, "  web-2-with-a-name-"), (80, "#1 fetching, "), (120, "#1 fetching, ")]
    {
        let run = activate(columns, &[], &[], row).await;
        assert_eq!(run.code, 1, "{run:?}");
        let rows = rows(&run.stdout, columns.into());
        let drawn: Vec<&String> = rows.iter().filter(|row| is_of_the_bottom(row)).collect();
        assert!(drawn.len() > 3, "{columns}: it is drawn again and again: {run:?}");
        // A row that is longer than the terminal would go on in one that begins otherwise.
        let first = rows.iter().position(|row| is_of_the_bottom(row)).expect("drawn");
        let rest =
            |row: &&String| ["running", "fetching", "name"].iter().any(|w| row.starts_with(w));
        assert_eq!(rows[first..].iter().find(rest), None, "{columns}: {rows:#?}");
        assert_eq!(drawn.iter().any(|row| row.starts_with('[')), columns == 120, "{drawn:?}");
        let long = drawn.iter().any(|row| row.contains("that-is-rather-long#1 fetching, "));
        assert_eq!(long, columns > 20, "{columns}: {drawn:?}");
        let text = rows.concat();
        assert!(text.contains("| a line of output"), "{columns}: the output is there: {run:?}");
        // The last that is said is the summary, and nothing is drawn after it.
        let summary = text.rfind("agents succeeded");
        assert!(summary.is_some() && text.rfind("/2 ended") < summary, "{columns}: {run:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn colour_is_for_a_terminal_that_wants_it_and_says_nothing_of_its_own() {
    let coloured = activate(80, &[], &[], "2 running").await.stdout;
    assert!(coloured.contains("web-1#1 \u{1b}[32msucceeded\u{1b}[0m"), "{coloured:?}");
    assert!(coloured.contains(" \u{1b}[31mfailed\u{1b}[0m"), "{coloured:?}");
    for variable in [("NO_COLOR", "1"), ("CLICOLOR", "0")] {
        let plain = activate(80, &[variable], &[], "2 running").await.stdout;
        assert!(plain.contains("web-1#1 succeeded"), "{plain:?}");
        for colour in ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[0m"] {
            assert!(!plain.contains(colour), "{variable:?}: {plain:?}");
        }
        assert!(plain.contains("/2 ended"), "no colour is no reason to draw nothing: {plain:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_drawn_for_programs_and_simple_terminals() {
    for (variables, more) in [
        (vec![("TERM", "dumb")], vec![]),
        (vec![("CI", "true")], vec![]),
        (vec![], vec!["--format", "json"]),
    ] {
        let run = activate(80, &variables, &more, "a line of output").await;
        assert_eq!(run.code, 1, "{run:?}");
        assert!(!run.stdout.contains("/2 ended"), "{variables:?} {more:?}: {run:?}");
        let steers = ["\u{1b}[2K", "\u{1b}[1A", "\u{1b}[K"].iter().any(|s| run.stdout.contains(s));
        assert!(!steers, "{variables:?} {more:?}: {run:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pipe_there_is_no_escape_at_all() {
    let world = World::new(&["web-1"]);
    let mut agent = world.connect("web-1").await;
    let activation = world.activate(&[]);
    agent.play(Script::Fail("", FailureOutcome::Unchanged)).await;
    let run = activation.end().await;
    assert!(run.stderr.contains("web-1#1 failed"), "{run:?}");
    assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{run:?}");
}

#[tokio::test]
async fn who_waits_for_a_server_is_told_for_how_long() {
    let server = Server::start();
    let ask = |patience: &str| {
        let args = ["agents", "--url", "http://127.0.0.1:9", "--retry-for", patience];
        server.with_token(&server.admin_token(), &args)
    };
    let told = Screen::of(on_terminal(&ask("10m"), 60, &[])).until(" s, no answer").await.kill();
    assert!(told.contains("trying again for a while\r\n"), "once as a line: {told:?}");
    let dumb = run(&mut on_terminal(&ask("1s"), 60, &[("TERM", "dumb")]));
    assert!(dumb.code == 1 && !dumb.stdout.contains('\u{1b}'), "{dumb:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_followed_into_a_file_tells_where_it_is() {
    let server = Server::start();
    let token = server.token("agent");
    let _agent = Agent::connect(&server.url, &token, "web-1").await;
    let args = ["log", "--follow", "--format", "jsonl"];
    let command = server.with_token(&server.admin_token(), &args);
    let file = server.file("log.jsonl", "");
    Screen::of(into_file(&command, 60, &file)).until(" s, at position ").await.kill();
    let log = std::fs::read_to_string(&file).expect("a file");
    assert!(log.contains("AgentConnected") && !log.contains('\u{1b}'), "{log}");
}

#[tokio::test]
async fn a_token_is_asked_for_and_not_shown() {
    let server = Server::start();
    let home = tempfile::tempdir().expect("a folder");
    let token = std::fs::read_to_string(server.admin_token()).expect("a token");
    let ask = async |typed: &str| {
        let mut command = ledger(&["login", &server.url]);
        command.env("XDG_CONFIG_HOME", home.path());
        let mut command = on_terminal(&command, 80, &[]);
        command.stdin(Stdio::piped());
        let mut screen = Screen::of(command).until("Token for http").await;
        let mut keys = screen.child.stdin.take().expect("piped");
        keys.write_all(typed.as_bytes()).expect("typed");
        let run = screen.end().await;
        drop(keys);
        let shown = typed.trim_matches(['\u{3}', '\n']);
        assert!(shown.is_empty() || !run.stdout.contains(shown), "it is shown: {run:?}");
        run
    };
    let broken_off = ask("ldg_admin_half\u{3}").await;
    assert_eq!(broken_off.code, 1, "{broken_off:?}");
    assert!(broken_off.stdout.contains("Error: no token was given"), "{broken_off:?}");
    let nothing = ask("\n").await;
    assert!(nothing.code == 2 && nothing.stdout.contains("ledger token create"), "{nothing:?}");
    let wrong = ask("ldg_read_x\n").await;
    assert!(wrong.code == 2 && wrong.stdout.contains("this is no token"), "{wrong:?}");
    assert!(!home.path().join("ledger").exists(), "nothing is kept");
    let good = ask(&token).await;
    assert!(good.code == 0 && good.stdout.contains("logged in to"), "{good:?}");
    let kept = std::fs::read_to_string(home.path().join("ledger/servers.toml")).expect("kept");
    assert!(kept.contains(token.trim()));
}
