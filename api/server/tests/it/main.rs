//! A whole server over loopback: sockets, sessions, start, stop and TLS.

mod client;
mod damage;
mod deployments;
mod flow;
mod garbage;
mod lives;
mod monitoring;
mod node;
mod sessions;
mod signing;
mod tls;
mod trouble;
