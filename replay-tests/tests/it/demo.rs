//! `ledger demo` as a user runs it: what it shows, and that it leaves nothing.

use crate::rig::process::{Output, Process, command, require_root};
use crate::rig::server::ledger_program;
use crate::rig::{DEADLINE, wait_for};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A user without any rights, as Debian has one.
const NOBODY: u32 = 65534;

/// A user's machine: a home, a folder for temporary files, and nothing in them.
struct Machine {
    folder: TempDir,
    as_nobody: bool,
}

impl Machine {
    fn new(as_nobody: bool) -> Self {
        require_root("changing to another user, or being root,");
        let folder = TempDir::with_prefix("ledger-test-").expect("a folder can be made");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("a mode can be set");
        for name in ["home", "tmp"] {
            let path = folder.path().join(name);
            fs::create_dir(&path).expect("a folder can be made");
            if as_nobody {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("root may do that");
            }
        }
        let program = folder.path().join("ledger");
        // A user without rights may not look into the target folder.
        fs::copy(ledger_program(), program).expect("the program can be copied");
        Self { folder, as_nobody }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command of this machine's user.
    fn command(&self, program: &str) -> Command {
        let mut user = if self.as_nobody {
            let mut runuser = command("runuser", &self.path("home"));
            runuser.args(["-u", "nobody", "--", program]);
            runuser
        } else {
            command(program, &self.path("home"))
        };
        user.env("TMPDIR", self.path("tmp")).current_dir("/");
        user
    }

    fn demo(&self, args: &[&str]) -> Process {
        let program = self.path("ledger");
        let mut demo = self.command(program.to_str().expect("the path is UTF-8"));
        demo.arg("demo").args(args);
        Process::start("demo", demo, self.folder.path())
    }

    /// The demo's folder, while there is one.
    fn demo_folder(&self) -> Option<PathBuf> {
        let entry = fs::read_dir(self.path("tmp")).expect("it is there").next()?;
        Some(entry.expect("it can be read").path())
    }

    /// The processes that began in the demo's folder, or guard it.
    fn processes(&self) -> Vec<String> {
        let tmp = self.path("tmp").display().to_string();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
            let read = |name| fs::read(entry.path().join(name)).unwrap_or_default();
            let text = [read("environ"), read("cmdline")].concat();
            // A process that ended shows neither.
            let text = String::from_utf8_lossy(&text).replace('\0', " ");
            if text.contains(&format!("{tmp}/ledger-demo-")) {
                found.push(text);
            }
        }
        found
    }

    /// The guard of a demo that is gone clears up after it.
    #[track_caller]
    fn wait_for_nothing_left(&self) {
        let deadline = Instant::now() + DEADLINE;
        while self.demo_folder().is_some() || !self.processes().is_empty() {
            if Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.assert_nothing_left();
    }

    /// Asserts that nothing is left of a demo, on this machine and beside it.
    #[track_caller]
    fn assert_nothing_left(&self) {
        assert_eq!((self.demo_folder(), self.processes()), (None, Vec::new()));
        let home = fs::read_dir(self.path("home")).expect("it is there");
        assert_eq!(home.count(), 0, "something is left in the user's home");
    }
}

/// What the machine's own store holds, in its own words.
fn store() -> BTreeSet<PathBuf> {
    let list = |folder: &str| fs::read_dir(folder).into_iter().flatten().flatten();
    let entries = list("/nix/store").chain(list("/nix/var/nix/profiles"));
    // Other tests come and go here meanwhile, with names of their own.
    let ours = |path: &PathBuf| {
        let path = path.to_string_lossy();
        path.contains("site-v") || path.contains("page-v") || path.contains("-script")
    };
    entries.map(|entry| entry.path()).filter(ours).collect()
}

/// Asserts that the whole story was told, by what it printed.
#[track_caller]
fn assert_told(output: &Output) {
    let Output { stdout, stderr, .. } = output;
    assert_eq!(output.code(), Some(0), "{stdout}{stderr}");
    assert_eq!(stderr, "");
    assert!(!stdout.contains('\u{1b}'), "piped output has no colours");
    for agent in ["web-1", "web-2"] {
        for version in 1..=3 {
            let succeeded = format!("{agent}#{version} succeeded");
            assert!(stdout.contains(&succeeded), "no {succeeded:?} in {stdout}");
            let (_, timeline) = stdout.split_once("ledger log").expect("the timeline comes last");
            let steps = [
                format!("{agent}   #{version} requested: site-v{version}"),
                format!("{agent}   #{version} activated as generation {version}"),
                format!("{agent}   #{version} succeeded"),
            ];
            let mut rest = timeline;
            for step in steps {
                let found = rest.split_once(&step);
                rest = found.unwrap_or_else(|| panic!("no {step:?} in {rest}")).1;
            }
        }
    }
    let away = "web-2 is offline since ";
    assert!(stdout.contains(away), "no {away:?} in {stdout}");
    assert!(stdout.contains("Done in "), "{stdout}");
    assert!(!stdout.contains("ldg_"), "a token is printed: {stdout}");
}

#[test]
fn the_demo_deploys_three_versions_and_leaves_nothing() {
    for as_nobody in [false, true] {
        let machine = Machine::new(as_nobody);
        let before = store();
        let output = machine.demo(&[]).output();
        assert_told(&output);
        machine.assert_nothing_left();
        assert_eq!(store(), before);
    }
}

#[test]
fn a_demo_that_is_interrupted_anywhere_leaves_nothing() {
    let places = [
        ("1  A server", Signal::INT),
        ("nix-build site.nix --no-out-link --argstr version 2", Signal::TERM),
        ("connected to", Signal::INT),
        ("web-1#1 started", Signal::INT),
        ("web-2 is offline since", Signal::TERM),
        ("7  The log remembers", Signal::INT),
    ];
    for (place, signal) in places {
        let machine = Machine::new(true);
        let demo = machine.demo(&[]);
        wait_for(place, || demo.stdout().contains(place).then_some(()));
        for process in machine.processes().iter().filter(|text| text.contains("ledger agent ")) {
            assert!(!process.contains("ldg_"), "an agent has the administrator's token: {process}");
        }
        for_the_demo(&machine, &demo, signal);
        let output = demo.output();
        // It may have ended well before the signal reached it.
        let (code, said) = (output.code(), format!("{}{}", output.stdout, output.stderr));
        let interrupted = said.contains("Error: the demo was interrupted") && code == Some(1);
        assert!(interrupted || (code == Some(0) && place.starts_with('7')), "{code:?} {said}");
        machine.assert_nothing_left();
    }
}

/// Signals the demo itself: runuser, which it runs under, waits for it.
fn for_the_demo(machine: &Machine, demo: &Process, signal: Signal) {
    let children = format!("/proc/{id}/task/{id}/children", id = demo.id());
    let pid = if machine.as_nobody {
        let children = fs::read_to_string(&children).expect("it runs");
        children.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("a child")
    } else {
        i32::try_from(demo.id()).expect("it fits")
    };
    let pid = rustix::process::Pid::from_raw(pid).expect("no zero");
    // It may end by itself this very moment.
    let _ = rustix::process::kill_process(pid, signal);
}

#[test]
fn a_demo_that_is_killed_leaves_nothing() {
    for place in ["connected to", "web-1#1 started", "web-2 is offline since"] {
        let machine = Machine::new(true);
        let mut demo = machine.demo(&[]);
        wait_for(place, || demo.stdout().contains(place).then_some(()));
        for_the_demo(&machine, &demo, Signal::KILL);
        demo.wait();
        machine.wait_for_nothing_left();
    }
}

#[test]
fn where_nix_may_not_build_the_demo_adds_the_versions_and_says_so() {
    let machine = Machine::new(false);
    // A user who may make no namespaces, as in many containers.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && \
                  exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all \"$@\"";
    let mut demo = machine.command("unshare");
    demo.args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"]);
    demo.args(["sh", "-c", script, "sh"]).arg(machine.path("ledger")).arg("demo");
    let output = Process::run("demo", demo, machine.folder.path());
    assert_told(&output);
    let said = "This machine does not let Nix build in a store of one's own";
    assert!(output.stdout.contains(said), "{}", output.stdout);
    assert!(output.stdout.contains("$ nix-store --add site-v3"), "{}", output.stdout);
    machine.assert_nothing_left();
}

#[test]
fn a_folder_for_temporary_files_that_is_closed_is_named() {
    let machine = Machine::new(true);
    let closed = fs::Permissions::from_mode(0o555);
    fs::set_permissions(machine.path("tmp"), closed).expect("a mode can be set");
    let output = machine.demo(&[]).output();
    assert_eq!((output.code(), output.stdout.as_str()), (Some(1), ""));
    for word in ["cannot be made", "Caused by: Permission denied", "Hint: set TMPDIR"] {
        assert!(output.stderr.contains(word), "no {word:?} in {}", output.stderr);
    }
    machine.assert_nothing_left();
}

#[test]
fn without_nix_the_demo_says_what_to_install() {
    let machine = Machine::new(false);
    let mut demo = command(machine.path("ledger"), &machine.path("home"));
    demo.arg("demo").env("PATH", machine.path("home")).env("TMPDIR", machine.path("tmp"));
    let output = Process::run("demo", demo, machine.folder.path());
    assert_eq!((output.code(), output.stdout.as_str()), (Some(1), ""));
    for word in ["Error: Nix is not here", "Hint: ", "install"] {
        assert!(output.stderr.contains(word), "no {word:?} in {}", output.stderr);
    }
    machine.assert_nothing_left();
}

#[test]
fn a_step_that_fails_is_named_with_the_last_words_and_cleared_up() {
    let machine = Machine::new(false);
    // Everything of Nix but the program that copies to the cache.
    let tools = machine.path("tools");
    fs::create_dir(&tools).expect("a folder can be made");
    let broken = tools.join("nix");
    fs::write(&broken, "#!/bin/sh\necho the disk is full >&2\nexit 7\n").expect("written");
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
    let mut demo = machine.command(machine.path("ledger").to_str().expect("the path is UTF-8"));
    let path = std::env::var("PATH").expect("it is set");
    demo.arg("demo").env("PATH", format!("{}:{path}", tools.display()));
    let output = Process::run("demo", demo, machine.folder.path());
    assert_eq!(output.code(), Some(1), "{}", output.stdout);
    for word in [
        "Error: step 2 failed (Nix builds three versions",
        "Caused by: `nix copy` ended with exit status 7; it said last:\n  the disk is full\n",
        "Hint: nothing of it is left; with --keep",
    ] {
        assert!(output.stderr.contains(word), "no {word:?} in {}", output.stderr);
    }
    machine.assert_nothing_left();
}

#[test]
fn what_a_kept_demo_says_to_type_works() {
    let machine = Machine::new(true);
    let output = machine.demo(&["--keep"]).output();
    assert_told(&output);
    assert_eq!(machine.processes(), Vec::<String>::new());
    let folder = machine.demo_folder().expect("it is kept");
    let (_, ending) = output.stdout.split_once("Done in ").expect("it ends");
    let typed: Vec<&str> = ending.lines().filter_map(|line| line.strip_prefix("   $ ")).collect();
    let (last, lines) = typed.split_last().expect("there are some");
    assert!(last.starts_with("chmod -R u+w "), "{last}");
    // As somebody types it: what goes on in the background gets the time to begin.
    let mut script = "set -e\n".to_owned();
    for line in lines {
        script += &format!("{line}\n");
        if line.ends_with('&') {
            let ready = if line.contains(" serve ") {
                "ledger agents"
            } else {
                "ledger agents | grep -q connected"
            };
            script += &format!(
                "for n in $(seq 200); do {ready} >/dev/null 2>&1 && break; sleep 0.1; done\n"
            );
        }
    }
    script += "kill %3 %2 %1\nwait\n";
    script += &format!("cd /\n{last}\n");
    let mut shell = machine.command("bash");
    shell.args(["-m", "-c", &script]);
    let by_hand = Process::run("by-hand", shell, machine.folder.path());
    let said = format!("{}{}", by_hand.stdout, by_hand.stderr);
    assert!(said.contains("2 of 2 agents succeeded"), "{said}");
    assert!(said.contains("web-1#4     succeeded"), "{said}");
    assert!(!folder.exists(), "{said}");
    machine.assert_nothing_left();
}
