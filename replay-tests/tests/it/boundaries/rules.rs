//! The table of design §1, and what breaks it.

use super::graph::Graph;

/// What one crate may and must not import.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// The crates of the workspace that it may import.
    pub(crate) may_import: &'static [&'static str],
    /// The crates from outside that it must never import.
    never: &'static [&'static str],
    /// Whether `never` counts for everything that its imports import, too.
    whole_tree: bool,
    /// If given, the only crates from outside that it may import.
    only: Option<&'static [&'static str]>,
}

const NOTHING: Rule = Rule { name: "", may_import: &[], never: &[], whole_tree: false, only: None };

/// One rule for each crate, from the bottom up.
pub(crate) const TABLE: &[Rule] = &[
    Rule {
        name: "ledger-core",
        never: &["axum", "reqwest", "sqlx", "tokio"],
        whole_tree: true,
        ..NOTHING
    },
    Rule {
        name: "ledger-store",
        may_import: &["ledger-core"],
        never: &["axum", "reqwest"],
        ..NOTHING
    },
    Rule {
        name: "projections",
        may_import: &["ledger-core", "ledger-store"],
        never: &["axum", "reqwest", "sqlx"],
        ..NOTHING
    },
    Rule {
        name: "api-wire",
        may_import: &["ledger-core"],
        only: Some(&["serde", "utoipa"]),
        ..NOTHING
    },
    Rule {
        name: "api-client",
        may_import: &["api-wire", "ledger-core"],
        never: &["axum", "sqlx"],
        ..NOTHING
    },
    Rule {
        name: "api-server",
        may_import: &["api-wire", "ledger-core", "ledger-store", "projections"],
        never: &["clap", "reqwest", "sqlx"],
        ..NOTHING
    },
    Rule {
        name: "agent",
        may_import: &["api-client", "api-wire", "ledger-core"],
        never: &["axum", "ledger-store", "projections", "sqlx"],
        whole_tree: true,
        ..NOTHING
    },
    Rule {
        name: "ledger-cli",
        may_import: &[
            "agent",
            "api-client",
            "api-server",
            "api-wire",
            "ledger-core",
            "ledger-store",
            "projections",
        ],
        ..NOTHING
    },
    Rule { name: "replay-tests", ..NOTHING },
];

/// Returns a sentence for each import that breaks the table.
pub(crate) fn breaches(graph: &Graph) -> Vec<String> {
    let mut breaches = Vec::new();
    for member in graph.members() {
        match TABLE.iter().find(|rule| rule.name == member) {
            Some(rule) => breaches.extend(rule.breaches(graph)),
            None => breaches.push(format!("{member} has no rule; add it to the table")),
        }
    }
    breaches
}

impl Rule {
    fn breaches(&self, graph: &Graph) -> Vec<String> {
        let mut chains = Vec::new();
        for import in graph.imports(self.name) {
            let ours = graph.members().contains(import);
            let allowed = match self.only {
                _ if ours => self.may_import.contains(&import),
                Some(only) => only.contains(&import),
                None => !self.never.contains(&import),
            };
            if !allowed {
                chains.push(vec![self.name.to_owned(), import.to_owned()]);
            }
        }
        let found = |chains: &[Vec<String>], name: &str| {
            chains.iter().any(|chain| chain.last().is_some_and(|last| last == name))
        };
        for forbidden in self.never.iter().filter(|_| self.whole_tree) {
            if let Some(chain) = graph.chain(self.name, forbidden)
                && !found(&chains, forbidden)
            {
                chains.push(chain);
            }
        }
        chains.iter().map(|chain| chain.join(" → ")).collect()
    }
}

/// Words that no code of `ledger-core` may hold.
const NEVER: &[&str] = &["SystemTime", "Instant", "async", "await"];
/// Modules of the standard library that reach outside of the program.
const NEVER_OF_STD: &[&str] = &["env", "fs", "net", "process", "thread"];

/// Returns a sentence for each impure word in code, outside of comments.
pub(crate) fn impurities(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let words: Vec<_> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let of_std = if words.contains(&"std") { NEVER_OF_STD } else { &[] };
        for word in NEVER.iter().chain(of_std).filter(|word| words.contains(word)) {
            found.push(format!("{file}:{}: {word} in: {}", number + 1, line.trim()));
        }
    }
    found
}
