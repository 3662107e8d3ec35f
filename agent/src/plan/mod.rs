//! The planner: what the agent notes, and what it does next.
//!
//! [`decide`] turns what came in into records for the journal; [`next`] reads
//! off the journal's state what there is to do. Neither does anything, so that
//! a restarted agent, which has only its journal, goes on like one that never
//! stopped.

mod act;
mod intake;

pub use act::{Action, Conclusion, Flight, Step, next};
pub use intake::{Context, Input, Outcome, decide, is_at_odds};

#[cfg(test)]
mod tests;
