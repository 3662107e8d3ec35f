//! What the manual, the alerts and the dashboard say of the figures, held to a
//! server's own page.

use super::harness::Harness;
use super::metrics::{Page, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const BEGIN: &str =
    "<!-- figures: written by UPDATE_DOCS=1 cargo test -p api-server every_figure -->\n";
const END: &str = "<!-- end of figures -->";

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file)
}

fn read(file: &str) -> String {
    let path = docs(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A family as its page describes it.
struct Figure {
    name: String,
    kind: String,
    help: String,
}

/// The families of a page in Prometheus' text format, in which a family is named
/// as its samples are.
fn figures(plain: &str) -> Vec<Figure> {
    let mut lines = plain.lines();
    let mut figures = Vec::new();
    while let Some(line) = lines.next() {
        let Some(help) = line.strip_prefix("# HELP ") else { continue };
        let (name, help) = help.split_once(' ').expect("a name and its help");
        let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
        let (typed, kind) = kind.and_then(|kind| kind.split_once(' ')).expect("a type");
        assert_eq!(typed, name);
        figures.push(Figure { name: name.into(), kind: kind.into(), help: help.into() });
    }
    figures
}

/// The labels of each family's samples, but for the bounds of buckets.
fn labels(page: &Page, figure: &str) -> String {
    let mut labels = BTreeSet::new();
    for series in page.series() {
        let Some(("", inner)) = series.split_once(figure) else { continue };
        let inner = inner.trim_start_matches('{').trim_end_matches('}');
        labels.extend(inner.split("\",").filter_map(|pair| pair.split_once("=\"")).map(|p| p.0));
    }
    labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ")
}

fn table(page: &Page, plain: &str) -> String {
    let mut table = String::from("| figure | type | labels | meaning |\n|---|---|---|---|\n");
    for Figure { name, kind, help } in figures(plain) {
        let labels = if kind == "histogram" { String::new() } else { labels(page, &name) };
        let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {help} |");
    }
    table
}

#[tokio::test]
async fn the_manual_has_every_figure_and_no_other() {
    let harness = Harness::new().await;
    let plain = text(&harness, &harness.admin, "text/plain").await;
    let table = table(&Page::of(&harness).await, &plain);
    assert!(table.lines().count() > 20, "{table}");
    let manual = read("metrics.md");
    let (before, rest) = manual.split_once(BEGIN).expect("the table's begin");
    let (written, after) = rest.split_once(END).expect("the table's end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let manual = format!("{before}{BEGIN}\n{table}\n{END}{after}");
        std::fs::write(docs("metrics.md"), manual).expect("written");
    } else {
        assert_eq!(written.trim(), table.trim(), "UPDATE_DOCS=1 writes it");
    }
}

/// The names of figures in an expression.
fn names(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("ledger_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

/// Every expression of a dashboard, with the title of its panel.
fn expressions(dashboard: &Value) -> BTreeMap<String, Vec<String>> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let panels = panels.iter().filter(|panel| panel["type"] != "row");
    panels
        .map(|panel| {
            let title = panel["title"].as_str().expect("a title").to_owned();
            let targets = panel["targets"].as_array().expect("targets").iter();
            let texts = targets.map(|target| target["expr"].as_str().expect("text").to_owned());
            (title, texts.collect())
        })
        .collect()
}

#[tokio::test]
async fn alerts_and_dashboard_name_figures_that_a_server_has_and_the_dashboard_all() {
    let harness = Harness::new().await;
    let figures = figures(&text(&harness, &harness.admin, "text/plain").await);
    let page = Page::of(&harness).await;
    let families = figures.iter().map(|figure| figure.name.as_str());
    let exported: BTreeSet<&str> = page.names().chain(families).collect();
    let alerts = names(&read("monitoring/alerts.yml"));
    assert!(alerts.len() >= 5, "{alerts:?}");
    let dashboard: Value = serde_json::from_str(&read("monitoring/dashboard.json")).expect("JSON");
    let expressions = expressions(&dashboard);
    let shown: BTreeSet<String> =
        expressions.values().flatten().flat_map(|expression| names(expression)).collect();
    for name in alerts.iter().chain(&shown) {
        assert!(exported.contains(name.as_str()), "no server has {name}");
    }
    for Figure { name, .. } in &figures {
        let is_shown = shown.iter().any(|shown| {
            shown == name
                || ["_bucket", "_sum", "_count"].map(|end| name.clone() + end).contains(shown)
        });
        assert!(is_shown, "no panel shows {name}");
    }
}
