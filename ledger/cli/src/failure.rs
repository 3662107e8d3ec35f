//! How a verb ends: exit codes, and errors as they are printed.

use api_client::http::RequestError;
use api_wire::problem::Code;
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

/// Every exit code of `ledger`. README and manual repeat this table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was asked for happened.
    Done = 0,
    /// Something failed, was called off, or took too long.
    Failed = 1,
    /// The command line, the environment or deploy.json is wrong.
    Usage = 2,
    /// History is not what it was: it was tampered with, or rolled back.
    Fault = 3,
    /// The server refused.
    Refused = 4,
    /// A deployment failed and its machine is not known to run what it ran before.
    NotBack = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// How a verb ends.
pub(crate) type Outcome = Result<Exit, Failure>;

/// An error on its way to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// The user has to change the command line, the environment or a file.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, error: anyhow::Error::msg(message.into()), hint: None }
    }

    /// Something did not work.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, error: anyhow::Error::msg(message.into()), hint: None }
    }

    /// Says what was being done; the error becomes the cause.
    pub(crate) fn context(mut self, message: impl Into<String>) -> Self {
        self.error = self.error.context(message.into());
        self
    }

    /// Says what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the exit code.
    pub(crate) fn exit_as(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Returns the exit code.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns whether whoever read our output stopped reading, as `head` does.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Returns the error and its causes on one line.
    pub(crate) fn sentence(&self) -> String {
        let mut sentence = String::new();
        for cause in self.error.chain().map(ToString::to_string) {
            if sentence.is_empty() {
                sentence = cause;
            } else if !sentence.contains(&cause) {
                let _ = write!(sentence, ": {cause}");
            }
        }
        sentence
    }

    /// Returns what to do next, if that is known.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the lines for stderr: the error, its causes, and what to do.
    pub(crate) fn report(&self) -> String {
        let mut causes = self.error.chain().map(ToString::to_string);
        let mut last = causes.next().unwrap_or_default();
        let mut report = format!("Error: {last}\n");
        for cause in causes {
            // Some libraries repeat their source in their own words.
            if !last.contains(&cause) {
                let _ = writeln!(report, "Caused by: {cause}");
            }
            last = cause;
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(report, "Hint: {hint}");
        }
        report
    }
}

/// Takes any error. What the server refused, and what can be done about it, is
/// told apart here and nowhere else.
impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = anyhow::Error::new(error);
        let request = error.downcast_ref::<RequestError>();
        let exit = if request.is_some_and(RequestError::is_refusal) {
            Exit::Refused
        } else {
            Exit::Failed
        };
        let hint = request.and_then(hint_for).map(str::to_owned);
        Self { exit, error, hint }
    }
}

fn hint_for(error: &RequestError) -> Option<&'static str> {
    match error {
        RequestError::Refused { code, .. } => hint_for_code(*code),
        RequestError::Unreachable { .. }
        | RequestError::StreamEnded { .. }
        | RequestError::TimedOut { .. } => Some(
            "check that `ledger serve` runs there and that LEDGER_URL or --url names it rightly",
        ),
        RequestError::Foreign { .. } => Some(
            "check that LEDGER_URL or --url names a Ledger server, with its path if it has one",
        ),
        RequestError::Certificate { .. }
        | RequestError::TooLarge { .. }
        | RequestError::Unreadable { .. } => None,
    }
}

fn hint_for_code(code: Code) -> Option<&'static str> {
    match code {
        Code::Unauthorized => Some(
            "the token may be mistyped, expired or revoked; an admin makes another with `ledger token create`",
        ),
        Code::Forbidden => Some("`ledger token create --help` says what each kind of token may do"),
        Code::AgentNotFound => Some(
            "`ledger agents` lists the agents; one is known once it connected for the first time",
        ),
        Code::WorkspaceNotFound => Some(
            "`ledger workspace list` lists the workspaces; --workspace or LEDGER_WORKSPACE names one",
        ),
        Code::DeploymentNotFound => Some("`ledger deployments` lists the deployments"),
        Code::TokenNotFound => Some("`ledger token list` lists the tokens"),
        Code::DeploymentStarted => {
            Some("what has started runs to its end; activate the old closure again to go back")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code) -> Failure {
        RequestError::Refused { code, detail: "no".to_owned(), request: None }.into()
    }

    #[test]
    fn the_server_refuses_with_4_and_fails_with_1() {
        for code in Code::ALL {
            // A request that did not arrive in time was not judged.
            let judged = code.status() < 500 && *code != Code::Timeout;
            let expected = if judged { Exit::Refused } else { Exit::Failed };
            assert_eq!(refused(*code).exit(), expected, "{code:?}");
        }
        let foreign = RequestError::Foreign {
            address: "http://127.0.0.1".to_owned(),
            status: 404,
            said: String::new(),
        };
        assert_eq!(Failure::from(foreign).exit(), Exit::Failed);
    }

    #[test]
    fn a_report_says_what_why_and_what_next() {
        let failure = Failure::from(io::Error::other("disk is full"))
            .context("the data folder cannot be made")
            .hint("free some space");
        assert_eq!(
            failure.report(),
            "Error: the data folder cannot be made\nCaused by: disk is full\nHint: free some space\n"
        );
        let failure = refused(Code::Unauthorized);
        assert!(failure.report().contains("Hint: the token may be"), "{}", failure.report());
    }

    #[test]
    fn a_reader_that_went_away_is_known() {
        let broken = || Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(broken().is_broken_pipe() && broken().context("printing").is_broken_pipe());
        assert!(!Failure::usage("x").is_broken_pipe());
    }
}
