//! What is printed, and how: data on stdout, everything else on stderr.

use crate::screen::above;
use anstyle::{AnsiColor, Style};
use api_wire::http::DeploymentStatus;
use comfy_table::{ContentArrangement, Table, presets};
use ledger_core::Timestamp;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// The form of what a verb prints: for people, or as the types of the HTTP API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

/// Says something to the user on stderr. That nobody listens there is no failure.
pub(crate) fn note(message: impl AsRef<str>) {
    let _ = above(|| writeln!(anstream::stderr(), "{}", message.as_ref()));
}

/// The colours of an end. Beside them there is always the word; NO_COLOR and its
/// like are heeded by the streams.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// The same for what needs care.
pub(crate) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
/// The same for what went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();

/// Returns the colour of a deployment's status, if it has one.
pub(crate) const fn colour_of(status: DeploymentStatus) -> Option<Style> {
    match status {
        DeploymentStatus::Succeeded => Some(GOOD),
        DeploymentStatus::Failed => Some(BAD),
        DeploymentStatus::Pending
        | DeploymentStatus::Running
        | DeploymentStatus::Superseded
        | DeploymentStatus::Cancelled => None,
    }
}

/// Returns how wide the terminal on stderr is.
pub(crate) fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    // Some terminals do not know their own size.
    size.map(|size| size.ws_col).filter(|columns| *columns > 0).unwrap_or(80).into()
}

/// Prints a line of data.
pub(crate) fn print(line: impl AsRef<str>) -> io::Result<()> {
    above(|| writeln!(io::stdout().lock(), "{}", line.as_ref()))
}

/// Prints a value as JSON, for programs on one line, for a terminal indented.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    above(|| {
        let mut out = io::stdout().lock();
        if io::stdout().is_terminal() {
            serde_json::to_writer_pretty(&mut out, value)?;
        } else {
            serde_json::to_writer(&mut out, value)?;
        }
        out.write_all(b"\n")
    })
}

/// Prints rows under a header. On a terminal, cells wrap to its width.
pub(crate) fn print_table(header: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
    let stdout = io::stdout();
    let table = render_table(header, rows, stdout.is_terminal());
    above(|| write!(stdout.lock(), "{table}"))
}

/// Returns a table without lines: columns two spaces apart.
pub(crate) fn render_table(header: &[&str], rows: Vec<Vec<String>>, wrap: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if wrap {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    }
    table.set_header(header.iter().map(ToString::to_string));
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns text of another machine as it may be shown: without what would
/// steer the terminal, and with what a carriage return would have overwritten
/// left out.
pub(crate) fn clean(text: &str) -> String {
    let text = text.trim_end_matches('\r');
    let text = text.rsplit('\r').next().unwrap_or_default();
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                // A control sequence ends with its first byte from @ to ~.
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\t' | '\n' => shown.push(c),
            c if c.is_control() || is_bidi(c) => {}
            c => shown.push(c),
        }
    }
    shown
}

/// Characters that turn the direction of what follows, and so its meaning.
const fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a moment in UTC to the second.
pub(crate) fn seconds(moment: Timestamp) -> String {
    let text = moment.to_string();
    // RFC 3339 of the years 1 to 9999 has 19 characters before the fraction.
    format!("{}Z", text.get(..19).unwrap_or(&text))
}

/// Returns a moment, or a dash.
pub(crate) fn seconds_or_dash(moment: Option<Timestamp>) -> String {
    moment.map_or_else(dash, seconds)
}

/// Returns what stands for nothing in a table.
pub(crate) fn dash() -> String {
    "-".to_owned()
}

/// Returns the text of a value, or a dash.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(dash, |value| value.to_string())
}

/// Returns the time between two moments: short ones in tenths of a second.
pub(crate) fn took(from: Timestamp, to: Timestamp) -> String {
    let tenths = to.micros().saturating_sub(from.micros()).max(0) / 100_000;
    let seconds = tenths / 10;
    if seconds < 10 {
        format!("{seconds}.{} s", tenths % 10)
    } else if seconds < 60 {
        format!("{seconds} s")
    } else if seconds < 3600 {
        format!("{} min {} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {} min", seconds / 3600, seconds / 60 % 60)
    }
}

/// Returns a size in the largest binary unit that leaves a number above 1.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*size);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_another_machine_cannot_steer_the_terminal() {
        assert_eq!(clean("\u{1b}[31;1mred\u{1b}[0m\u{7}\u{1b}]0;title"), "red]0;title");
        assert_eq!(clean("10%\r50%\r100%\r"), "100%");
        assert_eq!(clean("a\tb\u{202e}c\u{9b}"), "a\tbc");
        assert_eq!(clean("\u{1b}["), "");
    }

    #[test]
    fn moments_and_sizes_are_short() {
        let moment: Timestamp = "2026-03-01T12:00:00.123456Z".parse().expect("valid");
        assert_eq!(seconds(moment), "2026-03-01T12:00:00Z");
        assert_eq!(took(moment, moment.plus_micros(59_999_999)), "59 s");
        assert_eq!(took(moment, moment.plus_micros(61_000_000)), "1 min 1 s");
        assert_eq!(took(moment, moment.plus_micros(3_660_000_000)), "1 h 1 min");
        assert_eq!(took(moment.plus_micros(1), moment), "0.0 s");
        assert_eq!((bytes(1023), bytes(1536)), ("1023 B".to_owned(), "1.5 KiB".to_owned()));
        assert_eq!(bytes(u64::MAX), "17179869183.9 GiB");
    }

    #[test]
    fn a_table_has_columns_and_no_lines() {
        let rows = vec![vec!["web-1".to_owned(), "x".to_owned()], vec!["db".to_owned(), dash()]];
        assert_eq!(
            render_table(&["AGENT", "NOW"], rows, false),
            "AGENT  NOW\nweb-1  x\ndb     -\n"
        );
    }
}
