//! Shows an activation: lines for people, or JSON lines for programs.

use super::item::{Item, Summary};
use super::progress::Progress;
use super::text;
use crate::terminal::{Format, clean, note};
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
}

impl View {
    /// Makes a view for agents with names of at most so many characters.
    pub(crate) fn new(format: Format, longest_name: usize) -> Self {
        Self { format, width: longest_name.min(NAME_WIDTH_MAX), gone: false }
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
            Item::Status(status) => text::status(status),
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
        match writeln!(io::stdout().lock(), "{line}") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.gone = true,
            other => other?,
        }
        Ok(())
    }
}
