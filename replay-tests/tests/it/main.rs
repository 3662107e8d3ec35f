//! The tests of the whole: real processes, real Nix, and rules over all crates.

mod api;
mod auditor;
mod boundaries;
mod demo;
mod deploy;
mod disk;
mod docs;
mod doctor;
mod fuzz;
mod kills;
mod manual;
mod monitoring;
mod reference;
mod rig;
mod several_servers;
mod signer;
