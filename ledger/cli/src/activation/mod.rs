//! Following an activation to its end.
//!
//! [`progress`] is the pure part: what the server said goes in, what is to be
//! shown comes out. [`follow`] drives it over two long polls, [`view`] shows it.

mod bars;
mod change;
pub(crate) mod follow;
pub(crate) mod item;
mod lines;
mod outage;
pub(crate) mod progress;
pub(crate) mod text;
pub(crate) mod view;

#[cfg(test)]
mod tests;
