//! A command line as it is shown, which is also what is run.
//!
//! Words are written as they would be typed in the demo's folder. Two forms
//! stand for something else, as in a shell: `$PWD` for that folder, and a word
//! `$(cat FILE)` for what the file holds.

use crate::verbs::demo::folder::Folder;
use std::ffi::OsString;
use std::fs;
use std::io;

/// The program that the demo is about.
const LEDGER: &str = "ledger";

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    env: Vec<(String, String)>,
    program: String,
    args: Vec<String>,
    without: Vec<String>,
    stdout: Option<String>,
    background: bool,
}

impl Line {
    pub(crate) fn new<S: Into<String>>(program: &str, args: impl IntoIterator<Item = S>) -> Self {
        Self {
            env: Vec::new(),
            program: program.to_owned(),
            args: args.into_iter().map(Into::into).collect(),
            without: Vec::new(),
            stdout: None,
            background: false,
        }
    }

    /// A verb of this program.
    pub(crate) fn ledger<S: Into<String>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::new(LEDGER, args)
    }

    /// With a variable that only this program gets.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Without a variable that was exported: on another machine it would not be
    /// there, and on this one it changes nothing that is seen.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.without.push(name.to_owned());
        self
    }

    pub(crate) fn is_without(&self, name: &str) -> bool {
        self.without.iter().any(|other| other == name)
    }

    /// What it prints goes to a file of the folder.
    pub(crate) fn into_file(mut self, name: &str) -> Self {
        self.stdout = Some(name.to_owned());
        self
    }

    /// It goes on while the demo does.
    pub(crate) fn in_background(mut self) -> Self {
        self.background = true;
        self
    }

    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    pub(crate) fn is_ledger(&self) -> bool {
        self.program == LEDGER
    }

    pub(crate) fn stdout(&self) -> Option<&str> {
        self.stdout.as_deref()
    }

    /// Returns the arguments as the program gets them.
    pub(crate) fn expanded_args(&self, folder: &Folder) -> io::Result<Vec<OsString>> {
        self.args.iter().map(|arg| expand(arg, folder)).collect()
    }

    /// Returns the variables as the program gets them.
    pub(crate) fn expanded_env(&self, folder: &Folder) -> io::Result<Vec<(String, OsString)>> {
        let one = |(name, value): &(String, String)| Ok((name.clone(), expand(value, folder)?));
        self.env.iter().map(one).collect()
    }

    /// Returns the words as they are typed.
    pub(crate) fn words(&self) -> Vec<String> {
        let env = self.env.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let mut words: Vec<String> = env.collect();
        words.push(quoted(&self.program));
        words.extend(self.args.iter().map(|arg| quoted(arg)));
        if let Some(file) = &self.stdout {
            words.push(format!("> {}", quoted(file)));
        }
        if self.background {
            words.push("&".to_owned());
        }
        words
    }

    /// Returns it in short, for a sentence: program, verb, and what it is about.
    pub(crate) fn short(&self) -> String {
        let mut words = vec![self.program.as_str()];
        words.extend(self.args.iter().map(String::as_str).take_while(|arg| !arg.starts_with('-')));
        words.join(" ")
    }
}

/// Returns the words that give a variable to all that comes.
pub(crate) fn export(name: &str, word: &str) -> Vec<String> {
    vec!["export".to_owned(), format!("{name}={}", quoted(word))]
}

/// Returns what a word stands for.
pub(crate) fn expand(word: &str, folder: &Folder) -> io::Result<OsString> {
    if let Some(file) = word.strip_prefix("$(cat ").and_then(|rest| rest.strip_suffix(')')) {
        return Ok(fs::read_to_string(folder.path().join(file))?.trim().into());
    }
    Ok(word.replace("$PWD", &folder.shown()).into())
}

/// Returns a word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else if word.contains('$') {
        format!("\"{word}\"")
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_as_it_is_typed() {
        let line = Line::ledger(["token", "create", "--agent", "web-*"]).into_file("agent-token");
        assert_eq!(line.words().join(" "), "ledger token create --agent 'web-*' > agent-token");
        assert_eq!(line.short(), "ledger token create");
        let line = Line::new("nix", ["copy", "--to", "file://$PWD/cache?secret-key=$PWD/key"])
            .env("NIX_REMOTE", "$PWD/builder")
            .in_background();
        assert_eq!(
            line.words().join(" "),
            r#"NIX_REMOTE="$PWD/builder" nix copy --to "file://$PWD/cache?secret-key=$PWD/key" &"#
        );
        assert_eq!(quoted("$(cat cache.pub)"), "\"$(cat cache.pub)\"");
        assert_eq!((quoted(""), quoted("it's")), ("''".to_owned(), r"'it'\''s'".to_owned()));
    }

    #[test]
    fn what_is_run_is_what_is_shown() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(temporary.path());
        fs::write(folder.path().join("cache.pub"), "demo-1:abc=\n").expect("written");
        let line = Line::new("x", ["$PWD/a?b=$PWD/c", "$(cat cache.pub)", "$HOME"]);
        let here = temporary.path().display();
        let expected = [format!("{here}/a?b={here}/c"), "demo-1:abc=".into(), "$HOME".into()];
        assert_eq!(line.expanded_args(&folder).expect("read"), expected.map(OsString::from));
        assert!(expand("$(cat none)", &folder).is_err());
    }
}
