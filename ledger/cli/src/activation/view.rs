//! Shows an activation: lines for people, or JSON lines for programs.

use super::bars;
use super::item::{Item, Status, Summary};
use super::progress::Progress;
use super::text;
use crate::screen::{self, Bottom};
use crate::terminal::{self, Format, clean, note};
use ledger_core::Timestamp;
use std::io::{self, IsTerminal, Write};

/// Characters up to which the agents' names are aligned.
const NAME_WIDTH_MAX: usize = 32;

/// Where an activation is shown. Data goes to stdout, the rest to stderr.
///
/// When whoever reads stdout goes away, the rest is still followed: the exit
/// code is worth something to others.
pub(crate) struct View {
    format: Format,
    width: usize,
    gone: bool,
    /// What is drawn at the bottom of a terminal, and since when.
    bottom: Option<(Bottom, Timestamp)>,
}

impl View {
    /// Makes a view for agents with names of at most so many characters.
    pub(crate) fn new(format: Format, longest_name: usize) -> Self {
        Self { format, width: longest_name.min(NAME_WIDTH_MAX), gone: false, bottom: None }
    }

    /// Begins to draw how it all stands at the bottom, if there is a terminal for people.
    pub(crate) fn begin_to_draw(&mut self, progress: &Progress, now: Timestamp) {
        if self.format == Format::Text && screen::may_draw() {
            self.bottom = Some((Bottom::begin(), now));
            self.draw(progress, now);
        }
    }

    /// Returns whether that is drawn.
    pub(crate) fn draws(&self) -> bool {
        self.bottom.is_some()
    }

    /// Draws it anew.
    pub(crate) fn draw(&mut self, progress: &Progress, now: Timestamp) {
        if let Some((bottom, begun)) = &mut self.bottom {
            bottom.draw(&bars::lines(progress, *begun, now, terminal::columns()));
        }
    }

    /// Wipes it away.
    pub(crate) fn end_to_draw(&mut self) {
        self.bottom = None;
    }

    /// Shows items, in their order.
    pub(crate) fn show(&mut self, items: &[Item]) -> io::Result<()> {
        for item in items {
            match self.format {
                Format::Json => self.show_json(item)?,
                Format::Text => self.show_text(item)?,
            }
        }
        Ok(())
    }

    fn show_json(&mut self, item: &Item) -> io::Result<()> {
        let line = serde_json::to_string(item)?;
        self.print(&line)
    }

    fn show_text(&mut self, item: &Item) -> io::Result<()> {
        let lines = match item {
            Item::Output(output) => {
                let (agent, width, line) = (&output.agent, self.width, clean(&output.line));
                return self.print(format!("{agent:<width$} | {line}").trim_end());
            }
            Item::Summary(summary) => return self.summary(summary),
            Item::Requested(requested) => text::requested(requested),
            Item::Status(status) => painted(status),
        };
        lines.iter().for_each(note);
        Ok(())
    }

    fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        let text = text::summary(summary, io::stdout().is_terminal());
        self.print(text.trim_end())
    }

    /// Tells what is waited for.
    pub(crate) fn waiting(&self, progress: &Progress, now: Timestamp) {
        if let Some(line) = text::waiting(progress, now) {
            note(line);
        }
    }

    fn print(&mut self, line: &str) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        match screen::above(|| writeln!(io::stdout().lock(), "{line}")) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.gone = true,
            other => other?,
        }
        Ok(())
    }
}

/// Returns what happened, with the word for a good or a bad end in colour. The
/// stream takes that out where it is not wanted.
fn painted(status: &Status) -> Vec<String> {
    let mut lines = text::status(status);
    let word = status.status.as_str();
    if let (Some(colour), Some(line)) = (terminal::colour_of(status.status), lines.first_mut()) {
        *line = line.replacen(&format!(" {word}"), &format!(" {colour}{word}{colour:#}"), 1);
    }
    lines
}
