//! The core's tests. They read golden files, which the core itself never does.
#![allow(clippy::disallowed_methods)]

mod checkpoint;
mod decisions;
mod goldens;
mod merkle;
mod properties;
mod samples;
