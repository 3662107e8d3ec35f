//! The tests of the whole: real processes, real Nix, and rules over all crates.

mod api;
mod boundaries;
mod deploy;
mod docs;
mod fuzz;
mod rig;
