//! The command line, with what the environment and `ledger.toml` add to it.
//!
//! A flag beats the environment, which beats the file, which beats the default.
//! All four are one thing: clap's own definition of a verb. An option with a
//! variable is a setting; its key in the file is its long flag with `_` for `-`.
//! What the file says becomes the option's default before the command line is
//! read, so that nothing is parsed in two ways. To add a **setting**, give the
//! option of `serve` or `agent` an `env`, and let the test write the manual.

mod file;
#[cfg(test)]
mod manual;
mod setting;

use crate::cli::Cli;
use crate::failure::Failure;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};
use file::{File, Origin};
use setting::Setting;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The verbs that read the file, each a table of its own name.
const VERBS: [&str; 2] = ["serve", "agent"];
/// The variable that holds the token itself, which beats a token's file that
/// `ledger.toml` names.
const TOKEN_VARIABLE: &str = "LEDGER_TOKEN";

/// A setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effective {
    pub(crate) key: String,
    /// None where nothing was said.
    pub(crate) value: Option<String>,
    /// `default`, `ledger.toml:12`, `LEDGER_LISTEN` or `--listen`.
    pub(crate) from: String,
}

/// Reads command line, environment and file. As with [`clap::Parser::parse`], a
/// wrong command line and a question for help end the program here.
pub(crate) fn parse() -> Result<Cli, Failure> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let command = Cli::command();
    let cli = match Asked::of(&command, &args) {
        Some(asked) => with_settings(command, &args, &asked)?,
        None => finish(command, &args, None),
    };
    cli.or_else(|error| error.exit())
}

type Read = Result<Cli, clap::Error>;

fn with_settings(command: Command, args: &[OsString], asked: &Asked) -> Result<Read, Failure> {
    let file = match find_file(asked)? {
        Some(path) => file::read(&path, &tables(&command))?,
        None => File::default(),
    };
    let settings = setting::of(&command, asked.verb);
    check_variables(&settings, asked)?;
    let origins = file.origins(asked.verb);
    let command = command.mut_subcommand(asked.verb, |verb| {
        settings.iter().fold(verb, |verb, setting| {
            let origin = origins.get(&setting.key).filter(|_| !is_beaten(setting));
            verb.mut_arg(&setting.id, |arg| as_is_said(arg, setting, origin))
        })
    });
    Ok(finish(command, args, Some((&settings, origins))))
}

/// Makes an option what environment and file say of it.
fn as_is_said(mut arg: Arg, setting: &Setting, origin: Option<&Origin>) -> Arg {
    if variable(&setting.variable).is_none() {
        arg = arg.env(None::<&'static str>);
    }
    match origin {
        // To clap, a default is no value that is there.
        Some(origin) => arg.required(false).default_values(&origin.values),
        None => arg,
    }
}

/// Whether a variable beats what the file says, beside the setting's own.
fn is_beaten(setting: &Setting) -> bool {
    setting.key == "token_file" && variable(TOKEN_VARIABLE).is_some()
}

/// An empty variable counts as none.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The verb that is asked for, and what of its options stands on the command line.
struct Asked {
    verb: &'static str,
    matches: ArgMatches,
}

impl Asked {
    /// Looks at a command line that may be wrong: that is found out later. None if
    /// it is for help or for a verb without settings.
    fn of(command: &Command, args: &[OsString]) -> Option<Self> {
        let matches = command.clone().ignore_errors(true).try_get_matches_from(args).ok()?;
        let (name, matches) = matches.subcommand()?;
        let verb = VERBS.into_iter().find(|verb| *verb == name)?;
        Some(Self { verb, matches: matches.clone() })
    }

    fn says(&self, id: &str) -> bool {
        self.matches.value_source(id) == Some(ValueSource::CommandLine)
    }
}

/// The settings of each table of the file.
fn tables(command: &Command) -> BTreeMap<&'static str, Vec<Setting>> {
    VERBS.into_iter().map(|verb| (verb, setting::of(command, verb))).collect()
}

/// Returns the file to read: the one that is named, or the usual one if it is there.
fn find_file(asked: &Asked) -> Result<Option<PathBuf>, Failure> {
    let flag = asked.says("config").then(|| asked.matches.get_one::<PathBuf>("config"));
    let flag = flag.flatten().cloned();
    let named = flag.or_else(|| variable("LEDGER_CONFIG").map(PathBuf::from));
    if named.is_some() {
        return Ok(named);
    }
    let Some(usual) = usual_file() else { return Ok(None) };
    match usual.try_exists() {
        Ok(there) => Ok(there.then_some(usual)),
        Err(error) => Err(file::unreadable(&usual, error)),
    }
}

/// Refuses what a variable says in its own name: clap would speak of the flag.
fn check_variables(settings: &[Setting], asked: &Asked) -> Result<(), Failure> {
    for setting in settings.iter().filter(|setting| !asked.says(&setting.id)) {
        let Some(value) = variable(&setting.variable) else { continue };
        if file::is_token(&value.to_string_lossy()) {
            let name = &setting.variable;
            return Err(Failure::usage(format!(
                "{name} holds a token, which is none of its values"
            ))
            .hint("set LEDGER_TOKEN, or put the token into a file and name that"));
        }
        if let Some(why) = setting.refuses(std::slice::from_ref(&value)) {
            let (name, shown) = (&setting.variable, Path::new(&value).display());
            return Err(Failure::usage(format!("{name}: invalid value `{shown}`: {why}"))
                .hint(setting.hint()));
        }
    }
    Ok(())
}

/// The settings of a verb, and where the file says what of them.
type Known<'a> = (&'a [Setting], &'a BTreeMap<String, Origin>);

fn finish(mut command: Command, args: &[OsString], known: Option<Known<'_>>) -> Read {
    let matches = command.try_get_matches_from_mut(args)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|e| e.format(&mut command))?;
    if let (Some(known), Some((_, matches))) = (known, matches.subcommand()) {
        cli.settle(effective(known, matches));
    }
    Ok(cli)
}

fn effective((settings, origins): Known<'_>, matches: &ArgMatches) -> Vec<Effective> {
    let show = |setting: &Setting| {
        let raw = matches.get_raw(&setting.id);
        let words = raw.map(|values| values.map(OsStr::to_string_lossy).collect::<Vec<_>>());
        let value = words.map(|words| words.join(" "));
        let from = match matches.value_source(&setting.id) {
            Some(ValueSource::CommandLine) => format!("--{}", setting.flag),
            Some(ValueSource::EnvVariable) => setting.variable.clone(),
            Some(ValueSource::DefaultValue) => match origins.get(&setting.key) {
                Some(origin) => origin.place.clone(),
                None => "default".to_owned(),
            },
            _ => "default".to_owned(),
        };
        Effective { key: setting.key.clone(), value, from }
    };
    settings.iter().map(show).collect()
}

/// Returns where the file lies by the custom of the system.
fn usual_file() -> Option<PathBuf> {
    file_of(
        rustix::process::geteuid().is_root(),
        std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from),
        std::env::home_dir(),
    )
}

/// A relative XDG_CONFIG_HOME is to be ignored, says the XDG base directory specification.
fn file_of(root: bool, config: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    if root {
        return Some(PathBuf::from("/etc/ledger/ledger.toml"));
    }
    let config = config.filter(|config| config.is_absolute());
    let home = home.filter(|home| home.is_absolute());
    Some(config.or_else(|| Some(home?.join(".config")))?.join("ledger/ledger.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_lies_where_the_system_keeps_such_files() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(file_of(true, path("/c"), path("/home/a")), path("/etc/ledger/ledger.toml"));
        assert_eq!(file_of(false, path("/c"), path("/home/a")), path("/c/ledger/ledger.toml"));
        let home = path("/home/a/.config/ledger/ledger.toml");
        assert_eq!(file_of(false, path("c"), path("/home/a")), home);
        assert_eq!(file_of(false, None, None), None);
    }
}
