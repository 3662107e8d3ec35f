//! The log, tested through its handle and attacked through its file.

mod attack;
mod conformance;
mod support;
