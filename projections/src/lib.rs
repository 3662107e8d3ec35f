//! Pure folds over the log, and the runner that keeps them current.
//!
//! A projection is a function of the log and of nothing else: what a user sees
//! live and what a user sees of last March come from the same code.
//!
//! To add a **projection**: write its state and its [`Projection::apply`] in a
//! module of its own, with no clock, no randomness and no map whose order is not
//! its keys'; add it to [`image`] if a server keeps it in memory; add it to the
//! property tests in `tests/it`. To change what a projection's state means, raise
//! its [`Projection::VERSION`].

pub mod access;
pub mod fleet;
pub mod history;
pub mod image;
pub mod projection;
pub mod runner;

pub use projection::{Halt, Projection, Snapshot};
pub use runner::{Live, Runner, WaitError};
