//! Judges what was found of this machine.

use super::facts::{Disk, Machine, Session, State};
use super::{Finding, Findings, Group};
use crate::terminal::bytes;
use std::path::Path;

/// An agent needs space for the next closure beside the one that runs.
const FREE_BYTES_MIN: u64 = 2 << 30;
/// Part of a disk that should be free, in per cent.
const FREE_PERCENT_MIN: u64 = 10;
/// The permissions of everybody but a folder's owner.
const OTHERS: u32 = 0o077;

pub(super) fn judge(machine: &Machine) -> Vec<Finding> {
    let mut found = Findings::of(Group::ThisMachine);
    nix(&mut found, machine);
    if let Some((path, outcome)) = &machine.profile {
        profile(&mut found, path, outcome);
    }
    if let Some(folder) = &machine.state {
        state(&mut found, folder);
    }
    if let Some(session_of) = &machine.session {
        session(&mut found, session_of);
    }
    machine.disks.iter().for_each(|one| disk(&mut found, one));
    found.into_vec()
}

fn nix(found: &mut Findings, machine: &Machine) {
    let agent = machine.runs_agent;
    match &machine.nix {
        None => {}
        Some(Ok(version)) => found.ok("nix", version.clone()),
        Some(Err(why)) => found.hinders(
            "nix",
            agent,
            format!("Nix does not answer, which an agent needs: {why}"),
            "install Nix, or put nix-store and nix-env into PATH",
        ),
    }
    match &machine.store {
        None => {}
        Some(Ok(())) => {
            found.ok("store", "/nix/store can be written to, by Nix itself or its daemon")
        }
        Some(Err(why)) => found.hinders(
            "store",
            agent,
            format!("the store cannot be written to: {why}"),
            "run the agent as root, or start the Nix daemon: `systemctl start nix-daemon`",
        ),
    }
    if let Some(Err(why)) = &machine.config {
        found.warn(
            "nix_config",
            format!("Nix does not tell its configuration: {why}"),
            "install the command `nix`, or name the caches with --substituter and --trusted-public-key",
        );
    }
}

fn profile(found: &mut Findings, path: &Path, outcome: &Result<(), String>) {
    let shown = path.display();
    match outcome {
        Ok(()) => found.ok("profile", format!("{shown} can be set")),
        Err(why) => found.fail(
            "profile",
            format!("{shown} cannot be set: {why}"),
            "run the agent as root, or name a profile of your own with --profile",
        ),
    }
}

fn state(found: &mut Findings, state: &State) {
    let shown = state.path.display();
    match &state.mode {
        Ok(None) => found.ok("state", format!("{shown} is made by the agent's first start")),
        Ok(Some(mode)) if mode & OTHERS == 0 => {
            found.ok("state", format!("{shown} is closed to others"));
        }
        Ok(Some(mode)) => found.fail(
            "state",
            format!(
                "{shown}, with the agent's key in it, is open to others (mode {:03o})",
                mode & 0o777
            ),
            format!("`chmod 700 {shown}`"),
        ),
        Err(why) => found.fail(
            "state",
            format!("{shown} cannot be looked at: {why}"),
            "run doctor as the user that the agent runs as, or name the folder with --state",
        ),
    }
}

fn session(found: &mut Findings, session: &Result<Session, String>) {
    let session = match session {
        Ok(session) => session,
        Err(why) => {
            found.warn(
                "agent",
                format!("whether another agent has the name is not known: {why}"),
                "run doctor with a token of kind read, too",
            );
            return;
        }
    };
    let name = &session.name;
    let rekey = format!(
        "if this machine is to be {name}, `ledger agents rekey {name}` makes it so; else take another name"
    );
    let state = if session.is_connected { "connected" } else { "offline" };
    match (session.pinned, session.own) {
        _ if !session.is_known => {
            found.ok("agent", format!("the name {name} is free: the server does not know it yet"))
        }
        _ if session.is_retired => {
            found.fail(
                "agent",
                format!("{name} is retired"),
                format!("`ledger agents rekey {name}` brings it back"),
            );
        }
        (Some(pinned), Some(own)) if pinned == own => {
            found.ok(
                "agent",
                format!("the name {name} belongs to this machine's key, and is {state}"),
            );
        }
        (Some(_), Some(_)) => found.fail(
            "agent",
            format!("the name {name} belongs to another key than this machine's, and is {state}"),
            rekey,
        ),
        (Some(_), None) => found.warn(
            "agent",
            format!(
                "the name {name} belongs to a key that is not in this state folder, and is {state}"
            ),
            rekey,
        ),
        (None, _) => {
            found.ok("agent", format!("the name {name} is given to the next agent that connects"))
        }
    }
}

fn disk(found: &mut Findings, disk: &Disk) {
    let percent = u128::from(disk.free) * 100 / u128::from(disk.size.max(1));
    let text = format!(
        "{} ({}) has {} free of {} ({percent} %)",
        disk.path.display(),
        disk.of,
        bytes(disk.free),
        bytes(disk.size)
    );
    if percent < u128::from(FREE_PERCENT_MIN) || disk.free < FREE_BYTES_MIN {
        let fix = if disk.of == "the Nix store" {
            "`nix-collect-garbage --delete-older-than 30d` removes what no newer profile uses"
        } else {
            "make room on it"
        };
        found.warn("disk", text, fix);
    } else {
        found.ok("disk", text);
    }
}
