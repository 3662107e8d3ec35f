//! What every end-to-end test is made of: real Nix, real processes, one log.
//!
//! Nothing here sleeps to hope: everything waits for a value, with a deadline.

pub(crate) mod administrator;
pub(crate) mod agent;
pub(crate) mod cache;
pub(crate) mod disk;
pub(crate) mod http;
pub(crate) mod netns;
pub(crate) mod nix;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod server;
pub(crate) mod story;
pub(crate) mod wire;
pub(crate) mod world;

use std::time::{Duration, Instant};

/// How long anything may take. Generous, for a busy machine of two cores.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How often a value is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until the value is there, and panics with the words if it is too late.
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_for_within(DEADLINE, what, look)
}

/// The same, within a time of its own.
pub(crate) fn wait_for_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "after {patience:?}, still waiting for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}
