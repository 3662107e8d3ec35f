//! The log, tested through its handle and attacked through its file.

mod conformance;
mod support;
