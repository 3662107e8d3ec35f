//! Judges what was found of the binary caches: whether closures come from there,
//! and whether their signatures will be believed.

use super::facts::{Cache, CacheAnswer, Machine};
use super::{Finding, Findings, Group};

pub(super) fn judge(machine: &Machine) -> Vec<Finding> {
    let mut found = Findings::of(Group::ThisMachine);
    if machine.caches.is_empty() {
        if let Some(Ok(_)) = &machine.config {
            found.hinders(
                "cache",
                machine.runs_agent,
                "no binary cache is configured, so no closure can be fetched",
                "name one with --substituter, or in nix.conf under substituters",
            );
        }
        return found.into_vec();
    }
    machine.caches.iter().for_each(|cache| one(&mut found, machine, cache));
    found.into_vec()
}

fn one(found: &mut Findings, machine: &Machine, cache: &Cache) {
    let url = &cache.url;
    match &cache.answer {
        CacheAnswer::Cache => {
            found.ok("cache", format!("{url} answers"));
            key(found, machine, cache);
        }
        CacheAnswer::NotAsked => {
            found.ok("cache", format!("{url} was not asked: only Nix speaks its protocol"));
        }
        CacheAnswer::WantsPassword => found.warn(
            "cache",
            format!("{url} wants a password, which Nix takes from its netrc-file"),
            format!("`nix-store --realise` of something in it tells whether that is right: {url}"),
        ),
        CacheAnswer::No(why) => found.hinders(
            "cache",
            machine.runs_agent,
            format!("{url} cannot be used: {why}"),
            "check its address and the way to it, or name another with --substituter",
        ),
    }
}

fn key(found: &mut Findings, machine: &Machine, cache: &Cache) {
    let url = &cache.url;
    let is_required = match &machine.config {
        Some(Ok(config)) => config.require_sigs || machine.runs_agent,
        _ => true,
    };
    if cache.is_trusted || !is_required {
        found.ok("cache_key", format!("{url} needs no signature, as it is configured"));
        return;
    }
    let names: Vec<&str> = machine.trusted_keys.iter().map(|key| name_of(key)).collect();
    let add = "name the cache's public key with --trusted-public-key, or in nix.conf under trusted-public-keys";
    match &cache.signed_by {
        None if names.is_empty() => found.hinders(
            "cache_key",
            machine.runs_agent,
            "no key is trusted, so no signature is believed",
            add,
        ),
        None => found.ok(
            "cache_key",
            format!(
                "{url} has nothing of this machine's, so its key was not seen; trusted are {}",
                names.join(", ")
            ),
        ),
        Some(signed) if signed.is_empty() => found.hinders(
            "cache_key",
            machine.runs_agent,
            format!("{url} has paths without a signature"),
            "let it sign them: `nix store sign`, or secret-key-files where they are built",
        ),
        Some(signed) => match signed.iter().find(|name| names.contains(&name.as_str())) {
            Some(name) => {
                found.ok("cache_key", format!("{url} signs with {name}, which is trusted"))
            }
            None => found.hinders(
                "cache_key",
                machine.runs_agent,
                format!("{url} signs with {}, which is not trusted", signed.join(", ")),
                add,
            ),
        },
    }
}

/// Returns the name of a key that is written as `NAME:KEY`.
pub(super) fn name_of(key: &str) -> &str {
    key.split_once(':').map_or(key, |(name, _)| name)
}
