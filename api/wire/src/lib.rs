//! What travels between Ledger's programs: requests, answers, messages and
//! error codes. Types only; every name here is part of the API's promise.
//!
//! HTTP bodies are in [`http`], the agent's socket in [`agent`], errors in
//! [`problem`]. The text of a token is in [`token`].

pub mod agent;
pub mod http;
pub mod problem;
#[cfg(feature = "schema")]
pub mod schema;
pub mod token;
