//! Time, as the store reads it.

use ledger_core::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the store reads time from, so that tests can set it.
pub trait Clock: Send + Sync + 'static {
    /// Returns the moment in UTC.
    fn now(&self) -> Timestamp;
    /// Returns a time that never jumps, from any beginning; it goes on while the machine sleeps.
    fn uptime(&self) -> Duration;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = SystemTime::now();
        // i64 holds microseconds for 292,000 years; Timestamp clamps further.
        let micros = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m),
        };
        Timestamp::from_micros(micros)
    }

    fn uptime(&self) -> Duration {
        let time = rustix::time::clock_gettime(STEADY);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or_default(),
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        )
    }
}

/// Goes on while the machine sleeps.
#[cfg(target_os = "linux")]
const STEADY: rustix::time::ClockId = rustix::time::ClockId::Boottime;
/// On macOS this one goes on while the machine sleeps.
#[cfg(not(target_os = "linux"))]
const STEADY: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
