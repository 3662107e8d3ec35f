//! The promises of every fold, over histories that no server would write.

mod events;
mod folds;
mod runner;
