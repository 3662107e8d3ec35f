//! Asks Nix, by commands that change nothing.

use super::PATIENCE;
use crate::doctor::facts::NixConfig;
use rustix::fs::{Access, access};
use serde_json::Value;
use std::process::{Output, Stdio};
use tokio::process::Command;
use tokio::time::timeout;

/// A path that is in no store: to ask whether it is valid, Nix must open the
/// store or reach its daemon, and does nothing else.
const NO_PATH: &str = "/nix/store/00000000000000000000000000000000-ledger-doctor";
/// Where Nix keeps what it knows of the store.
const DATABASE: &str = "/nix/var/nix/db";
/// Characters of what a program says that are shown.
const SAID_CHARS_MAX: usize = 200;

/// Returns what Nix calls itself.
pub(super) async fn version() -> Result<String, String> {
    let output = run("nix-store", &["--version"]).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Finds out whether the store can be written to.
pub(super) async fn store() -> Result<(), String> {
    run("nix-store", &["--check-validity", "--print-invalid", NO_PATH]).await?;
    // Root opens it without the daemon, and reads what it may not change.
    let is_own = rustix::process::geteuid().is_root()
        && std::env::var("NIX_REMOTE").unwrap_or_default().is_empty();
    if is_own {
        access(DATABASE, Access::WRITE_OK).map_err(|error| format!("{DATABASE}: {error}"))?;
    }
    Ok(())
}

/// Returns what Nix is configured to do. The command has had two names.
pub(super) async fn config() -> Result<NixConfig, String> {
    let feature = ["--extra-experimental-features", "nix-command"];
    let newer = [&feature[..], &["config", "show", "--json"]].concat();
    let older = [&feature[..], &["show-config", "--json"]].concat();
    let output = match run("nix", &newer).await {
        Ok(output) => output,
        Err(_) => run("nix", &older).await?,
    };
    parse_config(&output.stdout)
}

fn parse_config(json: &[u8]) -> Result<NixConfig, String> {
    let config: Value = serde_json::from_slice(json).map_err(|e| format!("no JSON: {e}"))?;
    let value = |name: &str| config.get(name).and_then(|setting| setting.get("value"));
    let words = |name: &str| {
        let words = value(name).and_then(Value::as_array);
        let words = words.into_iter().flatten().filter_map(Value::as_str);
        words.map(str::to_owned).collect()
    };
    Ok(NixConfig {
        substituters: words("substituters"),
        trusted_public_keys: words("trusted-public-keys"),
        require_sigs: value("require-sigs").and_then(Value::as_bool).unwrap_or(true),
    })
}

/// Runs a program that must succeed, in time and without our token.
async fn run(program: &str, args: &[&str]) -> Result<Output, String> {
    let mut command = Command::new(program);
    command.args(args).env_remove("LEDGER_TOKEN").stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("{program}: {error}")),
        Err(_) => return Err(format!("{program} takes longer than {} s", PATIENCE.as_secs())),
    };
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let error = said.lines().find(|line| line.starts_with("error:"));
    let error = error.or_else(|| said.lines().rfind(|line| !line.trim().is_empty()));
    let error = crate::terminal::clean(error.unwrap_or("it says nothing"));
    let error: String = error.chars().take(SAID_CHARS_MAX).collect();
    Err(format!("{program} ended with {}: {error}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_read_as_nix_prints_it() {
        let json = r#"{"substituters":{"aliases":[],"value":["https://cache.nixos.org/"]},
            "trusted-public-keys":{"value":["a-1:AAAA","b-1:BBBB"]},"require-sigs":{"value":false},"cores":{"value":0}}"#;
        let config = parse_config(json.as_bytes()).expect("read");
        assert_eq!(config.substituters, ["https://cache.nixos.org/"]);
        assert_eq!((config.trusted_public_keys.len(), config.require_sigs), (2, false));
        assert!(parse_config(b"substituters = x").is_err());
        let empty = parse_config(b"{}").expect("read");
        assert_eq!(empty, NixConfig { require_sigs: true, ..NixConfig::default() });
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_or_fails_says_so() {
        let missing = run("no-such-program-of-ours", &[]).await.expect_err("missing");
        assert!(missing.contains("No such file"), "{missing}");
        let failed = run("sh", &["-c", "echo noise >&2; echo 'error: no' >&2; exit 3"]).await;
        let failed = failed.expect_err("failed");
        assert!(failed.contains("exit status: 3") && failed.ends_with("error: no"), "{failed}");
    }
}
