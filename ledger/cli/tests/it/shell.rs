//! What other programs read of the command line: completions, manual pages, the version.

use crate::support::{ledger, run};
use std::process::Command;

/// Runs a script of bash in which `ledger` is the binary.
fn bash(script: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-c", script, "bash"]);
    let run = run(command.arg(env!("CARGO_BIN_EXE_ledger")).env_clear());
    assert_eq!((run.code, &*run.stderr), (0, ""), "{script}: {run:?}");
    run.stdout
}

/// Lets bash complete the line as its Tab key does.
fn complete(line: &str) -> Vec<String> {
    let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
    let (last, before) = (words.len() - 1, words.len().saturating_sub(2));
    let script = format!(
        r#"eval "$("$1" completions bash)"
           COMP_WORDS=({}) COMP_CWORD={last} COMP_LINE='{line}' COMP_POINT={}
           function_of=$(complete -p ledger | sed 's/.*-F \([^ ]*\).*/\1/')
           PATH=/usr/bin:/bin "$function_of" ledger "${{COMP_WORDS[{last}]}}" "${{COMP_WORDS[{before}]}}"
           printf '%s\n' "${{COMPREPLY[@]}}""#,
        words.join(" "),
        line.len(),
    );
    bash(&format!("PATH=/usr/bin:/bin\n{script}")).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_options_and_values() {
    assert_eq!(complete("ledger ac"), ["activate"]);
    assert_eq!(complete("ledger token cr"), ["create"]);
    assert_eq!(complete("ledger token create --ki"), ["--kind"]);
    assert_eq!(complete("ledger token create --kind ad"), ["admin"]);
    assert_eq!(complete("ledger completions f"), ["fish"]);
    let all = complete("ledger ");
    assert!(
        ["login", "doctor", "man"].iter().all(|verb| all.contains(&(*verb).to_owned())),
        "{all:?}"
    );
    assert!(complete("ledger --to").is_empty(), "what is refused is not offered");
}

#[test]
fn every_shell_gets_its_script_and_another_is_refused() {
    for (shell, words) in [
        ("bash", "complete -F _ledger"),
        ("zsh", "#compdef ledger"),
        ("fish", "complete -c ledger"),
        ("elvish", "set edit:completion:arg-completer[ledger]"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let run = run(&mut ledger(&["completions", shell]));
        assert_eq!((run.code, &*run.stderr), (0, ""), "{shell}");
        assert!(run.stdout.contains(words) && run.stdout.contains("activate"), "{shell}");
    }
    bash(r#""$1" completions bash | bash -n"#);
    assert_eq!(run(&mut ledger(&["completions", "tcsh"])).code, 2);
}

#[test]
fn the_manual_has_a_page_for_every_verb_and_troff_has_nothing_to_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("share/man1");
    let written = run(ledger(&["man", "--out"]).arg(&pages));
    assert_eq!(written.code, 0, "{written:?}");
    let mut names: Vec<_> = std::fs::read_dir(&pages)
        .expect("written")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    names.sort();
    let has = |name: &str| names.iter().any(|path| path.ends_with(name));
    assert!(has("ledger.1") && has("ledger-serve.1") && has("ledger-token-create.1"), "{names:?}");
    assert!(!names.iter().any(|path| path.display().to_string().contains("help")), "{names:?}");
    for path in &names {
        let shown = run(Command::new("groff").args(["-man", "-Tutf8", "-ww"]).arg(path));
        assert_eq!((shown.code, &*shown.stderr), (0, ""), "{}", path.display());
        assert!(shown.stdout.lines().count() > 10, "{}: {}", path.display(), shown.stdout);
    }
    let printed = run(&mut ledger(&["man"]));
    assert_eq!(printed.stdout, std::fs::read_to_string(pages.join("ledger.1")).expect("read"));
    let refused = run(&mut ledger(&["man", "--out", "/proc/nowhere"]));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("cannot be written to /proc/nowhere"), "{refused:?}");
}

#[test]
fn the_version_names_the_commit_that_it_is_built_from() {
    let long = run(&mut ledger(&["--version"]));
    let short = run(&mut ledger(&["-V"]));
    assert_eq!((long.code, &long.stdout), (0, &short.stdout));
    let rest =
        long.stdout.strip_prefix(concat!("ledger ", env!("CARGO_PKG_VERSION"))).expect("named");
    // Without git and LEDGER_COMMIT it is the version alone.
    let Some(commit) = rest.trim_end().strip_prefix(" (").and_then(|c| c.strip_suffix(')')) else {
        assert_eq!(rest, "\n");
        return;
    };
    let (hash, date) = commit.split_once(", ").unwrap_or((commit, "2026-01-01"));
    assert!(hash.len() <= 12 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{hash}");
    let digits: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(digits, "0000-00-00", "{date}");
}
