//! Numbers of queries and bodies: only those that every JSON reader takes exactly.

use ledger_core::limits::EVENT_INTEGER_MAX;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;

/// An integer from 0 and below 2^53. `7.0` is one too, as JSON Schema has it: many
/// languages know no other numbers.
struct Exact(u64);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(ExactVisitor)
    }
}

struct ExactVisitor;

impl Visitor<'_> for ExactVisitor {
    type Value = Exact;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer from 0 and below 2^53")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Exact, E> {
        if number < EVENT_INTEGER_MAX {
            Ok(Exact(number))
        } else {
            Err(E::custom(format_args!("{number} is too large: a number is below 2^53")))
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Exact, E> {
        let whole = number.fract() == 0.0 && (0.0..EVENT_INTEGER_MAX as f64).contains(&number);
        if whole {
            Ok(Exact(number as u64))
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Float(number), &self))
        }
    }
}

/// Reads a number that may be left out or null.
pub(super) fn exact<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let Some(Exact(number)) = Option::deserialize(deserializer)? else { return Ok(None) };
    let fitting = T::try_from(number).ok();
    fitting.map(Some).ok_or_else(|| D::Error::custom(format_args!("{number} is too large")))
}

/// Reads a number that must be there.
pub(super) fn needed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let Exact(number) = Exact::deserialize(deserializer)?;
    T::try_from(number).map_err(|_| D::Error::custom(format_args!("{number} is too large")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_below_2_to_the_53_are_read_however_they_are_written() {
        let read = |text: &str| {
            let mut json = serde_json::Deserializer::from_str(text);
            exact::<_, u64>(&mut json).map_err(|error| error.to_string())
        };
        for (text, number) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("1e3", Some(1_000)),
            ("-0.0", Some(0)),
            ("9007199254740991", Some((1 << 53) - 1)),
            ("null", None),
        ] {
            assert_eq!(read(text), Ok(number), "{text}");
        }
        for text in ["-1", "0.5", "9007199254740992", "1e300", "\"7\"", "true", "[]"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
