//! Who calls, and what they may do.

pub(crate) mod caller;
pub(crate) mod guard;
pub(crate) mod key;
pub(crate) mod refusals;

pub(crate) use caller::Caller;
