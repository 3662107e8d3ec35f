//! When a request is sent again: a decision, without clock and randomness.

use std::time::Duration;

/// The first wait is at most so long; each further one at most twice the one before.
const DELAY_FIRST_MAX: Duration = Duration::from_millis(250);
/// No wait is longer, so that a server that comes back is found soon.
const DELAY_MAX: Duration = Duration::from_secs(8);
/// A server that asks for more than this is not waited for within one request.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How often a request was tried, and how long that may go on.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    attempts: u32,
    patience: Duration,
}

impl Retry {
    /// Begins. With no patience at all, nothing is sent twice.
    pub const fn new(patience: Duration) -> Self {
        Self { attempts: 0, patience }
    }

    /// Decides how long to wait before the next attempt, or that it was the last.
    ///
    /// `elapsed` is the time since the first attempt, `random` any number. The
    /// wait is full jitter, so that a thousand clients of a server that comes
    /// back do not come together; what the server asks for is the least.
    pub fn next(
        &mut self,
        elapsed: Duration,
        retry_after: Option<Duration>,
        random: u32,
    ) -> Option<Duration> {
        let wait = self.wait(retry_after, random);
        if retry_after.is_some_and(|asked| asked > RETRY_AFTER_MAX) {
            return None;
        }
        (elapsed.saturating_add(wait) <= self.patience && !self.patience.is_zero()).then_some(wait)
    }

    /// Returns how long to wait before the next attempt of something that is
    /// tried for ever.
    pub fn wait(&mut self, retry_after: Option<Duration>, random: u32) -> Duration {
        let doublings = self.attempts.min(16);
        self.attempts = self.attempts.saturating_add(1);
        let most = DELAY_FIRST_MAX.saturating_mul(1 << doublings).min(DELAY_MAX);
        let jitter = most.mul_f64(f64::from(random) / f64::from(u32::MAX));
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        asked.saturating_add(jitter)
    }

    /// Begins anew, after something went well.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// Returns any number, for the jitter. Without the system's randomness the
/// longest wait is taken.
pub fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_a_bound_and_jitter_takes_any_part_of_them() {
        let mut retry = Retry::new(60 * SECOND);
        let waits: Vec<u128> = (0..8).map(|_| retry.wait(None, u32::MAX).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
        let mut retry = Retry::new(60 * SECOND);
        assert_eq!(retry.wait(None, 0), Duration::ZERO);
        retry.reset();
        assert_eq!(retry.wait(None, u32::MAX), DELAY_FIRST_MAX);
    }

    #[test]
    fn a_request_is_given_up_when_its_time_is_over() {
        let mut retry = Retry::new(SECOND);
        assert!(retry.next(SECOND / 2, None, u32::MAX).is_some());
        assert_eq!(retry.next(SECOND, None, u32::MAX), None);
        assert_eq!(Retry::new(Duration::ZERO).next(Duration::ZERO, None, 0), None);
    }

    #[test]
    fn what_the_server_asks_for_is_the_least() {
        let mut retry = Retry::new(60 * SECOND);
        assert_eq!(retry.next(SECOND, Some(5 * SECOND), 0), Some(5 * SECOND));
        assert_eq!(retry.next(58 * SECOND, Some(5 * SECOND), 0), None);
        assert_eq!(retry.next(SECOND, Some(3600 * SECOND), 0), None);
    }
}
