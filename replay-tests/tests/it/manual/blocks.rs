//! What a page tells to do, read from its source: pure.

/// One block of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// A file to write.
    File { name: String, text: String },
    /// What is typed in a terminal.
    Terminal { name: String, line: usize, steps: Vec<Step> },
}

/// Something typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Command(Command),
    /// Control and C.
    Interrupt,
}

/// A command and what it prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) text: String,
    pub(super) printed: Vec<String>,
}

impl Command {
    /// Whether the page goes on while the command does, once what it shows is there.
    pub(super) fn goes_on(&self) -> bool {
        self.printed.len() > 1 && self.printed.last().is_some_and(|line| line == "…")
    }
}

/// Words that other tools take for a shell's language, where nothing would be run.
const SHELLS: [&str; 4] = ["bash", "sh", "shell", "zsh"];

/// Reads the blocks of a page.
pub(super) fn parse(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let mut words = info.split_whitespace();
        let (language, name) = (words.next().unwrap_or_default(), words.next());
        let mut body = Vec::new();
        loop {
            match lines.next() {
                Some((_, line)) if line.trim_start().starts_with("```") => break,
                Some((_, line)) => body.push(line),
                None => return Err(format!("the block at line {} has no end", number + 1)),
            }
        }
        if SHELLS.contains(&language) {
            return Err(format!(
                "the block at line {} is {language}, which no test runs; make it `console`",
                number + 1
            ));
        }
        match (language, name) {
            ("console", name) => {
                let name = name.unwrap_or("terminal").to_owned();
                let steps = steps(&body).map_err(|e| format!("line {}: {e}", number + 1))?;
                blocks.push(Block::Terminal { name, line: number + 1, steps });
            }
            (_, Some(name)) => {
                let text = body.iter().map(|line| format!("{line}\n")).collect();
                blocks.push(Block::File { name: name.to_owned(), text });
            }
            (_, None) => {}
        }
    }
    Ok(blocks)
}

fn steps(body: &[&str]) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for line in body {
        if let Some(text) = line.strip_prefix("$ ") {
            steps.push(Step::Command(Command { text: text.to_owned(), printed: Vec::new() }));
            continue;
        }
        if *line == "^C" {
            steps.push(Step::Interrupt);
            continue;
        }
        match steps.last_mut() {
            Some(Step::Command(command)) => match line.strip_prefix("> ") {
                Some(more) if command.printed.is_empty() => {
                    command.text.push('\n');
                    command.text.push_str(more);
                }
                _ => command.printed.push((*line).to_owned()),
            },
            _ => return Err(format!("{line:?} was printed by no command")),
        }
    }
    Ok(steps)
}

/// Returns whether what was printed is what the page shows. With `so_far`, more
/// may come.
pub(super) fn is_shown(shown: &[String], printed: &[&str]) -> bool {
    let Some((first, rest)) = shown.split_first() else { return printed.is_empty() };
    if first == "…" {
        return rest.is_empty() || (0..=printed.len()).any(|n| is_shown(rest, &printed[n..]));
    }
    match printed.split_first() {
        Some((line, more)) => is_line(first, line) && is_shown(rest, more),
        None => false,
    }
}

/// Spaces count as one: columns widen with what stands in them.
fn is_line(shown: &str, printed: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, printed) = (words(shown), words(printed));
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[test]
fn a_page_is_read_into_files_and_commands() {
    let page = "# Title\n\n```json deploy.json\n{}\n```\n\n```console server\n$ ledger serve\nlistening on …\n…\n^C\n$ a \\\n> b\n```\n```text\nnothing\n```\n";
    let command = |text: &str, printed: &[&str]| {
        let printed = printed.iter().map(|line| (*line).to_owned()).collect();
        Step::Command(Command { text: text.to_owned(), printed })
    };
    let serve = command("ledger serve", &["listening on …", "…"]);
    assert!(matches!(&serve, Step::Command(serve) if serve.goes_on()));
    let steps = vec![serve, Step::Interrupt, command("a \\\nb", &[])];
    assert_eq!(
        parse(page),
        Ok(vec![
            Block::File { name: "deploy.json".to_owned(), text: "{}\n".to_owned() },
            Block::Terminal { name: "server".to_owned(), line: 7, steps },
        ])
    );
    for (page, word) in [
        ("```sh\nrm -rf /\n```\n", "make it `console`"),
        ("```console\n$ a\n", "no end"),
        ("```console\nprinted\n```\n", "by no command"),
    ] {
        assert!(parse(page).expect_err(page).contains(word), "{page}");
    }
}

#[test]
fn what_is_printed_is_held_to_what_is_shown() {
    let check = |shown: &[&str], printed: &[&str]| {
        let shown: Vec<String> = shown.iter().map(|line| (*line).to_owned()).collect();
        is_shown(&shown, printed)
    };
    assert!(check(&["a", "b"], &["a", "b"]));
    assert!(!check(&["a"], &["a", "b"]) && !check(&["a", "b"], &["a"]));
    assert!(check(&["a", "…"], &["a", "b", "c"]) && check(&["a", "…"], &["a"]));
    assert!(check(&["…", "c"], &["a", "b", "c"]) && !check(&["…", "c"], &["a", "b"]));
    assert!(check(&["took … s"], &["took 0.2 s"]) && !check(&["took … s"], &["took 0.2 min"]));
    assert!(check(&["…-x-…"], &["a-x-b"]) && !check(&["a…b"], &["acd"]));
    assert!(check(&["AGENT  STATE"], &["AGENT      STATE"]));
}
