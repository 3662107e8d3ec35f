//! How the demo looks: command lines, and below each, a little further in and
//! quieter, what it said. Broken to the terminal's width; whole where it is piped.

use crate::terminal::clean;
use comfy_table::Table;
use std::io::{self, IsTerminal};

/// Below a heading.
pub(crate) const INDENT: &str = "   ";
/// Below a command line.
const OUTPUT_INDENT: &str = "     ";
/// The narrowest that lines are broken to.
const WIDTH_MIN: usize = 32;
/// The widest that sentences are.
const WIDTH_MAX: usize = 100;
/// Rows that one line of a program's output may take on a terminal.
const OUTPUT_ROWS_MAX: usize = 2;
/// Characters of a hash that are shown on a terminal.
const HASH_CHARS: usize = 6;

/// What a place can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Columns; none where lines are not for a terminal.
    pub(crate) width: Option<usize>,
    pub(crate) colour: bool,
}

/// Meanings that have a look of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    Heading,
    Command,
    Quiet,
    Name,
    Plain,
}

impl Look {
    /// Finds out what stdout can show.
    pub(crate) fn of_stdout() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let terminal = io::stdout().is_terminal();
        let width = Table::new().width().map(usize::from).filter(|_| terminal);
        Self {
            width: width.map(|w| w.max(WIDTH_MIN)),
            colour: terminal && !dumb && !is_set("NO_COLOR"),
        }
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Heading => "1",
            Tone::Command => "36",
            Tone::Quiet => "2",
            Tone::Name => "1;34",
            Tone::Plain => return text.to_owned(),
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Returns a sentence, broken into lines.
    pub(crate) fn sentence(self, text: &str) -> Vec<String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let width = self.width.map(|width| width.min(WIDTH_MAX));
        fill(&words, width.map(|width| width - INDENT.len()))
            .iter()
            .map(|row| format!("{INDENT}{row}"))
            .collect()
    }

    /// Returns a command line that can be typed as it is shown.
    pub(crate) fn command(self, words: &[String]) -> Vec<String> {
        // Room for the prompt, and for the backslash that lets a line go on.
        let room = self.width.map(|width| width - INDENT.len() - 2 - 2);
        let rows = fill(&with_values(words), room);
        let last = rows.len().saturating_sub(1);
        let row = |(n, row): (usize, &String)| {
            let prompt = if n == 0 { self.paint(Tone::Quiet, "$") } else { " ".to_owned() };
            let more = if n == last { "" } else { " \\" };
            format!("{INDENT}{prompt} {}", self.paint(Tone::Command, &format!("{row}{more}")))
        };
        rows.iter().enumerate().map(row).collect()
    }

    /// Returns a line of a program's output. On a terminal, where somebody
    /// looks on and copies nothing from it, long names are shortened.
    pub(crate) fn output(self, line: &str, folder: &str) -> Vec<String> {
        let line = clean(line);
        let Some(width) = self.width else {
            return vec![format!("{OUTPUT_INDENT}{line}").trim_end().to_owned()];
        };
        let line = shortened(without_time(&line), folder);
        let mut rows = broken(&line, width - OUTPUT_INDENT.len());
        if rows.len() > OUTPUT_ROWS_MAX {
            rows.truncate(OUTPUT_ROWS_MAX);
            if let Some(last) = rows.last_mut() {
                last.pop();
                last.push('…');
            }
        }
        let quiet = |row: &String| format!("{OUTPUT_INDENT}{}", self.paint(Tone::Quiet, row));
        rows.iter().map(quiet).collect()
    }
}

impl Look {
    /// Breaks a text to what is left of a row after so many columns.
    pub(crate) fn broken(self, text: &str, before: usize) -> Vec<String> {
        match self.width {
            Some(width) => broken(text, width.saturating_sub(before).max(WIDTH_MIN / 2)),
            None => vec![text.to_owned()],
        }
    }
}

/// Joins options to their values, and the last word to what follows it, so that
/// no row ends between them.
fn with_values(words: &[String]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for word in words {
        match joined.last_mut() {
            Some(last) if word == "&" || (is_option(last) && !word.starts_with('-')) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => joined.push(word.clone()),
        }
    }
    joined
}

fn is_option(word: &str) -> bool {
    word.starts_with("--") && !word.contains(' ')
}

/// Joins words to rows that are as long as there is room.
fn fill(words: &[String], room: Option<usize>) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for word in words {
        let length = |text: &str| text.chars().count();
        match rows.last_mut() {
            Some(row) if room.is_none_or(|room| length(row) + 1 + length(word) <= room) => {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push(word.clone()),
        }
    }
    rows
}

/// Breaks a line at the last space that is in reach, or where it must.
fn broken(line: &str, room: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut rest: Vec<char> = line.chars().collect();
    while rest.len() > room {
        let space = (room / 2..=room).rev().find(|at| rest.get(*at) == Some(&' '));
        let tail = rest.split_off(space.unwrap_or(room));
        rows.push(rest.iter().collect::<String>().trim_end().to_owned());
        // What goes on is set in, so that a new line is told from it.
        rest = "  ".chars().chain(tail.into_iter().skip_while(|c| *c == ' ')).collect();
    }
    rows.push(rest.into_iter().collect());
    rows
}

/// Returns a line of a program's own log without its time and level, if that
/// is the usual one.
fn without_time(line: &str) -> &str {
    match line.split_once("Z  INFO ") {
        Some((time, rest)) if time.starts_with("20") && !time.contains(' ') => rest,
        _ => line,
    }
}

/// Shortens what nobody reads: hashes of store paths, ids, and the folder's path.
fn shortened(line: &str, folder: &str) -> String {
    let line = line.replace(folder, "…");
    let mut short = String::with_capacity(line.len());
    let mut word = String::new();
    let flush = |word: &mut String, short: &mut String| {
        let text = std::mem::take(word);
        match is_hash(&text) {
            Some(Hash::Store) => {
                short.extend(text.chars().take(HASH_CHARS));
                short.push('…');
                short.extend(text.chars().skip(STORE_HASH_CHARS));
            }
            Some(Hash::Id) => {
                short.push('…');
                short.extend(text.chars().skip(text.chars().count() - HASH_CHARS));
            }
            None => short.push_str(&text),
        }
    };
    for c in line.chars() {
        if c.is_ascii_alphanumeric() || c == '-' {
            word.push(c);
        } else {
            flush(&mut word, &mut short);
            short.push(c);
        }
    }
    flush(&mut word, &mut short);
    short
}

/// Characters of the hash in a store path.
const STORE_HASH_CHARS: usize = 32;

enum Hash {
    Store,
    Id,
}

fn is_hash(word: &str) -> Option<Hash> {
    let base32 = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    if uuid_like(word) {
        return Some(Hash::Id);
    }
    let (hash, rest) = word.split_at_checked(STORE_HASH_CHARS)?;
    (hash.chars().all(base32) && rest.starts_with('-')).then_some(Hash::Store)
}

fn uuid_like(word: &str) -> bool {
    let parts: Vec<&str> = word.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.concat().chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: Look = Look { width: None, colour: false };
    const STORE_PATH: &str = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web";

    fn terminal(width: usize) -> Look {
        Look { width: Some(width), colour: false }
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_is_piped_is_whole_and_plain() {
        let line = format!(
            "copying path '{STORE_PATH}' from 'file:///tmp/demo/cache'…{}",
            "x".repeat(200)
        );
        assert_eq!(PIPE.output(&line, "/tmp/demo"), [format!("     {line}")]);
        assert_eq!(PIPE.command(&words("ledger agents")), ["   $ ledger agents"]);
        assert_eq!(PIPE.sentence("one two"), ["   one two"]);
        assert_eq!(PIPE.paint(Tone::Heading, "x"), "x");
    }

    #[test]
    fn a_command_goes_on_after_a_backslash() {
        let shown = terminal(30).command(&words("ledger activate v1.json --description 'x'"));
        assert_eq!(shown, ["   $ ledger activate v1.json \\", "     --description 'x'"]);
        assert!(shown.iter().all(|row| row.chars().count() <= 30));
    }

    #[test]
    fn an_option_keeps_its_value() {
        let joined = with_values(&words("x a --b c --d --e f g &"));
        assert_eq!(joined, ["x", "a", "--b c", "--d", "--e f", "g &"]);
    }

    #[test]
    fn output_on_a_terminal_is_short() {
        let line = format!("copying path '{STORE_PATH}' from 'file:///tmp/demo/cache'");
        assert_eq!(
            terminal(80).output(&line, "/tmp/demo"),
            ["     copying path '/nix/store/0c5b8v…-web' from 'file://…/cache'"]
        );
        let line = "deployment 01a210dc-047d-77de-9a8d-c39e6a4c7d4f started";
        assert_eq!(terminal(80).output(line, "/tmp"), ["     deployment …4c7d4f started"]);
        let line = "2026-11-25T04:14:27.003252Z  INFO connected to a server";
        assert_eq!(terminal(80).output(line, "/tmp"), ["     connected to a server"]);
        let line = "2026-11-25T04:14:27.003252Z  WARN no Z  INFO of it";
        assert_eq!(terminal(80).output(line, "/tmp"), [format!("     {line}")]);
        let long = "word ".repeat(40);
        let rows = terminal(40).output(&long, "/tmp");
        assert_eq!(rows.len(), OUTPUT_ROWS_MAX);
        assert!(rows.iter().all(|row| row.chars().count() <= 40), "{rows:?}");
        assert!(rows[1].ends_with('…'));
    }

    #[test]
    fn a_line_without_spaces_is_broken_where_it_must() {
        assert_eq!(broken("abcdefgh", 5), ["abcde", "  fgh"]);
        assert_eq!(broken("abc defgh", 5), ["abc", "  def", "  gh"]);
        assert_eq!(broken("", 5), [""]);
    }

    #[test]
    fn colour_says_nothing_that_words_do_not() {
        let colour = Look { width: Some(80), colour: true };
        for (painted, plain) in [
            (
                colour.command(&words("ledger agents")),
                terminal(80).command(&words("ledger agents")),
            ),
            (colour.output("a", "/tmp"), terminal(80).output("a", "/tmp")),
        ] {
            assert_ne!(painted, plain);
            let stripped: Vec<String> = painted.iter().map(|row| clean(row)).collect();
            assert_eq!(stripped, plain);
        }
    }
}
