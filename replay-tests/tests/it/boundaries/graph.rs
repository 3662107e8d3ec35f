//! Who imports whom: normal dependencies, without those of tests and build scripts.

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

/// Crates by name. Several versions of one crate count as one.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    members: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Asks cargo about the workspace of the manifest, with every feature on
    /// and for every platform, so that no import hides behind one.
    pub(crate) fn of_workspace(manifest: &Path) -> Self {
        let metadata = MetadataCommand::new()
            .manifest_path(manifest)
            .other_options(vec!["--locked".into(), "--all-features".into()])
            .exec()
            .expect("cargo metadata answers");
        let name_of: BTreeMap<_, _> =
            metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
        let mut graph = Self::default();
        for member in metadata.workspace_packages() {
            graph.add_member(&member.name);
        }
        for node in metadata.resolve.expect("cargo resolves the graph").nodes {
            for dep in node.deps {
                if dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal) {
                    graph.add_edge(name_of[&node.id], name_of[&dep.pkg]);
                }
            }
        }
        graph
    }

    pub(crate) fn add_member(&mut self, name: &str) {
        self.members.insert(name.to_owned());
    }

    pub(crate) fn add_edge(&mut self, from: &str, to: &str) {
        self.edges.entry(from.to_owned()).or_default().insert(to.to_owned());
    }

    /// The crates of the workspace.
    pub(crate) fn members(&self) -> &BTreeSet<String> {
        &self.members
    }

    /// What the crate imports itself.
    pub(crate) fn imports(&self, name: &str) -> impl Iterator<Item = &str> {
        self.edges.get(name).into_iter().flatten().map(String::as_str)
    }

    /// The shortest chain of imports from one crate to another.
    pub(crate) fn chain(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut seen = BTreeSet::from([from.to_owned()]);
        let mut queue = VecDeque::from([vec![from.to_owned()]]);
        while let Some(chain) = queue.pop_front() {
            let last = chain.last().expect("a chain is never empty");
            for next in self.imports(last) {
                let longer = || chain.iter().cloned().chain([next.to_owned()]).collect();
                if next == to {
                    return Some(longer());
                }
                if seen.insert(next.to_owned()) {
                    queue.push_back(longer());
                }
            }
        }
        None
    }
}
