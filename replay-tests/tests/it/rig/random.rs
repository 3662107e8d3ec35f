//! Random numbers that can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64: small, good enough here, and without a dependency.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A number from 0 to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        self.next() as f64 / u64::MAX as f64
    }
}

/// Returns the seed that the environment variable gives, or else one that differs
/// from run to run.
pub(crate) fn seed(variable: &str) -> u64 {
    let from_clock = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        now.as_nanos() as u64
    };
    let given = std::env::var(variable).ok();
    given.map_or_else(from_clock, |text| text.parse().expect("the seed is a number"))
}
