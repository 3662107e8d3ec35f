//! The core's tests. They read golden files, which the core itself never does.
#![allow(clippy::disallowed_methods)]

mod checkpoint;
mod decisions;
mod envelope;
mod goldens;
mod merkle;
mod properties;
mod samples;
mod verify;
