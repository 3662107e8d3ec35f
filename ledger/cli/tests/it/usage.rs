//! What is wrong before any server is asked: exit code 2, and what to do.

use crate::support::{ledger, run};

const URL: &str = "http://127.0.0.1:9";
const TOKEN: &str = "ldg_read_0123456789012345678901234567890123456789012";

/// Runs the words with the variables, and checks code and words of the error.
#[track_caller]
fn check(words: &str, variables: &[(&str, &str)], code: i32, expected: &[&str]) {
    let args: Vec<&str> = words.split_whitespace().collect();
    let run = run(ledger(&args).envs(variables.iter().copied()));
    assert_eq!((run.code, &*run.stdout), (code, ""), "{words}: {}", run.stderr);
    for part in expected {
        assert!(run.stderr.contains(part), "{words}: {:?} is not in:\n{}", part, run.stderr);
    }
    assert!(!run.stderr.contains("0123456789"), "{words}: a token is shown:\n{}", run.stderr);
}

#[test]
fn what_is_missing_is_said_with_what_to_set() {
    check("", &[], 2, &["Usage: ledger <COMMAND>"]);
    check(
        "agents",
        &[],
        2,
        &["Error: no server is named", "Hint:", "export LEDGER_URL=http://127.0.0.1:7070"],
    );
    check("agents", &[("LEDGER_URL", "  ")], 2, &["no server is named"]);
    check(
        "agents",
        &[("LEDGER_URL", URL)],
        2,
        &["there is no token", "LEDGER_TOKEN", "admin-token"],
    );
    check(
        "agents --url https://ledger.example",
        &[],
        2,
        &["there is no token", "--token-file FILE\n"],
    );
    check(
        "activate /nowhere/deploy.json",
        &[],
        2,
        &["/nowhere/deploy.json cannot be read", "No such file"],
    );
    check("token create", &[("LEDGER_URL", URL)], 2, &["--kind <KIND>"]);
}

#[test]
fn a_token_never_comes_from_the_command_line_and_is_never_shown() {
    let expected = ["cannot be given on the command line", "--token-file FILE"];
    check(&format!("agents --token {TOKEN}"), &[("LEDGER_URL", URL)], 2, &expected);
    check(&format!("agents --token={TOKEN}"), &[("LEDGER_URL", URL)], 2, &expected);
    check(&format!("token list --token {TOKEN}"), &[("LEDGER_URL", URL)], 2, &expected);
    let broken = format!("{TOKEN}3456789");
    check(
        "agents",
        &[("LEDGER_URL", URL), ("LEDGER_TOKEN", &broken)],
        2,
        &["LEDGER_TOKEN: this is no token"],
    );
    check(
        "agents --token-file /nowhere",
        &[("LEDGER_URL", URL)],
        2,
        &["the token file /nowhere cannot be read"],
    );
}

#[test]
fn a_token_is_not_sent_where_others_could_read_it() {
    let token = ("LEDGER_TOKEN", TOKEN);
    check("agents --url http://ledger.example", &[token], 2, &["is not encrypted", "use https://"]);
    check("agents --url ledger.example", &[token], 2, &["is no server address"]);
}

#[test]
fn what_is_no_name_or_number_is_refused_with_the_rule() {
    check("cancel web-1", &[], 2, &["names no deployment", "web-1#7"]);
    check("deployment web-1#0", &[], 2, &["AGENT#INDEX"]);
    check("agents retire -a", &[], 2, &["unexpected argument"]);
    check("agents retire a/b", &[], 2, &["is no agent name"]);
    check("log --type Deployed", &[], 2, &["invalid value 'Deployed'"]);
    check("log --stream agent/web-1", &[], 2, &["it must be workspace/W"]);
    check("token create --kind root", &[], 2, &["agent, activate, read, admin"]);
    check("activate d.json --timeout soon", &[], 2, &["invalid value 'soon'"]);
    check("activate d.json --async --allow-offline", &[], 2, &["cannot be used with"]);
    check("serve --tls-cert a.pem", &[], 2, &["--tls-key"]);
    check("workspace create Team", &[], 2, &["is no workspace name"]);
    check("deploy", &[], 2, &["unrecognized subcommand"]);
}

#[test]
fn a_server_that_is_not_there_is_a_failure_and_no_refusal() {
    let variables = [("LEDGER_URL", URL), ("LEDGER_TOKEN", TOKEN)];
    let expected = [
        "Error: no answer from http://127.0.0.1:9",
        "Caused by:",
        "Hint: check that `ledger serve` runs",
    ];
    check("agents --retry-for 0s", &variables, 1, &expected);
    check(
        "agents --retry-for 400ms",
        &variables,
        1,
        &["no answer from http://127.0.0.1:9; trying again for a while"],
    );
}
