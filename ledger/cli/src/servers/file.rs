//! The file of the logins: closed to others, and there whole or not at all.

use super::{Login, ServerName, Servers};
use crate::failure::{Exit, Failure};
use api_wire::token::Secret;
use data_encoding::HEXLOWER;
use ledger_core::Timestamp;
use ledger_core::ids::TokenId;
use ledger_core::names::WorkspaceName;
use ledger_core::rights::TokenKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes of the file: a login has about 300.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The permissions of everybody but a file's owner.
const OTHERS: u32 = 0o077;
/// Those of them that let others put another file in its place.
const OTHERS_WRITE: u32 = 0o022;

const HEADER: &str = "\
# Written by `ledger login` and `ledger logout`. It holds tokens: keep it like a password.

";

/// Where the file lies.
#[derive(Clone, Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// Finds the place by the environment.
    pub(crate) fn find() -> Result<Self, Failure> {
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        Self::below(config, std::env::home_dir()).ok_or_else(|| {
            Failure::usage("there is no place to keep logins").hint(
                "set HOME or XDG_CONFIG_HOME, or do without a login: LEDGER_URL and LEDGER_TOKEN",
            )
        })
    }

    /// A relative XDG_CONFIG_HOME is to be ignored, says the XDG base directory specification.
    fn below(config: Option<PathBuf>, home: Option<PathBuf>) -> Option<Self> {
        let config = config.filter(|config| config.is_absolute());
        let home = home.filter(|home| home.is_absolute());
        let config = config.or_else(|| Some(home?.join(".config")))?;
        Some(Self(config.join("ledger/servers.toml")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn folder(&self) -> &Path {
        self.0.parent().unwrap_or(Path::new("/"))
    }
}

/// The file's form.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<ServerName>,
    #[serde(default)]
    servers: BTreeMap<ServerName, StoredLogin>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredLogin {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<WorkspaceName>,
    token: String,
    token_id: TokenId,
    kind: TokenKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// Reads what is kept; nothing, where there is no file.
pub(crate) fn load(place: &Place) -> Result<Servers, Failure> {
    let shown = place.path().display();
    let unreadable = |e: io::Error| {
        Failure::from(e).context(format!("{shown} cannot be read")).exit_as(Exit::Usage)
    };
    let file = match File::open(place.path()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Servers::default()),
        Err(error) => return Err(unreadable(error)),
    };
    // Of the open file, so that no other takes its place in between.
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & OTHERS != 0 {
        let message = format!(
            "others may read {shown} (mode {:03o}), which holds tokens, so it is not used",
            mode & 0o777
        );
        return Err(Failure::usage(message).hint(format!(
            "`chmod 600 {shown}` closes it; if others could read it for a while, revoke the tokens in it"
        )));
    }
    refuse_open_folder(place)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    parse(&text).map_err(|e| {
        Failure::usage(format!("{shown} is damaged: {e}"))
            .hint(format!("mend it, or remove it and use `ledger login` again: rm {shown}"))
    })
}

/// In a folder where others may write, they put a file of theirs into its place.
fn refuse_open_folder(place: &Place) -> Result<(), Failure> {
    let folder = place.folder();
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & OTHERS_WRITE == 0 {
        return Ok(());
    }
    let shown = folder.display();
    Err(Failure::usage(format!("others may write to {shown}, so the logins in it are not used"))
        .hint(format!("`chmod 700 {shown}` keeps them out")))
}

/// The text is never shown in an error, for it holds tokens.
fn parse(text: &str) -> Result<Servers, String> {
    let stored: Stored = toml::from_str(text).map_err(|e| {
        let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        // A message may quote what stands there.
        let message =
            if e.message().contains("ldg_") { "a token stands here" } else { e.message() };
        format!("line {line}: {message}")
    })?;
    let mut servers = BTreeMap::new();
    for (name, login) in stored.servers {
        let secret =
            Secret::parse(&login.token).map_err(|e| format!("the token of {name}: {e}"))?;
        let url = api_client::endpoint::normal_address(&login.url)
            .map_err(|e| format!("the URL of {name}: {e}"))?;
        let (token, kind, expires_at) = (login.token_id, login.kind, login.expires_at);
        let workspace = login.workspace;
        servers.insert(name, Login { url, workspace, secret, token, kind, expires_at });
    }
    let current = stored.current.filter(|name| servers.contains_key(name));
    Ok(Servers { current, servers })
}

fn print(servers: &Servers) -> Result<String, toml::ser::Error> {
    let login = |login: &Login| StoredLogin {
        url: login.url.clone(),
        workspace: login.workspace.clone(),
        token: login.secret.reveal().to_owned(),
        token_id: login.token,
        kind: login.kind,
        expires_at: login.expires_at,
    };
    let servers_of = servers.servers.iter().map(|(name, l)| (name.clone(), login(l)));
    let stored = Stored { current: servers.current.clone(), servers: servers_of.collect() };
    Ok(format!("{HEADER}{}", toml::to_string(&stored)?))
}

/// Changes what is kept. Of two at once, the second sees what the first did.
pub(crate) fn update<T>(
    place: &Place,
    change: impl FnOnce(&mut Servers) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let folder = place.folder();
    let shown = folder.display();
    let failed = |e: io::Error| {
        Failure::from(e)
            .context(format!("the login cannot be kept in {shown}"))
            .hint("set XDG_CONFIG_HOME to a folder that you may write to")
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    refuse_open_folder(place)?;
    let lock = File::open(folder).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let mut servers = load(place)?;
    let outcome = change(&mut servers)?;
    let text = print(&servers)?;
    write(place, &lock, &text).map_err(failed)?;
    Ok(outcome)
}

/// Writes beside the place, syncs, and moves it there.
fn write(place: &Place, folder: &File, text: &str) -> io::Result<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let new = place.folder().join(format!(".servers.toml.{}", HEXLOWER.encode(&random)));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).and_then(
        |mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, place.path())
        },
    );
    if written.is_err() {
        // It may hold a token; if it cannot be removed, the error tells of the folder.
        let _ = fs::remove_file(&new);
    }
    written?;
    folder.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90";

    fn secret(letter: &str) -> Secret {
        Secret::new(TokenKind::Read, &letter.repeat(43))
    }

    fn login(url: &str) -> Login {
        Login {
            url: url.to_owned(),
            workspace: "team-1".parse().ok(),
            secret: secret("a"),
            token: ID.parse().expect("an id"),
            kind: TokenKind::Read,
            expires_at: "2027-03-01T12:00:00Z".parse().ok(),
        }
    }

    fn name(text: &str) -> ServerName {
        text.parse().expect("valid")
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    fn place(folder: &tempfile::TempDir) -> Place {
        Place::below(Some(folder.path().join("config")), None).expect("a place")
    }

    #[test]
    fn the_file_follows_the_custom_of_the_system() {
        let below = |config: Option<&str>, home: Option<&str>| {
            let place = Place::below(config.map(Into::into), home.map(Into::into));
            place.map(|place| place.path().display().to_string())
        };
        let of = |text: &str| Some(text.to_owned());
        assert_eq!(below(Some("/c"), Some("/home/a")), of("/c/ledger/servers.toml"));
        assert_eq!(below(Some("c"), Some("/home/a")), of("/home/a/.config/ledger/servers.toml"));
        assert_eq!(below(None, Some("/home/a")), of("/home/a/.config/ledger/servers.toml"));
        assert_eq!(below(None, None), None);
    }

    #[test]
    fn what_is_kept_reads_back_from_a_file_that_is_closed_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = place(&folder);
        assert_eq!(load(&place).expect("nothing"), Servers::default());
        let keep = |n: &str, url: &str| {
            update(&place, |servers| {
                servers.log_in(name(n), login(url));
                Ok(())
            })
            .expect("kept");
        };
        keep("prod", "https://a.example");
        keep("127.0.0.1:7070", "http://127.0.0.1:7070");
        assert_eq!((mode(place.folder()), mode(place.path())), (0o700, 0o600));
        let kept = load(&place).expect("read");
        assert_eq!(kept.current, Some(name("127.0.0.1:7070")));
        assert_eq!(kept.servers[&name("prod")], login("https://a.example"));
        let files = fs::read_dir(place.folder()).expect("a folder").count();
        assert_eq!(files, 1, "something was left beside it");
        update(&place, |servers| Ok(servers.log_out(&name("127.0.0.1:7070")))).expect("kept");
        let kept = load(&place).expect("read");
        assert_eq!((kept.current, kept.servers.len()), (None, 1));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = place(&folder);
        update(&place, |servers| {
            servers.log_in(name("prod"), login("https://a.example"));
            Ok(())
        })
        .expect("kept");
        for (path, wrong, right, words) in [
            (place.path(), 0o644, 0o600, "chmod 600"),
            (place.path(), 0o640, 0o600, "chmod 600"),
            (place.folder(), 0o777, 0o700, "chmod 700"),
        ] {
            fs::set_permissions(path, fs::Permissions::from_mode(wrong)).expect("changed");
            let report = load(&place).expect_err("refused").report();
            assert!(report.contains(words), "{report}");
            let refused = update(&place, |_| Ok(())).expect_err("refused");
            assert_eq!(refused.exit(), Exit::Usage);
            fs::set_permissions(path, fs::Permissions::from_mode(right)).expect("changed");
        }
        assert_eq!(load(&place).expect("closed again").servers.len(), 1);
    }

    #[test]
    fn a_damaged_file_is_told_by_its_line_and_never_by_its_text() {
        let token = secret("s").reveal().to_owned();
        let good = format!(
            "[servers.a]\nurl = \"https://a.example\"\ntoken = \"{token}\"\ntoken_id = \"{ID}\"\nkind = \"read\"\n"
        );
        assert!(parse(&good).is_ok());
        for (text, words) in [
            (format!("{good}more = 1\n"), "line 6: unknown field"),
            (good.replace("\"read\"", "\"root\""), "line 5: unknown variant"),
            (good.replace("\"read\"", &format!("\"{token}\"")), "line 5: a token stands here"),
            (good.replace("https:", "http:"), "the URL of a"),
            (good.replace(&token, &format!("{token}s")), "the token of a"),
            (good.replace("token_id = \"", "token_id = "), "line 4"),
            (good.replace("servers.a", "servers.\"a b\""), "it must be 1 to 253"),
        ] {
            let error = parse(&text).expect_err(&text);
            assert!(error.contains(words), "{words:?} is not in {error:?}");
            assert!(!error.contains("ssss"), "a token is shown: {error}");
        }
        // A current one that is gone is none.
        assert_eq!(parse("current = \"b\"\n").expect("read").current, None);
    }
}
