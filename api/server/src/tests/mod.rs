//! Routes, through the real router on a real log.

mod harness;
mod main_path;
