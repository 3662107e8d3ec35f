//! `ledger.toml`: what is read, and what is refused with its place.

use crate::config::setting::Setting;
use crate::failure::{Exit, Failure};
use ledger_core::rights::TokenKind;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Bytes of a file: many times one with every setting in it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How much alike two words are that were meant to be the same, from 0 to 1.
const NEAR: f64 = 0.75;
/// Never a key: every program that reads the file would read the secret.
const TOKEN: &str = "token";

/// What a file says, by table and key.
#[derive(Debug, Default)]
pub(super) struct File(BTreeMap<String, BTreeMap<String, Origin>>);

/// What a file says of one setting, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) values: Vec<OsString>,
    /// Like `ledger.toml:12`.
    pub(super) place: String,
}

static NOTHING: BTreeMap<String, Origin> = BTreeMap::new();

impl File {
    /// Returns what the verb's table says.
    pub(super) fn origins(&self, verb: &str) -> &BTreeMap<String, Origin> {
        self.0.get(verb).unwrap_or(&NOTHING)
    }
}

/// The settings that each table may have.
type Tables = BTreeMap<&'static str, Vec<Setting>>;

/// Reads a file, and refuses all of it if anything is wrong with it.
pub(super) fn read(path: &Path, tables: &Tables) -> Result<File, Failure> {
    let mut text = String::new();
    let opened = std::fs::File::open(path).map_err(|error| unreadable(path, error))?;
    let read = opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| unreadable(path, error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let error = io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes"));
        return Err(unreadable(path, error));
    }
    Reader { path, text: &text, tables }.read()
}

/// The error for a file that cannot be read at all.
pub(super) fn unreadable(path: &Path, error: io::Error) -> Failure {
    Failure::from(error)
        .context(format!("the configuration file {} cannot be read", path.display()))
        .exit_as(Exit::Usage)
}

/// A key and its value, with their places.
type Entry<'a> = (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>);

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    tables: &'a Tables,
}

impl Reader<'_> {
    fn read(&self) -> Result<File, Failure> {
        // Only the message: what toml shows around it is the line, with what is in it.
        let root = DeTable::parse(self.text).map_err(|error| {
            let what = format!("this is no TOML: {}", error.message());
            self.wrong(error.span().unwrap_or_default(), &what)
        })?;
        let mut file = File::default();
        for (key, value) in in_order(root.get_ref()) {
            let name = key.get_ref().as_ref();
            let Some((table, settings)) = self.tables.get_key_value(name) else {
                return Err(self.no_table(key.span(), name));
            };
            let DeValue::Table(entries) = value.get_ref() else {
                return Err(
                    self.wrong(value.span(), &format!("{table} must be a table: [{table}]"))
                );
            };
            let origins = file.0.entry(name.to_owned()).or_default();
            for entry in in_order(entries) {
                let (key, origin) = self.entry(table, settings, entry)?;
                origins.insert(key, origin);
            }
        }
        Ok(file)
    }

    fn entry(
        &self,
        table: &str,
        settings: &[Setting],
        (key, value): Entry<'_>,
    ) -> Result<(String, Origin), Failure> {
        let name = key.get_ref().as_ref();
        let Some(setting) = settings.iter().find(|setting| setting.key == name) else {
            return Err(self.no_key(key.span(), table, settings, name));
        };
        let values = self.values(setting, value)?;
        let given: Vec<OsString> = values.iter().map(|(_, text)| OsString::from(text)).collect();
        for ((span, text), given) in values.iter().zip(&given) {
            if is_token(text) {
                return Err(self.no_token(span.clone()));
            }
            if let Some(why) = setting.refuses(std::slice::from_ref(given)) {
                let wrong = format!("{name} in [{table}] cannot be {text:?}: {why}");
                return Err(self.wrong(span.clone(), &wrong).hint(setting.hint()));
            }
        }
        let file = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy();
        let (line, _) = place(self.text, key.span().start);
        Ok((name.to_owned(), Origin { values: given, place: format!("{file}:{line}") }))
    }

    /// Returns the texts of a value: one, or those of a list.
    fn values(
        &self,
        setting: &Setting,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<(Range<usize>, String)>, Failure> {
        let (wanted, items) = match (setting.is_list, value.get_ref()) {
            (true, DeValue::Array(items)) => ("a list of texts", items.iter().collect()),
            (true, _) => ("a list of texts", Vec::new()),
            (false, _) => ("a text in quotes", vec![value]),
        };
        let wrong = |value: &Spanned<DeValue<'_>>| {
            let found = value.get_ref().type_str();
            let key = &setting.key;
            self.wrong(value.span(), &format!("{key} must be {wanted}, and this is: {found}"))
                .hint(setting.hint())
        };
        if setting.is_list && !value.get_ref().is_array() {
            return Err(wrong(value));
        }
        let text = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
            DeValue::String(text) => Ok((item.span(), text.to_string())),
            _ => Err(wrong(item)),
        };
        items.into_iter().map(text).collect()
    }

    fn no_table(&self, span: Range<usize>, name: &str) -> Failure {
        let names: Vec<&str> = self.tables.keys().copied().collect();
        let of = |(table, settings): (&&str, &Vec<Setting>)| {
            settings.iter().any(|setting| setting.key == name).then(|| format!("[{table}]"))
        };
        let homes: Vec<String> = self.tables.iter().filter_map(of).collect();
        if name == TOKEN {
            return self.no_token(span);
        }
        let failure = self.wrong(span, &format!("`{name}` is no table of this file"));
        if !homes.is_empty() {
            return failure.hint(format!("put it under {}", homes.join(" or ")));
        }
        failure.hint(meant(name, &names, "the tables are"))
    }

    fn no_key(&self, span: Range<usize>, table: &str, settings: &[Setting], name: &str) -> Failure {
        if name == TOKEN {
            return self.no_token(span);
        }
        let keys: Vec<&str> = settings.iter().map(|setting| setting.key.as_str()).collect();
        self.wrong(span, &format!("[{table}] has no key `{name}`")).hint(meant(
            name,
            &keys,
            &format!("[{table}] takes"),
        ))
    }

    fn no_token(&self, span: Range<usize>) -> Failure {
        self.wrong(span, "a token does not stand in this file, which others may read").hint(
            "put it into a file of its own that only its owner may read, and name that: token_file = \"…\" under [agent]; or set LEDGER_TOKEN",
        )
    }

    fn wrong(&self, span: Range<usize>, what: &str) -> Failure {
        let (line, column) = place(self.text, span.start);
        Failure::usage(format!("{}:{line}:{column}: {what}", self.path.display()))
    }
}

/// Returns whether the text is a token, whatever it was taken for.
pub(super) fn is_token(text: &str) -> bool {
    TokenKind::ALL.iter().any(|kind| text.trim_start().starts_with(kind.prefix()))
}

/// The entries of a table as they stand in the file, so that the first mistake is
/// the one that is told.
fn in_order<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// Returns the word that was meant, if one is near, and all that there are.
fn meant(word: &str, words: &[&str], introduction: &str) -> String {
    let near = words.iter().map(|known| (strsim::jaro_winkler(word, known), known));
    let near = near.filter(|(likeness, _)| *likeness > NEAR).max_by(|a, b| a.0.total_cmp(&b.0));
    let all = words.join(", ");
    match near {
        Some((_, near)) => format!("did you mean `{near}`? {introduction} {all}"),
        None => format!("{introduction} {all}"),
    }
}

/// Returns line and column of a byte, both from 1; columns count characters.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
