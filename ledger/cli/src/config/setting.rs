//! Settings, as clap's own definition of a verb has them.

use clap::builder::ArgAction;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use std::error::Error;
use std::ffi::OsString;

/// The one option with a variable that is no setting: it says where settings are.
const CONFIG: &str = "config";

/// An option that the environment and the file may set.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// Clap's own name of it.
    pub(super) id: String,
    /// The long flag, without dashes.
    pub(super) flag: String,
    /// The key in the file.
    pub(super) key: String,
    /// The variable of the environment.
    pub(super) variable: String,
    /// Whether it takes many values: a list in the file.
    pub(super) is_list: bool,
    arg: Arg,
}

/// Returns the settings of a verb, in the order of its help.
pub(super) fn of(command: &Command, verb: &str) -> Vec<Setting> {
    let args = command.find_subcommand(verb).into_iter().flat_map(Command::get_arguments);
    args.filter(|arg| arg.get_id() != CONFIG).filter_map(Setting::new).collect()
}

impl Setting {
    fn new(arg: &Arg) -> Option<Self> {
        let flag = arg.get_long()?;
        let variable = arg.get_env()?.to_str()?;
        Some(Self {
            id: arg.get_id().to_string(),
            flag: flag.to_owned(),
            key: flag.replace('-', "_"),
            variable: variable.to_owned(),
            is_list: matches!(arg.get_action(), ArgAction::Append),
            arg: arg.clone(),
        })
    }

    /// Says why the values are none of the setting's, in the words of the option's
    /// own parser.
    pub(super) fn refuses(&self, values: &[OsString]) -> Option<String> {
        let alone = self.arg.clone().required(false).env(None::<&'static str>);
        let command = Command::new("ledger").no_binary_name(true).arg(alone);
        let flags = values.iter().map(|value| {
            let mut flag = OsString::from(format!("--{}=", self.flag));
            flag.push(value);
            flag
        });
        command.try_get_matches_from(flags).err().map(|error| reason(&error))
    }

    /// Returns what the setting is.
    pub(super) fn meaning(&self) -> String {
        self.help().0
    }

    /// Returns what holds if nobody says otherwise.
    #[cfg(test)]
    pub(super) fn default(&self) -> Option<String> {
        let given = self.arg.get_default_values();
        let given: Vec<_> = given.iter().map(|value| value.to_string_lossy()).collect();
        if given.is_empty() { self.help().1 } else { Some(given.join(" ")) }
    }

    /// Splits a default that the help tells in words from the rest of it.
    fn help(&self) -> (String, Option<String>) {
        let help = self.arg.get_help().map(ToString::to_string).unwrap_or_default();
        match help.split_once(" [default: ") {
            Some((meaning, rest)) => {
                (meaning.to_owned(), Some(rest.trim_end_matches(']').to_owned()))
            }
            None => (help, None),
        }
    }

    /// Says what is allowed.
    pub(super) fn hint(&self) -> String {
        format!("{} is: {}", self.key, self.meaning())
    }
}

/// Returns what is wrong with a value, without the words about flags around it.
fn reason(error: &clap::Error) -> String {
    if let Some(ContextValue::Strings(allowed)) = error.get(ContextKind::ValidValue)
        && !allowed.is_empty()
    {
        let mut reason = format!("it must be one of {}", allowed.join(", "));
        if let Some(ContextValue::String(near)) = error.get(ContextKind::SuggestedValue) {
            reason.push_str(&format!("; did you mean `{near}`?"));
        }
        return reason;
    }
    match (error.kind(), error.source()) {
        (ErrorKind::ValueValidation, Some(source)) => source.to_string(),
        (ErrorKind::InvalidValue, _) => "it must not be empty".to_owned(),
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        }
    }
}
