//! The agent: consumes its own stream of the log, activates Nix profiles, and
//! reports every step.
//!
//! [`plan`] decides: pure, and all that it knows is in the [`journal`]. The
//! [`driver`] does what it says: it works on a machine ([`host`]) and talks to
//! the server ([`link`]). An activation runs under a [`supervisor`], which
//! outlives the agent. [`command`] puts them together.

pub mod backoff;
pub mod command;
pub mod driver;
pub mod folder;
pub mod history;
pub mod host;
pub mod journal;
pub mod limits;
pub mod link;
pub mod lock;
pub mod output;
pub mod plan;
pub mod supervisor;
mod told;
