//! The log, tested through its handle and attacked through its file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attack;
mod attack_postgres;
mod child;
mod conformance;
mod crash;
#[cfg(target_os = "linux")]
mod durability;
#[cfg(target_os = "linux")]
mod failing_disk;
mod fencing;
mod file;
mod other_writer;
mod partitions;
mod postgres;
mod properties;
mod support;
