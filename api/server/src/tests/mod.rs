//! Routes, through the real router on a real log.

mod harness;
mod isolation;
mod main_path;
mod metrics;
mod monitoring;
mod problems;
mod reading;
mod requests;
mod rights;
mod tokens;
mod writing;
