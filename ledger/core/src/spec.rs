//! deploy.json: what an activation asks for, in the form that Cachix Deploy gave it.

use crate::limits;
use crate::names::{AgentName, StorePath, System};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// A deploy.json, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// What each agent is to run.
    pub agents: BTreeMap<AgentName, StorePath>,
    /// The rollback script of each system.
    pub rollback_scripts: BTreeMap<System, StorePath>,
}

/// Why a text is no deploy.json: what is wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Larger than any fleet needs.
    #[error("it has {bytes} bytes; at most {max} are read")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many are read.
        max: usize,
    },
    /// The text breaks a rule; place and reason are in the message.
    #[error("{0}")]
    Invalid(serde_json::Error),
    /// A name was asked for that the spec does not hold.
    #[error("--agent {name}: deploy.json has no such agent; it has {known}")]
    NoSuchAgent {
        /// The name asked for.
        name: AgentName,
        /// Those that it has, for a sentence.
        known: String,
    },
}

impl Spec {
    /// Reads and checks a deploy.json.
    ///
    /// ```json
    /// { "agents": { "web-1": "/nix/store/…" }, "rollbackScript": { "x86_64-linux": "/nix/store/…" } }
    /// ```
    ///
    /// Unknown and repeated keys are refused, and so is what is no store path.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        if text.len() > limits::SPEC_BYTES_MAX {
            return Err(SpecError::TooLarge { bytes: text.len(), max: limits::SPEC_BYTES_MAX });
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let spec = json.deserialize_map(SpecVisitor).map_err(SpecError::Invalid)?;
        json.end().map_err(SpecError::Invalid)?;
        Ok(spec)
    }

    /// Keeps only the agents named. No names keep them all.
    pub fn only(mut self, names: &[AgentName]) -> Result<Self, SpecError> {
        if names.is_empty() {
            return Ok(self);
        }
        if let Some(name) = names.iter().find(|name| !self.agents.contains_key(*name)) {
            let mut known: Vec<&str> = self.agents.keys().take(10).map(AgentName::as_str).collect();
            if self.agents.len() > known.len() {
                known.push("…");
            }
            return Err(SpecError::NoSuchAgent { name: name.clone(), known: known.join(", ") });
        }
        self.agents.retain(|name, _| names.contains(name));
        Ok(self)
    }
}

struct SpecVisitor;

impl<'de> Visitor<'de> for SpecVisitor {
    type Value = Spec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the key `agents`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Spec, A::Error> {
        let mut agents = None;
        let mut rollback_scripts = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "agents" if agents.is_none() => {
                    let seed = Paths::new("agents", limits::ACTIVATION_AGENTS_MAX);
                    agents = Some(map.next_value_seed(seed)?);
                }
                "rollbackScript" if rollback_scripts.is_none() => {
                    let seed = Paths::new("rollbackScript", limits::ROLLBACK_SCRIPTS_MAX);
                    rollback_scripts = Some(map.next_value_seed(seed)?);
                }
                "agents" | "rollbackScript" => {
                    return Err(A::Error::custom(format_args!("the key `{key}` stands twice")));
                }
                _ => {
                    let key: String = key.chars().take(80).collect();
                    return Err(A::Error::custom(format_args!(
                        "unknown key {key:?}; a deploy.json has `agents` and may have `rollbackScript`"
                    )));
                }
            }
        }
        let agents = agents.ok_or_else(|| A::Error::custom("the key `agents` is missing"))?;
        Ok(Spec { agents, rollback_scripts: rollback_scripts.unwrap_or_default() })
    }
}

/// Reads an object of names to store paths, and says in which place it fails.
struct Paths<K> {
    place: &'static str,
    max: usize,
    key: PhantomData<K>,
}

impl<K> Paths<K> {
    const fn new(place: &'static str, max: usize) -> Self {
        Self { place, max, key: PhantomData }
    }
}

impl<'de, K: FromStr<Err: fmt::Display> + Ord> DeserializeSeed<'de> for Paths<K> {
    type Value = BTreeMap<K, StorePath>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, K: FromStr<Err: fmt::Display> + Ord> Visitor<'de> for Paths<K> {
    type Value = BTreeMap<K, StorePath>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of names to store paths at `{}`", self.place)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let place = self.place;
        let mut paths = BTreeMap::new();
        while let Some(text) = map.next_key::<String>()? {
            let key: K =
                text.parse().map_err(|e| A::Error::custom(format_args!("{place}: {e}")))?;
            let path = map.next_value_seed(Path { place, key: &text })?;
            if paths.insert(key, path).is_some() {
                return Err(A::Error::custom(format_args!("{place}: {text:?} stands twice")));
            }
            if paths.len() > self.max {
                let max = self.max;
                return Err(A::Error::custom(format_args!("{place}: more than {max} entries")));
            }
        }
        Ok(paths)
    }
}

/// Reads one store path and names the key that it stands at.
struct Path<'a> {
    place: &'static str,
    key: &'a str,
}

impl<'de> DeserializeSeed<'de> for Path<'_> {
    type Value = StorePath;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<StorePath, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Path<'_> {
    type Value = StorePath;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a store path at `{}.{}`", self.place, self.key)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<StorePath, E> {
        StorePath::new(text)
            .map_err(|e| E::custom(format_args!("{}.{}: {e}", self.place, self.key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web";

    #[test]
    fn the_form_of_cachix_is_read() {
        let text = format!(
            r#"{{"rollbackScript":{{"x86_64-linux":"{PATH}"}},"agents":{{"web-1":"{PATH}"}}}}"#
        );
        let spec = Spec::parse(&text).expect("valid");
        assert_eq!((spec.agents.len(), spec.rollback_scripts.len()), (1, 1));
    }

    #[test]
    fn what_is_refused_says_where_and_why() {
        let check = |text: &str, words: &[&str]| {
            let error = Spec::parse(&text.replace("PATH", PATH)).expect_err(text).to_string();
            for word in words {
                assert!(error.contains(word), "{text}: {error}");
            }
        };
        check("", &["EOF", "line 1"]);
        check("[]", &["expected an object with the key `agents`"]);
        check("{}", &["`agents` is missing"]);
        check(r#"{"agents":{}, "x":1}"#, &["unknown key \"x\"", "column"]);
        check(r#"{"agents":{}, "agents":{}}"#, &["`agents` stands twice"]);
        check(r#"{"agents":{"a":"PATH","a":"PATH"}}"#, &["agents: \"a\" stands twice"]);
        check(r#"{"agents":{"a":"/etc"}}"#, &["agents.a", "\"/etc\" is no store path", "line 1"]);
        check(r#"{"agents":{"a":7}}"#, &["expected a store path at `agents.a`"]);
        check(r#"{"agents":{"a b":"PATH"}}"#, &["agents: \"a b\" is no agent name"]);
        check(r#"{"agents":{}} x"#, &["trailing characters"]);
    }

    #[test]
    fn names_asked_for_must_be_there() {
        let text = format!(r#"{{"agents":{{"web-1":"{PATH}","web-2":"{PATH}"}}}}"#);
        let spec = Spec::parse(&text).expect("valid");
        let web_2 = AgentName::new("web-2").expect("valid");
        let other = AgentName::new("db").expect("valid");
        assert_eq!(spec.clone().only(&[web_2]).map(|s| s.agents.len()).ok(), Some(1));
        let error = spec.only(&[other]).expect_err("absent").to_string();
        assert!(error.contains("db") && error.contains("web-1, web-2"), "{error}");
    }
}
