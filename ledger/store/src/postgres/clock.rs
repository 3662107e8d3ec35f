//! The database's clock, which all servers on it share.

use crate::clock::{Clock, SystemClock};
use ledger_core::Timestamp;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The database's clock, as it was last heard, moved on by the time that passed
/// since. Every answer to the writer brings it anew, so that asking for it costs no round trip,
/// and a jump of it shows at the write after.
#[derive(Default)]
pub(crate) struct DatabaseClock {
    /// What the database said, and this machine's uptime then.
    heard: Mutex<Option<(Timestamp, Duration)>>,
}

impl DatabaseClock {
    /// Notes what the database's clock says now.
    pub(super) fn hear(&self, now: Timestamp) {
        let uptime = SystemClock.uptime();
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, uptime));
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match heard {
            Some((then, uptime)) => {
                let passed = SystemClock.uptime().saturating_sub(uptime).as_micros();
                then.plus_micros(i64::try_from(passed).unwrap_or(i64::MAX))
            }
            // Before the first lock, which opening the log takes.
            None => SystemClock.now(),
        }
    }

    fn uptime(&self) -> Duration {
        SystemClock.uptime()
    }
}
