//! A machine of a page's own: namespaces of its own, in which nothing that the
//! page does reaches this machine's files, ports or processes.

use super::blocks::{Command, is_shown};
use crate::rig::process::{Process, command, require_root};
use crate::rig::server::ledger_program;
use crate::rig::wait_for;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use tempfile::TempDir;

/// Where a page's user is at home.
const HOME: &str = "/mnt/you";

/// Every folder of the system that pages write to becomes a layer over this
/// machine's, in memory; home is there too, and the store begins empty. Nix builds without a daemon and asks nobody
/// outside, which could not answer.
const SET_UP: &str = r#"
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
for folder in /etc /run /srv /var; do
    mkdir -p "/mnt/upper$folder" "/mnt/work$folder"
    mount -t overlay overlay -o "lowerdir=$folder,upperdir=/mnt/upper$folder,workdir=/mnt/work$folder" "$folder"
done
mkdir -p /nix
mount -t tmpfs tmpfs /nix
mkdir -p /etc/nix
printf 'build-users-group =\nsubstituters =\n' > /etc/nix/nix.conf
rm -rf /var/lib/ledger /var/lib/ledger-agent /etc/ledger /run/ledger-agent
mkdir -p "$HOME" /var/lib/nginx /var/log/nginx
ip link set lo up
echo ready >&2
exec sleep infinity
"#;

/// The machine, which ends with everything on it when it is dropped.
pub(super) struct Machine {
    folder: TempDir,
    /// The first process in the namespaces, as this machine counts.
    inside: String,
    terminals: BTreeMap<String, Terminal>,
    _namespaces: Process,
}

impl Machine {
    pub(super) fn new() -> Self {
        require_root("a machine for a page of the manual");
        let folder = TempDir::with_prefix("ledger-manual-").expect("a folder can be made");
        let mut unshare = command("unshare", Path::new(HOME));
        unshare.args(["--mount", "--net", "--pid", "--ipc", "--fork", "--mount-proc"]).args([
            "--kill-child",
            "--",
            "bash",
            "-c",
            SET_UP,
        ]);
        let mut namespaces = Process::start("machine", unshare, folder.path());
        namespaces.wait_for_line("its machine", |line| (line == "ready").then_some(()));
        let inside = child_of(namespaces.id());
        Self { folder, inside, terminals: BTreeMap::new(), _namespaces: namespaces }
    }

    /// Writes a file, where a relative name is below the home folder.
    pub(super) fn write(&mut self, name: &str, text: &str) {
        let root = PathBuf::from(format!("/proc/{}/root{HOME}", self.inside));
        let path = match name.strip_prefix('/') {
            Some(absolute) => PathBuf::from(format!("/proc/{}/root/{absolute}", self.inside)),
            None => root.join(name),
        };
        let parent = path.parent().expect("a file is in a folder");
        fs::create_dir_all(parent).expect("the folder can be made");
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Shows a folder of this machine there, where others expect it.
    pub(super) fn show(&self, folder: &Path, at: &str) {
        let place = PathBuf::from(format!("/proc/{}/root{at}", self.inside));
        if place.is_dir() {
            fs::remove_dir_all(&place).expect("it is a layer over this machine's");
        }
        std::os::unix::fs::symlink(folder, &place).expect("a link can be made");
    }

    /// Returns the terminal of the name; it is opened when first used.
    pub(super) fn terminal(&mut self, name: &str) -> &mut Terminal {
        let (folder, inside) = (self.folder.path(), &self.inside);
        self.terminals
            .entry(name.to_owned())
            .or_insert_with(|| Terminal::open(&folder.join(name), inside))
    }
}

/// Returns the one child of a process that has one thread.
fn child_of(id: u32) -> String {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    children.expect("Linux tells a process's children").trim().to_owned()
}

/// A shell that is typed into.
pub(super) struct Terminal {
    shell: Child,
    keys: ChildStdin,
    /// Where everything that it prints lands.
    screen: PathBuf,
    /// How much of the screen earlier commands have printed.
    read: usize,
    /// Whether the last command was not waited for.
    busy: bool,
}

/// Stands before the exit status, which ends what a command prints.
const END: char = '\u{1}';

impl Terminal {
    fn open(screen: &Path, inside: &str) -> Self {
        let mut bash = command("nsenter", Path::new(HOME));
        let program = ledger_program();
        let programs = program.parent().expect("it is in a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = File::create(screen).expect("the file can be made");
        bash.args(["--target", inside, "--mount", "--net", "--pid", "--ipc"])
            .args(["bash", "-c", "cd && exec bash --norc"])
            .env("PATH", format!("{programs}:{path}:/usr/sbin:/sbin"))
            .env("COLUMNS", "100")
            .env_remove("NIX_CONFIG")
            .env_remove("TMPDIR")
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output);
        let mut shell = bash.spawn().expect("nsenter starts");
        let keys = shell.stdin.take().expect("piped");
        Self { shell, keys, screen: screen.to_owned(), read: 0, busy: false }
    }

    fn printed(&self) -> String {
        let bytes = fs::read(&self.screen).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.get(self.read..).unwrap_or_default().to_owned()
    }

    /// Types a command, and waits until it has printed what the page shows.
    pub(super) fn run(&mut self, place: &str, command: &Command) {
        if self.busy {
            self.end(place);
        }
        let typed = format!("{{ {}\n}} </dev/null\nprintf '\\001%s\\n' $?\n", command.text);
        self.keys.write_all(typed.as_bytes()).expect("the shell reads");
        let what = format!("{place}: the output of `{}`", command.text);
        if command.goes_on() {
            self.busy = true;
            let shown = || {
                let printed = self.printed();
                let (before, ended) = match printed.split_once(END) {
                    Some((before, _)) => (before, true),
                    None => (&*printed, false),
                };
                let lines: Vec<&str> = before.lines().collect();
                let shown = is_shown(&command.printed, &lines);
                assert!(shown || !ended, "{what} is only\n{before}");
                shown.then_some(())
            };
            return self.wait(&what, shown);
        }
        let printed = self.end(place);
        let lines: Vec<&str> = printed.lines().collect();
        assert!(
            command.printed.is_empty() || is_shown(&command.printed, &lines),
            "{what} is\n{printed}\nand the page shows\n{}\n",
            command.printed.join("\n")
        );
    }

    /// Waits for the end of the command, which must be a good one, and returns
    /// what it printed.
    fn end(&mut self, place: &str) -> String {
        let mut found = (String::new(), 0, String::new());
        self.wait(&format!("{place}: the end of the command before"), || {
            let printed = self.printed();
            let (before, rest) = printed.split_once(END)?;
            let (status, _) = rest.split_once('\n')?;
            let length = before.len() + END.len_utf8() + status.len() + 1;
            found = (before.to_owned(), length, status.to_owned());
            Some(())
        });
        let (printed, length, status) = found;
        self.read += length;
        self.busy = false;
        assert_eq!(status, "0", "{place}: a command failed:\n{printed}");
        printed
    }

    /// Waits, and shows the screen if it was in vain.
    fn wait(&self, what: &str, look: impl FnMut() -> Option<()>) {
        struct Show<'a>(&'a Terminal);
        impl Drop for Show<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    eprintln!("--- the terminal shows:\n{}\n---", self.0.printed());
                }
            }
        }
        let _show = Show(self);
        wait_for(what, look);
    }

    /// Interrupts what goes on, as Control and C do, and waits for its end.
    pub(super) fn interrupt(&mut self, place: &str) {
        assert!(self.busy, "{place}: nothing goes on that could be interrupted");
        // Between the two processes of nsenter and the command stands the shell.
        let shell = child_of(self.shell.id());
        let mut kill = command("pkill", Path::new(HOME));
        kill.args(["-INT", "--parent", &shell]);
        Process::run("pkill", kill, self.screen.parent().expect("in a folder")).expect_success();
        self.end(place);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It ends with its machine; or has ended.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
