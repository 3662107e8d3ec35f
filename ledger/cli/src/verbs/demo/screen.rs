//! Prints to stdout what the story shows, each thing apart from the one before.

use super::look::{INDENT, Look, Tone};
use std::io::{self, Write};

/// What was shown last, which says where a blank line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Nothing,
    Heading,
    Sentence,
    Command,
    Output,
}

/// Prints to stdout.
#[derive(Debug)]
pub(crate) struct Screen {
    look: Look,
    folder: String,
    step: u32,
    last: Last,
}

impl Screen {
    pub(crate) fn new(look: Look, folder: String) -> Self {
        Self { look, folder, step: 0, last: Last::Nothing }
    }

    /// Goes on below what was shown already.
    pub(crate) fn resumed(look: Look, folder: String) -> Self {
        Self { last: Last::Output, ..Self::new(look, folder) }
    }

    pub(crate) fn look(&self) -> Look {
        self.look
    }

    /// Begins something, and returns the number that it shows.
    pub(crate) fn step(&mut self, text: &str) -> io::Result<u32> {
        self.step += 1;
        self.heading(&format!("{}  {text}", self.step))?;
        Ok(self.step)
    }

    /// Begins something without a number.
    pub(crate) fn heading(&mut self, text: &str) -> io::Result<()> {
        self.part(Last::Heading)?;
        print(&[self.look.paint(Tone::Heading, text)])
    }

    /// Says something in a sentence or two.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        self.part(Last::Sentence)?;
        print(&self.look.sentence(text))
    }

    /// Shows a command line.
    pub(crate) fn command(&mut self, words: &[String]) -> io::Result<()> {
        self.part(Last::Command)?;
        print(&self.look.command(words))
    }

    /// Shows a line that a program said.
    pub(crate) fn output(&mut self, line: &str) -> io::Result<()> {
        self.part(Last::Output)?;
        print(&self.look.output(line, &self.folder))
    }

    /// Shows lines as they are, apart from what came before.
    pub(crate) fn lines(&mut self, lines: &[String]) -> io::Result<()> {
        self.part(Last::Sentence)?;
        print(lines)
    }

    /// Asks for something that is typed on the same row.
    pub(crate) fn ask(&mut self, text: &str) -> io::Result<()> {
        self.part(Last::Sentence)?;
        let mut out = io::stdout().lock();
        write!(out, "{INDENT}{}", self.look.paint(Tone::Quiet, text))?;
        out.flush()
    }

    /// Leaves a row blank where something new begins.
    fn part(&mut self, next: Last) -> io::Result<()> {
        let last = std::mem::replace(&mut self.last, next);
        let together = matches!(
            (last, next),
            (Last::Nothing, _) | (_, Last::Output) | (Last::Command, Last::Command)
        );
        if together { Ok(()) } else { print(&[String::new()]) }
    }
}

fn print(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    out.flush()
}
