//! The CI run that an activation comes from, as its environment says.

use ledger_core::event::{CiRun, CiText};
use ledger_core::names::ProgramVersion;

/// A CI system: how it is known, and where it says what.
struct Provider {
    name: &'static str,
    marker: &'static str,
    repository: &'static str,
    run: &'static str,
    revision: &'static str,
}

const PROVIDERS: [Provider; 2] = [
    Provider {
        name: "github",
        marker: "GITHUB_ACTIONS",
        repository: "GITHUB_REPOSITORY",
        run: "GITHUB_RUN_ID",
        revision: "GITHUB_SHA",
    },
    Provider {
        name: "gitlab",
        marker: "GITLAB_CI",
        repository: "CI_PROJECT_PATH",
        run: "CI_PIPELINE_ID",
        revision: "CI_COMMIT_SHA",
    },
];

/// Finds the CI run in an environment. A value that is not of the form is left out.
pub(crate) fn detect(variable: impl Fn(&str) -> Option<String>) -> Option<CiRun> {
    let provider =
        PROVIDERS.iter().find(|p| variable(p.marker).is_some_and(|value| value == "true"))?;
    let text = |name: &str| variable(name).and_then(CiText::new);
    Some(CiRun {
        provider: ProgramVersion::new(provider.name).ok()?,
        repository: text(provider.repository),
        run: text(provider.run),
        revision: text(provider.revision),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(environment: &[(&str, &str)]) -> Option<serde_json::Value> {
        let find = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        detect(find).map(|run| serde_json::to_value(run).expect("encodes"))
    }

    #[test]
    fn github_and_gitlab_are_known_by_their_own_words() {
        let github = detected(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY", "acme/infra"),
            ("GITHUB_RUN_ID", "81"),
            ("GITHUB_SHA", "d1c0"),
        ]);
        assert_eq!(
            github.expect("found").to_string(),
            r#"{"provider":"github","repository":"acme/infra","revision":"d1c0","run":"81"}"#
        );
        let gitlab = detected(&[
            ("GITLAB_CI", "true"),
            ("CI_PIPELINE_ID", "9 9"),
            ("CI_COMMIT_SHA", "d1c0"),
        ]);
        assert_eq!(
            gitlab.expect("found").to_string(),
            r#"{"provider":"gitlab","repository":null,"revision":"d1c0","run":null}"#
        );
    }

    #[test]
    fn a_terminal_is_no_ci() {
        assert_eq!(detected(&[("GITHUB_SHA", "d1c0"), ("CI", "true")]), None);
        assert_eq!(detected(&[("GITHUB_ACTIONS", "false")]), None);
    }
}
