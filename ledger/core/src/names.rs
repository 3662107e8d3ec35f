//! Names that people give: checked once, where they enter.

use crate::limits;
use crate::text;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Text that breaks the rule of the name it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: {rule}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    rule: &'static str,
}

/// Which bytes a text may have. Every name of every event that is read is held to it.
type Bytes = [bool; 256];

/// ASCII letters, digits and `extra`.
const fn plain_and(extra: &[u8]) -> Bytes {
    let mut allowed = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        allowed[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut place = 0;
    while place < extra.len() {
        allowed[extra[place] as usize] = true;
        place += 1;
    }
    allowed
}

/// Nix's base 32, which leaves out e, o, t and u.
const fn nix_base_32() -> Bytes {
    let mut allowed = [false; 256];
    let digits = b"0123456789abcdfghijklmnpqrsvwxyz";
    let mut place = 0;
    while place < digits.len() {
        allowed[digits[place] as usize] = true;
        place += 1;
    }
    allowed
}

fn has_only(text: &str, allowed: &Bytes) -> bool {
    text.bytes().all(|byte| allowed[usize::from(byte)])
}

/// The rule of a name that is at most `max` bytes of those allowed, and begins with
/// an ASCII letter or digit.
fn is_plain(text: &str, max: usize, allowed: &Bytes) -> bool {
    text.len() <= max
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && has_only(text, allowed)
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident($what:literal, $rule:literal) = $valid:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = text.as_ref();
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    let text = text.chars().take(120).collect();
                    Err(InvalidName { what: $what, text, rule: $rule })
                }
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.as_str().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                text::deserialize(deserializer)
            }
        }
    )*};
}

names! {
    /// A workspace: what one customer sees of a ledger.
    WorkspaceName("workspace name", "1 to 63 of a-z, 0-9 and -, beginning with a letter or digit") =
        |text| is_plain(text, limits::WORKSPACE_NAME_CHARS_MAX, &const { plain_and(b"-") })
            && !text.contains(|c: char| c.is_ascii_uppercase());
    /// An agent, unique in its workspace.
    AgentName("agent name", "1 to 128 of A-Z, a-z, 0-9 and . _ @ + -, beginning with a letter or digit") =
        |text| is_plain(text, limits::AGENT_NAME_CHARS_MAX, &const { plain_and(b"._@+-") });
    /// A Nix system, like `x86_64-linux`.
    System("system", "like x86_64-linux: 1 to 64 of A-Z, a-z, 0-9 and . _ -") =
        |text| is_plain(text, limits::SYSTEM_CHARS_MAX, &const { plain_and(b"._-") });
    /// A version that a program gives of itself.
    ProgramVersion("version", "1 to 64 of A-Z, a-z, 0-9 and . _ + -") =
        |text| is_plain(text, limits::VERSION_CHARS_MAX, &const { plain_and(b"._+-") });
    /// A pattern over agent names: `*` stands for any characters, `?` for one.
    AgentPattern("agent pattern", "1 to 128 of A-Z, a-z, 0-9 and . _ @ + - * ?") =
        |text| !text.is_empty() && text.len() <= limits::AGENT_NAME_CHARS_MAX
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._@+-*?".contains(c));
    /// A whole store path, like `/nix/store/<32 characters>-name`.
    StorePath("store path", "it must be /nix/store/, 32 characters of Nix's base 32, a dash and a name, with nothing after it") =
        is_store_path;
}

fn is_store_path(text: &str) -> bool {
    let Some(base) = text.strip_prefix("/nix/store/") else { return false };
    let Some((hash, name)) = base.split_at_checked(32) else { return false };
    let Some(name) = name.strip_prefix('-') else { return false };
    has_only(hash, &const { nix_base_32() })
        && !name.is_empty()
        && name.len() <= limits::STORE_NAME_CHARS_MAX
        && has_only(name, &const { plain_and(b"+-._?=") })
        && !name.ends_with(".drv")
}

impl AgentPattern {
    /// Returns whether the pattern matches the whole name.
    pub fn matches(&self, name: &AgentName) -> bool {
        self.matcher()(name)
    }

    /// Returns what [`Self::matches`] does, made ready for many names.
    pub fn matcher(&self) -> impl Fn(&AgentName) -> bool + use<> {
        let pattern = wildmatch::WildMatch::new(&self.0);
        move |name| pattern.matches(name.as_str())
    }
}

impl WorkspaceName {
    /// Returns the workspace `default`, which every ledger begins with.
    pub fn initial() -> Self {
        Self("default".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_paths_are_whole_and_no_derivations() {
        let hash = "0c5b8vw40dy178xlpddw65q9gf1h2186";
        assert!(StorePath::new(format!("/nix/store/{hash}-nixos-system-web-24.05")).is_ok());
        for bad in [
            format!("/nix/store/{hash}"),
            format!("/nix/store/{hash}-"),
            format!("/nix/store/{hash}-a/bin"),
            format!("/nix/store/{hash}-a.drv"),
            format!("/nix/store/{hash}-a b"),
            format!("/nix/store/{hash}-é"),
            format!("/gnu/store/{hash}-a"),
            "/nix/store/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee-a".to_owned(),
            "/nix/store/é".to_owned(),
            String::new(),
        ] {
            assert!(StorePath::new(&*bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn names_hold_no_separator_of_a_stream() {
        for bad in ["", "-a", ".a", "a/b", "a b", "é", &"a".repeat(129)] {
            assert!(AgentName::new(bad).is_err(), "{bad} was accepted");
        }
        assert!(WorkspaceName::new("Default").is_err());
        assert!(WorkspaceName::new("team-1").is_ok());
    }

    #[test]
    fn a_pattern_matches_whole_names() {
        let pattern = AgentPattern::new("web-*").expect("valid");
        assert!(pattern.matches(&AgentName::new("web-1").expect("valid")));
        assert!(!pattern.matches(&AgentName::new("my-web-1").expect("valid")));
    }
}
