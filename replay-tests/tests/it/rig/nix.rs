//! Closures, really built by Nix and offered by a cache, that the machine's own
//! store has never seen.
//!
//! They are built in a store of their own with its own root, whose paths begin
//! with /nix/store all the same; so an agent must substitute them. A salt makes
//! every path new to the machine.

use super::cache::Cache;
use super::process::{Process, command, require_root};
use ledger_core::StorePath;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What a closure looks like, and so how an agent activates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Nixos,
    HomeManager,
    Darwin,
}

/// A closure to be built.
#[derive(Clone, Debug)]
pub(crate) struct Closure {
    name: String,
    kind: Kind,
    gate: bool,
    exit: i32,
}

impl Closure {
    pub(crate) fn new(kind: Kind, name: &str) -> Self {
        Self { name: name.to_owned(), kind, gate: false, exit: 0 }
    }

    pub(crate) fn plain(name: &str) -> Self {
        Self::new(Kind::Plain, name)
    }

    /// Its scripts wait until [`Nix::open_gate`].
    pub(crate) fn gated(mut self) -> Self {
        self.gate = true;
        self
    }

    /// Its scripts fail with the status.
    pub(crate) fn failing(mut self, exit: i32) -> Self {
        self.exit = exit;
        self
    }
}

/// Who signs what a cache offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signed {
    /// The key that agents are told to trust.
    Trusted,
    /// Another key.
    Stranger,
    /// Nobody.
    Not,
}

/// A place to build closures, and the cache that offers them.
pub(crate) struct Nix {
    pub(crate) cache: Cache,
    folder: TempDir,
    public_key: String,
}

/// Two derivations, so that a closure has two paths at least. What is built
/// logs nothing and fetches nothing.
const EXPRESSION: &str = r#"{ name, salt, script }:
let
  build = name: script: more: derivation ({
    inherit name salt;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" script ];
    PATH = "/bin:/usr/bin";
  } // more);
  dependency = build "${name}-data" "echo $salt > $out" { };
in build name script { inherit dependency; }
"#;

impl Nix {
    pub(crate) fn new() -> Self {
        require_root("writing to /nix/store");
        let folder = TempDir::with_prefix("ledger-nix-").expect("a folder can be made");
        let root = folder.path();
        for name in ["home", "cache", "logs"] {
            fs::create_dir(root.join(name)).expect("a folder can be made");
        }
        fs::write(root.join("closure.nix"), EXPRESSION).expect("a file can be written");
        for (name, file) in [("ledger-test-1", "trusted"), ("stranger-1", "stranger")] {
            let mut generate = command("nix-store", &root.join("home"));
            generate.args(["--generate-binary-cache-key", name]);
            generate.args([root.join(file), root.join(format!("{file}.pub"))]);
            Process::run("key", generate, root).expect_success();
        }
        let public_key = fs::read_to_string(root.join("trusted.pub")).expect("the key was made");
        let cache = Cache::serve(&root.join("cache"));
        Self { cache, public_key: public_key.trim().to_owned(), folder }
    }

    /// The key for `--trusted-public-key`.
    pub(crate) fn public_key(&self) -> &str {
        &self.public_key
    }

    /// The cache as a folder, for a machine that no network reaches.
    pub(crate) fn file_cache(&self) -> String {
        format!("file://{}", self.path("cache").display())
    }

    /// Builds the closure and offers it in the cache, signed by the trusted key.
    pub(crate) fn offer(&self, closure: &Closure) -> StorePath {
        let path = self.build(closure);
        self.publish(&path, Signed::Trusted);
        path
    }

    /// Builds the closure without offering it.
    pub(crate) fn build(&self, closure: &Closure) -> StorePath {
        let mut build = self.nix("nix-build");
        build
            .arg(self.path("closure.nix"))
            .args(["--no-out-link", "--argstr", "name", &closure.name])
            .args(["--argstr", "salt", &uuid::Uuid::now_v7().to_string()])
            .args(["--argstr", "script", &self.builder(closure)])
            .arg("--store")
            .arg(self.path("build"));
        let stdout = Process::run("nix-build", build, self.folder.path()).expect_success();
        StorePath::new(stdout.trim()).expect("nix-build prints a store path")
    }

    /// Offers a closure that was built.
    pub(crate) fn publish(&self, path: &StorePath, signed: Signed) {
        let mut to = format!("{}?compression=none", self.file_cache());
        match signed {
            Signed::Trusted => to += &format!("&secret-key={}", self.path("trusted").display()),
            Signed::Stranger => to += &format!("&secret-key={}", self.path("stranger").display()),
            Signed::Not => {}
        }
        let mut copy = self.nix("nix");
        copy.args(["--extra-experimental-features", "nix-command", "copy", "--to", &to])
            .arg("--store")
            .arg(self.path("build"))
            .arg(path.as_str());
        Process::run("nix-copy", copy, self.folder.path()).expect_success();
    }

    /// Lets the gated scripts of every closure go on.
    pub(crate) fn open_gate(&self) {
        fs::write(self.gate(), "").expect("the gate can be opened");
    }

    /// Makes gated scripts wait again.
    pub(crate) fn close_gate(&self) {
        // It may never have been opened.
        let _ = fs::remove_file(self.gate());
    }

    /// What the scripts of all closures noted: name, script and arguments when
    /// one began, the same and `done` when it ended.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.call_log()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn gate(&self) -> PathBuf {
        self.path("gate")
    }

    fn call_log(&self) -> PathBuf {
        self.path("calls")
    }

    /// A command of Nix over the store that closures are built in.
    fn nix(&self, program: &str) -> Command {
        let mut command = command(program, &self.path("home"));
        // Builders run in a root of their own, so the shell and its tools are shown to them.
        let config =
            "substituters =\nbuild-users-group =\nsandbox-paths = /bin /usr /lib /lib64?\n";
        command.env("NIX_CONFIG", config);
        command
    }

    /// The shell script that makes the closure at `$out`.
    fn builder(&self, closure: &Closure) -> String {
        let files: &[(&str, &str)] = match closure.kind {
            Kind::Plain => &[],
            Kind::Nixos => &[("nixos-version", "24.05.test")],
            Kind::HomeManager => &[("hm-version", "24.05.test")],
            Kind::Darwin => &[("darwin-version", "24.05.test"), ("darwin-version.json", "{}")],
        };
        let scripts: &[&str] = match closure.kind {
            Kind::Plain => &["bin/program"],
            Kind::Nixos => &["bin/switch-to-configuration"],
            Kind::HomeManager => &["activate"],
            Kind::Darwin => &["activate", "activate-user", "sw/bin/darwin-rebuild"],
        };
        let mut builder =
            "set -e\nmkdir -p $out/bin $out/sw/bin\necho $dependency > $out/data\n".to_owned();
        for (file, text) in files {
            builder += &format!("echo '{text}' > $out/{file}\n");
        }
        for script in scripts {
            let text = self.script(closure, script);
            builder += &format!("cat > $out/{script} <<'END'\n{text}END\nchmod +x $out/{script}\n");
        }
        builder
    }

    /// One of the closure's scripts: it notes its call, waits at the gate if it is
    /// gated, and ends with its status. It ends by itself once the folder is gone.
    fn script(&self, closure: &Closure, script: &str) -> String {
        let Closure { name, gate, exit, .. } = closure;
        let script = Path::new(script).file_name().expect("it has a name").to_string_lossy();
        let (log, folder) = (self.call_log(), self.folder.path().to_owned());
        let (log, folder, open) = (log.display(), folder.display(), self.gate());
        let open = open.display();
        let mut text = format!(
            "#!/bin/sh\ncall=\"{name} {script} $*\"\necho \"$call\" >> {log}\necho \"this is $call\"\n\
             if env | grep -q ldg_; then echo \"$call SAW A TOKEN\" >> {log}; fi\n"
        );
        if *gate {
            text += &format!("while [ -d {folder} ] && [ ! -e {open} ]; do sleep 0.02; done\n");
        }
        if closure.kind == Kind::HomeManager && *exit == 0 {
            // Home-manager sets its profile itself, in its own script.
            text += "profiles=$HOME/.local/state/nix/profiles\nmkdir -p $profiles\n\
                     nix-env --profile $profiles/home-manager --set $(dirname $0) || exit 1\n";
        }
        if *exit != 0 {
            text += &format!("echo \"{name} {script} cannot do it\" >&2\n");
        }
        text + &format!("echo \"$call done\" >> {log}\nexit {exit}\n")
    }
}

impl Drop for Nix {
    fn drop(&mut self) {
        // A script that still waits would wait for ever.
        self.open_gate();
    }
}

#[test]
fn a_closure_is_built_signed_and_substituted_from_the_cache() {
    let nix = Nix::new();
    let path = nix.offer(&Closure::plain("demo"));
    assert!(!Path::new(path.as_str()).exists(), "{path} is in the machine's own store already");

    let realise = |key: &str| {
        let mut realise = command("nix-store", &nix.path("home"));
        realise
            .args(["--realise", path.as_str()])
            .args(["--option", "substituters", &nix.cache.url()])
            .args(["--option", "trusted-public-keys", key])
            .args(["--option", "narinfo-cache-negative-ttl", "0"]);
        Process::run("nix-store", realise, nix.folder.path())
    };
    let stranger = fs::read_to_string(nix.path("stranger.pub")).expect("the key was made");
    let refused = realise(stranger.trim());
    assert!(!refused.status.success() && refused.stderr.contains("not signed by"), "{refused:?}");

    realise(nix.public_key()).expect_success();
    let data = fs::read_to_string(format!("{path}/data")).expect("the closure is there");
    assert!(Path::new(data.trim()).exists(), "its dependency {data} is not");
}

#[test]
fn a_gated_script_waits_and_notes_its_calls() {
    let nix = Nix::new();
    let path = nix.build(&Closure::new(Kind::HomeManager, "home").gated().failing(3));
    let script = nix.path("build").join(path.as_str().trim_start_matches('/')).join("activate");
    let mut activate = command(&script, &nix.path("home"));
    activate.args(["a", "b"]).env("SOME", "ldg_agent_x");
    let mut process = Process::start("activate", activate, nix.folder.path());
    let begun = ["home activate a b", "home activate a b SAW A TOKEN"];
    wait_for_calls(&nix, &begun);
    assert_eq!(process.has_ended(), None);
    nix.open_gate();
    let output = process.output();
    assert_eq!((output.code(), output.stderr.as_str()), (Some(3), "home activate cannot do it\n"));
    wait_for_calls(&nix, &[begun[0], begun[1], "home activate a b done"]);
    nix.close_gate();
}

#[cfg(test)]
fn wait_for_calls(nix: &Nix, expected: &[&str]) {
    super::wait_for("the calls", || (nix.calls() == expected).then_some(()));
}
