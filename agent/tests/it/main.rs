//! The agent against a server of its own words, on a simulated machine and on
//! real Nix.

mod history;
mod journal;
mod killed;
mod kinds;
mod machine;
mod nix;
mod plain;
mod protocol;
mod rig;
mod server;
