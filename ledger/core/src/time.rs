//! Moments: UTC, in whole microseconds, as they are stored.

use crate::text::as_text;
use chrono::{DateTime, SecondsFormat, Utc};
use std::fmt;
use std::str::FromStr;

/// A moment in UTC, in microseconds since 1970-01-01.
///
/// Written as RFC 3339 with six decimals. Every value is between the years 1
/// and 9999, so that every value can be written and read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

as_text!(Timestamp);

/// Text that is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time in RFC 3339 (like 2026-03-01T12:00:00Z)")]
pub struct InvalidTimestamp(String);

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    const EARLIEST: i64 = -62_135_596_800_000_000;
    /// 9999-12-31T23:59:59.999999Z.
    const LATEST: i64 = 253_402_300_799_999_999;

    /// Makes a moment from microseconds since 1970, clamped to the years 1 to 9999.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::EARLIEST {
            Self(Self::EARLIEST)
        } else if micros > Self::LATEST {
            Self(Self::LATEST)
        } else {
            Self(micros)
        }
    }

    /// Returns microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Returns the moment `micros` microseconds later, clamped.
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = DateTime::<Utc>::from_timestamp_micros(self.0).unwrap_or_default();
        f.write_str(&moment.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        DateTime::parse_from_rfc3339(text)
            .map(|moment| Self::from_micros(moment.timestamp_micros()))
            .map_err(|_| InvalidTimestamp(text.chars().take(80).collect()))
    }
}
