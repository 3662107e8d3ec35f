//! The agent hub: sessions, their place in the log, and what agents may do.
//!
//! | room | what |
//! |---|---|
//! | [`registry`] | which agent has which session, and who hears of which event |
//! | [`session`] | opening and closing a session, and why one ends |
//! | [`feed`] | an agent's stream, gapless, however slow its reader is |
//! | [`deeds`] | claims, reports and output |
//! | [`native`] | our own protocol: JSON over a WebSocket |
//!
//! All but the last know no message format: a second protocol is a second room
//! beside it.

pub(crate) mod deeds;
pub(crate) mod feed;
pub(crate) mod native;
pub(crate) mod registry;
pub(crate) mod session;
