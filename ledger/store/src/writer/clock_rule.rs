//! The rule that keeps one wrong clock from poisoning time for ever.

use crate::clock::Clock;
use crate::limits;
use ledger_core::Timestamp;
use std::time::Duration;

/// Watches the clock of a running server.
pub(crate) struct ClockRule {
    /// The clock and the uptime when the clock was last trusted as a whole.
    trusted: (Timestamp, Duration),
    /// Why appends are stopped. Stays until somebody confirms the clock.
    stopped: Option<String>,
}

impl ClockRule {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { trusted: (clock.now(), clock.uptime()), stopped: None }
    }

    /// Returns the moment, or why there is none to be trusted.
    ///
    /// `proven` is the newest moment that the log proves to have been.
    pub(crate) fn check(
        &mut self,
        clock: &dyn Clock,
        proven: Option<Timestamp>,
    ) -> Result<Timestamp, String> {
        let now = clock.now();
        if self.stopped.is_none() {
            self.stopped = self.fault(now, clock.uptime(), proven);
        }
        match &self.stopped {
            Some(why) => Err(why.clone()),
            None => Ok(now),
        }
    }

    /// Returns why appends are stopped.
    pub(crate) fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// Trusts the clock as it is.
    pub(crate) fn confirm(&mut self, clock: &dyn Clock) {
        *self = Self::new(clock);
    }

    fn fault(&self, now: Timestamp, uptime: Duration, proven: Option<Timestamp>) -> Option<String> {
        const WHAT_TO_DO: &str =
            "set the clock right, then restart with `ledger serve --confirm-clock`";
        if let Some(proven) = proven
            && now.plus_micros(micros(limits::CLOCK_BEHIND_MAX)) < proven
        {
            return Some(format!(
                "the clock says {now}, but the newest event was recorded at {proven}; {WHAT_TO_DO}"
            ));
        }
        let expected = self.trusted.0.plus_micros(micros(uptime.saturating_sub(self.trusted.1)));
        let jump = now.micros().saturating_sub(expected.micros());
        if jump.unsigned_abs() > micros(limits::CLOCK_JUMP_MAX).unsigned_abs() {
            return Some(format!(
                "the clock jumped: it says {now} where {expected} was due; {WHAT_TO_DO}"
            ));
        }
        None
    }
}

/// Microseconds of a duration, up to 292,000 years.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
