//! The last words: what became of it all, and how to go on by hand.

use super::folder::Folder;
use super::line::Line;
use super::screen::Screen;
use super::story::Told;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The file of variables that lets somebody go on in the folder.
const ENV: &str = "env";

/// A part of what is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Say(String),
    Type(Vec<String>),
}

/// Says it, with the time that all took.
pub(crate) fn show(screen: &mut Screen, parts: &[Part], took: Duration) -> io::Result<()> {
    screen.heading(&format!("Done in {:.1} s", took.as_secs_f64()))?;
    parts.iter().try_for_each(|part| match part {
        Part::Say(text) => screen.say(text),
        Part::Type(words) => screen.command(words),
    })
}

/// Returns what to say when everything is gone.
pub(crate) fn removed(folder: &str, program: &str) -> Vec<Part> {
    let say = |text: &str| Part::Say(text.to_owned());
    let line = |words: &str| Part::Type(words.split(' ').map(str::to_owned).collect());
    vec![
        Part::Say(format!("All programs are stopped and {folder} is removed; nothing is left.")),
        say(
            "To go on by hand, keep the next one: it leaves everything and says how to start it again.",
        ),
        line(&format!("{program} demo --keep")),
        say("Or begin with a server of your own, which says what to type next."),
        line(&format!("{program} serve")),
    ]
}

/// Returns what to say when the folder stays, and leaves the file that all of it begins with.
pub(crate) fn kept(folder: &Folder, told: &Told, program: &str) -> io::Result<Vec<Part>> {
    folder.write(ENV, &env(folder, told, program))?;
    let shown = folder.shown();
    let say = |text: &str| Part::Say(text.to_owned());
    let line = |line: &Line| Part::Type(line.words());
    let mut parts = vec![
        Part::Say(format!(
            "All programs are stopped, and everything lies in {shown}. To go on, begin like this in every terminal:"
        )),
        Part::Type(vec!["cd".to_owned(), shown.clone()]),
        Part::Type(vec![".".to_owned(), format!("./{ENV}")]),
        say("Then start the server and the two agents again, as before:"),
        line(&told.server),
    ];
    parts.extend(told.agents.iter().map(line));
    parts.push(say("And go back to the first version, for example, and look at what happened:"));
    parts.push(line(&Line::ledger(["activate", "v1.json", "--description", "back again"])));
    parts.push(line(&Line::ledger(["deployments"])));
    parts.push(line(&Line::ledger(["log", "--agent", "web-1"])));
    parts.push(say("What Nix made is read-only. When you have seen enough:"));
    let open_up = ["chmod", "-R", "u+w", &shown, "&&", "rm", "-r", &shown];
    parts.push(Part::Type(open_up.map(str::to_owned).into()));
    Ok(parts)
}

/// Returns a shell's file of variables: those that the programs had.
fn env(folder: &Folder, told: &Told, program: &str) -> String {
    let mut text = "# To go on in this folder by hand: `. ./env` here.\n".to_owned();
    let mut export = |name: &str, value: &str| {
        // A String takes everything.
        let _ = writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''"));
    };
    for (name, value) in folder.env() {
        export(name, &value.to_string_lossy());
    }
    export("LEDGER_URL", &told.url);
    export("NIX_REMOTE", &format!("{}/builder", folder.shown()));
    let _ = writeln!(text, "export LEDGER_TOKEN=\"$(cat '{}/data/admin-token')\"", folder.shown());
    if let Some(parent) = Path::new(program).parent().filter(|parent| parent.is_absolute()) {
        let _ = writeln!(text, "export PATH='{}':\"$PATH\"", parent.display());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_kept_says_how_to_go_on_in_it() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(temporary.path());
        let server = Line::ledger(["serve"]).in_background();
        let agents = vec![Line::ledger(["agent", "web-1"]).in_background()];
        let told = Told { url: "http://127.0.0.1:1".to_owned(), server, agents };
        let parts = kept(&folder, &told, "/somewhere/bin/ledger").expect("written");
        let typed: Vec<String> = parts
            .iter()
            .filter_map(|part| match part {
                Part::Type(words) => Some(words.join(" ")),
                Part::Say(_) => None,
            })
            .collect();
        let shown = folder.shown();
        assert_eq!(
            typed,
            [
                &format!("cd {shown}"),
                ". ./env",
                "ledger serve &",
                "ledger agent web-1 &",
                "ledger activate v1.json --description 'back again'",
                "ledger deployments",
                "ledger log --agent web-1",
                &format!("chmod -R u+w {shown} && rm -r {shown}"),
            ]
        );
        let env = std::fs::read_to_string(folder.path().join("env")).expect("written");
        for line in [
            "export LEDGER_URL='http://127.0.0.1:1'\n",
            "export PATH='/somewhere/bin':\"$PATH\"\n",
            &format!("export HOME='{shown}/home'\n"),
            &format!("export LEDGER_TOKEN=\"$(cat '{shown}/data/admin-token')\"\n"),
        ] {
            assert!(env.contains(line), "{line} in {env}");
        }
    }
}
