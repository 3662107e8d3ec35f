//! Real Nix: closures built on the spot, signed, and offered by a file cache,
//! so that the agent fetches them for real.

use ledger_core::names::StorePath;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A place with a signing key, a cache, profiles and state folders.
pub struct Nix {
    folder: TempDir,
    pub public_key: String,
}

/// Runs a program and returns what it printed; anything but success fails the test.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| {
        panic!("{program}: {error}; these tests need Nix (apt-get install nix-bin)")
    });
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

impl Nix {
    pub fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root()
                || Path::new("/nix/var/nix/daemon-socket/socket").exists(),
            "these tests need to write to /nix/store: run them as root, or with a Nix daemon"
        );
        let folder = tempfile::tempdir().expect("a folder");
        let (secret, public) = (folder.path().join("secret"), folder.path().join("public"));
        run(
            "nix-store",
            &["--generate-binary-cache-key", "test-1", &text(&secret), &text(&public)],
        );
        let public_key = std::fs::read_to_string(public).expect("a key");
        Self { folder, public_key }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn cache(&self) -> String {
        format!("file://{}", text(&self.path("cache")))
    }

    /// The command line that fetches from this cache and trusts its key.
    pub fn args(&self) -> Vec<String> {
        let profile = text(&self.path("profiles/system"));
        let cache = self.cache();
        let args = [
            "--profile",
            &profile,
            "--substituter",
            &cache,
            "--trusted-public-key",
            &self.public_key,
        ];
        args.map(str::to_owned).into()
    }

    pub fn profile(&self) -> PathBuf {
        self.path("profiles/system")
    }

    /// Builds a closure of two paths from files and their texts, puts it into
    /// the cache, and removes it from this machine's store.
    pub fn publish(&self, name: &str, files: &[(&str, &str)], signed: bool) -> StorePath {
        let salt = uuid::Uuid::now_v7();
        let mut script = String::from("PATH=/bin:/usr/bin; mkdir $out\n");
        for (file, content) in files {
            let encoded = data_encoding::BASE64.encode(content.as_bytes());
            script.push_str(&format!(
                "mkdir -p $(dirname $out/{file}); echo {encoded} | base64 -d > $out/{file}; chmod +x $out/{file}\n"
            ));
        }
        let expression = format!(
            r#"let
  build = name: script: derivation {{
    inherit name; system = builtins.currentSystem;
    builder = "/bin/sh"; args = [ "-c" script ];
  }};
  dependency = build "dependency" "echo {salt} > $out";
in build "{name}" ''{script}echo ${{dependency}} > $out/dependency''"#
        );
        let file = self.path(&format!("{name}.nix"));
        std::fs::write(&file, expression).expect("written");
        let built = run(
            "nix-build",
            &[
                &text(&file),
                "--no-out-link",
                "--option",
                "sandbox",
                "false",
                "--option",
                "build-users-group",
                "",
                "--option",
                "substitute",
                "false",
            ],
        );
        let cache = match signed {
            true => format!("{}?secret-key={}", self.cache(), text(&self.path("secret"))),
            false => self.cache(),
        };
        run(
            "nix",
            &["--extra-experimental-features", "nix-command", "copy", "--to", &cache, &built],
        );
        let closure = run("nix-store", &["--query", "--requisites", &built]);
        let mut delete = vec!["--delete"];
        delete.extend(closure.lines());
        run("nix-store", &delete);
        assert!(!Path::new(&built).exists(), "{built} must come from the cache");
        StorePath::new(built).expect("a store path")
    }
}

pub fn text(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}
