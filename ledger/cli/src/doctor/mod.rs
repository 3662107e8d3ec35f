//! What keeps a machine from working with its server, and what to do about it.
//!
//! [`gather`] looks: at the server, at its database, at Nix, at folders, all at once and each
//! within a bounded time. The judges are pure: facts in, [`Finding`]s out.

pub(crate) mod caches;
pub(crate) mod database;
pub(crate) mod facts;
pub(crate) mod gather;
pub(crate) mod machine;
pub(crate) mod server;
pub(crate) mod token;

use facts::Facts;
use serde::Serialize;
use std::fmt;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Group {
    Server,
    Token,
    Database,
    ThisMachine,
}

impl Group {
    pub(crate) const ALL: [Self; 4] =
        [Self::Server, Self::Token, Self::Database, Self::ThisMachine];
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "Server",
            Self::Token => "Token",
            Self::Database => "Database",
            Self::ThisMachine => "This machine",
        })
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grade {
    /// As it should be.
    Ok,
    /// It works, and may not for long, or not as well as it could.
    Warn,
    /// Something does not work.
    Fail,
}

/// One line of the checklist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) group: Group,
    /// Which check, for programs.
    pub(crate) check: &'static str,
    pub(crate) status: Grade,
    /// What was found.
    pub(crate) text: String,
    /// What to do, if it is not as it should be.
    pub(crate) fix: Option<String>,
}

/// Makes the findings of one group.
pub(super) struct Findings {
    group: Group,
    found: Vec<Finding>,
}

impl Findings {
    pub(super) const fn of(group: Group) -> Self {
        Self { group, found: Vec::new() }
    }

    fn push(&mut self, check: &'static str, status: Grade, text: String, fix: Option<String>) {
        self.found.push(Finding { group: self.group, check, status, text, fix });
    }

    pub(super) fn ok(&mut self, check: &'static str, text: impl Into<String>) {
        self.push(check, Grade::Ok, text.into(), None);
    }

    pub(super) fn warn(
        &mut self,
        check: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.push(check, Grade::Warn, text.into(), Some(fix.into()));
    }

    pub(super) fn fail(
        &mut self,
        check: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.push(check, Grade::Fail, text.into(), Some(fix.into()));
    }

    /// What hinders an agent is no more than a doubt where none is to run.
    pub(super) fn hinders(
        &mut self,
        check: &'static str,
        agent: bool,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let status = if agent { Grade::Fail } else { Grade::Warn };
        self.push(check, status, text.into(), Some(fix.into()));
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.found
    }
}

/// Judges everything, in the order in which it is shown.
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = server::judge(facts);
    findings.extend(token::judge(facts));
    findings.extend(database::judge(facts.database.as_ref()));
    findings.extend(machine::judge(&facts.machine));
    findings.extend(caches::judge(&facts.machine));
    findings
}

#[cfg(test)]
mod tests;
