//! The agent against a server of its own words, on a simulated machine and on
//! real Nix.

mod journal;
mod nix;
mod plain;
mod rig;
mod server;
