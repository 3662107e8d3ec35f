//! Figures as they are printed.

use crate::common::quantile_of;
use anyhow::{Context, Result};
use std::time::Duration;

/// A whole number, its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many in a second.
pub(crate) fn rate(per_second: f64) -> String {
    // Negative and unknown become 0, which stands out.
    count(per_second.round() as u64)
}

/// How many times one is the other.
pub(crate) fn ratio(one: f64, other: f64) -> String {
    if other > 0.0 { format!("{:.2}", one / other) } else { "none".to_owned() }
}

/// A time in milliseconds, with two digits at least.
pub(crate) fn milliseconds(time: Duration) -> String {
    let value = time.as_secs_f64() * 1000.0;
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

/// The median of some rates.
pub(crate) fn median(values: &[f64]) -> Result<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().context("nothing was measured")
}

/// The time below or at which so many thousandths of the samples are.
pub(crate) fn time(samples: &[Duration], thousandths: usize) -> Result<String> {
    Ok(milliseconds(quantile_of(samples, thousandths)?))
}
