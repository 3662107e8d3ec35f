//! How long to wait before connecting again: full jitter, so that the agents of
//! a fleet that lost its server do not come back all at once.

use crate::limits::{RETRY_BASE, RETRY_CAP};
use std::time::Duration;

/// Counts tries that failed.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failed: u32,
}

impl Backoff {
    /// Returns the next wait: anything from nothing to a bound that doubles.
    pub fn next_wait(&mut self) -> Duration {
        let bound = bound(self.failed);
        self.failed = self.failed.saturating_add(1);
        bound.mul_f64(fraction())
    }
}

fn bound(failed: u32) -> Duration {
    RETRY_BASE.saturating_mul(2_u32.saturating_pow(failed)).min(RETRY_CAP)
}

/// Draws a number from 0 to 1. Without randomness, waits are the longest.
fn fraction() -> f64 {
    getrandom::u32().map_or(1.0, |drawn| f64::from(drawn) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let bounds: Vec<u64> = (0..8).map(|failed| bound(failed).as_secs()).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(bound(u32::MAX), RETRY_CAP);
    }

    #[test]
    fn a_wait_is_never_longer_than_its_bound() {
        for _ in 0..1_000 {
            let mut backoff = Backoff::default();
            assert!(backoff.next_wait() <= Duration::from_secs(1));
            assert!(backoff.next_wait() <= Duration::from_secs(2));
        }
    }
}
