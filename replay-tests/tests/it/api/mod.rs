//! The HTTP API as other people's tools see it: asked by schemathesis along its own
//! description, and read in a browser.

mod docs;
mod schemathesis;
