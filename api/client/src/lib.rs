//! The client side of Ledger's API, shared by the agent and the command line.
//!
//! [`endpoint`] says where the server is and with which token; [`http`] makes
//! requests and retries them; [`socket`] opens an agent's session.

pub mod endpoint;
pub mod http;
pub mod limits;
pub mod socket;
