//! The HTTP server of Ledger: routes, the agent hub and authentication.
//!
//! [`start`] opens a server on a log; [`Running`] is the handle that stops it.
//!
//! To add a **route**: give its bodies types in `api_wire::http`, write its
//! handler in the room of its noun under `routes`, say in `routes/described.rs`
//! under the handler's name what it takes and answers, and add it to the table in
//! `routes/mod.rs` with the right it needs, and to the tests of rights and of
//! isolation, which fail until it is there. Who may do what stands in
//! [`ledger_core::rights`]. `UPDATE_OPENAPI=1 cargo test -p api-server openapi`
//! writes the description that is checked in.

mod auth;
mod boot;
mod caching;
mod extract;
mod folder;
mod given;
mod hub;
pub mod limits;
mod listener;
mod metrics;
mod nodes;
mod openapi;
mod problem;
mod request;
mod routes;
mod running;
mod server;
mod signer;
#[cfg(test)]
mod tests;
mod tls;

pub use boot::StartError;
pub use folder::FolderError;
pub use running::{Config, Failed, Running, Tls, start};
pub use signer::SignError;
pub use tls::TlsError;
