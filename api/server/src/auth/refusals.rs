//! Refusals slow down: an address that shows bad tokens again and again is told
//! to wait. A good token is never delayed, whatever its address did.

use crate::limits;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Counts refusals by address.
#[derive(Default)]
pub(crate) struct Refusals {
    counts: Mutex<HashMap<IpAddr, Count>>,
}

#[derive(Clone, Copy)]
struct Count {
    since: Duration,
    refusals: u32,
}

impl Refusals {
    /// Counts one more refusal, and returns how long to wait if there were too many.
    pub(crate) fn count(&self, address: IpAddr, uptime: Duration) -> Option<Duration> {
        let address = prefix(address);
        // A counter is right again with its next write, whoever died holding it.
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= limits::REFUSALS_ADDRESSES_MAX && !counts.contains_key(&address) {
            forget(&mut counts, uptime);
        }
        let fresh = Count { since: uptime, refusals: 0 };
        let count = counts.entry(address).or_insert(fresh);
        if is_over(count, uptime) {
            *count = fresh;
        }
        count.refusals = count.refusals.saturating_add(1);
        let left = (count.since + limits::REFUSALS_WINDOW).saturating_sub(uptime);
        (count.refusals > limits::REFUSALS_FREE).then_some(left)
    }
}

fn is_over(count: &Count, uptime: Duration) -> bool {
    uptime.saturating_sub(count.since) >= limits::REFUSALS_WINDOW
}

/// Makes room: what is over goes, or else all, so that making room stays cheap
/// however many addresses knock.
fn forget(counts: &mut HashMap<IpAddr, Count>, uptime: Duration) {
    counts.retain(|_, count| !is_over(count, uptime));
    if counts.len() >= limits::REFUSALS_ADDRESSES_MAX / 2 {
        counts.clear();
    }
}

/// One customer's IPv6 network is a /64, in which addresses cost nothing.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(std::net::Ipv6Addr::from(u128::from(address) & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from(n))
    }

    #[test]
    fn an_address_waits_after_too_many_refusals_until_the_window_is_over() {
        let refusals = Refusals::default();
        let start = Duration::from_secs(5);
        for _ in 0..limits::REFUSALS_FREE {
            assert_eq!(refusals.count(address(1), start), None);
        }
        let later = start + Duration::from_secs(20);
        let left = limits::REFUSALS_WINDOW - Duration::from_secs(20);
        assert_eq!(refusals.count(address(1), later), Some(left));
        assert_eq!(refusals.count(address(2), later), None);
        assert_eq!(refusals.count(address(1), start + limits::REFUSALS_WINDOW), None);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_count_together_and_memory_is_bounded() {
        let refusals = Refusals::default();
        for n in 0..=limits::REFUSALS_FREE {
            let neighbour: IpAddr = format!("2001:db8::{n:x}").parse().expect("valid");
            let waits = refusals.count(neighbour, Duration::ZERO).is_some();
            assert_eq!(waits, n == limits::REFUSALS_FREE);
        }
        for n in 0..20_000 {
            refusals.count(address(n), Duration::from_millis(n.into()));
        }
        let counts = refusals.counts.lock().expect("healthy");
        assert!(counts.len() <= limits::REFUSALS_ADDRESSES_MAX);
    }
}
