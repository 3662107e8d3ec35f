//! Settings: where each comes from, and what is refused before anything starts.

use crate::support::{Run, ledger, run};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder with a `ledger.toml` in it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn with(file: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ledger.toml"), file).expect("written");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).expect("written");
    }

    /// Checks the configuration of a server, with its data in the folder.
    fn check(&self, flags: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command = ledger(&["serve", "--check-config", "--config"]);
        command.arg(self.path("ledger.toml")).args(flags).envs(variables.iter().copied());
        if !flags.contains(&"--data") {
            command.arg("--data").arg(self.path("data"));
        }
        let run = run(&mut command);
        assert!(!self.path("data").exists(), "it was made");
        run
    }
}

/// Returns value and place of a setting in the table.
#[track_caller]
fn setting(run: &Run, key: &str) -> (String, String) {
    assert_eq!(run.code, 0, "{run:?}");
    let rows = run.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row.first() == Some(&key));
    match row.as_deref() {
        Some([_, value, from]) => ((*value).to_owned(), (*from).to_owned()),
        other => panic!("{key}: {other:?} in {}", run.stdout),
    }
}

#[track_caller]
fn is(run: &Run, key: &str, value: &str, from: &str) {
    assert_eq!(setting(run, key), (value.to_owned(), from.to_owned()), "{key}");
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let place = Place::with("# A comment.\n[serve]\nlisten = \"127.0.0.1:3\"\n\nlog = 'warn'\n");
    let none = ledger(&["serve", "--check-config", "--config", "/dev/null", "--data"])
        .arg(place.path("data"))
        .output()
        .expect("runs")
        .into();
    is(&none, "listen", "127.0.0.1:7070", "default");
    is(&none, "log", "info,ledger::request=warn", "default");
    is(&none, "tls_cert", "-", "default");
    let file = place.check(&[], &[]);
    is(&file, "listen", "127.0.0.1:3", "ledger.toml:3");
    is(&file, "log", "warn", "ledger.toml:5");
    is(&file, "ping_interval", "20s", "default");
    let variable = ("LEDGER_LISTEN", "127.0.0.1:2");
    is(&place.check(&[], &[variable]), "listen", "127.0.0.1:2", "LEDGER_LISTEN");
    is(&place.check(&[], &[("LEDGER_LISTEN", "")]), "listen", "127.0.0.1:3", "ledger.toml:3");
    let flags = place.check(&["--listen", "127.0.0.1:1"], &[variable]);
    is(&flags, "listen", "127.0.0.1:1", "--listen");
    // A variable that a flag beats is not even read.
    let flags = place.check(&["--listen", "127.0.0.1:1"], &[("LEDGER_LISTEN", "nonsense")]);
    is(&flags, "listen", "127.0.0.1:1", "--listen");
}

#[test]
fn the_file_is_named_by_flag_or_variable_and_must_then_be_there() {
    let place = Place::with("[serve]\nlog = \"error\"\n");
    let data = place.text("data");
    let args = ["serve", "--check-config", "--data", &data];
    let by_variable = run(ledger(&args).env("LEDGER_CONFIG", place.path("ledger.toml")));
    is(&by_variable, "log", "error", "ledger.toml:2");
    let missing = run(ledger(&args).env("LEDGER_CONFIG", "/nowhere/ledger.toml"));
    assert_eq!((missing.code, &*missing.stdout), (2, ""), "{missing:?}");
    assert!(missing.stderr.contains("/nowhere/ledger.toml cannot be read"), "{missing:?}");
    place.write("other.toml", "[serve]\nlog = \"off\"\n");
    let mut both = ledger(&args);
    both.arg("--config").arg(place.path("other.toml"));
    let both = run(both.env("LEDGER_CONFIG", "/nowhere/ledger.toml"));
    is(&both, "log", "off", "other.toml:2");
}

/// Checks that a file is refused at a place, in words that are said.
#[track_caller]
fn refused(file: &str, place_in_file: &str, words: &[&str]) {
    let place = Place::with(file);
    for verb in ["serve", "agent"] {
        let config = place.text("ledger.toml");
        let mut command = ledger(&[verb, "--config", &config]);
        let run = run(command.args((verb == "agent").then_some("web-1")));
        assert_eq!((run.code, &*run.stdout), (2, ""), "{file}: {run:?}");
        let begin = format!("Error: {config}:{place_in_file}: ");
        assert!(run.stderr.starts_with(&begin), "{begin}: {}", run.stderr);
        for word in words {
            assert!(run.stderr.contains(word), "{word:?} is not in {}", run.stderr);
        }
        assert!(!run.stderr.contains("ldg_"), "a token is shown: {}", run.stderr);
    }
}

#[test]
fn a_file_with_any_mistake_is_refused_with_its_place_and_what_is_allowed() {
    refused(
        "[serve]\nlisen = 'x'\n",
        "2:1",
        &["no key `lisen`", "did you mean `listen`?", "tls_cert"],
    );
    refused(
        "[serve]\n\n  zzz = 'x'\n",
        "3:3",
        &["no key `zzz`", "Hint: [serve] takes listen, data"],
    );
    refused("[sevre]\n", "1:2", &["no table", "did you mean `serve`?"]);
    refused("listen = '127.0.0.1:1'\n", "1:1", &["put it under [serve]"]);
    refused("serve = 3\n", "1:9", &["must be a table: [serve]"]);
    refused("[serve]\nlisten = 7070\n", "2:10", &["must be a text in quotes", "integer"]);
    refused(
        "[serve]\nlisten = 'here'\n",
        "2:10",
        &["an IP address and a port, like 127.0.0.1:7070"],
    );
    refused("[serve]\nping_interval = '1h'\n", "2:17", &["between 100ms and 5m"]);
    refused(
        "[serve]\nlog_format = 'jsn'\n",
        "2:14",
        &["one of text, json", "did you mean `json`?"],
    );
    refused("[serve]\nlog = 'verbose'\n", "2:7", &["`verbose` is no level"]);
    refused("[serve]\ndata = ''\n", "2:8", &["must not be empty"]);
    refused("[agent]\nsubstituter = 'https://a'\n", "2:15", &["must be a list of texts"]);
    refused("[agent]\nsubstituter = ['https://a', 7]\n", "2:29", &["must be a list of texts"]);
    refused("[agent]\nprofile = 'ä/'\n", "2:11", &["it must be a name"]);
    refused("[serve\n", "1:7", &["this is no TOML"]);
    refused("[serve]\nlog = 'off'\nlog = 'off'\n", "3:1", &["duplicate key"]);
    // What belongs to one run is no setting.
    refused("[serve]\nconfirm_clock = 'true'\n", "2:1", &["no key `confirm_clock`"]);
}

#[test]
fn a_token_in_the_file_is_refused_and_never_shown() {
    let token = "ldg_agent_0123456789012345678901234567890123456789012";
    let hint = ["token_file = ", "LEDGER_TOKEN"];
    refused(&format!("[agent]\ntoken = \"{token}\"\n"), "2:1", &hint);
    refused(&format!("[serve]\ntoken = \"{token}\"\n"), "2:1", &hint);
    refused(&format!("token = \"{token}\"\n"), "1:1", &hint);
    refused(&format!("[agent]\ntoken_file = \"{token}\"\n"), "2:14", &hint);
    refused(&format!("[agent]\ntoken = \"{token}\n"), "2:63", &["this is no TOML"]);
    let place = Place::with("");
    let run = place.check(&[], &[("LEDGER_LOG", token)]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("LEDGER_LOG holds a token") && !run.stderr.contains("ldg_"));
}

#[test]
fn a_variable_that_is_wrong_is_named_itself() {
    let place = Place::with("");
    for (name, value, words) in [
        ("LEDGER_LISTEN", "here", "an IP address and a port"),
        ("LEDGER_PING_INTERVAL", "1h", "between 100ms and 5m"),
        ("LEDGER_LOG_FORMAT", "xml", "one of text, json"),
        ("LEDGER_LOG", "info,hyper=loud", "invalid"),
    ] {
        let run = place.check(&[], &[(name, value)]);
        assert_eq!((run.code, &*run.stdout), (2, ""), "{run:?}");
        let begin = format!("Error: {name}: invalid value `{value}`: ");
        assert!(run.stderr.starts_with(&begin) && run.stderr.contains(words), "{}", run.stderr);
    }
}

fn certificate(place: &Place, name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    place.write(&format!("{name}.pem"), &made.cert.pem());
    place.write(&format!("{name}-key.pem"), &made.signing_key.serialize_pem());
    (place.text(&format!("{name}.pem")), place.text(&format!("{name}-key.pem")))
}

#[test]
fn a_check_reads_the_certificate_and_its_key_wherever_each_comes_from() {
    let place = Place::with("");
    let (cert, key) = certificate(&place, "one");
    let (_, other_key) = certificate(&place, "two");
    place.write("ledger.toml", &format!("[serve]\ntls_cert = \"{cert}\"\n"));
    let good = place.check(&["--tls-key", &key], &[]);
    is(&good, "tls_cert", &cert, "ledger.toml:2");
    is(&good, "tls_key", &key, "--tls-key");
    let alone = place.check(&[], &[]);
    assert_eq!(alone.code, 2, "{alone:?}");
    assert!(alone.stdout.contains("ledger.toml:2"), "the table is shown all the same: {alone:?}");
    assert!(alone.stderr.contains("--tls-key") && alone.stderr.contains("LEDGER_TLS_KEY"));
    let foreign = place.check(&["--tls-key", &other_key], &[]);
    assert_eq!(foreign.code, 2, "{foreign:?}");
    assert!(foreign.stderr.contains("cannot be used together"), "{foreign:?}");
    let missing = place.check(&[], &[("LEDGER_TLS_KEY", "/nowhere/key.pem")]);
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.stderr.contains("/nowhere/key.pem"), "{missing:?}");
}

#[test]
fn a_check_looks_at_the_data_folder_and_warns_of_open_addresses() {
    let place = Place::with("");
    let file = place.text("ledger.toml");
    let refused = place.check(&["--data", &file], &[]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("is no folder"), "{refused:?}");
    let open = place.check(&["--listen", "0.0.0.0:1", "--metrics-listen", "0.0.0.0:2"], &[]);
    assert_eq!(open.code, 0, "{open:?}");
    assert!(open.stderr.contains("warning: 0.0.0.0:1 is open to the network without encryption"));
    assert!(open.stderr.contains("warning: 0.0.0.0:2 shows the figures to everybody"));
}

/// Runs an agent that cannot start, and returns what it says.
fn agent(config: &Path, variables: &[(&str, &str)]) -> String {
    let mut command = ledger(&["agent", "web-1", "--config"]);
    let run = run(command.arg(config).envs(variables.iter().copied()));
    assert_eq!(run.code, 2, "{run:?}");
    run.stderr
}

#[test]
fn an_agent_takes_its_server_and_its_token_from_the_file() {
    let place = Place::with("[agent]\nurl = 'ftp://ledger.example'\n");
    let token = "ldg_read_0123456789012345678901234567890123456789012";
    place.write("token", token);
    let config = place.path("ledger.toml");
    assert!(agent(&config, &[]).contains("no token"), "the address is no longer missing");
    let said = agent(&config, &[("LEDGER_TOKEN", token)]);
    assert!(said.contains("LEDGER_TOKEN holds a token of kind read"), "{said}");
    let path = place.text("token");
    place.write("ledger.toml", &format!("[agent]\nurl = 'https://a.b'\ntoken_file = '{path}'\n"));
    let said = agent(&config, &[]);
    assert!(said.contains(&format!("{path} holds a token of kind read")), "{said}");
    // The environment beats the file, also where it has a name of its own for it.
    let said = agent(&config, &[("LEDGER_TOKEN", token)]);
    assert!(said.contains("LEDGER_TOKEN holds a token of kind read"), "{said}");
    let said = agent(&config, &[("LEDGER_TOKEN", token), ("LEDGER_TOKEN_FILE", "/nowhere")]);
    assert!(said.contains("/nowhere"), "{said}");
    let said = agent(&config, &[("LEDGER_SUBSTITUTERS", "https://a https://b  ")]);
    assert!(said.contains("LEDGER_SUBSTITUTERS: invalid value"), "{said}");
}

#[test]
fn help_is_there_whatever_the_file_says() {
    let place = Place::with("[nonsense\n");
    for verb in ["serve", "agent"] {
        let config = place.text("ledger.toml");
        let help = run(&mut ledger(&[verb, "--config", &config, "--help"]));
        assert_eq!((help.code, &*help.stderr), (0, ""), "{help:?}");
    }
    let agents = run(ledger(&["agents"]).env("LEDGER_CONFIG", place.path("ledger.toml")));
    assert!(agents.stderr.contains("no server is named"), "other verbs read no file: {agents:?}");
}
