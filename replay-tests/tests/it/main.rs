//! The tests of the whole: real processes, real Nix, and rules over all crates.

mod boundaries;
mod deploy;
mod docs;
mod fuzz;
mod monitoring;
mod rig;
