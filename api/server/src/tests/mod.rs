//! Routes, through the real router on a real log.

mod events;
mod harness;
mod histories;
mod isolation;
mod lists;
mod main_path;
mod metrics;
mod monitoring;
mod openapi;
mod problems;
mod proofs;
mod reading;
mod requests;
mod rights;
mod tokens;
mod writing;
