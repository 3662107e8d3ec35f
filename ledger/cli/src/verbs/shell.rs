//! `ledger completions` and `ledger man`: what other programs read of the command line.

use crate::cli::Cli;
use crate::failure::{Exit, Failure, Outcome};
use crate::terminal::note;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  ledger completions bash > ~/.local/share/bash-completion/completions/ledger
  ledger completions zsh > \"${fpath[1]}/_ledger\"
  ledger completions fish > ~/.config/fish/completions/ledger.fish
  eval \"$(ledger completions bash)\"";

const MAN_EXAMPLES: &str = "\
Examples:
  ledger man | man -l -
  ledger man --out ~/.local/share/man/man1

With --out every verb has a page of its own: ledger.1, ledger-serve.1, ledger-token-create.1 and so on.";

/// Print the completions of a shell
#[derive(Args, Debug)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Print the manual page, or write those of all verbs into a folder
#[derive(Args, Debug)]
#[command(after_help = MAN_EXAMPLES)]
pub(crate) struct Manual {
    /// The folder for the pages; it is made if need be
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Completions {
    pub(crate) fn run(self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "ledger", &mut script);
        io::stdout().lock().write_all(&script)?;
        Ok(Exit::Done)
    }
}

impl Manual {
    pub(crate) fn run(self) -> Outcome {
        // The verb `help` is none of ours.
        let mut program = Cli::command().disable_help_subcommand(true);
        let Some(folder) = self.out else {
            let (_, page) = page(program)?;
            io::stdout().lock().write_all(page.as_bytes())?;
            return Ok(Exit::Done);
        };
        // Every verb gets its full name and the options that it shares.
        program.build();
        let shown = folder.display();
        let written = fs::create_dir_all(&folder).and_then(|()| write(program, &folder));
        written.map_err(|e| {
            Failure::from(e).context(format!("the pages cannot be written to {shown}"))
        })?;
        note(format!("the manual pages are in {shown}"));
        Ok(Exit::Done)
    }
}

fn write(verb: Command, folder: &Path) -> io::Result<()> {
    for verb in verb.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned() {
        write(verb, folder)?;
    }
    let (name, page) = page(verb)?;
    fs::write(folder.join(name), page)
}

/// Returns the name of a page's file, and the page.
fn page(verb: Command) -> io::Result<(String, String)> {
    let man = Man::new(verb);
    let mut page = Vec::new();
    man.render(&mut page)?;
    let mut ascii = String::with_capacity(page.len());
    // troff reads bytes; only some of what calls it knows of UTF-8.
    for c in String::from_utf8_lossy(&page).chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            let _ = write!(ascii, "\\[u{:04X}]", u32::from(c));
        }
    }
    Ok((man.get_filename(), ascii))
}
