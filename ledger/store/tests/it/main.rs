//! The log, tested through its handle and attacked through its file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archive;
mod attack;
mod attack_postgres;
mod batches;
mod child;
mod conformance;
mod crash;
#[cfg(target_os = "linux")]
mod durability;
mod erased;
#[cfg(target_os = "linux")]
mod failing_disk;
mod fencing;
mod file;
mod inspect;
mod nodes;
mod other_writer;
mod partitions;
mod postgres;
mod presumed;
mod properties;
mod race;
mod readers;
mod replaced;
mod support;
mod tampered;
mod unheard;
