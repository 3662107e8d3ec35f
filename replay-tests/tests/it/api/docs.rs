//! The page of the API's docs, in a real browser.

use crate::rig::process::{Process, command};
use crate::rig::server::{Options, Server};
use std::path::Path;
use tempfile::TempDir;

/// Opens the address in a browser that has never been used, and returns the page as
/// it stands when its scripts are done.
fn browse(url: &str, folder: &Path) -> String {
    let mut chromium = command("chromium", folder);
    chromium.args([
        "--headless",
        // It refuses to run as root with one, and nothing but our own page is opened.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        // The browser's own clock, which runs ahead while it waits for nothing.
        "--virtual-time-budget=20000",
        "--enable-logging=stderr",
        "--dump-dom",
    ]);
    chromium.arg(format!("--user-data-dir={}", folder.join("browser").display())).arg(url);
    let output = Process::run("chromium", chromium, folder).output_of_success();
    let refused: Vec<_> =
        output.stderr.lines().filter(|line| line.contains("Content Security Policy")).collect();
    assert!(refused.is_empty(), "the page asks for what its policy forbids:\n{refused:#?}");
    output.stdout
}

#[test]
fn the_docs_show_every_operation_in_a_browser() {
    let folder = TempDir::with_prefix("ledger-docs-").expect("a folder can be made");
    let server = Server::start(folder.path(), Options::default());
    let page = browse(&format!("{}/v1/docs", server.url()), folder.path());
    let text = include_str!("../../../../docs/openapi.json");
    let document: serde_json::Value = serde_json::from_str(text).expect("it is JSON");
    let mut shown = 0;
    for (path, methods) in document["paths"].as_object().expect("it has paths") {
        assert!(page.contains(&format!("data-path=\"{path}\"")), "{path} is not on the page");
        for operation in methods.as_object().expect("it has methods").values() {
            let id = operation["operationId"].as_str().expect("it has an id");
            assert!(page.contains(id), "{id} is not on the page");
            shown += 1;
        }
    }
    assert_eq!(page.matches("class=\"opblock-summary-path\"").count(), shown);
}
